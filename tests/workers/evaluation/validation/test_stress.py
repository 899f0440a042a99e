from __future__ import annotations

import numpy as np
import pytest

from serve_app.audio.measures import bandwidth_hz, snr_db
from tests.workers.evaluation.scripted import RATE, voice
from workers.evaluation.validation.stress import ALL, Stress
from workers.manifests.speech import Utterance

CLIP = voice(3.0)
ONE, OTHER = (Utterance("a.wav", 0.0, 3.0, "a", id=name) for name in ("one", "other"))
BY_NAME = {each.name: each for each in ALL}


@pytest.mark.parametrize("stress", ALL, ids=lambda each: each.name)
def test_a_stress_changes_the_clip_alike_each_time(stress: Stress) -> None:
    changed = stress(ONE, CLIP, RATE)
    assert changed.dtype == np.float32
    assert np.isfinite(changed).all()
    assert np.array_equal(changed, stress(ONE, CLIP, RATE))
    assert len(changed) != len(CLIP) or not np.allclose(changed, CLIP)


def test_two_utterances_do_not_get_the_same_noise() -> None:
    noise = BY_NAME["noise at 10 dB"]
    assert not np.array_equal(noise(ONE, CLIP, RATE), noise(OTHER, CLIP, RATE))


def test_amounts_are_what_the_names_say() -> None:
    assert snr_db(BY_NAME["noise at 10 dB"](ONE, CLIP, RATE), RATE) == pytest.approx(10, abs=2)
    assert bandwidth_hz(BY_NAME["telephone band"](ONE, CLIP, RATE), RATE) < 4_000
    assert len(BY_NAME["speed 0.9"](ONE, CLIP, RATE)) == pytest.approx(len(CLIP) / 0.9, abs=2)
    clipped = np.abs(BY_NAME["clipping of 5%"](ONE, CLIP, RATE))
    assert np.mean(clipped == clipped.max()) == pytest.approx(0.05, abs=0.002)


def test_an_unknown_stress_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown kind of stress: thunder"):
        Stress("thunder", 1, "thunder")(ONE, CLIP, RATE)
