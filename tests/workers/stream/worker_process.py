"""A stream worker with the stand-in Router as a process of its own, for tests that kill it.

python -m tests.workers.stream.worker_process SETTINGS_JSON INSTANCE DELAY_S
"""

from __future__ import annotations

import logging
import signal
import sys

import msgspec

from schemas.settings import Settings
from tests.workers.stream.support import StandInRouter
from workers.stream.worker import StreamWorker


def main() -> int:
    logging.basicConfig(level=logging.INFO)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    settings = msgspec.json.decode(sys.argv[1], type=Settings)
    worker = StreamWorker(settings, StandInRouter(float(sys.argv[3])), sys.argv[2])
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    return worker.run()


if __name__ == "__main__":
    sys.exit(main())
