"""`chorus stream`: one stream worker as a process."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from workers import exit_codes
from workers.cli.common import DEFAULT_SETTINGS, SettingsOption, fail, set_up_logging

if TYPE_CHECKING:
    from schemas.settings import Settings
    from serve_app.router.protocol import Backend


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

    # the models and the audio are where the Router is
    settings = load_settings(settings_file, files=False)
    set_up_logging()
    if settings.stream.backend is not None:
        if address is not None:
            fail("--address is for a worker without `stream.backend`", exit_codes.SETTINGS)
        _run(settings, _over_http(settings, settings.stream.backend), instance)
    from serve_app.cluster.announcements import OtherSettingsError
    from serve_app.cluster.router_link import RouterLink

    router = RouterLink(settings, address or settings.serve.address)
    for number in (signal.SIGINT, signal.SIGTERM):  # until there is a worker to stop
        signal.signal(number, lambda *_: sys.exit(exit_codes.OK))
    try:
        router.prepare()
        import workers.stream.monitoring  # meanwhile
        import workers.stream.worker  # noqa: F401

        router.open()
        _run(settings, router, instance)
    except OtherSettingsError as error:
        fail(str(error), exit_codes.SETTINGS)
    finally:
        router.close()


def _over_http(settings: Settings, url: str) -> Backend:
    """The application behind an HTTP API; it need not be up yet."""
    from schemas.settings import backend_key, settings_digest
    from serve_app.http.client import HttpBackend, RefusedError

    stream = settings.stream
    backend = HttpBackend(
        url, settings_digest(settings), key=backend_key(stream), timeout_s=stream.call_timeout_s
    )
    try:
        asyncio.run(backend.check())
    except RefusedError as error:
        fail(str(error), exit_codes.SETTINGS)
    except OSError:  # which is in the log; it is waited for, as in an outage
        pass
    return backend


def _run(settings: Settings, backend: Backend, instance: str) -> NoReturn:
    """Run a worker until a signal comes, and end the process with its exit code."""
    from schemas.settings import SettingsError
    from workers.cli.status_line import status_line
    from workers.stream.monitoring import monitored
    from workers.stream.worker import StreamWorker

    worker = StreamWorker(settings, backend, instance=instance)

    def stop(signum: int, frame: object) -> None:
        signal.signal(signum, signal.SIG_DFL)  # the second one ends at once
        worker.stop()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    try:
        with monitored(worker, instance, settings), status_line(worker):
            code = worker.run()
    except SettingsError as error:
        fail(str(error), exit_codes.SETTINGS)
    sys.exit(code)
