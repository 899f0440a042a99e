"""Speech for training and evaluation: manifests, read and checked."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from schemas.channels import EACH, OneChannel
from schemas.manifest_text import ManifestFileError
from schemas.settings import AudioSettings
from serve_app.audio import AudioError, AudioLoader
from serve_app.audio.clip import SAMPLE_RATE, Clip, Recording
from serve_app.scoring.wer import normalise
from workers.manifests.audio_paths import audio_of
from workers.manifests.manifest_file import Line, read_manifest
from workers.manifests.source import name_of

#: Keys under which manifests say who speaks, the first one that is there counts.
SPEAKER_KEYS = ("speaker", "speaker_id", "spk", "voice")

# manifests of one's own machine: no root keeps anything out
_loader = AudioLoader(AudioSettings(roots=["/"]))


@dataclass(frozen=True)
class Utterance:
    """A transcribed recording, or segment of one.

    Attributes:
        path: absolute path of the audio; a URL of another scheme than ``file`` as it is.
        offset, duration: of the segment, in seconds.
        text: the reference transcript; empty where nothing is said.
        has_text: False where the manifest has no reference transcript; then `text` is empty.
        id: the record's, or ``name-of-file:line``.
        fields: what else the manifest says, by its keys: domain, conditions, voice, ...
        measures: what was measured of the audio, by name.
        manifest: what the file is called that it is from.
        line: of that.
        named: the audio as the manifest names it.
        channel: of the recording, as in a manifest record.
    """

    path: str
    offset: float
    duration: float
    text: str
    has_text: bool = True
    id: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    measures: Mapping[str, float] = field(default_factory=dict)
    manifest: str = ""
    line: int = 0
    named: str = ""
    channel: OneChannel | None = None

    def __repr__(self) -> str:
        return f"Utterance(line={self.line})"  # never the speech or its path

    @property
    def lang(self) -> str | None:
        """BCP 47 tag of its language; None where the manifest does not say."""
        return self.fields.get("lang")

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
        nothing_left: whether no line of a manifest is without one.
    """

    def __init__(self, faults: Sequence[Fault], *, nothing_left: bool = False) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = list(faults)
        self.nothing_left = nothing_left


def check_manifest(
    manifest: Path,
    max_seconds: float,
    limit: int | None = None,
    *,
    audio: bool = True,
    needs_text: bool = True,
    measure: Callable[[Clip], Mapping[str, float]] | None = None,
    roots: Sequence[str] = (),
) -> tuple[list[Utterance], list[Fault]]:
    """Read a manifest and every recording in it; blocks for about a millisecond a recording.

    Args:
        manifest: NeMo manifest, one JSON object per line; see `read_manifest`.
        max_seconds: longest utterance: memory grows with it.
        limit: only the first so many lines.
        audio: False leaves the recordings alone, where only the texts are wanted.
        needs_text: whether a record without words in its `text` is at fault.
        measure: what to measure of each recording, as float32 mono at `SAMPLE_RATE` Hz.
        roots: where relative audio paths are looked up after the manifest's folder.

    Returns:
        The good utterances with their measured durations, and the faults of the others.

    Raises:
        ManifestFileError: the file as a whole is no manifest, or has no records.
        OSError: the file cannot be read.
    """
    utterances, faults = _parse(manifest, limit, needs_text, roots)
    if audio:
        utterances, found = _check_recordings(utterances, max_seconds, measure)
        faults += found
    if not utterances and not faults:
        raise ManifestFileError(f"{name_of(manifest)}: has no records; give one on each line")
    return utterances, sorted(faults, key=lambda fault: (fault.manifest, fault.line))


def read_audio(utterance: Utterance, sample_rate: int = SAMPLE_RATE) -> Clip:
    """Float32 mono samples, [samples], at `sample_rate` Hz.

    Raises:
        AudioError: the recording has changed since it was checked.
    """
    return _read(utterance, sample_rate).clip


