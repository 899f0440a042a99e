"""What a system hears in test sets, chunk by chunk; finished chunks are never done again."""

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

from schemas.transcript import Word
from serve_app.engines.base import Clip, Engine, Hypothesis
from serve_app.engines.load import check_engine
from workers.evaluation.journal import Journal
from workers.evaluation.systems import System, SystemInfo
from workers.evaluation.testset import TestSet
from workers.speech import Utterance, read_audio

#: Utterances that are read, recognised and written down together.
CHUNK = 64
#: Utterances that are recognised once before anything is timed.
WARM_UP = 8

#: Told the system's name, how many utterances it has done, and how many there are.
Report = Callable[[str, int, int], None]
#: Changes a clip, float32 [samples] at a rate in hertz, before it is recognised.
Change = Callable[[Utterance, Clip, int], Clip]


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What a system heard in one utterance.

    Attributes:
        id: of the utterance.
        pred_text: None where the system failed; then `processing_error` says why.
        confidence: 0 to 1, where the system has one.
        audio_seconds: of the utterance.
        seconds: that the system worked on it: its share, by duration, of its chunk's time.
        words: with times and confidences, where they were asked for.
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
        """As the engine gave it; None where the system failed."""
        if self.pred_text is None:
            return None
        return Hypothesis(text=self.pred_text, confidence=self.confidence, words=self.words)


@dataclass(frozen=True)
class Task:
    """A test set to be heard by a system: as it is, or changed."""

    name: str
    test_set: TestSet
    change: Change | None = None


class Recognition(msgspec.Struct, frozen=True, kw_only=True):
    """What one system heard in every task, by the task's name, in the order of the test set."""

    info: SystemInfo
    heard: dict[str, list[Heard]]
    gpu_memory_gb: float = 0.0


class _Ended(msgspec.Struct, frozen=True, kw_only=True):
    """Facts of a run that the rows do not hold."""

    info: SystemInfo
    gpu_memory_gb: float


def recognise(
    system: System,
    tasks: Sequence[Task],
    *,
    words: bool = False,
    folder: Path | None = None,
    report: Report = lambda name, done, total: None,
) -> Recognition:
    """Let `system` hear every task. Blocks; loads the system only if something is left to do.

    Args:
        words: whether words with times and confidences are wanted.
        folder: finished chunks are kept there, and not done again by the next call. Results of
            another model, other options or other test data are never taken for these.
        report: told after each chunk.

    Raises:
        EngineError: the system cannot be loaded, or fails on any audio.
        AudioError: a recording has changed since it was checked.
        ValueError: `folder` holds something else.
        OSError: it cannot be written.
    """
    place = folder / slug(system.name, system.identity) if folder else None
    journals = {task.name: Journal(_file(place, task, words), Heard) for task in tasks}
    ended = Journal(place / "runs.jsonl" if place else None, _Ended)
    missing = {task.name: _missing(task.test_set, journals[task.name].rows) for task in tasks}
    total = sum(len(task.test_set.utterances) for task in tasks)
    done = total - sum(map(len, missing.values()))
    report(system.name, done, total)
    if done < total or not ended.rows:
        engine, info = system.load()
        ended.append([_Ended(info=info, gpu_memory_gb=gpu_memory_gb())])
        check_engine(engine)
        _warm_up(engine, [each for some in missing.values() for each in some])
        for task in tasks:
            for rows in _chunks(engine, missing[task.name], task.change, words):
                journals[task.name].append(rows)
                done += len(rows)
                report(system.name, done, total)
        ended.append([_Ended(info=info, gpu_memory_gb=gpu_memory_gb())])
        del engine
        _free_memory()
    return Recognition(
        info=ended.rows[-1].info,
        heard={task.name: _in_order(task.test_set, journals[task.name].rows) for task in tasks},
        gpu_memory_gb=max(each.gpu_memory_gb for each in ended.rows),
    )


def speed(heard: Sequence[Heard]) -> tuple[float, float] | None:
    """RTFx (seconds of audio by seconds of work) and utterances a second; None without work."""
    seconds = sum(each.seconds for each in heard)
    if not seconds:
        return None
    return sum(each.audio_seconds for each in heard) / seconds, len(heard) / seconds


def _chunks(
    engine: Engine, utterances: Sequence[Utterance], change: Change | None, words: bool
) -> Iterator[list[Heard]]:
    """Clips of like length together, the longest first: what does not fit shows at once."""
    order = sorted(utterances, key=lambda each: -each.duration)
    for start in range(0, len(order), CHUNK):
        chunk = order[start : start + CHUNK]
        clips = [read_audio(each, engine.sample_rate) for each in chunk]
        if change is not None:
            pairs = zip(chunk, clips, strict=True)
            clips = [change(each, clip, engine.sample_rate) for each, clip in pairs]
        begin = time.perf_counter()
        results = engine.transcribe(clips, words=words)
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
    """The longest clips once: what the first call sets up is no part of the speed."""
    longest = sorted(utterances, key=lambda each: -each.duration)[:WARM_UP]
    engine.transcribe([read_audio(each, engine.sample_rate) for each in longest])


def _missing(test_set: TestSet, rows: Sequence[Heard]) -> list[Utterance]:
    done = {row.id for row in rows}
    return [each for each in test_set.utterances if each.id not in done]


def _in_order(test_set: TestSet, rows: Sequence[Heard]) -> list[Heard]:
    by_id = {row.id: row for row in rows}
    return [by_id[each.id] for each in test_set.utterances]


def _file(place: Path | None, task: Task, words: bool) -> Path | None:
    identity = [task.test_set.sha256, words]
    return place / f"{slug(task.name, identity)}.jsonl" if place else None


def slug(name: str, identity: object) -> str:
    """A file name for people, and for nothing but this identity."""
    digest = sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '_', name)}-{digest}"


def gpu_memory_gb() -> float:
    """Most GPU memory that tensors took so far, in GiB; 0 without a GPU."""
    return torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else 0.0


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
