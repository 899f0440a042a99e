"""For `bench.py`: what choosing and combining cost beside the models, in CPU-ms a record.

`python -m tests.scenarios.bench_plans` alone takes a second.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from numpy.random import default_rng

from deploy.demo import CALIBRATION, PLANS, SPEECH
from schemas.settings import load_settings
from schemas.transcript import Word
from serve_app.audio.clip import SAMPLE_RATE
from serve_app.audio.measures import measure
from serve_app.engines.base import Hypothesis
from serve_app.routing.calibration import read_calibration
from serve_app.routing.plans import Planner
from serve_app.routing.rules import Selector
from tests.scenarios.speech import shipped_records
from workers.evaluation.systems.replay import replay
from workers.manifests.speech import check_manifest, read_audio

#: Words of a clip of ten seconds.
WORDS = 28
ROUNDS = 5


def plan_cpu_ms() -> dict[str, float]:
    """CPU-ms a record, by what is done.

    `select`: measuring and the rules, a clip of the shipped speech (3.5 s on average). `rover`: a
    vote of five over ten seconds, a third of the words of each wrong.
    """
    settings = load_settings(PLANS)
    selector = Selector(settings.routing)
    planner = Planner(settings, read_calibration(CALIBRATION))
    records = shipped_records()
    utterances, _ = check_manifest(SPEECH / "general.jsonl", 60.0)
    clips = [read_audio(each) for each in utterances]
    pairs = list(zip(records, clips, strict=False))

    def select() -> None:
        for record, clip in pairs:
            planner.run(selector.choose(record, measure(clip, SAMPLE_RATE)).target, record)

    heard = [_heard(seed) for seed in range(len(pairs))]

    def rover() -> None:
        for (record, _), hypotheses in zip(pairs, heard, strict=True):
            replay(planner, "vote", record, hypotheses)

    return {"select": _cpu_ms(select) / len(pairs), "rover": _cpu_ms(rover) / len(pairs)}


def _heard(seed: int) -> dict[str, Hypothesis]:
    rng = default_rng(seed)
    found = {}
    for model in ("general", "medical", "legal", "telephony", "noisy"):
        texts = [f"w{i}" if rng.random() < 2 / 3 else f"x{rng.integers(99)}" for i in range(WORDS)]
        words = [Word(w, i / 3, (i + 1) / 3, float(rng.random())) for i, w in enumerate(texts)]
        found[model] = Hypothesis(text=" ".join(texts), confidence=0.5, words=words)
    return found


def _cpu_ms(work: Callable[[], None]) -> float:
    """CPU-ms of `work`, the least of some rounds."""
    rounds = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        work()
        rounds.append(time.process_time() - begin)
    return 1000 * min(rounds)


if __name__ == "__main__":
    print(json.dumps({name: round(value, 3) for name, value in plan_cpu_ms().items()}))