def _read(utterance: Utterance, sample_rate: int = SAMPLE_RATE) -> Recording:
    return _loader.read(
        utterance.path,
        offset=utterance.offset,
        duration=utterance.duration or None,
        channel=utterance.channel,
        sample_rate=sample_rate,
    )


def _parse(
    manifest: Path, limit: int | None, needs_text: bool, roots: Sequence[str]
) -> tuple[list[Utterance], list[Fault]]:
    utterances: list[Utterance] = []
    faults: list[Fault] = []
    for line in islice(read_manifest(manifest), limit):
        found = _utterance(line, needs_text)
        if isinstance(found, Utterance):
            utterances.append(replace(found, path=audio_of(line, roots)))
        else:
            faults.append(Fault(line.file.name, line.number, found))
    return utterances, faults


def _utterance(line: Line, needs_text: bool) -> Utterance | str:
    """The utterance of a line, or what is wrong with it."""
    record = line.record
    if record is None:
        return str(line.error)
    if needs_text and not normalise(record.text or ""):
        return "`text`: is missing or has no words; training needs what is said"
    if record.channel == EACH:
        return (
            "`channel`: is `each`, and a reference is of one channel: give a record for each, with "
            "its own `text`"
        )
    known = {name: getattr(record, name) for name in ("lang", "domain", "conditions", "channel")}
    known = {name: value for name, value in known.items() if value not in (None, "")}
    return Utterance(
        path=record.audio_filepath,
        offset=record.offset,
        duration=record.duration or 0.0,
        text=(record.text or "").strip(),
        has_text=record.text is not None,
        id=line.id,
        fields={**record.extra, **known},
        manifest=line.file.name,
        line=line.number,
        named=record.audio_filepath,
        channel=record.channel,
    )


def _check_recordings(
    utterances: Sequence[Utterance],
    max_seconds: float,
    measure: Callable[[Clip], Mapping[str, float]] | None,
) -> tuple[list[Utterance], list[Fault]]:
    """The utterances whose recordings can be read, and the faults of the others."""
    good: list[Utterance] = []
    faults: list[Fault] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        heard = pool.map(
            partial(_check_recording, max_seconds=max_seconds, measure=measure), utterances
        )
        for utterance, found in zip(utterances, heard, strict=True):
            if isinstance(found, Utterance):
                good.append(found)
            else:
                reason = f"{utterance.named}: {found}"
                faults.append(Fault(utterance.manifest, utterance.line, reason))
    return good, faults


def _check_recording(
    utterance: Utterance,
    max_seconds: float,
    measure: Callable[[Clip], Mapping[str, float]] | None,
) -> Utterance | str:
    """`utterance` with the duration and measures of its audio, or what is wrong with it."""
    if not os.path.isabs(utterance.path) and "://" not in utterance.path:
        reason = "no such file, neither in the manifest's folder nor under `audio.roots`"
        shard = utterance.fields.get("shard_id")
        return reason if shard is None else f"{reason}, and no audio_{shard}.tar there"
    try:
        recording = _read(utterance)
    except AudioError as error:
        return _overstated(utterance) or error.message.removeprefix(f"{utterance.path}: ")
    seconds = len(recording.clip) / SAMPLE_RATE
    if seconds > max_seconds:
        return f"has {seconds:.1f} s, more than {max_seconds:g}; cut it into utterances"
    measures = {**measure(recording.clip), **recording.measures} if measure else {}
    return replace(utterance, duration=seconds, measures=measures)


def _overstated(utterance: Utterance) -> str | None:
    """What is wrong with the duration of an utterance that cannot be read, if that is the fault."""
    if not utterance.duration:
        return None
    try:
        seconds = len(read_audio(replace(utterance, duration=0.0))) / SAMPLE_RATE
    except AudioError:
        return None
    if seconds >= utterance.duration:
        return None
    return f"`duration` says {utterance.duration:g} s and there are {seconds:.2f} s; correct it"
