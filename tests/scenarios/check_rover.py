"""`python -m tests.scenarios.check_rover`: our votes against NIST's rover.

On random hypotheses, and on what the five shipped models hear in the shipped speech. Each case is
voted on by the same method, alpha and confidence of NULL, and the words that come out are compared.

Rover adds its costs up in float32, where ours are whole numbers: of two alignments that cost the
same it may find one cheaper by a rounding error, and take that. A case that differs is counted as
a tie, apart from the mismatches, only if that is shown: the alignment done once more as rover does
it, in float32, costs exactly what ours does at each hypothesis, and its vote has rover's words. Of
words whose scores are equal but for rounding any may win.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any
from unittest.mock import patch

import numpy as np
import typer

from deploy.demo import MODELS, SPEECH
from schemas.requests import ClipRequest
from schemas.settings import ModelSettings
from serve_app.engines.base import Hypothesis
from serve_app.engines.load import load_engine
from serve_app.routing.combining import network
from serve_app.routing.combining.hypotheses import candidate
from serve_app.routing.combining.network import Slot, build_network
from serve_app.routing.combining.vote import Confidence, vote
from workers.evaluation import read_test_set
from workers.manifests.speech import read_audio

_ROVER = "/usr/lib/sctk/bin/rover"  # where Debian's package has it
#: Rover's names for our methods.
METHODS: dict[Confidence, str] = {"mean": "meth1", "highest": "maxconf", "share": "avgconf"}
_SECONDS = 1000  # that each hypothesis of a case fills: rover splits at common silences and ends
_DIGITS = 3  # of confidences: a CTM holds them exactly
_EQUAL = 1e-9
_BATCH = 64

Words = tuple[str, ...]
Alignment = list[tuple[Slot | None, int | None]]
_align = network._align  # ours, while it is replaced


@dataclass(frozen=True)
class Setting:
    """The parameters of a vote."""

    method: Confidence
    alpha: float
    null_confidence: float


SETTINGS = (
    Setting("mean", 1.0, 0.0),
    Setting("mean", 0.5, 0.4),
    Setting("mean", 0.0, 0.5),
    Setting("highest", 0.3, 0.6),
    Setting("highest", 0.8, 0.2),
    Setting("share", 0.5, 0.4),
    Setting("share", 0.2, 0.7),
    Setting("share", 0.0, 0.9),
)


@dataclass(frozen=True)
class Case:
    """Hypotheses of one utterance; none is empty, for a CTM cannot say so."""

    words: tuple[Words, ...]
    confidences: tuple[tuple[float, ...], ...]
    real: bool = False


def main(
    golden: Annotated[
        Path | None, typer.Option(help="Write 300 cases with rover's words to this file.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random cases.")] = 1,
) -> None:
    """Print what differs; the last line is one JSON object. Exits with 1 on any mismatch."""
    rover = shutil.which("rover") or _ROVER
    if not Path(rover).exists():
        sys.exit("rover is not installed; on Debian: apt-get install sctk")
    cases = [*_random_cases(random.Random(seed)), *_heard()]
    figures = {"rover_cases": 0, "rover_mismatches": 0, "rover_ties": 0, "real_cases": 0}
    rows: list[dict[str, Any]] = []
    for setting in SETTINGS:
        for _, group in groupby(cases, lambda case: len(case.words)):
            some = list(group)
            for case, theirs in zip(some, run_rover(rover, some, setting), strict=True):
                figures["rover_cases"] += 1
                figures["real_cases"] += case.real
                ours = our_words(case, setting)
                if ours == theirs:
                    rows.append(_row(case, setting, theirs))
                elif is_tie(case, setting, theirs):
                    figures["rover_ties"] += 1
                else:
                    figures["rover_mismatches"] += 1
                    typer.echo(f"{setting}\n{case}\nrover: {theirs}\nours:  {ours}")
    if golden is not None:
        _write_golden(golden, rows)
    typer.echo(json.dumps(figures))
    sys.exit(1 if figures["rover_mismatches"] else 0)


def our_words(case: Case, setting: Setting) -> Words:
    """The words that our vote chooses."""
    winners = vote(
        build_network(case.words),
        case.words,
        case.confidences,
        alpha=setting.alpha,
        null_confidence=setting.null_confidence,
        method=setting.method,
    )
    return tuple(case.words[each.index][each.word] for each in winners)


def run_rover(program: str, cases: Sequence[Case], setting: Setting) -> list[Words]:
    """The words that rover chooses; all cases have equally many hypotheses."""
    systems = len(cases[0].words)
    # rover loses the last conversation of a file where it has one word
    last = Case(words=(("the", "end"),) * systems, confidences=((1.0, 1.0),) * systems)
    with TemporaryDirectory() as folder:
        files = []
        for system in range(systems):
            path = Path(folder, f"{system}.ctm")
            path.write_text("".join(_ctm([*cases, last], system)))
            files += ["-h", str(path), "ctm"]
        out = Path(folder, "out.ctm")
        how = ["-m", METHODS[setting.method], "-a", f"{setting.alpha}"]
        how += ["-c", f"{setting.null_confidence}", "-o", str(out)]
        subprocess.run([program, *files, *how], check=True, capture_output=True)
        found: list[list[str]] = [[] for _ in [*cases, last]]
        for line in out.read_text().splitlines():
            name, _, _, _, word, _ = line.split()
            found[int(name)].append(word)
    return [tuple(words) for words in found[:-1]]


def _ctm(cases: Sequence[Case], system: int) -> Iterator[str]:
    for number, case in enumerate(cases):
        words, confidences = case.words[system], case.confidences[system]
        bounds = [place * _SECONDS // len(words) for place in range(len(words) + 1)]
        for word, sure, start, end in zip(words, confidences, bounds, bounds[1:], strict=False):
            yield f"{number:06d} 1 {start} {end - start} {word} {sure}\n"


def is_tie(case: Case, setting: Setting, theirs: Words) -> bool:
    """Whether rover's words are as good as ours: see the module's description."""
    slots = build_network(case.words)
    if not _can_win(slots, case, setting, our_words(case, setting)):
        return False
    if _can_win(slots, case, setting, theirs):
        return True
    try:
        with patch.object(network, "_align", _align_rounded):
            slots = build_network(case.words)
    except _CostlierError:
        return False
    return _can_win(slots, case, setting, theirs)


class _CostlierError(Exception):
    """The alignment that rover's rounding chooses costs more than ours."""


