"""Calls with a speaker on each channel, who speak at once: each is heard as if alone.

Calls are made of two shipped utterances, one on each channel of a stereo file; the second begins in
the middle of the first. `chorus transcribe` gets them with `channel: each`, as they are, which is
mixed, and the utterances by themselves. The last line is JSON with the word error rates in percent;
the exit code is 1 if that of the channels is more than half a point from that of the utterances, or
if mixing costs nothing, which would mean that the calls do not overlap.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import soundfile
import yaml
from rich.console import Console

from deploy.demo import SPEECH
from deploy.local import CHORUS
from schemas.manifest import ManifestRecord, encode_manifest
from schemas.settings import AudioSettings
from schemas.transcript import Transcript, decode_transcript
from serve_app.audio import AudioLoader
from serve_app.audio.clip import SAMPLE_RATE, Clip
from serve_app.scoring.wer import count_errors
from tests.scenarios.outcome import exit_code_of
from tests.scenarios.settings import fault_settings
from tests.scenarios.speech import shipped_records

CALLS = 20
#: The most that a channel may be worse or better than the utterance alone, in points of percent.
MOST_APART = 0.5
#: Level of a line on which nobody speaks.
_LINE_NOISE = 3e-4
_TIMEOUT_S = 600


class Call(NamedTuple):
    """Two utterances that overlap, in the order in which they begin: one on each channel."""

    name: str
    said: tuple[ManifestRecord, ManifestRecord]

    @property
    def text(self) -> str:
        """What is said, by both."""
        return " ".join(each.text or "" for each in self.said)


def run_channels(count: int, say: Callable[[str], None]) -> tuple[dict[str, Any], list[str]]:
    """Transcribe `count` calls; returns the figures and what is wrong."""
    calls = _pairs(count)
    with tempfile.TemporaryDirectory(prefix="chorus-channels-") as temporary:
        folder = Path(temporary)
        _write_calls(calls, folder)
        say(f"{len(calls)} calls of two utterances that overlap")
        found = _transcribe(folder, _records(calls))
    apart = [
        (said.text or "", channel.text)
        for call in calls
        for said, channel in zip(call.said, found[f"{call.name}-each"].channels or (), strict=True)
    ]
    alone = [(each.text or "", found[each.id].pred_text) for call in calls for each in call.said]
    mixed = [(call.text, found[f"{call.name}-mixed"].pred_text) for call in calls]
    figures = {
        "calls": len(calls),
        "wer_per_channel": _wer(apart),
        "wer_single": _wer(alone),
        "wer_downmix": _wer(mixed),
    }
    return figures, _faults(figures)


def _pairs(count: int) -> list[Call]:
    """Calls of utterances of about the same length."""
    general = [each for each in shipped_records() if each.audio_filepath.startswith("general/")]
    ordered = sorted(general, key=lambda each: each.duration or 0.0)[: 2 * count]
    return [
        Call(f"call-{number}", (first, second))
        for number, (first, second) in enumerate(zip(ordered[::2], ordered[1::2], strict=True))
    ]


def _write_calls(calls: Iterable[Call], folder: Path) -> None:
    loader = AudioLoader(AudioSettings(roots=[str(SPEECH)]))
    rng = np.random.default_rng(0)
    for call in calls:
        first, second = (loader.load(each.audio_filepath) for each in call.said)
        begin = len(first) // 2
        length = max(len(first), begin + len(second))
        both = rng.normal(0, _LINE_NOISE, (length, 2)).astype(np.float32)
        for channel, (start, clip) in enumerate([(0, first), (begin, second)]):
            both[start : start + len(clip), channel] += clip
        _save(folder / f"{call.name}.flac", both)
        for each, clip in zip(call.said, (first, second), strict=True):
            _save(folder / f"{each.id}.flac", clip)


def _save(path: Path, samples: Clip) -> None:
    soundfile.write(path, np.clip(samples, -1, 1), SAMPLE_RATE)


def _records(calls: Iterable[Call]) -> list[ManifestRecord]:
    records = []
    for call in calls:
        audio = f"{call.name}.flac"
        each = ManifestRecord(id=f"{call.name}-each", audio_filepath=audio, channel="each")
        records += [each, ManifestRecord(id=f"{call.name}-mixed", audio_filepath=audio)]
        records += [
            ManifestRecord(id=each.id, audio_filepath=f"{each.id}.flac") for each in call.said
        ]
    return records


def _transcribe(folder: Path, records: Sequence[ManifestRecord]) -> dict[str, Transcript]:
    """The transcripts of `chorus transcribe`, by id."""
    settings = fault_settings("nemo", replicas=1)
    settings["models"]["general"]["path"] = str(SPEECH.parent / "models" / "general.nemo")
    settings["audio"] = {"roots": [str(folder)]}
    paths = [folder / name for name in ("chorus.yaml", "in.jsonl", "out.jsonl")]
    file, manifest, output = paths
    file.write_text(yaml.safe_dump(settings))
    manifest.write_bytes(b"".join(encode_manifest(each) + b"\n" for each in records))
    command = [*CHORUS, "transcribe", str(manifest), "-o", str(output), "-s", str(file), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S)
    if done.returncode:
        raise RuntimeError(f"chorus transcribe ended with {done.returncode}: {done.stderr[-2000:]}")
    found = [decode_transcript(line) for line in output.read_bytes().splitlines()]
    return {each.id: each for each in found}


def _wer(pairs: Iterable[tuple[str, str]]) -> float:
    """Pooled, in percent, of pairs of a reference and a hypothesis."""
    counts = [count_errors(reference, heard) for reference, heard in pairs]
    errors = sum(each.errors for each in counts)
    return round(100 * errors / sum(each.reference for each in counts), 2)


def _faults(figures: dict[str, Any]) -> list[str]:
    faults = []
    apart, alone = figures["wer_per_channel"], figures["wer_single"]
    if abs(apart - alone) > MOST_APART:
        faults.append(f"the channels have {apart}% WER, the utterances alone {alone}%")
    if figures["wer_downmix"] < 2 * alone + 10:
        faults.append("mixing costs nothing: the calls do not overlap")
    return faults


def _main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=CALLS)
    options = parser.parse_args()
    console = Console(stderr=True)
    failures = (RuntimeError, subprocess.TimeoutExpired, OSError, msgspec.DecodeError)
    return exit_code_of(lambda: run_channels(options.calls, console.print), failures, console)


if __name__ == "__main__":
    sys.exit(_main())
