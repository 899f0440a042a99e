"""Download jars: several at once, with a progress bar, each verified before it is kept."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
from jgo.maven import Artifact, MavenContext
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from serve_app.system.files import sha256_of
from workers.broker.maven import Meter, local_repository, maven_context
from workers.broker.pins import Jar, JarError, is_pinned

_ATTEMPTS = 3
_PAUSE_S = 0.5
_CONNECTIONS = 4


def download(jars: Sequence[Jar], folder: Path, title: str, console: Console | None = None) -> None:
    """Put `jars` into `folder`, each complete and verified.

    A jar in Maven's local repository is copied from there. If interrupted, the jars that were
    complete are kept. Only one process at a time may call it for a folder.

    Args:
        jars: the jars to fetch.
        folder: where they are put.
        title: title of the progress bar.
        console: where the progress bar is shown, by default on standard error.

    Raises:
        JarError: a jar cannot be fetched, or does not have the pinned digest.
    """
    partial = folder / ".partial"
    shutil.rmtree(partial, ignore_errors=True)  # remains of an interrupted download
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console or Console(stderr=True),
    )
    with progress, ThreadPoolExecutor(_CONNECTIONS) as pool:
        task = progress.add_task(f"{title}, {len(jars)} jars", total=sum(jar.size for jar in jars))
        context = maven_context(partial, _meter(progress, task))
        try:
            for _ in pool.map(lambda jar: _fetch_one(context, jar, folder), jars):
                pass
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    shutil.rmtree(partial, ignore_errors=True)


def _fetch_one(context: MavenContext, jar: Jar, folder: Path) -> None:
    group, artifact, version = jar.coordinate.split(":")
    wanted = context.project(group, artifact).at_version(version).artifact()
    path = Path(wanted.cached_path)
    local = local_repository() / wanted.component.path_prefix / jar.filename
    if is_pinned(local, jar):
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(local, path)
    else:
        _download(wanted, path, jar, folder)
    found = sha256_of(path)
    if found != jar.sha256:
        raise JarError(
            f"{jar.coordinate} is refused: the download has SHA-256 {found}, but {jar.sha256} is "
            "pinned. Check the Maven repository or proxy that this machine uses."
        )
    os.replace(path, folder / jar.filename)


def _download(wanted: Artifact, path: Path, jar: Jar, folder: Path) -> None:
    for attempt in range(1, _ATTEMPTS + 1):
        path.unlink(missing_ok=True)  # an incomplete download; jgo would take it for complete
        try:
            wanted.context.resolver.download(wanted)
            return
        except (requests.RequestException, RuntimeError) as error:
            if attempt == _ATTEMPTS:
                raise JarError(
                    f"{jar.coordinate} cannot be fetched: {error}. Kafka's jars are downloaded "
                    "once, from Maven Central: connect this machine to it, name a mirror in the "
                    f"[repositories] section of ~/.config/jgo.conf, or copy {folder} from a "
                    "machine that has it."
                ) from None
        time.sleep(_PAUSE_S * attempt)


def _meter(progress: Progress, task: TaskID) -> Meter:
    """A callback for jgo that adds the bytes of every file to one progress bar."""

    @contextlib.contextmanager
    def meter(filename: str, size: int) -> Iterator[Callable[[int], None]]:
        yield lambda received: progress.advance(task, received)

    return meter