def _align_rounded(slots: Sequence[Slot], words: Sequence[str], apart: object = None) -> Alignment:
    """As rover aligns: costs of each word of a slot, in float32, added up in its order."""
    exact = _exact_cost(_align(slots, words, None), words)
    float32 = np.float32
    ramp = [float32(0)]
    for _ in words:
        ramp.append(ramp[-1] + float32(3))
    costs = [[ramp]]  # of each slot, of each word in it: the cost at each word heard
    steps = [[["insert"] * (len(words) + 1)]]
    for slot in slots:
        before = [min(column) for column in zip(*costs[-1], strict=True)]
        costs.append([])
        steps.append([])
        for word in slot.words:
            leave = float32(0.001 if word is None else 3)
            cost, step = [before[0] + leave], ["skip"]
            for place, heard in enumerate(words):
                against = 1 if word is None else 0 if word == heard else 4
                pair = before[place] + float32(against)
                skip = before[place + 1] + leave
                insert = cost[-1] + float32(3)
                if pair <= min(skip, insert):
                    step.append("pair")
                else:
                    step.append("skip" if skip < insert else "insert")
                cost.append(min(pair, skip, insert))
            costs[-1].append(cost)
            steps[-1].append(step)
    path: Alignment = []
    row, place = len(slots), len(words)
    arc = _cheapest(costs[row], place)
    while row or place:
        kind = steps[row][arc][place]
        slot_of = None if kind == "insert" else slots[row - 1]
        path.append((slot_of, None if kind == "skip" else place - 1))
        if kind != "skip":
            place -= 1
        if kind != "insert":
            row -= 1
            arc = _cheapest(costs[row], place)
    path.reverse()
    if _exact_cost(path, words) != exact:
        raise _CostlierError
    return path


def _cheapest(costs: Sequence[Sequence[np.float32]], place: int) -> int:
    return min(range(len(costs)), key=lambda arc: costs[arc][place])


def _exact_cost(path: Alignment, words: Sequence[str]) -> int:
    """The cost of an alignment, in thousandths."""
    cost = 0
    for slot, place in path:
        if slot is None:
            cost += 3000
        elif place is None:
            cost += 1 if None in slot.words else 3000
        elif words[place] not in slot.words:
            cost += 1000 if None in slot.words else 4000
    return cost


def _can_win(slots: Sequence[Slot], case: Case, setting: Setting, theirs: Words) -> bool:
    """Whether these words can win the vote, if any of the words with equal scores may win."""
    said = {0}  # how many of the words, after each slot
    for slot in slots:
        best = _best(slot, case, setting)
        on = {many + 1 for many in said if many < len(theirs) and theirs[many] in best}
        said = on | (said if None in best else set())
    return len(theirs) in said


