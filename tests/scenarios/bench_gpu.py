"""Models of real size on a GPU: what the engine makes of it. Sized to ten minutes.

For a FastConformer-L with CTC and a Parakeet-TDT-0.6B of random weights, on clips of mixed length,
decoded:

- `rtfx`: seconds of audio per second, of the engine in bfloat16.
- `over_transcribe`: over NeMo's `transcribe()`, which gets the same clips, longest first, in lists
  of `TRANSCRIBE_BATCH`, and computes in bfloat16 too.
- `over_fp32`: over the engine in float32.
- `over_plain`: over the engine without CUDA graphs, which NeMo's decoder of transducers captures.
- `rtfx_by_batch`: by the padded seconds of a batch; the other figures are of the best.
- `copy_share`: how much of the time copying the audio to the GPU takes, from ordinary memory and
  from pinned memory. Copies that overlap with computing could save so much at most.
- `memory_mb`: the most that the GPU held.

`kafka_over_engine`: the stream with one replica of the CTC model and files of 3.5 s, over the bare
engine with the same, one after the other.

`--tiny` does the same on a CPU with small models, in four minutes: to try the command, not the
speed.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import numpy as np
from rich.console import Console

from schemas.settings import AudioSettings, ModelSettings
from serve_app.audio import AudioLoader
from serve_app.audio.clip import SAMPLE_RATE, Clip
from serve_app.engines.batch_plan import plan_batches
from tests.scenarios.bench import Size, cores, measure_stream, stream_settings, write_speech
from tests.scenarios.large_model import LARGE, XL, write_large_model, write_tdt_model
from tests.scenarios.speech import manifest_records

TRANSCRIBE_BATCH = 32
#: Padded seconds of a batch that are tried; the first is the engine's default.
BATCH_SECONDS = (120.0, 480.0, 1920.0)
#: Passes over all clips, after one that does not count.
PASSES = 3
#: In place of the models' own encoders, and of all clips, for `--tiny`.
_TINY = {"n_layers": 1, "d_model": 64, "n_heads": 2, "subsampling_conv_channels": 16}
_TINY_CLIPS = 24

console = Console(stderr=True, highlight=False)


class Job(msgspec.Struct):
    """What one process measures: a process for each model gives back the memory of the GPU.

    Attributes:
        model: file of the model.
        plain: the same without CUDA graphs; None for a model that has none.
        speech: folder of the audio, with its manifest.
        clips: number of clips.
    """

    model: str
    plain: str | None
    speech: str
    clips: int

    def run(self) -> dict[str, Any]:
        """Measure it, in a process of its own."""
        job = msgspec.json.encode(self).decode()
        command = [sys.executable, "-m", __spec__.name, "--job", job]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found


def measure_model(job: Job) -> dict[str, Any]:
    """The figures of one model, and `clips_per_s` of the files themselves."""
    import torch

    gpu = torch.cuda.is_available()
    files = _files(Path(job.speech))
    clips = _mixed(files, job.clips)
    seconds = sum(map(len, clips)) / SAMPLE_RATE
    dtype = "bfloat16" if gpu else "float32"

    by_batch = {size: _engine_s(job.model, clips, dtype, size) for size in BATCH_SECONDS}
    best = min(by_batch, key=by_batch.__getitem__)
    mine = by_batch[best]
    figures = {
        "rtfx": round(seconds / mine),
        "over_transcribe": round(_transcribe_s(job.model, clips, dtype) / mine, 2),
        "over_fp32": round(_engine_s(job.model, clips, "float32", best) / mine, 2),
        "rtfx_by_batch": {f"{size:g}": round(seconds / each) for size, each in by_batch.items()},
    }
    if job.plain is not None:
        figures["over_plain"] = round(_engine_s(job.plain, clips, dtype, best) / mine, 2)
    if gpu:
        copies = _copies_s(clips, best)
        figures["copy_share"] = {name: round(each / mine, 4) for name, each in copies.items()}
        figures["memory_mb"] = round(torch.cuda.max_memory_reserved() / 2**20)
    some = list(islice(cycle(files), job.clips))
    figures["clips_per_s"] = round(len(some) / _engine_s(job.model, some, dtype, best), 1)
    figures["batch_seconds"] = best
    return figures


def _files(speech: Path) -> list[Clip]:
    loader = AudioLoader(AudioSettings(roots=[str(speech)]))
    return [loader.load(record.audio_filepath) for record in manifest_records(speech)]


def _mixed(files: Sequence[Clip], count: int) -> list[Clip]:
    """`count` clips of one to six files each: about 3 to 25 s."""
    endless = cycle(files)
    parts = np.random.default_rng(0).integers(1, 7, size=count)
    return [np.concatenate(list(islice(endless, int(each)))) for each in parts]


def _engine_s(model: str, clips: Sequence[Clip], dtype: str, batch_seconds: float) -> float:
    """Seconds of the engine for all clips."""
    from serve_app.engines.nemo.engine import NemoEngine

    gc.collect()  # the engine before is in cycles
    engine = NemoEngine(_settings(model, dtype=dtype, batch_seconds=batch_seconds))
    engine.warm_up()
    return _median_s(lambda: engine.transcribe(clips))


def _settings(model: str, **options: Any) -> ModelSettings:
    return ModelSettings(path=model, gpu_fraction=1.0, num_cpus=float(cores()), **options)


def _transcribe_s(model: str, clips: Sequence[Clip], dtype: str) -> float:
    """The same of NeMo's `transcribe()`."""
    import torch
    from nemo.collections.asr.models import ASRModel

    device = "cuda" if torch.cuda.is_available() else "cpu"
    theirs = ASRModel.restore_from(model, map_location=device)
    theirs.to(getattr(torch, dtype))
    theirs.preprocessor.featurizer.float()
    theirs.eval()
    longest_first = sorted(clips, key=len, reverse=True)
    return _median_s(
        lambda: theirs.transcribe(longest_first, batch_size=TRANSCRIBE_BATCH, verbose=False)
    )


