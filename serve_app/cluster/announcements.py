"""The applications that `chorus serve` runs on this machine, each announced by a file.

So a stream worker finds the application that it was meant for: the one with its name and its
settings, not just any Ray cluster. The files are in the user's private folder (`access`).
"""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil

from serve_app.cluster import access
from serve_app.system.files import atomic_write

_CONNECT_S = 2.0


class OtherSettingsError(ValueError):
    """The application that was found runs with other settings; the message names it."""


class StartingError(ConnectionError):
    """The application does not run yet, and is about to; the message names its process.

    Args:
        message: what is said.
        cluster: address of its Ray cluster; empty if that does not run yet either.
    """

    def __init__(self, message: str, cluster: str) -> None:
        super().__init__(message)
        self.cluster = cluster


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """An application that runs, or starts.

    Attributes:
        app: its name, `serve.app` of the settings.
        settings: `settings_digest` of its settings.
        address: of its Ray cluster; empty while it starts.
        cluster: that address while it starts, once the cluster runs.
        pid: of the `chorus serve` that started it.
        started: when that process started, in seconds since the epoch; it tells it from a later
            process with the same number.
    """

    app: str
    settings: str
    address: str
    cluster: str = ""
    pid: int
    started: float


class Announcer:
    """The announcement of an application of this process, as long as it is kept.

    Args:
        announcement: what is announced.
        path: the file.
    """

    def __init__(self, announcement: Announcement, path: Path) -> None:
        self._announcement = announcement
        self._path = path

    def write(self) -> None:
        """Write the file.

        Raises:
            OSError: it cannot be written.
        """
        atomic_write(self._path, msgspec.json.encode(self._announcement), mode=0o600)

    def starts_at(self, cluster: str) -> None:
        """Announce the Ray cluster on which the application is about to start.

        A hint: where it cannot be written, workers connect later.

        Args:
            cluster: its address.
        """
        self._announcement = msgspec.structs.replace(self._announcement, cluster=cluster)
        with contextlib.suppress(OSError):
            self.write()

    def runs_at(self, address: str) -> None:
        """Announce that the application runs, and does not start any more.

        In the same file: a reader finds either.

        Args:
            address: of its Ray cluster.

        Raises:
            OSError: the file cannot be written.
        """
        self._announcement = msgspec.structs.replace(self._announcement, address=address)
        self.write()

    def withdraw(self) -> None:
        """Announce it no more. Idempotent."""
        self._path.unlink(missing_ok=True)


@contextlib.contextmanager
def announced(app: str, settings: str, address: str = "") -> Iterator[Announcer]:
    """Announce an application of this process within the block.

    Args:
        app: its name.
        settings: `settings_digest` of its settings.
        address: of its Ray cluster; empty while it starts.

    Raises:
        OSError: the file cannot be written.
        PermissionError: other users can write to the folder.
    """
    me = psutil.Process()
    announcement = Announcement(
        app=app, settings=settings, address=address, pid=me.pid, started=me.create_time()
    )
    folder = _folder()
    folder.mkdir(mode=0o700, exist_ok=True)
    announcer = Announcer(announcement, folder / f"{app}-{me.pid}-{secrets.token_hex(4)}.json")
    announcer.write()
    try:
        yield announcer
    finally:
        announcer.withdraw()


def announcements(app: str) -> list[Announcement]:
    """The applications of that name that run or start on this machine, the last one first.

    Files that a killed process has left are removed.

    Raises:
        PermissionError: other users can write to the folder.
    """
    found: list[tuple[float, Announcement]] = []
    for path in _folder().glob("*.json"):
        try:
            written = path.stat().st_mtime
            announcement = msgspec.json.decode(path.read_bytes(), type=Announcement)
        except (OSError, msgspec.DecodeError):
            continue
        if not _lives(announcement):
            path.unlink(missing_ok=True)
        elif announcement.app == app:
            found.append((written, announcement))
    return [each for _, each in sorted(found, key=lambda pair: pair[0], reverse=True)]


def find(app: str, settings: str) -> str:
    """The address of the cluster where an application runs on this machine.

    Args:
        app: its name.
        settings: `settings_digest` of its settings.

    Raises:
        StartingError: it starts.
        ConnectionError: it does not run.
        OtherSettingsError: one of that name does, with other settings.
    """
    found = announcements(app)
    running = [each for each in found if each.address]
    for each in running:
        if each.settings == settings:
            return each.address
    for each in found:
        if each.settings == settings:
            raise StartingError(
                f"the application `{app}` (`chorus serve`, process {each.pid}) is starting",
                each.cluster,
            )
    if found:
        other = (running or found)[0]
        where = f"at {other.address} " if other.address else ""
        raise OtherSettingsError(
            f"the application `{app}` {where}(`chorus serve`, process {other.pid}) "
            "runs with other models, plans, rules or limits than these settings; use its "
            "settings, or start `chorus serve` with these"
        )
    raise ConnectionError(
        f"no `chorus serve` with the application `{app}` runs on this machine; start it, or name "
        "the address of its Ray cluster with --address"
    )


def check_answers(address: str) -> None:
    """Check that something listens at the address of a Ray cluster.

    Ray itself tries for minutes. An address that is not a host and a port ("auto") is not checked.

    Raises:
        ConnectionError: nobody does.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
    except OSError as error:
        raise ConnectionError(
            f"no Ray cluster answers at {address} ({error.strerror or error}); "
            "does `chorus serve` run there?"
        ) from None


def _folder() -> Path:
    return access.temp_folder().parent / "applications"


def _lives(announcement: Announcement) -> bool:
    try:
        process = psutil.Process(announcement.pid)
        ended = process.status() == psutil.STATUS_ZOMBIE
        return not ended and abs(process.create_time() - announcement.started) < 1.0
    except psutil.NoSuchProcess:
        return False
