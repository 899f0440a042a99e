"""`chorus serve`: run the models, the Router and the HTTP API on Ray Serve."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workers import exit_codes
from workers.cli.common import DEFAULT_SETTINGS, SettingsOption, fail, set_up_logging
from workers.cli.console import console_beside, open_console
from workers.cli.starting import (
    OpenOption,
    StartProgress,
    WorkerOption,
    open_door,
    refuse_absent_engines,
    refuse_absent_secrets,
    say_missing,
)

if TYPE_CHECKING:
    from schemas.settings import Settings
    from serve_app.cluster.announcements import Announcer
    from serve_app.cluster.application import Running


#: How often it is looked whether everything is still there, in seconds.
_LOOK_S = 0.5


def serve(
    settings_file: SettingsOption = DEFAULT_SETTINGS,
    address: Annotated[
        str | None,
        typer.Option(
            envvar="RAY_ADDRESS", help="Address of a Ray cluster. Without it, one is started here."
        ),
    ] = None,
    worker: WorkerOption = False,
    open_: OpenOption = False,
    console: Annotated[
        bool, typer.Option("--console", help="Run `chorus console` beside it.")
    ] = False,
    ready_file: Annotated[
        Path | None,
        typer.Option(
            help="Write the cluster's address to this file as JSON when ready; removed at the end."
        ),
    ] = None,
) -> None:
    """Serve the models of the settings with Ray Serve, and the HTTP API if set, until Ctrl-C."""
    from schemas.settings import load_settings

    settings = load_settings(settings_file)
    if address is not None:
        settings.serve.address = address
    if settings.http is not None and not open_ and (reason := open_door(settings.http)):
        fail(reason, exit_codes.SETTINGS)
    if console and (reason := open_console(settings.console)):
        fail(reason, exit_codes.SETTINGS)
    if settings.serve.address is None:
        refuse_absent_engines(settings, settings_file)
        refuse_absent_secrets(settings, settings_file, kafka=worker)
    set_up_logging()
    progress = StartProgress()
    progress.say(f"starting Ray with the Router and {len(settings.models)} models")

    from serve_app.cluster.readiness import StartError

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)  # interrupts a start that takes long
    try:
        with _announced(settings) as announcer:
            _run(
                settings,
                progress,
                announcer,
                worker=worker,
                open_=open_,
                console=settings_file if console else None,
                ready_file=ready_file,
            )
    except StartError as error:
        fail(str(error), exit_codes.FAILURE)


@contextmanager
def _announced(settings: Settings) -> Iterator[Announcer]:
    """Announce within the block that the application starts: stream workers wait for it."""
    from schemas.settings import settings_digest
    from serve_app.cluster.announcements import announced

    with ExitStack() as stack:
        try:
            announcer = stack.enter_context(
                announced(settings.serve.app, settings_digest(settings))
            )
        except OSError as error:
            fail(str(error), exit_codes.FAILURE)
        yield announcer


def _run(
    settings: Settings,
    progress: StartProgress,
    announcer: Announcer,
    *,
    worker: bool,
    open_: bool,
    console: Path | None,
    ready_file: Path | None,
) -> None:
    """Start everything, look after it until a signal comes, and stop it again."""
    from serve_app.cluster import application, readiness

    stopped, at_once = threading.Event(), threading.Event()
    running = application.start(
        settings,
        http=settings.http is not None,
        on_progress=progress.deployment,
        on_cluster=announcer.starts_at,
    )
    code = exit_codes.FAILURE
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: (at_once if stopped.is_set() else stopped).set())
        if worker:
            from workers.stream.serve_application import deploy_worker

            deploy_worker(running, settings)
        _resume_rollouts(settings)
        url = _start_http(running, settings, open_=open_)
        say_missing(running.missing)
        print(_serving(settings, running), flush=True)
        if running.logs is not None:
            print(f"the logs of what runs there are in {running.logs}", flush=True)
        if url is not None:
            print(f"HTTP API at {url}, documented at /docs", flush=True)
        announcer.runs_at(running.address)
        with (
            console_beside(console),
            _ready_file(ready_file, {"address": running.address, "pid": os.getpid()}),
        ):
            code = _look_after(running, stopped)
            if code != exit_codes.OK:
                at_once.set()
            else:
                print("stopping: what is under way is finished first", flush=True)
    except readiness.StartError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
    finally:
        announcer.withdraw()
        with _last_answers(running):
            in_order = application.stop(running, give_up=at_once.is_set)
        if not in_order:  # Ray would hold up the exit of this process
            sys.stdout.flush()
            os._exit(code)
    if code != exit_codes.OK:
        sys.exit(code)


def _resume_rollouts(settings: Settings) -> None:
    """Start the candidates that were compared when this application ended the last time."""
    from serve_app.cluster.candidates import resume_rollouts

    try:
        for plan in resume_rollouts(settings):
            print(f"rollout of {plan.name}:{plan.candidate} goes on", flush=True)
    except OSError as error:  # the models have been loaded, so they are served
        print(f"error: rollouts do not go on: {error}", file=sys.stderr, flush=True)


def _serving(settings: Settings, running: Running) -> str:
    there = ", ".join(name for name in settings.models if name not in running.missing)
    without = f", without {', '.join(running.missing)}" if running.missing else ""
    return f"serving {there} on Ray at {running.address}{without}"


def _look_after(running: Running, stopped: threading.Event) -> int:
    """Wait for `stopped`, or until what runs is gone; say what fails. Returns the exit code."""
    from serve_app.cluster.watch import Watch

    watch = Watch(running.apps, running.app, running.missing)
    try:
        while not stopped.wait(_LOOK_S):
            for line in watch.news():
                print(line, flush=True)
            if (reason := watch.lost()) is not None:
                print(f"error: {reason}; start `chorus serve` again", file=sys.stderr, flush=True)
                return exit_codes.RESTART
        return exit_codes.OK
    finally:
        watch.close()


def _start_http(running: Running, settings: Settings, *, open_: bool) -> str | None:
    """Start the HTTP API beside the models, if there is to be one.

    Returns:
        Its URL. A running cluster decides it, whatever the settings say.
    """
    if settings.http is None:
        return None
    from serve_app.cluster.application import add_application
    from serve_app.cluster.readiness import StartError
    from serve_app.http import deployment
    from serve_app.system.ray_adapter import proxy_address

    host, port = proxy_address()
    if not open_ and (reason := open_door(settings.http, host)):
        raise StartError(reason)
    name = deployment.app_name(settings)
    add_application(running, deployment.build(settings), name, route_prefix="/")
    return f"http://{host}:{port}"


@contextmanager
def _last_answers(running: Running) -> Iterator[None]:
    """Tell new clients within the block that the service stops, up to its last moment."""
    from serve_app.http.stopping import answered

    listener = None
    if running.port is not None:
        with suppress(OSError):  # another program's proxy, which does not share its port
            listener = running.port.take_over()
    if listener is None:
        yield
        return
    with answered(listener):
        yield


@contextmanager
def _ready_file(path: Path | None, content: dict[str, object]) -> Iterator[None]:
    """Keep `content` in a file as JSON within the block: a reader sees all of it or nothing."""
    from serve_app.system.files import atomic_write

    if path is None:
        yield
        return
    atomic_write(path, json.dumps(content))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