def _copies_s(clips: Sequence[Clip], batch_seconds: float) -> dict[str, float]:
    """Seconds to copy all clips to the GPU in batches, by the kind of memory."""
    import torch

    plan = plan_batches([len(clip) / SAMPLE_RATE for clip in clips], batch_seconds)
    ordinary = [
        torch.zeros(len(batch), max(len(clips[place]) for place in batch)) for batch in plan
    ]

    def copy(batches: Sequence[Any]) -> None:
        for batch in batches:
            batch.to("cuda", non_blocking=True)
        torch.cuda.synchronize()

    pinned = [batch.pin_memory() for batch in ordinary]
    return {
        "ordinary": _median_s(lambda: copy(ordinary)),
        "pinned": _median_s(lambda: copy(pinned)),
    }


def _median_s(work: Callable[[], object]) -> float:
    """Seconds that `work` takes, in the median; a GPU has finished when its texts are there."""
    work()
    taken = []
    for _ in range(PASSES):
        begin = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begin)
    return median(taken)


def stream_records_per_s(speech: Path, model: Path, batch_seconds: float, records: int) -> float:
    """From topic to topic, with one replica that has the GPU for itself."""
    settings = stream_settings(speech, 1, model)
    settings["models"]["general"] |= {"gpu_fraction": 1.0, "batch_seconds": batch_seconds}
    settings["serve"]["routers"] = max(1, cores() // 4)  # a Router reads some 700 files a second
    size = Size(records=records, warm_up=records // 2, behind=records // 2, clips=0, rounds=1)
    return measure_stream(settings, speech, size).records_per_s


def measure(folder: Path, *, tiny: bool) -> dict[str, Any]:
    """All figures; files and models are written to `folder`."""
    write_speech(folder, ["wav"])
    speech, clips = folder / "wav", _TINY_CLIPS if tiny else 1_000
    ctc, tdt, plain = (folder / f"{name}.nemo" for name in ("ctc", "tdt", "plain"))
    console.print("models of random weights ...")
    write_large_model(ctc, LARGE | _TINY if tiny else LARGE)
    for path in (tdt, plain):
        write_tdt_model(path, XL | _TINY if tiny else XL, graphs=path == tdt)
    console.print("FastConformer-L, CTC ...")
    of_ctc = Job(str(ctc), None, str(speech), clips).run()
    console.print("Parakeet-TDT-0.6B ...")
    of_tdt = Job(str(tdt), str(plain), str(speech), clips).run()
    console.print("the whole stream ...")
    stream = stream_records_per_s(speech, ctc, of_ctc["batch_seconds"], 1_000 if tiny else 8_000)
    return {
        "fastconformer_l": of_ctc,
        "parakeet_tdt_0.6b": of_tdt,
        "kafka_over_engine": round(stream / of_ctc["clips_per_s"], 3),
        "records_per_s": round(stream, 1),
    }


def main() -> int:
    """Measure; the figures are one JSON object on the last line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.job is not None:
        print(json.dumps(measure_model(msgspec.json.decode(given.job, type=Job))))
        return 0
    if not given.tiny and not _has_gpu():
        console.print("error: there is no GPU here; --tiny tries the command on a CPU")
        return 1
    with tempfile.TemporaryDirectory(prefix="chorus-gpu-") as name:
        figures = measure(Path(name), tiny=given.tiny)
    print(json.dumps(figures))
    return 0


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


if __name__ == "__main__":
    sys.exit(main())
