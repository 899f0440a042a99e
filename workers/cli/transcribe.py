"""`chorus transcribe`: file to file, through the same Router as the stream."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workers import exit_codes
from workers.cli.common import DEFAULT_SETTINGS, JsonOption, SettingsOption, fail, print_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from schemas.settings import Settings
    from workers.file_job import Progress
    from workers.stream.backend import Backend


def transcribe(
    manifest: Annotated[Path, typer.Argument(help="NeMo manifest, one JSON object a line.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Manifest of transcripts.")],
    settings_file: SettingsOption = DEFAULT_SETTINGS,
    address: Annotated[
        str | None,
        typer.Option(envvar="RAY_ADDRESS", help="Use a running `chorus serve`; else start one."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Transcribe a manifest file. Run it again after a kill and it goes on where it was.

    Relative audio paths are looked up beside the manifest too. Exits with 3 if some records have
    no transcript; each of those has its reason as `processing_error` in the output.
    """
    from schemas.settings import load_settings
    from workers.file_job import ResumeError, transcribe_file

    settings = load_settings(settings_file)
    try:
        total = sum(1 for line in manifest.open("rb") if line.strip())
    except OSError as error:
        fail(f"{manifest}: {error.strerror}", exit_codes.SETTINGS)
    settings.audio.roots.append(str(manifest.resolve().parent))
    begin = time.monotonic()
    with _router(settings, address) as router, _progress_bar(total) as report:
        begin = time.monotonic()
        try:
            progress = transcribe_file(manifest, output, router, settings.stream, report)
        except ResumeError as error:
            fail(str(error), exit_codes.SETTINGS)
        except OSError as error:
            fail(f"{error.filename}: {error.strerror}", exit_codes.FAILURE)
        wall = time.monotonic() - begin
    _summary(progress, wall, as_json)
    if progress.failed:
        sys.exit(exit_codes.PARTIAL)


@contextmanager
def _router(settings: Settings, address: str | None) -> Iterator[Backend]:
    from serve_app import app, cluster
    from serve_app.router_client import RouterClient

    router = RouterClient(settings.serve.app, settings.stream.call_timeout_s)
    address = address or settings.serve.address
    if address is not None:
        cluster.connect(address)
        yield router
        return
    print("starting the models ...", file=sys.stderr)
    try:
        running = app.start(settings)
    except app.StartError as error:
        fail(str(error), exit_codes.FAILURE)
    try:
        yield router
    finally:
        app.stop(running)


@contextmanager
def _progress_bar(total: int) -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[rtfx]}"),
    )
    begin = time.monotonic()
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=total, rtfx="")

        def report(progress: Progress) -> None:
            rtfx = progress.audio_seconds / max(time.monotonic() - begin, 1e-3)
            bar.update(task, completed=progress.done, rtfx=f"RTFx {rtfx:.0f}")

        yield report


def _summary(progress: Progress, wall: float, as_json: bool) -> None:
    rtfx = progress.audio_seconds / wall if wall else 0.0
    words = progress.reference_words
    wer = 100 * progress.word_errors / words if words else None
    if as_json:
        print_json(
            {
                "resumed": progress.resumed,
                "transcribed": progress.transcribed,
                "failed": progress.failed,
                "audio_seconds": round(progress.audio_seconds, 3),
                "rtfx": round(rtfx, 1),
                "wer": None if wer is None else round(wer, 2),
            }
        )
        return
    parts = [f"{progress.transcribed} transcribed", f"{progress.failed} failed"]
    if progress.resumed:
        parts.append(f"{progress.resumed} were there already")
    parts.append(f"RTFx {rtfx:.0f}")
    if wer is not None:
        parts.append(f"WER {wer:.1f}%")
    print(", ".join(parts))
