"""The bare engine for `bench.py`, in processes of its own.

A process says "ready" once its engine is warm, begins at a line on stdin, and ends with its figures
as JSON: so that several work at the same time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from schemas.settings import AudioSettings, ModelSettings
from serve_app.audio import AudioLoader
from serve_app.engines.load import load_engine
from tests.scenarios.speech import MODEL, manifest_records

#: `transcribe()` takes lists of a size; ours cuts by seconds. The common choice for short clips.
TRANSCRIBE_BATCH = 16
ROUNDS = 3
COMPARED_CLIPS = 400


def measure_engines(
    speech: Path, *, engines: int, model: dict[str, Any], clips: int
) -> dict[str, float]:
    """Figures of several engines that work at once.

    Args:
        speech: folder of the clips, with their manifest.
        engines: processes.
        model: settings of each engine.
        clips: that each transcribes, a round.

    Returns:
        clips_per_s and rtfx of all together; cpu_ms a clip.
    """
    command = ["--clips", str(clips), "--model", json.dumps(model)]
    processes = [_spawn(speech, *command) for _ in range(engines)]
    figures = _figures(processes)
    return {
        "clips_per_s": sum(each["clips_per_s"] for each in figures),
        "rtfx": sum(each["rtfx"] for each in figures),
        "cpu_ms": statistics.mean(each["cpu_ms"] for each in figures),
    }


def measure_over_transcribe(speech: Path, *, threads: int) -> float:
    """How many times faster the engine is than NeMo's `transcribe()` with the same threads."""
    model = json.dumps({"path": str(MODEL), "threads": threads})
    command = ["--clips", str(COMPARED_CLIPS), "--model", model, "--compare"]
    return _figures([_spawn(speech, *command)])[0]["over_transcribe"]


def _spawn(speech: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", __spec__.name, str(speech), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _figures(processes: list[subprocess.Popen[str]]) -> list[dict[str, float]]:
    for process in processes:
        assert process.stdout is not None
        if not any(line == "ready\n" for line in process.stdout):
            raise RuntimeError(f"the bare engine ended with code {process.wait()}")
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [json.loads(process.communicate()[0].splitlines()[-1]) for process in processes]


def _rates(engine: Any, audio: list[Any]) -> dict[str, float]:
    seconds, cpu = [], []
    for _ in range(ROUNDS):
        wall, used = time.perf_counter(), time.process_time()
        engine.transcribe(audio)
        seconds.append(time.perf_counter() - wall)
        cpu.append(time.process_time() - used)
    return {
        "clips_per_s": len(audio) / statistics.median(seconds),
        "rtfx": sum(len(clip) for clip in audio) / 16_000 / statistics.median(seconds),
        "cpu_ms": 1000 * statistics.median(cpu) / len(audio),
    }


def _over_transcribe(engine: Any, audio: list[Any], threads: int) -> dict[str, float]:
    """Median over rounds in which the two take turns."""
    import torch
    from nemo.collections.asr.models import ASRModel

    torch.set_num_threads(threads)
    model = ASRModel.restore_from(str(MODEL), map_location="cpu")
    model.eval()

    def reference() -> None:
        model.transcribe(audio, batch_size=TRANSCRIBE_BATCH, verbose=False)

    def seconds(run: Callable[[], object]) -> float:
        begin = time.perf_counter()
        run()
        return time.perf_counter() - begin

    seconds(reference)
    ratios = [seconds(reference) / seconds(lambda: engine.transcribe(audio)) for _ in range(5)]
    return {"over_transcribe": statistics.median(ratios)}


def main() -> None:
    """One process's part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("speech", type=Path)
    parser.add_argument("--clips", type=int, required=True)
    parser.add_argument("--model", type=json.loads, required=True)
    parser.add_argument("--compare", action="store_true")
    options = parser.parse_args()
    settings = ModelSettings(**options.model)
    engine = load_engine(settings)
    loader = AudioLoader(AudioSettings(roots=[str(options.speech)]))
    clips = [loader.load(record.audio_filepath) for record in manifest_records(options.speech)]
    audio = list(islice(cycle(clips), options.clips))
    engine.transcribe(audio[:200])
    print("ready", flush=True)
    sys.stdin.readline()
    if options.compare:
        print(json.dumps(_over_transcribe(engine, audio, settings.threads)))
    else:
        print(json.dumps(_rates(engine, audio)))


if __name__ == "__main__":
    main()
