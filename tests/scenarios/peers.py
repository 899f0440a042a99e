"""For `bench_peers.py`: what transcribes files, each in a process of its own.

A process says "ready" once it is warm. Each line on stdin is a number of files to transcribe, and
answered by a line of JSON with what that took.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import msgspec
import psutil

from schemas.manifest import encode_manifest
from schemas.settings import Settings
from tests.scenarios.speech import manifest_records, repeated

WARM_UP_FILES = 64
#: Transcribes files, given by their paths; returns their texts.
Transcriber = Callable[[Sequence[Path]], list[str]]


@contextlib.contextmanager
def nemo(model: Path) -> Iterator[Transcriber]:
    """`transcribe()` of NeMo, called with all files at once and its default batches of four."""
    from nemo.collections.asr.models import ASRModel

    loaded = ASRModel.restore_from(str(model), map_location="cpu").eval()

    def transcribe(files: Sequence[Path]) -> list[str]:
        found = loaded.transcribe([str(each) for each in files], verbose=False)
        return [each.text for each in found]

    yield transcribe


@contextlib.contextmanager
def curator(model: Path) -> Iterator[Transcriber]:
    """The ASR stage of NeMo Curator 1.4 with its adapter for NeMo, in its default batches of 32.

    Two things are not as it comes: the adapter loads a file in place of a name of a hub's, and the
    stage reads with soundfile, as its base class does, in place of torchcodec.
    """
    import importlib

    stages: Any = importlib.import_module("nemo_curator.stages.audio.inference.asr.stage")
    base: Any = importlib.import_module("nemo_curator.stages.audio.inference.base")
    adapters: Any = importlib.import_module("nemo_curator.models.asr.nemo_asr")
    resources: Any = importlib.import_module("nemo_curator.stages.resources")
    tasks: Any = importlib.import_module("nemo_curator.tasks")

    class Adapter(adapters.NeMoASRAdapter):
        def _load_checkpoint(self, device: Any) -> Any:
            from nemo.collections.asr.models import ASRModel

            return ASRModel.restore_from(self.model_id, map_location=device).eval()

    class Stage(stages.ASRStage):
        _load_audio = staticmethod(base.AdapterInferenceStage._load_audio)

        def _create_adapter(self) -> Any:
            return Adapter(model_id=self.model_id)

    stage = Stage(
        adapter_target="",
        model_id=str(model),
        audio_filepath_key="audio_filepath",
        resources=resources.Resources(cpus=1.0),
    )
    stage.setup()

    def transcribe(files: Sequence[Path]) -> list[str]:
        texts: list[str] = []
        for at in range(0, len(files), stage.batch_size):
            batch = [
                tasks.AudioTask(data={"audio_filepath": str(each)})
                for each in files[at : at + stage.batch_size]
            ]
            texts += [each.data["pred_text"] for each in stage.process_batch(batch)]
        return texts

    yield transcribe


@contextlib.contextmanager
def chorus(model: Path, folder: Path) -> Iterator[Transcriber]:
    """What `chorus transcribe` does with a manifest: the Router, and a replica for each core."""
    from serve_app.registry.identity import transcription_digest
    from tests.scenarios.bench import cores, stream_settings
    from tests.scenarios.object_store import served
    from workers.manifests.file_job import FileJob

    raw = stream_settings(folder, replicas=cores(), model=model)
    settings = msgspec.convert(raw, Settings)
    digest = transcription_digest(settings)
    known = {each.audio_filepath: each for each in manifest_records(folder)}
    with served(settings) as router, tempfile.TemporaryDirectory() as work:

        def transcribe(files: Sequence[Path]) -> list[str]:
            records = repeated([known[each.name] for each in files], len(files))
            manifest = Path(work, f"{time.monotonic()}.jsonl")
            manifest.write_bytes(b"\n".join(map(encode_manifest, records)) + b"\n")
            output = manifest.with_suffix(".out")
            with FileJob(manifest, output, digest) as job:
                job.run(router, settings.stream)
            found = [json.loads(line) for line in output.read_text().splitlines()]
            texts = {each["id"]: each["pred_text"] for each in found}
            return [texts[each.id] for each in records]

        yield transcribe


def tree() -> list[psutil.Process]:
    """This process and those that it has started."""
    own = psutil.Process()
    return [own, *own.children(recursive=True)]


def cpu_s() -> float:
    """CPU seconds so far, of all of them."""
    found = 0.0
    for each in tree():
        with contextlib.suppress(psutil.Error):
            times = each.cpu_times()
            found += times.user + times.system
    return found


def memory_mb() -> float:
    """Memory that is theirs alone, in MiB."""
    found = 0
    for each in tree():
        with contextlib.suppress(psutil.Error):
            found += each.memory_full_info().uss
    return found / (1 << 20)


PEERS = ("chorus", "nemo", "curator")


def main() -> None:
    """Load, then transcribe as many files as each line of standard input says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path, help="of the files, with their manifest")
    given = parser.parse_args()
    answers = sys.stdout
    sys.stdout = sys.stderr  # which others print to
    files = cycle([given.folder / each.audio_filepath for each in manifest_records(given.folder)])
    with contextlib.ExitStack() as around:
        if given.peer == "chorus":
            transcribe = around.enter_context(chorus(given.model, given.folder))
        else:
            peer = nemo if given.peer == "nemo" else curator
            transcribe = around.enter_context(peer(given.model))
        transcribe(list(islice(files, WARM_UP_FILES)))
        print("ready", file=answers, flush=True)
        for line in sys.stdin:
            mine = list(islice(files, int(line)))
            used, begin = cpu_s(), time.monotonic()
            texts = transcribe(mine)
            wall = time.monotonic() - begin
            took = {
                "wall_s": wall,
                "cpu_s": cpu_s() - used,
                "memory_mb": memory_mb(),
                "files": [each.name for each in mine],
                "texts": texts,
            }
            print(json.dumps(took), file=answers, flush=True)


if __name__ == "__main__":
    main()
