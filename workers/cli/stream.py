"""`chorus stream`: one stream worker as a process."""

from __future__ import annotations

import signal
import sys
from typing import Annotated

import typer

from workers.cli.common import DEFAULT_SETTINGS, SettingsOption, set_up_logging


def stream(
    settings_file: SettingsOption = DEFAULT_SETTINGS,
    instance: Annotated[
        str,
        typer.Option(
            envvar="CHORUS_INSTANCE",
            help="Name of this instance: unique among those that run, the same after a restart.",
        ),
    ] = "0",
    address: Annotated[
        str | None, typer.Option(envvar="RAY_ADDRESS", help="Ray cluster of `chorus serve`.")
    ] = None,
) -> None:
    """Stream records from the manifest topic through the served models, until Ctrl-C.

    Any number of instances share the topic. Ctrl-C or SIGTERM commits what is done and ends; a
    second one ends at once.
    """
    from schemas.settings import load_settings

    settings = load_settings(settings_file)
    set_up_logging()
    from serve_app import cluster
    from serve_app.router_client import RouterClient
    from workers.stream.worker import StreamWorker

    cluster.connect(address or settings.serve.address or "auto")
    router = RouterClient(settings.serve.app, settings.stream.call_timeout_s)
    worker = StreamWorker(settings, router, instance=instance)

    def stop(signum: int, frame: object) -> None:
        signal.signal(signum, signal.SIG_DFL)  # the second one ends at once
        worker.stop()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    sys.exit(worker.run())
