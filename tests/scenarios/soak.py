"""Flat memory over many records: short clips, a stand-in model, one worker, a real broker.

Growth is the median resident memory of a process over the last tenth of the run against that over
the first tenth after the warm-up (the first fifth of the records), in percent. Medians, because
garbage collection and batches of different size make single samples jump; a leak of any size per
record shows in the medians all the same. Ends with code 1 where a process grew by more than
`LIMIT_PCT`, or a record was lost or came out twice.

`slower_pct` is how many fewer records per second the last tenth had, `dearer_pct` how much more CPU
time of the three processes each took.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from typing import Any, NamedTuple

import msgspec
import psutil
from rich.console import Console

from deploy.local import ChildDiedError, LocalStack
from schemas.manifest import ManifestRecord
from tests.scenarios.audit import audit, uncommitted
from tests.scenarios.replicas import ROUTER, replicas
from tests.scenarios.settings import BASE, fault_settings
from tests.scenarios.speech import shipped_records
from tests.scenarios.stream_watch import CommitWatch, Feed

Say = Callable[[str], None]

#: Growth that fails the run. Allocators and caches settle within it; a leak does not.
LIMIT_PCT = 5.0
#: Share of the records that is warm-up: caches, thread pools and the allocator fill.
WARM_UP = 0.2
#: Records produced ahead of the results: more than the worker may hold.
_LEAD = 20_000
#: Seconds of each clip: short, so that what a record costs beside its audio dominates.
_CLIP_S = 1.0
_SAMPLE_S = 0.2
#: Without a new result for so long, something hangs.
_STALL_S = 120.0
PROCESSES = ("worker", "router", "model")


class StalledError(RuntimeError):
    """No record has been committed for too long."""


class Sample(NamedTuple):
    """What `PROCESSES` have when `records` results were committed.

    Attributes:
        records: that many.
        seconds: since the first was produced.
        rss: resident memory of each, in bytes.
        cpu_s: CPU seconds of all of them so far.
    """

    records: int
    seconds: float
    rss: tuple[int, ...]
    cpu_s: float = 0.0


def growth_pct(samples: Sequence[Sample], process: int) -> float:
    """Growth of `PROCESSES[process]` over `samples`, which lie after the warm-up; see above."""
    first, last = samples[0].records, samples[-1].records
    tenth = (last - first) / 10
    begin = [s.rss[process] for s in samples if s.records <= first + tenth]
    end = [s.rss[process] for s in samples if s.records >= last - tenth]
    return 100 * (statistics.median(end) / statistics.median(begin) - 1)


def change_pct(samples: Sequence[Sample], of: Callable[[Sample], float]) -> float:
    """How much more of something a record took in the last tenth of `samples` than in the first."""
    tenth = (samples[-1].records - samples[0].records) / 10
    begin = [each for each in samples if each.records <= samples[0].records + tenth]
    end = [each for each in samples if each.records >= samples[-1].records - tenth]

    def a_record(part: Sequence[Sample]) -> float:
        return (of(part[-1]) - of(part[0])) / max(part[-1].records - part[0].records, 1)

    return 100 * (a_record(end) / a_record(begin) - 1)


def soak_settings() -> dict[str, Any]:
    """One stand-in model that takes no time: everything else works as hard as it can."""
    settings = fault_settings("stand-in", replicas=1)
    settings["models"]["general"]["options"] = {}
    return settings


def soak_records(count: int) -> list[ManifestRecord]:
    """`count` segments of `_CLIP_S` of the shipped speech (FLAC and Opus)."""
    long_enough = [r for r in shipped_records() if (r.duration or 0) > 2 * _CLIP_S]
    return [
        msgspec.structs.replace(
            record,
            id=f"{record.id}#{number}",
            offset=0.1 * (number % 9),  # not the same audio all the time
            duration=_CLIP_S,
            text=record.text if number % 2 else None,
        )
        for number, record in enumerate(islice(cycle(long_enough), count))
    ]


def run_soak(count: int, say: Say) -> tuple[dict[str, Any], list[str]]:
    """Run `count` records through a stack of its own and stop it.

    Returns:
        The figures, and what is wrong with the results. It is the caller who judges the growth.
    """
    records = soak_records(count)
    with LocalStack(soak_settings(), BASE) as stack:
        stack.start_serve()
        stack.start_broker()
        stack.wait_for_serve()
        stack.start_worker()
        say("the stack is up: stand-in model, one worker")
        samples = _pump(stack, records, say)
        stack.stop_workers()
        findings = audit(stack.settings, [record.id for record in records])
    settled = [sample for sample in samples if sample.records >= WARM_UP * count]
    seconds = settled[-1].seconds - settled[0].seconds
    figures: dict[str, Any] = {
        "records": count,
        "transcribed": findings.transcripts,
        **{
            f"{name}_rss_growth_pct": round(growth_pct(settled, number), 2)
            for number, name in enumerate(PROCESSES)
        },
        "slower_pct": round(change_pct(settled, lambda each: each.seconds), 2),
        "dearer_pct": round(change_pct(settled, lambda each: each.cpu_s), 2),
        "records_per_s": round((settled[-1].records - settled[0].records) / seconds, 1),
    }
    return figures, findings.faults()


def _pump(stack: LocalStack, records: Sequence[ManifestRecord], say: Say) -> list[Sample]:
    """Feed the stack and take samples until every record has a result."""
    kafka = stack.settings.kafka
    feed, watch = Feed(kafka, records), CommitWatch(kafka)
    processes = _processes(stack)
    samples: list[Sample] = []
    begin = last_progress = time.monotonic()
    said = 0
    try:
        while watch.count < len(records):
            before = watch.count
            feed.up_to(before + _LEAD)
            now = time.monotonic()
            if watch.look(_SAMPLE_S) > before:
                last_progress = now
            elif now - last_progress > _STALL_S:
                raise StalledError(f"{before} of {len(records)} results, and no more")
            stack.check_all()
            if not samples or now - begin - samples[-1].seconds >= _SAMPLE_S:
                samples.append(_sample(watch.count, now - begin, processes))
            if watch.count - said >= len(records) / 20:
                said = watch.count
                say(_progress(samples, len(records)))
        feed.finish()
        while uncommitted(kafka):
            time.sleep(0.2)
    finally:
        feed.close()
        watch.close()
    return samples


def _processes(stack: LocalStack) -> list[psutil.Process]:
    """One process for each of `PROCESSES`."""
    found = replicas(stack)
    (router,), (model,) = found[ROUTER], found["general"]
    return [psutil.Process(stack.workers["0"].pid), router, model]


def _sample(records: int, seconds: float, processes: Sequence[psutil.Process]) -> Sample:
    cpu_s = sum(sum(each.cpu_times()[:2]) for each in processes)
    return Sample(records, seconds, tuple(p.memory_info().rss for p in processes), cpu_s)


def _progress(samples: Sequence[Sample], total: int) -> str:
    now = samples[-1]
    before = samples[max(0, len(samples) - 50)]
    rate = (now.records - before.records) / max(now.seconds - before.seconds, 1e-9)
    memory = ", ".join(
        f"{name} {size / 2**20:.0f} MB" for name, size in zip(PROCESSES, now.rss, strict=True)
    )
    return f"{now.records:,} of {total:,} records, {rate:,.0f} records/s; {memory}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    given = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    begin = time.monotonic()
    try:
        figures, faults = run_soak(
            given.records,
            lambda text: console.print(f"{time.monotonic() - begin:7.1f} s  {text}"),
        )
    except (StalledError, ChildDiedError, TimeoutError, psutil.NoSuchProcess) as error:
        console.print(f"[red]failed:[/] {error}")
        return 1
    faults += [
        f"{name} grew by {growth} %, more than {LIMIT_PCT:g}"
        for name in PROCESSES
        if (growth := figures[f"{name}_rss_growth_pct"]) > LIMIT_PCT
    ]
    for fault in faults:
        console.print(f"[red]wrong:[/] {fault}")
    print(json.dumps(figures))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
