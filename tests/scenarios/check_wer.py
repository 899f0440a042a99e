"""`python -m tests.scenarios.check_wer`: our error counts against NIST's sclite and jiwer.

On what the five shipped models hear in the shipped speech: real errors, few and many. Characters
are given to sclite as words of one letter, and "_" for the space.

Two things are no mismatch, and are counted apart. sclite weighs edits (3 for a deletion or an
insertion, 4 for a substitution) and so at times settles for more of them than are needed; ours is
then jiwer's number. And where several alignments have equally few edits jiwer takes any of them,
so its parts may differ where the sum is the same.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import jiwer
import typer

from deploy.demo import MODELS, SPEECH
from serve_app.scoring.wer import ErrorCounts, count_edits, normalise
from workers.evaluation import compare

_SCLITE = "/usr/lib/sctk/bin/sclite"  # where Debian's package has it
Tokens = Sequence[str]
Pair = tuple[Tokens, Tokens]
Parts = tuple[int, int, int]


def main(
    golden: Annotated[
        Path | None, typer.Option(help="Write 500 pairs with sclite's counts to this file.")
    ] = None,
) -> None:
    """Print what differs; the last line is one JSON object. Exits with 1 on any mismatch."""
    sclite = shutil.which("sclite") or _SCLITE
    if not Path(sclite).exists():
        sys.exit("sclite is not installed; on Debian: apt-get install sctk")
    texts = _hear()
    words = [(normalise(spoken), normalise(heard)) for spoken, heard in texts]
    letters = [(_letters(spoken), _letters(heard)) for spoken, heard in words]
    figures = {"pairs": len(texts), "sclite_mismatches": 0, "jiwer_mismatches": 0}
    figures |= {"sclite_not_fewest": 0, "jiwer_other_parts": 0}
    by_sclite = []
    for unit, pairs in (("words", words), ("characters", letters)):
        theirs = run_sclite(sclite, pairs)
        by_sclite.append(theirs)
        for number, (pair, sclites) in enumerate(zip(pairs, theirs, strict=True)):
            ours = _parts(count_edits(*pair))
            jiwers = _jiwer(*pair)
            if sum(sclites) > sum(ours):
                figures["sclite_not_fewest"] += 1
            elif sclites != ours:
                figures["sclite_mismatches"] += 1
                typer.echo(f"pair {number}, {unit}: sclite {sclites}, ours {ours}")
            if sum(jiwers) != sum(ours):
                figures["jiwer_mismatches"] += 1
                typer.echo(f"pair {number}, {unit}: jiwer {jiwers}, ours {ours}")
            elif jiwers != ours:
                figures["jiwer_other_parts"] += 1
    if golden is not None:
        _write_golden(golden, texts, *by_sclite)
    typer.echo(json.dumps(figures))
    sys.exit(1 if figures["sclite_mismatches"] or figures["jiwer_mismatches"] else 0)


def run_sclite(program: str, pairs: Sequence[Pair]) -> list[Parts]:
    """Substitutions, deletions and insertions of each pair by sclite."""
    with TemporaryDirectory() as folder:
        for side, name in enumerate(("ref.trn", "hyp.trn")):
            lines = [f"{' '.join(pair[side])} (s-{i:06d})\n" for i, pair in enumerate(pairs)]
            Path(folder, name).write_text("".join(lines))
        files = ["-r", f"{folder}/ref.trn", "trn", "-h", f"{folder}/hyp.trn", "trn", "-i", "rm"]
        report = ["-o", "pralign", "-O", folder, "-n", "out", "-s"]
        subprocess.run([program, *files, *report], check=True, capture_output=True)
        text = Path(folder, "out.pra").read_text()
    scores = r"id: \(s-(\d+)\)\s+Scores: \(#C #S #D #I\) \d+ (\d+) (\d+) (\d+)"
    found = {int(i): (int(s), int(d), int(ins)) for i, s, d, ins in re.findall(scores, text)}
    return [found[i] for i in range(len(pairs))]


def _hear() -> list[tuple[str, str]]:
    """(reference, hypothesis) of each model on each shipped utterance."""
    found = compare(sorted(MODELS.glob("*.nemo")), sorted(SPEECH.glob("*.jsonl")))
    return [(row.text or "", row.pred_text or "") for row in found.utterances]


def _letters(words: Tokens) -> Tokens:
    return ["_" if char == " " else char for char in " ".join(words)]


def _parts(counts: ErrorCounts) -> Parts:
    return counts.substitutions, counts.deletions, counts.insertions


def _jiwer(spoken: Tokens, heard: Tokens) -> Parts:
    as_is = {"reference_transform": _same, "hypothesis_transform": _same}
    found = jiwer.process_words([spoken], [heard], **as_is)
    return found.substitutions, found.deletions, found.insertions


def _same(sentences: list[Tokens]) -> list[Tokens]:
    return sentences


def _write_golden(
    path: Path, texts: Sequence[tuple[str, str]], words: list[Parts], letters: list[Parts]
) -> None:
    """The 500 pairs with the most errors on which sclite has the fewest edits for both units."""
    rows: list[tuple[int, dict[str, object]]] = []
    for (spoken, heard), by_word, by_letter in zip(texts, words, letters, strict=True):
        pair = normalise(spoken), normalise(heard)
        fewest = count_edits(*map(_letters, pair)).errors, count_edits(*pair).errors
        if (sum(by_letter), sum(by_word)) == fewest:
            row = {"reference": spoken, "hypothesis": heard}
            rows.append((sum(by_word), {**row, "words": by_word, "characters": by_letter}))
    rows.sort(key=lambda each: -each[0])
    path.write_text("".join(json.dumps(row) + "\n" for _, row in rows[:500]))


if __name__ == "__main__":
    typer.run(main)
