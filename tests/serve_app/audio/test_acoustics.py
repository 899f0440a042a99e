from __future__ import annotations

import numpy as np
import pytest
from numpy.random import default_rng

from serve_app.audio import acoustics

RATE = 16_000
SECOND = np.arange(RATE * 2) / RATE


def tone(hertz: float) -> acoustics.Samples:
    return np.sin(2 * np.pi * hertz * SECOND).astype(np.float32)


def level_db(samples: acoustics.Samples, rate: int, low: float, high: float) -> float:
    """Mean power between two frequencies, in dB."""
    power = np.abs(np.fft.rfft(samples)) ** 2
    frequency = np.fft.rfftfreq(len(samples), 1 / rate)
    return float(10 * np.log10(np.mean(power[(frequency >= low) & (frequency < high)])))


def test_mu_law_has_256_levels_and_keeps_the_signal() -> None:
    samples = np.linspace(-1, 1, 20_001, dtype=np.float32)
    coded = acoustics.mu_law(samples)
    assert len(np.unique(coded)) <= 256
    quiet = np.abs(samples) < 0.01
    # the point of mu-law: the error is in proportion to the signal
    assert np.abs(coded - samples).max() < 0.03
    assert np.abs(coded - samples)[quiet].max() < 0.0005


@pytest.mark.parametrize("snr", [0, 10, 25])
def test_noise_is_added_at_the_ratio_asked_for(snr: float) -> None:
    clean = tone(440)
    noise = acoustics.white(len(clean), default_rng(2)) * 7
    added = acoustics.add_noise(clean, noise, snr) - clean
    assert 10 * np.log10(np.mean(clean**2) / np.mean(added**2)) == pytest.approx(snr, abs=0.01)


@pytest.mark.parametrize(("slope", "fall_db"), [(0, 0), (1, 10), (2, 20)])
def test_coloured_noise_falls_per_decade(slope: float, fall_db: float) -> None:
    noise = acoustics.coloured(RATE * 20, slope, default_rng(4))
    low = level_db(noise, RATE, 90, 110)
    assert low - level_db(noise, RATE, 900, 1100) == pytest.approx(fall_db, abs=1.5)


def test_a_clean_telephone_keeps_rate_length_and_band() -> None:
    line = acoustics.by_telephone(
        acoustics.white(len(SECOND), default_rng(1)) / np.float32(8), RATE
    )
    assert len(line) == len(SECOND)
    inside = level_db(line, RATE, 500, 3000)
    assert level_db(line, RATE, 20, 150) < inside - 20
    assert level_db(line, RATE, 4500, 8000) < inside - 20


def test_speed_moves_length_and_pitch() -> None:
    fast = acoustics.at_speed(tone(440), 1.1)
    assert len(fast) == pytest.approx(len(SECOND) / 1.1, abs=2)
    strongest = np.argmax(np.abs(np.fft.rfft(fast))) * RATE / len(fast)
    assert strongest == pytest.approx(484, abs=2)


def test_clipping_cuts_the_share_asked_for() -> None:
    noise = acoustics.white(len(SECOND), default_rng(1))
    cut = acoustics.clipped(noise, 0.05)
    assert np.mean(np.abs(cut) == np.abs(cut).max()) == pytest.approx(0.05, abs=0.001)
    quiet = np.abs(noise) < np.abs(cut).max()
    assert np.array_equal(cut[quiet], noise[quiet])


def test_a_room_decays_by_60_db_in_its_time_and_keeps_the_level() -> None:
    click = np.zeros(RATE, np.float32)
    click[0] = 1.0
    heard = acoustics.in_room(click, RATE, 0.5, default_rng(1))
    assert np.mean(heard**2) == pytest.approx(np.mean(click**2), rel=1e-3)
    tail = heard[1:]
    early, late = (np.mean(tail[int(s * RATE) :][:800] ** 2) for s in (0.0, 0.4))
    assert 10 * np.log10(early / late) == pytest.approx(48, abs=3)


def test_a_tilt_makes_each_octave_louder_than_the_one_below() -> None:
    noise = acoustics.white(len(SECOND), default_rng(1))
    tilted = acoustics.tilted(noise, RATE, 3.0)

    def gain_db(hertz: float) -> float:
        band = 0.98 * hertz, 1.02 * hertz
        return level_db(tilted, RATE, *band) - level_db(noise, RATE, *band)

    assert gain_db(1_000) == pytest.approx(0, abs=0.1)
    assert gain_db(8_000 / 1.02) - gain_db(4_000) == pytest.approx(3, abs=0.2)


def test_companding_brings_up_what_is_quiet() -> None:
    steady = np.array([0.5, -0.5, 0.005, -0.005], np.float32)
    loud, _, quiet, below = acoustics.companded(steady, 0.5)
    assert loud == pytest.approx(0.5)
    assert quiet == pytest.approx(0.05, rel=1e-3)
    assert below == -quiet
