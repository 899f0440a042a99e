from __future__ import annotations

import numpy as np
from numpy.random import default_rng

from research.corpus import channel
from research.corpus.voices import SAMPLE_RATE
from serve_app.audio import acoustics
from tests.serve_app.audio.test_acoustics import level_db

SECOND = np.arange(SAMPLE_RATE * 2) / SAMPLE_RATE


def tone(hertz: float) -> acoustics.Samples:
    return np.sin(2 * np.pi * hertz * SECOND).astype(np.float32)


def test_telephone_keeps_300_to_3400_hz_only() -> None:
    white = acoustics.white(len(SECOND), default_rng(1))
    line = channel.telephone(white, default_rng(3))
    rate = acoustics.TELEPHONE_RATE
    assert len(line) == len(SECOND) * rate // SAMPLE_RATE
    inside = level_db(line, rate, 500, 3000)
    assert level_db(line, rate, 20, 150) < inside - 20
    assert level_db(line, rate, 3800, 4000) < inside - 20


def test_hum_sits_on_the_mains_frequency() -> None:
    noise = channel.hum(len(SECOND), default_rng(5))
    spectrum = np.abs(np.fft.rfft(noise))
    strongest = np.argmax(spectrum) * SAMPLE_RATE / len(noise)
    assert min(strongest % 50, strongest % 60) < 1


def test_noisy_speech_keeps_length_and_differs_by_seed() -> None:
    others = [tone(300), tone(700)[:9000]]
    first, again, other = (channel.noisy(tone(440), others, default_rng(s)) for s in (1, 1, 2))
    assert len(first) == len(SECOND)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
