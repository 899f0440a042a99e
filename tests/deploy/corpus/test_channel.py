from __future__ import annotations

import numpy as np
import pytest
from numpy.random import default_rng

from deploy.demo.corpus import channel
from deploy.demo.corpus.voices import SAMPLE_RATE

SECOND = np.arange(SAMPLE_RATE * 2) / SAMPLE_RATE


def tone(hertz: float) -> channel.Samples:
    return np.sin(2 * np.pi * hertz * SECOND).astype(np.float32)


def level_db(samples: channel.Samples, rate: int, low: float, high: float) -> float:
    """Mean power between two frequencies, in dB."""
    power = np.abs(np.fft.rfft(samples)) ** 2
    frequency = np.fft.rfftfreq(len(samples), 1 / rate)
    return float(10 * np.log10(np.mean(power[(frequency >= low) & (frequency < high)])))


def test_telephone_keeps_300_to_3400_hz_only() -> None:
    white = channel.white(len(SECOND), default_rng(1))
    line = channel.telephone(white, default_rng(3))
    rate = channel.TELEPHONE_RATE
    assert len(line) == len(SECOND) * rate // SAMPLE_RATE
    inside = level_db(line, rate, 500, 3000)
    assert level_db(line, rate, 20, 150) < inside - 20
    assert level_db(line, rate, 3800, 4000) < inside - 20


def test_mu_law_has_256_levels_and_keeps_the_signal() -> None:
    samples = np.linspace(-1, 1, 20_001, dtype=np.float32)
    coded = channel.mu_law(samples)
    assert len(np.unique(coded)) <= 256
    quiet = np.abs(samples) < 0.01
    # the point of mu-law: the error is in proportion to the signal
    assert np.abs(coded - samples).max() < 0.03
    assert np.abs(coded - samples)[quiet].max() < 0.0005


@pytest.mark.parametrize("snr", [0, 10, 25])
def test_noise_is_added_at_the_ratio_asked_for(snr: float) -> None:
    clean = tone(440)
    noise = channel.white(len(clean), default_rng(2)) * 7
    added = channel.add_noise(clean, noise, snr) - clean
    assert 10 * np.log10(np.mean(clean**2) / np.mean(added**2)) == pytest.approx(snr, abs=0.01)


@pytest.mark.parametrize(("slope", "fall_db"), [(0, 0), (1, 10), (2, 20)])
def test_coloured_noise_falls_per_decade(slope: float, fall_db: float) -> None:
    noise = channel.coloured(SAMPLE_RATE * 20, slope, default_rng(4))
    low = level_db(noise, SAMPLE_RATE, 90, 110)
    assert low - level_db(noise, SAMPLE_RATE, 900, 1100) == pytest.approx(fall_db, abs=1.5)


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
