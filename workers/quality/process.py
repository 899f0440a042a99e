"""The process in which a stream's quality is looked at; see `watch`, which starts it.

It is given the number of an open connection, receives the settings, sends what each look has found,
and ends when the connection is closed. It gives way to everything else on the machine.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from schemas.settings import Settings
from schemas.settings.quality import QualitySettings
from serve_app.system.log_format import log_to_stderr
from serve_app.system.logs import Told
from workers.quality.gauges import Gauge

log = logging.getLogger(__name__)

#: How much less urgent than the stream it is.
_NICE = 10


def main() -> None:
    """Look until the connection ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the other process decides when this one ends
    os.nice(_NICE)
    log_to_stderr()
    logging.getLogger("kafka").setLevel(logging.ERROR)
    connection = Connection(int(sys.argv[1]))
    settings: Settings = connection.recv()
    quality = settings.stream.quality or QualitySettings()
    look_again_and_again(connection, lambda: _looks(settings), quality.every_s)


def look_again_and_again(
    connection: Connection, begin: Callable[[], Callable[[], list[Gauge]]], every_s: float
) -> None:
    """Send what each look finds, nothing where it fails, until the connection is closed.

    Args:
        connection: to the process that started this one.
        begin: makes what looks; what either raises is logged once, and tried again.
        every_s: seconds from one look to the next.
    """
    told, look = Told(), None
    while True:
        try:
            look = look or begin()
            found = look()
        except Exception as error:
            if told.is_new(_reason(error)):
                log.warning(
                    "the quality of transcripts cannot be looked at (%s); it is tried again "
                    "every %g s",
                    _reason(error),
                    every_s,
                )
            found = []  # what was said before is not known to be so any more
        else:
            told.over()
        try:
            connection.send(found)
        except OSError:
            return
        if connection.poll(every_s):  # nothing is sent here: it has ended
            return


def _looks(settings: Settings) -> Callable[[], list[Gauge]]:
    # what these import is missing where only Kafka's part of Chorus is installed
    from workers.quality.gauges import gauges
    from workers.quality.job import QualityJob

    job = QualityJob(settings)
    return lambda: gauges(job.look(), time.time())


def _reason(error: Exception) -> str:
    """Without its message, which may hold what was said."""
    if isinstance(error, ModuleNotFoundError):
        return f"it needs the package {error.name}: pip install 'chorus-asr[serve,stream]'"
    return type(error).__name__


if __name__ == "__main__":
    main()
