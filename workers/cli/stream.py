"""`chorus stream`: one stream worker as a process."""

from __future__ import annotations

import signal
import sys
from typing import Annotated

import typer

from workers import exit_codes
from workers.cli.common import DEFAULT_SETTINGS, SettingsOption, fail, set_up_logging


def stream(
    settings_file: SettingsOption = DEFAULT_SETTINGS,
    instance: Annotated[
        str,
        typer.Option(
            envvar="CHORUS_INSTANCE",
            help="Name of this instance: unique among those running, the same after a restart.",
        ),
    ] = "0",
    address: Annotated[
        str | None,
        typer.Option(
            envvar="RAY_ADDRESS",
            help="Address of the Ray cluster of `chorus serve`. Without it, the `chorus serve` "
            "with these settings on this machine is used.",
        ),
    ] = None,
) -> None:
    """Transcribe the records of the manifest topic with the served models, until Ctrl-C.

    The application must run with the same models, plans and rules as these settings.
    Several instances share the topic's partitions. Ctrl-C or SIGTERM commits finished records and
    exits; a second one exits at once.
    """
    from schemas.settings import load_settings

    settings = load_settings(settings_file)
    set_up_logging()
    from serve_app.cluster.announcements import OtherSettingsError
    from serve_app.cluster.router_link import RouterLink
    from workers.stream.worker import StreamWorker

    router = RouterLink(settings, address or settings.serve.address)
    try:
        router.open()
    except OtherSettingsError as error:
        fail(str(error), exit_codes.SETTINGS)
    worker = StreamWorker(settings, router, instance=instance)

    def stop(signum: int, frame: object) -> None:
        signal.signal(signum, signal.SIG_DFL)  # the second one ends at once
        worker.stop()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    try:
        sys.exit(worker.run())
    finally:
        router.close()
