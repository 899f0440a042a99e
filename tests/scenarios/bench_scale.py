"""What more stream workers bring, and what a record costs with them.

One to four worker processes share the 12 partitions of a topic in which records wait. The model is
a stand-in that takes no time, so that the others decide: the Router (`--routers` of them), the
workers, the broker. By the number of workers:

- `records_per_s`: from topic to topic.
- `cpu_ms`: of a record, by part.
- `cores`: that each part had at work. Where they sum up to those of the machine, more processes
  bring nothing.

`ceiling_records_per_s`: of one process of a part if it had a core for itself, by its `cpu_ms` with
one worker.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from deploy.local import LocalStack
from tests.scenarios.bench import (
    between,
    produce,
    stand_in_settings,
    wait_for_commit,
    write_speech,
)
from tests.scenarios.speech import manifest_records, repeated

PARTITIONS = 12
#: Records before those that count, by which caches grow warm, and behind them, so that everything
#: works until the end.
_WARM_UP, _BEHIND = 2_000, 1_500
#: Parts of which a process is limited by a core; the stand-in is no model.
_LIMITED = ("router", "worker", "broker")

console = Console(stderr=True, highlight=False)


def measure(settings: dict[str, Any], speech: Path, most: int, records: int) -> dict[str, Any]:
    """All figures.

    Args:
        settings: of the stack.
        speech: folder of the audio, with its manifest.
        most: workers at the end.
        records: that count, by the number of workers.
    """
    figures: dict[str, Any] = {}
    step = _WARM_UP + records + _BEHIND
    with LocalStack(settings, speech, partitions=PARTITIONS) as stack:
        stack.start_serve()
        stack.start_broker()
        stack.wait_for_serve()
        for workers in range(1, most + 1):
            stack.start_worker(str(workers))
            while " assigned: " not in stack.log(f"worker-{workers}"):
                stack.check_all()
                time.sleep(0.1)
            done = (workers - 1) * step
            produce(stack.settings, repeated(manifest_records(speech), step))
            found = between(stack, done + _WARM_UP, done + _WARM_UP + records)
            figures[str(workers)] = {
                "records_per_s": round(found.records_per_s, 1),
                "cpu_ms": {part: round(each, 3) for part, each in found.cpu_ms.items()},
                "cores": {
                    part: round(each * found.records_per_s / 1000, 2)
                    for part, each in found.cpu_ms.items()
                },
            }
            console.print(f"{workers} workers: {figures[str(workers)]}")
            wait_for_commit(stack, done + step)
    return figures


def main() -> int:
    """Measure; the figures are one JSON object on the last line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=4, help="at the end")
    parser.add_argument("--routers", type=int, default=1)
    parser.add_argument("--records", type=int, default=5_000, help="by the number of workers")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chorus-scale-") as name:
        write_speech(Path(name), ["wav"])
        speech = Path(name) / "wav"
        settings = stand_in_settings(speech)
        settings["serve"]["routers"] = given.routers
        workers = measure(settings, speech, given.workers, given.records)
    one = workers["1"]["cpu_ms"]
    figures = {
        "routers": given.routers,
        "partitions": PARTITIONS,
        "workers": workers,
        "ceiling_records_per_s": {part: round(1000 / one[part]) for part in _LIMITED},
    }
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
