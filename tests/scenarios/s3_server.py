"""An S3 server on this machine: moto, in an environment of its own below the cache."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from workers.broker.ports import free_ports

MOTO = "moto[server]==5.2.5"


@contextlib.contextmanager
def s3_server(folder: Path, bucket: str) -> Iterator[str]:
    """Run a server with an empty bucket; the environment of this process leads there.

    Args:
        folder: for its log.
        bucket: its name.

    Yields:
        The URL of its endpoint.
    """
    environment = Path.home() / ".cache/chorus-asr/moto"
    server = environment / "bin/moto_server"
    if not server.exists():
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        python = str(environment / "bin/python")
        subprocess.run([python, "-m", "pip", "install", "--quiet", MOTO], check=True)
    [port] = free_ports(1)
    endpoint = f"http://127.0.0.1:{port}"
    lead_to(endpoint)
    with (folder / "moto.log").open("wb") as log:
        process = subprocess.Popen([server, "-p", str(port)], stdout=log, stderr=log)
    try:
        request = urllib.request.Request(f"{endpoint}/{bucket}", method="PUT")
        for _ in range(100):
            try:
                urllib.request.urlopen(request, timeout=10)
                break
            except OSError:
                time.sleep(0.1)
        yield endpoint
    finally:
        process.terminate()
        process.wait()


def lead_to(endpoint: str) -> None:
    """Have this process, and those that it starts, find S3 at an endpoint."""
    os.environ |= {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }
