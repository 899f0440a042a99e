"""The token and the folder that keep a Ray cluster to its user.

`test_cluster_private.py` has a cluster on them.
"""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local import ROOT
from serve_app.cluster import access

NOBODY = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")

#: One of several processes that start at the same moment.
MAKER = """
import sys
from pathlib import Path
from serve_app.cluster import access
print("ready", flush=True)
sys.stdin.readline()
access.make_token()
print(Path("~/.ray/auth_token").expanduser().read_text())
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, and nothing in the environment that Ray looks at."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE", "RAY_TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


@pytest.fixture
def token(home: Path) -> Path:
    """The token, just made."""
    access.make_token()
    return home / ".ray" / "auth_token"


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty TMPDIR whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="t") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def refusal(check: Callable[[], object]) -> tuple[str, str]:
    """What it says, and the command that it advises."""
    with pytest.raises(PermissionError) as caught:
        check()
    text = str(caught.value)
    assert "run code as you through Ray" in text
    return text, text.split("`")[-2]


def as_advised(command: str) -> None:
    subprocess.run(command, shell=True, check=True)


def test_the_token_is_made_for_its_user_alone(token: Path) -> None:
    assert mode(token.parent) == 0o700
    assert mode(token) == 0o600
    assert len(bytes.fromhex(token.read_text())) == 32
    assert list(token.parent.iterdir()) == [token]
    access.check_token()


def test_a_wide_umask_opens_nothing(home: Path, short: Path) -> None:
    before = os.umask(0)
    try:
        access.make_token()
        folder = access.temp_folder().parent
    finally:
        os.umask(before)
    assert [mode(path) for path in (home / ".ray", folder)] == [0o700, 0o700]
    assert mode(home / ".ray" / "auth_token") == 0o600


def test_the_token_stays(token: Path) -> None:
    before = token.read_text()
    access.make_token()
    assert token.read_text() == before


def test_processes_that_start_at_once_have_one_token(home: Path) -> None:
    makers = [
        subprocess.Popen(
            [sys.executable, "-c", MAKER],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(8)
    ]
    for maker in makers:
        assert maker.stdout is not None
        assert maker.stdout.readline() == "ready\n"
    for maker in makers:
        assert maker.stdin is not None
        maker.stdin.write("\n")
        maker.stdin.flush()
    said = {maker.communicate()[0].strip() for maker in makers}
    token = home / ".ray" / "auth_token"
    assert said == {token.read_text()}
    assert list(token.parent.iterdir()) == [token]


def test_a_faster_maker_wins(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(source: str, target: Path) -> None:
        target.write_text("of another process")
        target.chmod(left)
        raise FileExistsError

    monkeypatch.setattr(os, "link", link)
    token = home / ".ray" / "auth_token"
    left = 0o600
    access.make_token()
    assert token.read_text() == "of another process"
    assert list(token.parent.iterdir()) == [token]

    token.unlink()
    left = 0o644  # as Ray makes it
    refusal(access.make_token)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RAY_AUTH_TOKEN", "x"),
        ("RAY_AUTH_TOKEN_PATH", "/x"),
        ("RAY_AUTH_MODE", "disabled"),
        ("RAY_AUTH_MODE", ""),
    ],
)
def test_the_operators_choice_stays(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    access.make_token()
    assert list(home.iterdir()) == []
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").touch(0o644)
    access.make_token()
    access.check_token()


def test_the_default_written_out_is_no_choice(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "Token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "")
    access.make_token()
    assert (home / ".ray" / "auth_token").exists()


def test_without_home_ray_is_told_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    home = os.environ["HOME"]
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(Path, "home", lambda: Path(home))
    access.make_token()
    assert os.environ["HOME"] == home
    assert (Path(home) / ".ray" / "auth_token").exists()


def test_without_a_token_all_is_well(home: Path) -> None:
    access.check_token()
    (home / ".ray").mkdir(0o755)
    access.check_token()


def test_a_folder_that_others_can_read_is_no_leak(token: Path) -> None:
    token.parent.chmod(0o755)
    access.check_token()


@pytest.mark.parametrize("permissions", [0o644, 0o640, 0o620, 0o602], ids=oct)
def test_a_token_open_to_others_is_refused(token: Path, permissions: int) -> None:
    token.chmod(permissions)
    text, command = refusal(access.check_token)
    assert f"{token} is open to others (mode 0{permissions:o})" in text
    assert "other users of this machine could have read it" in text
    assert "Stop every Ray cluster" in text
    assert command == f"rm {token}"
    refusal(access.make_token)
    old = token.read_text()
    as_advised(command)
    access.make_token()
    assert token.read_text() != old


@pytest.mark.parametrize("permissions", [0o775, 0o757, 0o1777], ids=oct)
def test_a_folder_that_others_can_write_is_refused(token: Path, permissions: int) -> None:
    token.parent.chmod(permissions)
    text, command = refusal(access.check_token)
    assert str(token.parent) in text
    assert command == f"chmod 700 {token.parent} && chmod 600 {token}"
    as_advised(command)
    access.check_token()


def test_an_empty_folder_that_others_can_write_is_refused(home: Path) -> None:
    folder = home / ".ray"
    folder.mkdir()
    folder.chmod(0o777)
    _, command = refusal(access.make_token)
    assert list(folder.iterdir()) == []
    as_advised(command)
    access.make_token()


def test_folder_and_token_are_mended_by_one_command(token: Path) -> None:
    token.parent.chmod(0o777)
    token.chmod(0o644)
    _, command = refusal(access.check_token)
    as_advised(command)
    access.make_token()
    assert (mode(token.parent), mode(token)) == (0o700, 0o600)


def test_a_link_in_place_of_the_token_is_refused(token: Path, tmp_path: Path) -> None:
    elsewhere = token.rename(tmp_path / "elsewhere")
    token.symlink_to(elsewhere)
    text, command = refusal(access.check_token)
    assert f"{token} is not a regular file" in text
    as_advised(command)
    assert elsewhere.exists()
    access.make_token()


def test_a_link_to_nothing_is_refused(token: Path) -> None:
    token.unlink()
    token.symlink_to("nothing")
    refusal(access.make_token)


@needs_root
def test_a_token_of_somebody_else_is_refused(token: Path) -> None:
    os.chown(token, NOBODY, NOBODY)
    text, command = refusal(access.check_token)
    assert f"{token} belongs to another user (uid {NOBODY})" in text
    as_advised(command)
    access.make_token()


@needs_root
def test_a_folder_of_somebody_else_is_refused(token: Path) -> None:
    os.chown(token.parent, NOBODY, NOBODY)
    text, command = refusal(access.check_token)
    assert f"{token.parent} belongs to another user (uid {NOBODY})" in text
    as_advised(command)
    access.make_token()
    assert token.parent.stat().st_uid == os.geteuid()


def test_the_command_holds_for_any_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(home / "a b; c"))
    access.make_token()
    token = home / "a b; c" / ".ray" / "auth_token"
    token.chmod(0o644)
    _, command = refusal(access.check_token)
    assert shlex.split(command) == ["rm", str(token)]


def test_sessions_lie_in_a_folder_of_the_user(short: Path) -> None:
    folder = access.temp_folder()
    assert folder == short / f"chorus-ray-{os.geteuid()}" / "ray"
    assert mode(folder.parent) == 0o700
    folder.mkdir(mode=0o777)
    assert access.temp_folder() == folder


def test_sockets_fit_into_it(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest path that Ray makes; one byte more is for /tmp."""
    fixed = len(f"/chorus-ray-{os.geteuid()}/ray") + len(access._SESSION_SOCKET)
    longest = short / ("x" * (107 - fixed - len(f"{short}/")))
    for parent, expected in ((longest, longest), (Path(f"{longest}x"), Path("/tmp"))):
        monkeypatch.setenv("RAY_TMPDIR", str(parent))
        assert access.temp_folder().parents[1] == expected


