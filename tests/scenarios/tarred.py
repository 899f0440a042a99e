"""The same utterances as loose files and as a data set of tar archives, transcribed in turns.

Ends with code 1 if a transcript differs. Speed is compared within one run.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import msgspec

from deploy.demo import SPEECH
from schemas.manifest import ManifestRecord, encode_manifest
from schemas.settings import Settings
from serve_app.cluster import application
from serve_app.registry.identity import transcription_digest
from serve_app.router.client import RouterClient
from tests.scenarios.settings import BASE, EngineName, fault_settings
from tests.scenarios.speech import many_records
from workers.manifests.file_job import FileJob

_SHARDS = 4
_ROUNDS = 3


def lay_out(folder: Path, count: int) -> tuple[Path, Path]:
    """Write the utterances twice, as files and as NeMo's script for tarred data sets does.

    Returns:
        The manifest of the loose files, and the name of that of the archives.
    """
    (folder / "sharded_manifests").mkdir(parents=True)
    (folder / "loose").mkdir()
    records = many_records(count)
    together = []
    for shard in range(_SHARDS):
        lines = []
        with tarfile.open(folder / f"audio_{shard}.tar", "w") as tar:
            for number in range(shard, count, _SHARDS):
                source = SPEECH / records[number].audio_filepath
                name = f"utterance_{number}{source.suffix}"
                shutil.copyfile(source, folder / "loose" / name)
                tar.add(source, name)
                lines.append(_line(records[number], name, shard_id=shard))
                together.append(_line(records[number], f"loose/{name}"))
        manifest = folder / "sharded_manifests" / f"manifest_{shard}.json"
        manifest.write_bytes(b"".join(lines))
    (folder / "loose.json").write_bytes(b"".join(together))
    shards = f"manifest__OP_0..{_SHARDS - 1}_CL_.json"
    return folder / "loose.json", folder / "sharded_manifests" / shards


def _line(record: ManifestRecord, audio: str, **extra: object) -> bytes:
    changed = msgspec.structs.replace(record, audio_filepath=audio, extra=extra)
    return encode_manifest(changed) + b"\n"


def run(count: int, engine: EngineName) -> dict[str, object]:
    """Transcribe `count` utterances from both; the figures."""
    with tempfile.TemporaryDirectory(prefix="chorus-tarred-") as name:
        folder = Path(name)
        manifests = lay_out(folder, count)
        raw = fault_settings(engine, replicas=1)
        raw["models"]["general"]["path"] = str(BASE / "models" / "general.nemo")
        raw["audio"]["roots"] = [name]
        settings = msgspec.convert(raw, Settings)
        running = application.start(settings)
        try:
            texts, seconds = _transcribe(settings, manifests, folder)
        finally:
            application.stop(running)
    loose, tarred = texts
    return {
        "utterances": len(loose),
        "differences": sum(not {*loose[key]} & {*tarred.get(key, [])} for key in loose),
        # a text in the balance depends on the batch that its clip is in, which is chance
        "differ_by_round": sum(len({*loose[key], *tarred.get(key, [])}) > 1 for key in loose),
        "failed": sum(None in found[key] for found in texts for key in found),
        "throughput_ratio": round(median(seconds[0]) / median(seconds[1]), 3),
    }


def _transcribe(
    settings: Settings, manifests: Sequence[Path], folder: Path
) -> tuple[list[dict[str, list[str | None]]], list[list[float]]]:
    """The texts by id, and the seconds, of each round, of each manifest."""
    router = RouterClient(settings.serve.app, settings.stream.call_timeout_s)
    digest = transcription_digest(settings)
    texts: list[dict[str, list[str | None]]] = [{} for _ in manifests]
    seconds: list[list[float]] = [[] for _ in manifests]
    for number in range(_ROUNDS):
        for index, manifest in enumerate(manifests):
            output = folder / f"out_{number}_{index}.jsonl"
            with FileJob(manifest, output, digest) as job:
                begin = time.monotonic()
                job.run(router, settings.stream)
                seconds[index].append(time.monotonic() - begin)
            for line in output.read_bytes().splitlines():
                found = msgspec.json.decode(line)
                texts[index].setdefault(found["id"], []).append(found.get("pred_text"))
    return texts, seconds


def main() -> None:
    """Run the scenario; the figures are one JSON object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1000)
    figures = run(parser.parse_args().records, "nemo")
    print(json.dumps(figures))
    sys.exit(1 if figures["differences"] or figures["failed"] else 0)


if __name__ == "__main__":
    main()
