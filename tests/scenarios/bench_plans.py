"""For `bench.py`: what choosing and combining cost beside the models, in CPU-ms a record.

`python -m tests.scenarios.bench_plans` alone takes a second.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import partial

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
    vote of five over ten seconds, a third of the words of each wrong. `rover_numbers`: the same
    where one of them writes a number in digits and the others spell it.
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

    def rover(heard: Sequence[dict[str, Hypothesis]]) -> None:
        for (record, _), hypotheses in zip(pairs, heard, strict=True):
            replay(planner, "vote", record, hypotheses)

    plain, numbers = (
        [_heard(seed, numbers=numbers) for seed in range(len(pairs))] for numbers in (False, True)
    )
    work: dict[str, Callable[[], None]] = {
        "select": select,
        "rover": partial(rover, plain),
        "rover_numbers": partial(rover, numbers),
    }
    return {name: _cpu_ms(each) / len(pairs) for name, each in work.items()}


def _heard(seed: int, *, numbers: bool) -> dict[str, Hypothesis]:
    rng = default_rng(seed)
    found = {}
    for model in ("general", "medical", "legal", "telephony", "noisy"):
        texts = [
            f"w{_letters(i if rng.random() < 2 / 3 else 100 + int(rng.integers(99)))}"
            for i in range(WORDS)
        ]
        if numbers:
            texts[5:7] = ["25", "weeks"] if model == "noisy" else ["twenty", "five", "weeks"]
        words = [Word(w, i / 3, (i + 1) / 3, float(rng.random())) for i, w in enumerate(texts)]
        found[model] = Hypothesis(text=" ".join(texts), confidence=0.5, words=words)
    return found


def _letters(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "abcdefghij"))


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
