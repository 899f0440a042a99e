"""An S3 store and a web server on this machine, and loaders with roots there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.settings import AudioSettings
from serve_app.audio import AudioLoader
from tests.serve_app.audio.remote.server import StoreServer, make_certificate
from tests.serve_app.audio.sounds import sweep, write

Make = Callable[..., AudioLoader]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[StoreServer]:
    """A store with the bucket `calls`; the environment leads there."""
    with StoreServer().running() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch, certificate: Path) -> Iterator[StoreServer]:
    """A web server; its certificate is trusted."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with StoreServer(certificate).running() as server:
        yield server


@pytest.fixture
def bucket() -> AudioLoader:
    """Reads what is below a prefix of the bucket."""
    return AudioLoader(AudioSettings(roots=["s3://calls/2026"], max_bytes=30 << 20))


@pytest.fixture
def site(web: StoreServer) -> AudioLoader:
    """Reads what is below a folder of the web server."""
    return AudioLoader(
        AudioSettings(
            roots=[f"https://localhost:{web.port}/calls"],
            max_bytes=30 << 20,
            allow_private_addresses=True,
        )
    )


@pytest.fixture
def sound(tmp_path: Path) -> Callable[..., bytes]:
    """`sound(seconds, ...)`: the bytes of a file; see `sounds.write`."""

    def make(seconds: float, **how: Any) -> bytes:
        return write(tmp_path / "sound", sweep(seconds), **how).read_bytes()

    return make
