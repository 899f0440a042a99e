"""`chorus transcribe`: transcribe a manifest file into another, through the stream's Router."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from workers import exit_codes
from workers.cli.common import (
    DEFAULT_SETTINGS,
    JsonOption,
    ManifestArgument,
    SettingsOption,
    fail,
    fault_of,
    interruptible,
)
from workers.cli.starting import StartProgress, refuse_absent_engines, say_missing
from workers.manifests.destination import destination
from workers.manifests.source import is_output_stream, is_standard_output, url_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from schemas.settings import Settings
    from serve_app.router.protocol import Backend
    from workers.manifests.file_job import Progress


_RESUMES = "interrupted; the same command resumes"
_BEGINS_ANEW = "interrupted; the output is no file, so the same command begins from the start"


def transcribe(
    manifests: ManifestArgument,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Manifest to write the transcripts to; - for standard output, which cannot be "
            "resumed.",
        ),
    ],
    settings_file: SettingsOption = DEFAULT_SETTINGS,
    address: Annotated[
        str | None,
        typer.Option(
            envvar="RAY_ADDRESS",
            help="Address of the Ray cluster of a running `chorus serve`. Without it, a "
            "`chorus serve` with these settings on this machine is used, if the "
            "manifest's folder is one of its `audio.roots`; otherwise the models are started for "
            "this command.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Transcribe a manifest file; run again, the same command does what is left.

    That is, after an interruption, the rest; records that failed; and records that the manifest did
    not have before. Relative audio paths are looked up in the manifest's folder, then under
    `audio.roots`. Exits with 3 as long as records have no transcript; their lines in the output
    give the reason as `processing_error`.
    """
    from schemas.settings import load_settings
    from serve_app.registry.identity import transcription_digest
    from workers.manifests.file_job import FileJob
    from workers.manifests.files import joined
    from workers.manifests.output_file import ResumeError
    from workers.manifests.shards import audio_folders

    settings = load_settings(settings_file)
    manifest = joined(manifests)
    with ExitStack() as stack:
        try:
            place = stack.enter_context(destination(output, goes_on=True))
            anew = is_output_stream(place)
            stack.enter_context(interruptible(_BEGINS_ANEW if anew else _RESUMES))
            digest = transcription_digest(settings)
            job = stack.enter_context(FileJob(manifest, place, digest))
        except ResumeError as error:
            fail(str(error), exit_codes.SETTINGS)
        except OSError as error:
            fail(fault_of(error), exit_codes.SETTINGS)
        if not job.total:
            print(f"{manifest}: has no records", file=sys.stderr)
        if job.dropped:
            print(f"{job.dropped} transcripts left out: not in the manifest", file=sys.stderr)
        router = stack.enter_context(
            _router(settings, settings_file, address, audio_folders(manifest), needed=job.left > 0)
        )
        report = stack.enter_context(_progress_bar(job.total))
        begin = time.monotonic()
        try:
            progress = job.run(router, settings.stream, report)
        except OSError as error:
            fail(fault_of(error), exit_codes.FAILURE)
        wall = time.monotonic() - begin
    _summary(progress, wall, as_json, sys.stderr if is_standard_output(output) else sys.stdout)
    if progress.failed:
        if not as_json:
            where = "its lines" if is_standard_output(output) else url_of(output) or str(output)
            print(f"`processing_error` in {where} says why they failed", file=sys.stderr)
        sys.exit(exit_codes.PARTIAL)


@contextmanager
def _router(
    settings: Settings,
    settings_file: Path,
    address: str | None,
    folders: list[str],
    *,
    needed: bool,
) -> Iterator[Backend]:
    """The Router of a running application with these settings, or one that is started here.

    Args:
        settings: as read from `settings_file`.
        settings_file: named where it is at fault.
        address: of a Ray cluster; None for one that is found, or started.
        folders: of the manifest.
        needed: whether there is anything to transcribe: otherwise, nothing is started or
            connected to.
    """
    from schemas.settings import settings_digest
    from serve_app.cluster import application, ray_cluster, readiness
    from serve_app.router.client import RouterClient

    app, digest = settings.serve.app, settings_digest(settings)
    if not needed:
        yield RouterClient(app, settings.stream.call_timeout_s)
        return
    address = address or settings.serve.address or _announced(settings, folders)
    if address is not None:
        ray_cluster.connect(address)
        router = RouterClient(app, settings.stream.call_timeout_s, digest)
        if asyncio.run(router.identity()).settings != digest:
            fail(
                f"the application `{app}` at {address} runs with other models, plans, rules or "
                "limits than these settings; use its settings, or another address",
                exit_codes.SETTINGS,
            )
        print(f"using the application {app} at {address}", file=sys.stderr)
        yield router
        return
    refuse_absent_engines(settings, settings_file)
    progress = StartProgress()
    progress.say(f"starting Ray with the Router and {len(settings.models)} models")
    settings.audio.roots += folders
    try:
        running = application.start(settings, on_progress=progress.deployment)
    except readiness.StartError as error:
        fail(str(error), exit_codes.FAILURE)
    say_missing(running.missing)
    try:
        yield RouterClient(app, settings.stream.call_timeout_s)
    finally:
        application.stop(running)


def _announced(settings: Settings, folders: list[str]) -> str | None:
    """The address of an application with these settings on this machine that may read `folders`."""
    from schemas.settings import settings_digest
    from serve_app.cluster.announcements import OtherSettingsError, find

    if not all(any(_is_in(folder, root) for root in settings.audio.roots) for folder in folders):
        return None
    try:
        return find(settings.serve.app, settings_digest(settings))
    except (ConnectionError, OtherSettingsError):
        return None


def _is_in(folder: str, root: str) -> bool:
    """Whether a folder is a root, or below it; both may be URLs."""
    if "://" in folder or "://" in root:
        return f"{folder}/".startswith(f"{root.rstrip('/')}/")
    return Path(folder).resolve().is_relative_to(Path(root).resolve())


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


def _summary(progress: Progress, wall: float, as_json: bool, to: TextIO) -> None:
    rtfx = progress.audio_seconds / wall if wall else 0.0
    words = progress.reference_words
    wer = 100 * progress.word_errors / words if words else None
    if as_json:
        figures = {
            "resumed": progress.resumed,
            "transcribed": progress.transcribed,
            "failed": progress.failed,
            "audio_seconds": round(progress.audio_seconds, 3),
            "rtfx": round(rtfx, 1),
            "wer": None if wer is None else round(wer, 2),
        }
        print(json.dumps(figures), file=to)
        return
    parts = [f"{progress.transcribed} transcribed", f"{progress.failed} failed"]
    if progress.resumed:
        parts.append(f"{progress.resumed} done before")
    if progress.transcribed:
        parts.append(f"RTFx {rtfx:.0f}")
    if wer is not None:
        lost = ", failures as deletions" if progress.failed else ""
        parts.append(f"WER {wer:.1f}%{lost}")
    print(", ".join(parts), file=to)
