"""`make channels`, shorter."""

from __future__ import annotations

import pytest

from tests.scenarios.channels import run_channels


@pytest.mark.nemo
@pytest.mark.ray
@pytest.mark.slow
def test_each_channel_of_a_call_is_heard_as_if_alone() -> None:
    figures, _ = run_channels(6, say=print)
    assert figures["calls"] == 6
    # a word of so few calls is more than a point
    assert figures["wer_per_channel"] == pytest.approx(figures["wer_single"], abs=3)
    assert figures["wer_downmix"] > 40
