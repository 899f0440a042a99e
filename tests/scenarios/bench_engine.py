"""The bare engine for `bench.py`, in processes of its own.

A process says "ready" once its engine is warm. Each line on stdin is a number of clips to
transcribe, and answered by a line of JSON with what that took: so that several processes work at
the same time, and take turns with what they are compared to.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from deploy.demo import MODELS
from schemas.requests import DEFAULT_REQUEST
from schemas.settings import AudioSettings, ModelSettings
from serve_app.audio import AudioLoader
from serve_app.audio.clip import Clip
from serve_app.engines.base import Engine
from serve_app.engines.load import load_engine
from tests.scenarios.speech import manifest_records

#: `transcribe()` takes lists of a size; ours cuts by seconds. The common choice for short clips.
TRANSCRIBE_BATCH = 16
COMPARED_CLIPS = 400


class BareEngines(contextlib.AbstractContextManager["BareEngines"]):
    """Engines in processes of their own, which work at the same time.

    Args:
        speech: folder of the clips, with their manifest.
        engines: processes.
        model: settings of each engine.
        warm_up: clips that each transcribes before it is ready.
    """

    def __init__(self, speech: Path, *, engines: int, model: dict[str, Any], warm_up: int) -> None:
        command = [sys.executable, "-m", __spec__.name, str(speech), json.dumps(model)]
        self._processes = [
            subprocess.Popen(
                [*command, "--warm-up", str(warm_up)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                bufsize=1,
            )
            for _ in range(engines)
        ]
        self._clips = 0
        self._audio_s = 0.0
        self._wall_s = [0.0] * engines
        self._cpu_s = 0.0

    def wait_until_ready(self) -> None:
        """Block until every engine is loaded and warm."""
        for process in self._processes:
            assert process.stdout is not None
            if not any(line == "ready\n" for line in process.stdout):
                raise RuntimeError(f"the bare engine ended with code {process.wait()}")

    def work(self, clips: int) -> None:
        """Let every engine transcribe `clips` clips, all at once. Blocks."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(f"{clips}\n")
        for number, process in enumerate(self._processes):
            assert process.stdout is not None
            took = json.loads(process.stdout.readline())
            self._clips += clips
            self._audio_s += took["audio_s"]
            self._wall_s[number] += took["wall_s"]
            self._cpu_s += took["cpu_s"]

    @property
    def clips_per_s(self) -> float:
        """Of all engines together, over all that they have done."""
        mine = self._clips / len(self._processes)
        return sum(mine / seconds for seconds in self._wall_s)

    @property
    def rtfx(self) -> float:
        """Seconds of audio per second, of all engines together."""
        return self.clips_per_s * self._audio_s / self._clips

    @property
    def cpu_ms(self) -> float:
        """CPU-ms a clip."""
        return 1000 * self._cpu_s / self._clips

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()


def measure_over_transcribe(speech: Path, *, threads: int) -> float:
    """How many times faster the engine is than NeMo's `transcribe()` with the same threads."""
    model = json.dumps({"path": str(MODELS / "general.nemo"), "threads": threads})
    command = [sys.executable, "-m", __spec__.name, str(speech), model, "--compare"]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    return float(json.loads(done.stdout.splitlines()[-1]))


def _transcribe(engine: Engine, audio: list[Clip]) -> None:
    engine.transcribe(audio, [DEFAULT_REQUEST] * len(audio))


def _work(engine: Engine, audio: list[Clip]) -> dict[str, float]:
    wall, used = time.perf_counter(), time.process_time()
    _transcribe(engine, audio)
    return {
        "audio_s": sum(len(clip) for clip in audio) / engine.sample_rate,
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - used,
    }


def _over_transcribe(engine: Engine, audio: list[Clip], threads: int) -> float:
    """Median over rounds in which the two take turns."""
    import torch
    from nemo.collections.asr.models import ASRModel

    torch.set_num_threads(threads)
    model = ASRModel.restore_from(str(MODELS / "general.nemo"), map_location="cpu")
    model.eval()

    def reference() -> None:
        model.transcribe(audio, batch_size=TRANSCRIBE_BATCH, verbose=False)

    def seconds(run: Callable[[], object]) -> float:
        begin = time.perf_counter()
        run()
        return time.perf_counter() - begin

    seconds(reference)
    ratios = [seconds(reference) / seconds(lambda: _transcribe(engine, audio)) for _ in range(5)]
    return statistics.median(ratios)


def main() -> None:
    """Load the engine, then transcribe as many clips as each line of standard input says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("speech", type=Path)
    parser.add_argument("model", type=json.loads)
    parser.add_argument("--warm-up", type=int, default=200)
    parser.add_argument("--compare", action="store_true")
    options = parser.parse_args()
    settings = ModelSettings(**options.model)
    engine = load_engine(settings)
    loader = AudioLoader(AudioSettings(roots=[str(options.speech)]))
    clips = [loader.load(record.audio_filepath) for record in manifest_records(options.speech)]
    endless = cycle(clips)
    _transcribe(engine, list(islice(endless, options.warm_up)))
    if options.compare:
        audio = list(islice(endless, COMPARED_CLIPS))
        print(json.dumps(_over_transcribe(engine, audio, settings.threads)))
        return
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(_work(engine, list(islice(endless, int(line))))), flush=True)


if __name__ == "__main__":
    main()