def test_rays_own_setting_of_the_folder_holds(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(short / "r"))
    assert access.temp_folder().parents[1] == short / "r"


def test_a_folder_whose_names_others_can_change_is_passed_over(short: Path) -> None:
    short.chmod(0o777)
    assert access.temp_folder().parents[1] == Path("/tmp")
    short.chmod(0o1777)
    assert access.temp_folder().parents[1] == short


@needs_root
def test_a_folder_in_one_of_somebody_else_is_passed_over(short: Path) -> None:
    os.chown(short, NOBODY, NOBODY)
    assert access.temp_folder().parents[1] == Path("/tmp")


def test_an_open_session_folder_is_refused(short: Path) -> None:
    folder = access.temp_folder().parent
    folder.chmod(0o755)
    text, command = refusal(access.temp_folder)
    assert f"{folder} is not a private folder of yours" in text
    assert command == f"rm -rf {folder}"
    as_advised(command)
    access.temp_folder()


def test_a_link_in_place_of_the_session_folder_is_refused(short: Path, home: Path) -> None:
    home.chmod(0o700)
    folder = short / f"chorus-ray-{os.geteuid()}"
    folder.symlink_to(home)
    _, command = refusal(access.temp_folder)
    as_advised(command)
    assert home.exists()
    access.temp_folder()


@needs_root
def test_a_session_folder_of_somebody_else_is_refused(short: Path) -> None:
    folder = access.temp_folder().parent
    os.chown(folder, NOBODY, NOBODY)
    text, command = refusal(access.temp_folder)
    assert command == f"sudo rm -rf {folder}"
    assert "TMPDIR" in text
