"""Speech to learn from or to measure with: manifests, and all that can be wrong with them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from schemas.settings import AudioSettings
from serve_app.audio import AudioError, AudioLoader
from serve_app.engines.base import Clip
from serve_app.wer import normalise
from workers.manifest_file import Line, read_manifest

#: Hertz that audio is read at; NeMo's models take it, and the checks need one.
SAMPLE_RATE = 16_000
#: Keys under which manifests say who speaks, the first one that is there counts.
SPEAKER_KEYS = ("speaker", "speaker_id", "spk", "voice")
#: A manifest may round its durations; a clip that differs by more is another clip.
DURATION_TOLERANCE = 0.05
DURATION_TOLERANCE_S = 0.25

# manifests of one's own machine: no root keeps anything out
_loader = AudioLoader(AudioSettings(roots=["/"]))


@dataclass(frozen=True)
class Utterance:
    """What was said, and where to hear it.

    Attributes:
        path: absolute path of the audio.
        offset, duration: of the segment, in seconds.
        text: the reference transcript; empty where nothing is said.
        has_text: False where the manifest has no reference transcript; then `text` is empty.
        id: the record's, or ``name-of-file:line``.
        fields: what else the manifest says, by its keys: domain, conditions, voice, ...
        measures: what was measured of the audio, by name.
        line: of the manifest.
    """

    path: str
    offset: float
    duration: float
    text: str
    has_text: bool = True
    id: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    measures: Mapping[str, float] = field(default_factory=dict)
    line: int = 0

    def __repr__(self) -> str:
        return f"Utterance(line={self.line})"  # never the speech or its path

    @property
    def speaker(self) -> str:
        """Who speaks; empty where the manifest does not say."""
        return next((str(self.fields[key]) for key in SPEAKER_KEYS if self.fields.get(key)), "")


@dataclass(frozen=True)
class Fault:
    """What is wrong with a line of a manifest, and what to do."""

    manifest: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.manifest}:{self.line}: {self.reason}"


class ManifestFaultsError(ValueError):
    """Manifests with faults.

    Attributes:
        faults: all of them, in the order of the manifests.
    """

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = list(faults)


def check_manifest(
    manifest: Path,
    max_seconds: float,
    limit: int | None = None,
    *,
    audio: bool = True,
    needs_text: bool = True,
    measure: Callable[[Clip], Mapping[str, float]] | None = None,
) -> tuple[list[Utterance], list[Fault]]:
    """Read a manifest and every recording in it; blocks for about a millisecond a recording.

    Args:
        max_seconds: longest utterance: memory grows with it.
        limit: only the first so many lines.
        audio: False leaves the recordings alone, where only the texts are wanted.
        needs_text: whether a record without words in its `text` is at fault.
        measure: what to measure of each recording, as float32 mono at `SAMPLE_RATE` Hz.

    Returns:
        The good utterances with their measured durations, and the faults of the others.

    Raises:
        OSError: the file cannot be read.
    """
    utterances, faults = _parse(manifest, limit, needs_text)
    if audio:
        utterances, found = _listen(manifest, utterances, max_seconds, measure)
        faults += found
    if not utterances and not faults:
        faults = [Fault(manifest.name, 1, "the manifest is empty")]
    return utterances, sorted(faults, key=lambda fault: fault.line)


def shared_faults(
    manifest: Path, utterances: Iterable[Utterance], training: Iterable[Utterance]
) -> Iterator[Fault]:
    """The utterances of a validation manifest that the training data has too."""
    known = {(each.path, each.offset) for each in training}
    for each in utterances:
        if (each.path, each.offset) in known:
            reason = "is in the training data too; validate on other recordings"
            yield Fault(manifest.name, each.line, reason)


def read_audio(utterance: Utterance, sample_rate: int = SAMPLE_RATE) -> Clip:
    """Float32 mono samples, [samples], at `sample_rate` Hz.

    Raises:
        AudioError: the recording has changed since it was checked.
    """
    return _loader.load(
        utterance.path,
        offset=utterance.offset,
        duration=utterance.duration or None,
        sample_rate=sample_rate,
    )


def _parse(
    manifest: Path, limit: int | None, needs_text: bool
) -> tuple[list[Utterance], list[Fault]]:
    utterances: list[Utterance] = []
    faults: list[Fault] = []
    folder = manifest.absolute().parent
    for line in islice(read_manifest(manifest), limit):
        found = _utterance(line, folder, needs_text)
        if isinstance(found, Utterance):
            utterances.append(found)
        else:
            faults.append(Fault(manifest.name, line.number, found))
    return utterances, faults


def _utterance(line: Line, folder: Path, needs_text: bool) -> Utterance | str:
    """The utterance of a line, or what is wrong with it."""
    record = line.record
    if record is None:
        return str(line.error)
    if needs_text and not normalise(record.text or ""):
        return "`text`: is missing or has no words; training needs what is said"
    known = {"lang": record.lang, "domain": record.domain, "conditions": record.conditions}
    return Utterance(
        path=str(folder / record.audio_filepath),
        offset=record.offset,
        duration=record.duration or 0.0,
        text=(record.text or "").strip(),
        has_text=record.text is not None,
        id=line.id,
        fields={**record.extra, **{key: value for key, value in known.items() if value}},
        line=line.number,
    )


def _listen(
    manifest: Path,
    utterances: Sequence[Utterance],
    max_seconds: float,
    measure: Callable[[Clip], Mapping[str, float]] | None,
) -> tuple[list[Utterance], list[Fault]]:
    """Those whose recordings are good, and what is wrong with the others."""
    good: list[Utterance] = []
    faults: list[Fault] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        heard = pool.map(partial(_hear, max_seconds=max_seconds, measure=measure), utterances)
        for utterance, found in zip(utterances, heard, strict=True):
            if isinstance(found, Utterance):
                good.append(found)
            else:
                name = utterance.path.removeprefix(f"{manifest.absolute().parent}/")
                faults.append(Fault(manifest.name, utterance.line, f"{name}: {found}"))
    return good, faults


def _hear(
    utterance: Utterance,
    max_seconds: float,
    measure: Callable[[Clip], Mapping[str, float]] | None,
) -> Utterance | str:
    """`utterance` with the duration and measures of its audio, or what is wrong with it."""
    stated = utterance.duration
    # a record with an offset is a segment; one without is the whole file, and says how long that is
    whole = utterance if utterance.offset else replace(utterance, duration=0.0)
    try:
        clip = read_audio(whole)
    except AudioError as error:
        return error.message.removeprefix(f"{utterance.path}: ")
    seconds = len(clip) / SAMPLE_RATE
    if stated and abs(seconds - stated) > max(DURATION_TOLERANCE_S, DURATION_TOLERANCE * stated):
        return f"`duration` says {stated:g} s and there are {seconds:.2f} s; correct it"
    if seconds > max_seconds:
        return f"has {seconds:.1f} s, more than {max_seconds:g}; cut it into utterances"
    measures = measure(clip) if measure else {}
    return replace(utterance, duration=seconds, measures=measures)
