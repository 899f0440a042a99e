"""Protect a Ray cluster from other users of the machine: its token and its folder are private.

Anyone with the token, or with access to the sockets, can run code as the user. Ray itself leaves
both open: it makes ~/.ray/auth_token readable, and its session folders writable, for everyone.

Every refusal is a PermissionError whose message names the file, the danger, and the commands that
repair it. "This user" is the effective user.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import stat
import tempfile
from pathlib import Path

from serve_app.system.files import atomic_write

_OTHERS = 0o077
_OTHERS_WRITE = 0o022

#: Longest path of a Unix socket, and the longest that Ray appends to its folder.
_SOCKET_PATH_BYTES = 107
_SESSION_SOCKET = "/session_2000-01-01_00-00-00_000000_4194304/sockets/plasma_store"


def check_token() -> None:
    """Check that no other user can read or replace the token at its default path, if it exists.

    Nothing is checked if RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or RAY_AUTH_MODE say that it is not
    used: that is the operator's choice.

    Raises:
        PermissionError: another user can.
    """
    token = _default_token()
    if token is None or not token.parent.exists():
        return
    folder = token.parent.stat()
    if folder.st_uid != os.geteuid():
        raise PermissionError(
            f"{token.parent} belongs to another user (uid {folder.st_uid}), who could have read "
            f"{token.name} in it or put another there, and so run code as you through Ray. Stop "
            "every Ray cluster that runs with it, then run "
            f"`{_command('mv', token.parent, f'{token.parent}.old')}`; a new one is made at the "
            "next start"
        )
    close_folder = _command("chmod", "700", token.parent)
    is_open = bool(folder.st_mode & _OTHERS_WRITE)
    fault = _fault(token)
    if fault is not None:
        remove = _command("rm", token)
        raise PermissionError(
            f"{token} {fault}: other users of this machine could have read it, and so run code "
            "as you through Ray. Stop every Ray cluster that runs with it, then run "
            f"`{f'{close_folder} && {remove}' if is_open else remove}`; a new one is made at the "
            "next start"
        )
    if is_open:
        command = f"{close_folder} && {_command('chmod', '600', token)}"
        raise PermissionError(
            f"other users of this machine can write to {token.parent} (mode "
            f"{stat.S_IMODE(folder.st_mode):04o}), so put another {token.name} there and run code "
            f"as you through Ray. Run `{command if token.exists() else close_folder}`"
        )


def make_token() -> None:
    """Create the token at its default path if Ray would, or check the existing one.

    Several processes may do so at the same time: all end up with the same token.

    Raises:
        PermissionError: as `check_token`.
        OSError: it cannot be written.
    """
    check_token()
    token = _default_token()
    if token is None or token.exists():
        return
    token.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):  # another process was faster
        atomic_write(token, secrets.token_hex(32), mode=0o600, overwrite=False)
    check_token()  # the other process may have been Ray itself


def temp_folder() -> Path:
    """A folder for Ray's sessions, inside a private folder of this user; it may not exist yet.

    The private folder is in RAY_TMPDIR or the system's folder for temporary files; in /tmp if that
    path is too long for sockets, or other users could replace what is in it.

    Raises:
        PermissionError: the path exists, and is not a private folder of this user.
        OSError: it cannot be created.
    """
    name = f"chorus-ray-{os.geteuid()}"
    # Not the private folder itself: Ray makes the one that it is given accessible to everyone.
    inner = f"{name}/ray"
    parent = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()).absolute()
    longest = f"{parent / inner}{_SESSION_SOCKET}"
    if len(os.fsencode(longest)) > _SOCKET_PATH_BYTES or not _keeps_names(parent):
        parent = Path("/tmp")
    folder = parent / name
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        _check_folder(folder)
    return parent / inner


def _default_token() -> Path | None:
    """Path of Ray's token; None if Ray uses another token, or none. Sets an unset HOME."""
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return None
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return None
    # Ray's loader uses only HOME, and would look in the working directory without it.
    return Path(os.environ.setdefault("HOME", str(Path.home()))) / ".ray" / "auth_token"


def _fault(token: Path) -> str | None:
    """What is wrong with the file; None if nothing is, or if there is no file."""
    try:
        found = token.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return "is not a regular file"
    if found.st_uid != os.geteuid():
        return f"belongs to another user (uid {found.st_uid})"
    if found.st_mode & _OTHERS:
        return f"is open to others (mode {stat.S_IMODE(found.st_mode):04o})"
    return None


def _keeps_names(folder: Path) -> bool:
    """Whether no other user but root can rename what this user puts there."""
    try:
        found = folder.stat()
    except FileNotFoundError:
        return True  # this user will create it
    sticky = bool(found.st_mode & stat.S_ISVTX)
    return found.st_uid in (0, os.geteuid()) and (sticky or not found.st_mode & _OTHERS_WRITE)


def _check_folder(folder: Path) -> None:
    found = folder.lstat()
    own = found.st_uid == os.geteuid()
    if stat.S_ISDIR(found.st_mode) and own and not found.st_mode & _OTHERS:
        return
    remove = _command("rm", "-rf", folder)
    raise PermissionError(
        f"{folder} is not a private folder of yours (uid {found.st_uid}, mode "
        f"{stat.filemode(found.st_mode)}): other users of this machine could reach Ray's sockets "
        "in it, and so run code as you through Ray. Stop every `chorus serve` of yours, then run "
        + (f"`{remove}`" if own else f"`sudo {remove}`, or set TMPDIR to another folder")
    )


def _command(*words: str | Path) -> str:
    return shlex.join(map(str, words))
