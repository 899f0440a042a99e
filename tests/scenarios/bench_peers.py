"""Chorus beside NeMo's `transcribe()` and NeMo Curator's ASR stage: the same files and weights.

They take turns in processes of their own, on all cores: shared machines change their speed from
minute to minute. Files are decoded within the time; loading the model is not. For Curator, see
`docs/capacity.md`.

- `over_nemo`, `over_curator`: files per second of Chorus over those of the peer.
- `cpu_s_per_hour`: CPU seconds for an hour of audio.
- `memory_mb`: the most that a peer and its processes had for themselves, after a turn.
- `other_texts`: share of the files that a peer hears otherwise than Chorus.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import soundfile
from rich.console import Console

from tests.scenarios.bench import GENERAL, write_speech
from tests.scenarios.peers import PEERS

#: Files of a turn: some seconds on two cores.
FILES = {"chorus": 600, "nemo": 60, "curator": 96}

console = Console(stderr=True, highlight=False)


class Peer(contextlib.AbstractContextManager["Peer"]):
    """What transcribes files, in a process of its own.

    Args:
        name: of `peers.PEERS`.
        model: a `.nemo` file.
        folder: of the files, with their manifest.
        packages: folder of packages that are installed apart; None for none.

    Attributes:
        texts: of each file.
        rates: files per second of each turn.
        memory_mb: see above.
    """

    def __init__(self, name: str, model: Path, folder: Path, packages: Path | None) -> None:
        path = [os.environ.get("PYTHONPATH", ""), str(packages or "")]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.scenarios.peers", name, str(model), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))},
        )
        self._name = name
        self._seconds = {each.name: soundfile.info(each).duration for each in folder.glob("*.wav")}
        self._cpu_s = self._audio_s = 0.0
        self.texts: dict[str, str] = {}
        self.rates: list[float] = []
        self.memory_mb = 0.0

    def wait_until_ready(self) -> None:
        """Block until it is loaded and warm."""
        assert self._process.stdout is not None
        if not any(line == "ready\n" for line in self._process.stdout):
            raise RuntimeError(f"{self._name} ended with code {self._process.wait()}")

    def work(self, files: int) -> None:
        """Let it transcribe so many files."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{files}\n")
        took = json.loads(self._process.stdout.readline())
        self.rates.append(files / took["wall_s"])
        self.texts |= zip(took["files"], took["texts"], strict=True)
        self._cpu_s += took["cpu_s"]
        self._audio_s += sum(self._seconds[name] for name in took["files"])
        self.memory_mb = max(self.memory_mb, took["memory_mb"])

    @property
    def cpu_s_per_hour(self) -> float:
        """CPU seconds for an hour of audio."""
        return 3600 * self._cpu_s / self._audio_s

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()  # it ends what it has started
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._process.wait()


def measure(turns: int, packages: Path | None) -> dict[str, Any]:
    """All figures."""
    names = [each for each in PEERS if each != "curator" or packages is not None]
    with contextlib.ExitStack() as around:
        folder = Path(around.enter_context(tempfile.TemporaryDirectory(prefix="chorus-peers-")))
        write_speech(folder, ["wav"])
        speech = folder / "wav"
        peers = {
            name: around.enter_context(Peer(name, GENERAL, speech, packages)) for name in names
        }
        for name, peer in peers.items():
            peer.wait_until_ready()
            console.print(f"{name} is ready")
        for turn in range(turns):
            for name, peer in peers.items():
                peer.work(FILES[name])
            rates = {name: round(peer.rates[-1], 1) for name, peer in peers.items()}
            console.print(f"turn {turn + 1}: files per second {rates}")
    ours = peers["chorus"]
    others = {name: peer for name, peer in peers.items() if name != "chorus"}
    over = {
        f"over_{name}": round(median(a / b for a, b in zip(ours.rates, peer.rates, strict=True)), 2)
        for name, peer in others.items()
    }
    return {
        **over,
        "cpu_s_per_hour": {name: round(each.cpu_s_per_hour, 1) for name, each in peers.items()},
        "memory_mb": {name: round(each.memory_mb) for name, each in peers.items()},
        "other_texts": {
            name: round(
                sum(text != ours.texts.get(file, text) for file, text in each.texts.items())
                / len(each.texts),
                3,
            )
            for name, each in others.items()
        },
        "turns": turns,
    }


def main() -> int:
    """Measure; the figures are one JSON object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--curator", type=Path, help="folder with NeMo Curator; without, no such")
    given = parser.parse_args()
    print(json.dumps(measure(given.turns, given.curator)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
