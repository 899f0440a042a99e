from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.nemo

#: Of models as NeMo publishes them.
USUAL = {"features": 80, "n_fft": 512, "normalize": "per_feature", "dither": 0.0, "pad_to": 0}


def made(**options: object) -> object:
    import torch
    from nemo.collections.asr.modules import AudioToMelSpectrogramPreprocessor

    found = AudioToMelSpectrogramPreprocessor(**{**USUAL, **options})
    found.eval()
    assert isinstance(found, torch.nn.Module)
    return found


@pytest.mark.parametrize("options", [{}, {"preemph": None}, {"features": 128, "n_fft": 1024}])
def test_they_are_those_of_nemo(options: dict[str, object]) -> None:
    import torch

    from serve_app.engines.nemo.features import quicken

    featurizer = made(**options).featurizer  # type: ignore[attr-defined]
    rng = np.random.default_rng(0)
    lengths = torch.tensor([16_000, 12_345, 400, 0])
    signal = torch.from_numpy(rng.normal(0, 0.1, (4, 16_000)).astype(np.float32))
    for row, length in zip(signal, lengths, strict=True):
        row[length:] = 0.0
    with torch.inference_mode():
        expected, frames = featurizer(signal, lengths)
        before = featurizer.forward
        quicken(featurizer)
        assert featurizer.forward is not before
        found, of_each = featurizer(signal, lengths)
    assert torch.equal(of_each, frames)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4, equal_nan=True)


@pytest.mark.parametrize(
    "options", [{"mag_power": 1.0}, {"normalize": "all_features"}, {"frame_splicing": 3}]
)
def test_unusual_ones_are_left_to_nemo(options: dict[str, object]) -> None:
    from serve_app.engines.nemo.features import quicken

    featurizer = made(**options).featurizer  # type: ignore[attr-defined]
    before = featurizer.forward
    quicken(featurizer)
    assert featurizer.forward == before
