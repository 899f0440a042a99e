"""The same recordings in a folder and in an object store with faults, transcribed in turns.

The store is an S3 server (moto) behind a proxy that adds 20 ms to each request, throttles 5% of
them and breaks 1% of the connections off. Then a loader is asked for what lies in other buckets, on
hosts of the private network, or where a server redirects to. The last line is JSON; the exit code
is 1 if a record was lost or failed, or something was read that must not be.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import msgspec
import obstore
from obstore.store import from_url

from deploy.demo import SPEECH
from schemas.failures import ErrorCode
from schemas.manifest import ManifestRecord, encode_manifest
from schemas.settings import AudioSettings, Settings
from serve_app.audio import AudioError, AudioLoader
from serve_app.cluster import application
from serve_app.registry.identity import transcription_digest
from serve_app.router.client import RouterClient
from serve_app.router.protocol import Backend
from tests.scenarios.faulty_proxy import faulty_proxy
from tests.scenarios.s3_server import lead_to, s3_server
from tests.scenarios.settings import BASE, EngineName, fault_settings
from tests.scenarios.speech import many_records
from tests.serve_app.audio.remote.server import StoreServer, make_certificate
from workers.manifests.file_job import FileJob

BUCKET = "recordings"
#: Records of a turn. A machine that is busy with other things is so for both.
_TURN = 400
#: Records of the turns that are not counted, which warm everything up.
_WARM_UP = 300
#: Runs a store with the objects of `BUCKET`; yields its endpoint.
Stores = Callable[[Mapping[str, bytes]], AbstractContextManager[str]]
#: Runs a Router with settings.
Routers = Callable[[Settings], AbstractContextManager[Backend]]


class Turn(NamedTuple):
    """Records that were lost and that failed, and the store's speed against the folder's."""

    lost: int
    failed: int
    ratio: float


#: Paths below the root that lead out of it, in a bucket or on a web server.
ESCAPES = (
    "../secret.flac",
    "%2e%2e/secret.flac",
    "%252e%252e/secret.flac",
    "x/../../secret.flac",
    "x%2f..%2f..%2fsecret.flac",
    "..\\secret.flac",
    "..;/secret.flac",
)
#: Addresses of the private network, and other ways to name them.
PRIVATE = (
    "https://localhost:PORT/calls/a.flac",
    "https://localhost:PORT@127.0.0.1:PORT/calls/a.flac",
    "https://127.0.0.1:PORT/calls/a.flac",
    "https://[::1]:PORT/calls/a.flac",
    "https://2130706433:PORT/calls/a.flac",
    "https://169.254.169.254/latest/meta-data/iam/security-credentials/",
    "http://169.254.169.254/latest/meta-data/",
    "https://metadata.google.internal/computeMetadata/v1/",
)
#: Where a server sends on whoever asks for a file below the root.
REDIRECTS = (
    "/secret.flac",
    "../secret.flac",
    "https://127.0.0.1:PORT/calls/a.flac",
    "https://localhost/calls/a.flac",
    "http://169.254.169.254/latest/meta-data/",
    "file:///etc/passwd",
)


@contextlib.contextmanager
def moto(objects: Mapping[str, bytes]) -> Iterator[str]:
    """A moto server with the objects."""
    with (
        tempfile.TemporaryDirectory(prefix="chorus-moto-") as folder,
        s3_server(Path(folder), BUCKET) as endpoint,
    ):
        store = from_url(f"s3://{BUCKET}")
        for name, data in objects.items():
            obstore.put(store, name, data)
        yield endpoint


@contextlib.contextmanager
def served(settings: Settings) -> Iterator[Backend]:
    """The Router of an application on Ray Serve."""
    running = application.start(settings)
    try:
        yield RouterClient(settings.serve.app, settings.stream.call_timeout_s)
    finally:
        application.stop(running)


def run(
    count: int,
    engine: EngineName,
    stores: Stores = moto,
    routers: Routers = served,
) -> dict[str, Any]:
    """Transcribe `count` records from both, and try to get at what is elsewhere; the figures."""
    before = dict(os.environ)
    records = many_records(count)
    names = {record.audio_filepath for record in records}
    objects = {name: (SPEECH / name).read_bytes() for name in sorted(names)}
    try:
        with (
            tempfile.TemporaryDirectory(prefix="chorus-objects-") as folder,
            stores(objects) as endpoint,
            faulty_proxy(endpoint) as faulty,
        ):
            lead_to(faulty)
            settings = _settings(engine)
            with routers(settings) as router:
                warm_up = _turn(router, settings, records[:_WARM_UP], Path(folder, "warm-up"))
                turns = [
                    _turn(router, settings, records[at : at + _TURN], Path(folder, str(at)))
                    for at in range(0, count, _TURN)
                ]
        refused, total = try_to_escape()
    finally:
        os.environ.clear()
        os.environ.update(before)
    return {
        "records": count,
        "lost": sum(each.lost for each in (warm_up, *turns)),
        "failed": sum(each.failed for each in (warm_up, *turns)),
        "throughput_ratio": round(median(each.ratio for each in turns), 3),
        "refused": refused,
        "let_through": total - sum(refused.values()),
    }


def _settings(engine: EngineName) -> Settings:
    raw = fault_settings(engine, replicas=1)
    if engine == "nemo":
        raw["models"]["general"]["path"] = str(BASE / "models" / "general.nemo")
    raw["audio"] = {"roots": [str(SPEECH), f"s3://{BUCKET}"]}
    return msgspec.convert(raw, Settings)


def _manifests(
    records: Sequence[ManifestRecord], settings: Settings, folder: Path
) -> dict[str, Path]:
    """A manifest of the records in the folder, and one of those in the store."""
    folder.mkdir()
    manifests = {}
    for name, root in zip(("folder", "store"), settings.audio.roots, strict=True):
        lines = [
            encode_manifest(
                msgspec.structs.replace(each, audio_filepath=f"{root}/{each.audio_filepath}")
            )
            for each in records
        ]
        manifests[name] = folder / f"{name}.jsonl"
        manifests[name].write_bytes(b"\n".join(lines) + b"\n")
    return manifests


def _turn(
    router: Backend, settings: Settings, records: Sequence[ManifestRecord], folder: Path
) -> Turn:
    """Transcribe the records from the folder and from the store."""
    digest = transcription_digest(settings)
    seconds = []
    lost = failed = 0
    for name, manifest in _manifests(records, settings, folder).items():
        with FileJob(manifest, manifest.with_suffix(".out"), digest) as job:
            begin = time.monotonic()
            progress = job.run(router, settings.stream)
            seconds.append(time.monotonic() - begin)
        print(f"{name}: {seconds[-1]:.1f} s", file=sys.stderr)
        lost += job.total - progress.done
        failed += progress.failed
    return Turn(lost, failed, seconds[0] / seconds[1])


def try_to_escape() -> tuple[dict[str, int], int]:
    """How many attempts of each kind were refused, and how many there were."""
    with tempfile.TemporaryDirectory(prefix="chorus-escapes-") as folder:
        certificate = make_certificate(Path(folder))
        os.environ["SSL_CERT_FILE"] = str(certificate)
        with StoreServer(certificate).running() as server:
            data = (SPEECH / "general" / "general-demo-00000.flac").read_bytes()
            server.objects = {"/calls/a.flac": data, "/secret.flac": data}
            root = f"https://localhost:{server.port}/calls"
            roots = [f"s3://{BUCKET}/calls", root]
            careful = AudioLoader(AudioSettings(roots=roots))
            private = AudioLoader(AudioSettings(roots=roots, allow_private_addresses=True))
            here = str(server.port)
            ssrf = [_is_refused(careful, each.replace("PORT", here)) for each in PRIVATE]
            escapes = [_is_refused(private, f"{at}/{each}") for at in roots for each in ESCAPES]
            reached = len(server.asked)
            redirects = []
            for number, to in enumerate(REDIRECTS):
                server.faults[f"/calls/{number}"] = [f"-> {to.replace('PORT', here)}"]
                redirects.append(_is_refused(private, f"{root}/{number}"))
            if reached or len(server.asked) != len(REDIRECTS):
                raise RuntimeError("something was asked for that lies elsewhere")
    kinds = {"ssrf": ssrf, "escapes": escapes, "redirects": redirects}
    return {kind: sum(each) for kind, each in kinds.items()}, sum(map(len, kinds.values()))


def _is_refused(loader: AudioLoader, url: str) -> bool:
    try:
        loader.load(url)
    except AudioError as error:
        return error.code is ErrorCode.AUDIO_OUTSIDE_ROOTS
    return False


def main() -> None:
    """Run the scenario; the figures are one JSON object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--records", type=int, default=2000)
    parser.add_argument("--engine", choices=["nemo", "stand-in"], default="nemo")
    options = parser.parse_args()
    figures = run(options.records, options.engine)
    let_through = figures.pop("let_through")
    print(json.dumps(figures))
    sys.exit(1 if figures["lost"] or figures["failed"] or let_through else 0)


if __name__ == "__main__":
    main()
