"""Recognise test sets with a system, in chunks; finished chunks are kept and not repeated."""

from __future__ import annotations

import gc
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import msgspec
import torch
from msgspec.structs import replace

from schemas.requests import DEFAULT_REQUEST, ClipRequest
from schemas.transcript import Word
from serve_app.audio.clip import Clip
from serve_app.engines.base import Engine, Hypothesis
from serve_app.engines.calling import call_isolated
from serve_app.engines.load import check_engine
from workers.evaluation.systems.base import System, SystemInfo
from workers.evaluation.systems.journal import Journal
from workers.evaluation.testset import TestSet
from workers.manifests.speech import Utterance, read_audio

#: Utterances that are read, recognised and saved together.
CHUNK = 64
#: Utterances that are recognised once, before timing starts.
WARM_UP = 8

#: Called with the system's name, how many utterances are done, and how many there are.
ProgressCallback = Callable[[str, int, int], None]
#: Changes a clip, float32 [samples] at a rate in hertz, before it is recognised.
ClipTransform = Callable[[Utterance, Clip, int], Clip]


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What a system recognised in one utterance.

    Attributes:
        id: id of the utterance.
        pred_text: transcript; None if the system failed.
        confidence: 0 to 1; None if the system gives none.
        processing_error: why the system failed.
        audio_seconds: duration of the utterance.
        seconds: processing time: the utterance's share, by duration, of the time of its chunk.
        words: words with times and confidences, if they were wanted.
    """

    id: str
    pred_text: str | None = None
    confidence: float | None = None
    processing_error: str | None = None
    audio_seconds: float = 0.0
    seconds: float = 0.0
    words: list[Word] | None = None

    @property
    def hypothesis(self) -> Hypothesis | None:
        """The engine's hypothesis; None if the system failed."""
        if self.pred_text is None:
            return None
        return Hypothesis(text=self.pred_text, confidence=self.confidence, words=self.words)


@dataclass(frozen=True)
class Task:
    """A test set to recognise.

    Attributes:
        name: unique name of the task.
        test_set: the test set.
        transform: applied to each clip before it is recognised.
    """

    name: str
    test_set: TestSet
    transform: ClipTransform | None = None


class Recognition(msgspec.Struct, frozen=True, kw_only=True):
    """What one system recognised.

    Attributes:
        info: description of the system.
        heard: recognised utterances by name of the task, in the order of its test set.
        gpu_memory_gb: peak GPU memory in GiB.
    """

    info: SystemInfo
    heard: dict[str, list[Heard]]
    gpu_memory_gb: float = 0.0


class _RunInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is saved about a run, besides its utterances."""

    info: SystemInfo
    gpu_memory_gb: float


def recognise(
    system: System,
    tasks: Sequence[Task],
    *,
    words: bool = False,
    folder: Path | None = None,
    report: ProgressCallback = lambda name, done, total: None,
) -> Recognition:
    """Recognise every task with `system`. Blocks; loads the system only if work is left to do.

    Args:
        system: what recognises.
        tasks: the test sets.
        words: whether words with times and confidences are wanted.
        folder: where finished chunks are kept, so that an interrupted call can resume. Results of
            other models, options or test data are never reused.
        report: called after each chunk.

    Raises:
        EngineError: the system cannot be loaded, or fails on all audio.
        AudioError: a recording has changed since it was checked.
        ValueError: a file in `folder` is not one of intermediate results.
        OSError: `folder` cannot be written.
    """
    own = folder / slug(system.name, system.identity) if folder else None
    journals = {task.name: Journal(_file(own, task, words), Heard) for task in tasks}
    runs = Journal(own / "runs.jsonl" if own else None, _RunInfo)
    missing = {task.name: _missing(task.test_set, journals[task.name].rows) for task in tasks}
    total = sum(len(task.test_set.utterances) for task in tasks)
    done = total - sum(map(len, missing.values()))
    report(system.name, done, total)
    if done < total or not runs.rows:
        engine, info = system.load()
        runs.append([_RunInfo(info=info, gpu_memory_gb=gpu_memory_gb())])
        check_engine(engine)
        _warm_up(engine, [each for some in missing.values() for each in some])
        for task in tasks:
            for rows in _chunks(engine, missing[task.name], task.transform, words):
                journals[task.name].append(rows)
                done += len(rows)
                report(system.name, done, total)
        runs.append([_RunInfo(info=info, gpu_memory_gb=gpu_memory_gb())])
        del engine
        _free_memory()
    return Recognition(
        info=runs.rows[-1].info,
        heard={task.name: _in_order(task.test_set, journals[task.name].rows) for task in tasks},
        gpu_memory_gb=max(each.gpu_memory_gb for each in runs.rows),
    )


def speed(heard: Sequence[Heard]) -> tuple[float, float] | None:
    """RTFx (seconds of audio divided by seconds of processing) and utterances per second.

    Returns:
        None if there was no processing.
    """
    seconds = sum(each.seconds for each in heard)
    if not seconds:
        return None
    return sum(each.audio_seconds for each in heard) / seconds, len(heard) / seconds


def _chunks(
    engine: Engine, utterances: Sequence[Utterance], transform: ClipTransform | None, words: bool
) -> Iterator[list[Heard]]:
    """Recognise in chunks of similar duration, the longest first: a lack of memory shows early."""
    order = sorted(utterances, key=lambda each: -each.duration)
    for start in range(0, len(order), CHUNK):
        chunk = order[start : start + CHUNK]
        clips = [read_audio(each, engine.sample_rate) for each in chunk]
        if transform is not None:
            pairs = zip(chunk, clips, strict=True)
            clips = [transform(each, clip, engine.sample_rate) for each, clip in pairs]
        asked = [ClipRequest(words=words, language=each.fields.get("lang")) for each in chunk]
        begin = time.perf_counter()
        results = call_isolated(engine, clips, asked)
        rate = (time.perf_counter() - begin) / sum(map(len, clips))
        rows = []
        for each, clip, result in zip(chunk, clips, results, strict=True):
            row = Heard(
                id=each.id,
                audio_seconds=round(len(clip) / engine.sample_rate, 4),
                seconds=len(clip) * rate,
            )
            if isinstance(result, Hypothesis):
                row = replace(
                    row,
                    pred_text=result.text,
                    confidence=result.confidence,
                    words=result.words if words else None,
                )
            else:
                row = replace(row, processing_error=f"{result.code}: {result.message}")
            rows.append(row)
        yield rows


def _warm_up(engine: Engine, utterances: Sequence[Utterance]) -> None:
    """Recognise the longest clips once, so that the set-up of the first call is not timed."""
    longest = sorted(utterances, key=lambda each: -each.duration)[:WARM_UP]
    clips = [read_audio(each, engine.sample_rate) for each in longest]
    call_isolated(engine, clips, [DEFAULT_REQUEST] * len(clips))


def _missing(test_set: TestSet, rows: Sequence[Heard]) -> list[Utterance]:
    done = {row.id for row in rows if row.pred_text is not None}  # failures are tried again
    return [each for each in test_set.utterances if each.id not in done]


def _in_order(test_set: TestSet, rows: Sequence[Heard]) -> list[Heard]:
    by_id = {row.id: row for row in rows}
    return [by_id[each.id] for each in test_set.utterances]


def _file(folder: Path | None, task: Task, words: bool) -> Path | None:
    identity = [*task.test_set.identity, words]
    return folder / f"{slug(task.name, identity)}.jsonl" if folder else None


def slug(name: str, identity: object) -> str:
    """A readable file name that is unique to `identity`, which is JSON-compatible."""
    digest = sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '_', name)}-{digest}"


def gpu_memory_gb() -> float:
    """Peak GPU memory of tensors so far, in GiB; 0 without a GPU."""
    return torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else 0.0


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