def _best(slot: Slot, case: Case, setting: Setting) -> set[str | None]:
    """The words of the slot with the highest score, but for rounding errors."""
    sure: dict[str | None, list[float]] = {}
    for system, place in enumerate(slot.arcs):
        word = None if place is None else case.words[system][place]
        confidence = setting.null_confidence if place is None else case.confidences[system][place]
        sure.setdefault(word, []).append(confidence)
    whole = sum(sum(each) for each in sure.values())
    scores = {}
    for word, each in sure.items():
        if setting.method == "mean":
            confidence = sum(each) / len(each)
        elif setting.method == "highest":
            confidence = max(each)
        else:
            confidence = sum(each) / whole if whole else 0.0
        votes = len(each) / len(slot.arcs)
        scores[word] = setting.alpha * votes + (1 - setting.alpha) * confidence
    return {word for word, score in scores.items() if score >= max(scores.values()) - _EQUAL}


def _random_cases(rng: random.Random) -> Iterator[Case]:
    """600: 2 to 6 hypotheses that come from one text; of few words, of many, of one repeated."""
    few, many = "abcdefgh", [f"w{number}" for number in range(200)]
    for systems in range(2, 7):
        for vocabulary, longest in ((few, 10), (many, 30), ("ab", 12), (few, 3)):
            for _ in range(30):
                spoken = rng.choices(vocabulary, k=rng.randint(1, longest))
                errors = rng.choice([0.1, 0.25, 0.5])
                heard = [_mishear(rng, spoken, vocabulary, errors) for _ in range(systems)]
                yield Case(
                    words=tuple(heard),
                    confidences=tuple(
                        tuple(round(rng.random(), _DIGITS) for _ in words) for words in heard
                    ),
                )


def _mishear(
    rng: random.Random, spoken: Sequence[str], vocabulary: Sequence[str], errors: float
) -> Words:
    """At least one word, some of `spoken` left out, replaced, repeated or among others."""
    heard = []
    for word in spoken:
        kind = rng.choice(["leave out", "replace", "repeat", "add"])
        if rng.random() > errors:
            heard.append(word)
        elif kind == "replace":
            heard.append(rng.choice(vocabulary))
        elif kind != "leave out":
            heard += [word, word if kind == "repeat" else rng.choice(vocabulary)]
    return tuple(heard) or (rng.choice(vocabulary),)


def _heard() -> list[Case]:
    """What each shipped model hears in each shipped utterance."""
    sets = [read_test_set(path) for path in sorted(SPEECH.glob("*.jsonl"))]
    utterances = [each for test_set in sets for each in test_set.utterances]
    utterances.sort(key=lambda each: each.duration)
    heard = []
    for path in sorted(MODELS.glob("*.nemo")):
        engine = load_engine(ModelSettings(path=str(path)))
        clips = [read_audio(each, engine.sample_rate) for each in utterances]
        batches = [clips[start : start + _BATCH] for start in range(0, len(clips), _BATCH)]
        results = [
            each
            for some in batches
            for each in engine.transcribe(some, [ClipRequest(words=True)] * len(some))
        ]
        heard.append(
            [candidate(path.stem, e) if isinstance(e, Hypothesis) else None for e in results]
        )
    cases = []
    for found in zip(*heard, strict=True):
        members = [each for each in found if each is not None and each.keys]
        if len(members) == len(found):
            words = tuple(each.keys for each in members)
            assert not any(" " in key for keys in words for key in keys)
            sure = [tuple(round(c, _DIGITS) for c in each.confidences) for each in members]
            cases.append(Case(words, tuple(sure), real=True))
    return cases


def _row(case: Case, setting: Setting, theirs: Words) -> dict[str, Any]:
    return {
        "hypotheses": [" ".join(words) for words in case.words],
        "confidences": case.confidences,
        "method": setting.method,
        "alpha": setting.alpha,
        "null_confidence": setting.null_confidence,
        "words": " ".join(theirs),
    }


def _write_golden(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """300 of the shorter ones, evenly over all that there are."""
    lines = [line for line in map(json.dumps, rows) if len(line) <= 700]
    step = len(lines) / 300
    chosen = [lines[int(number * step)] for number in range(300)]
    path.write_text("".join(line + "\n" for line in chosen))


if __name__ == "__main__":
    typer.run(main)
