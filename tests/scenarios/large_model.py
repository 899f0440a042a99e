"""A model of real size with random weights: FastConformer-L with CTC, over the demo's tokenizer.

The encoder is that of `fast-conformer_ctc_bpe.yaml` of NeMo's examples, size L (115 million
parameters).
"""

from __future__ import annotations

import copy
from pathlib import Path

from deploy.demo import MODELS

_ENCODER = {
    "n_layers": 17,
    "d_model": 512,
    "n_heads": 8,
    "ff_expansion_factor": 4,
    "subsampling_conv_channels": 256,
    "feat_in": 80,
    "xscaling": True,
}


def write_large_model(path: Path) -> None:
    """Write the model as a `.nemo` file of some 460 MB; takes about ten seconds."""
    import torch
    from nemo.collections.asr.models import ASRModel
    from omegaconf import open_dict

    torch.manual_seed(0)
    model = ASRModel.restore_from(str(MODELS / "general.nemo"), map_location="cpu")
    config = copy.deepcopy(model.cfg)
    with open_dict(config):
        config.encoder.update(_ENCODER)
        config.preprocessor.features = _ENCODER["feat_in"]
        config.decoder.feat_in = _ENCODER["d_model"]
    for name in ("preprocessor", "encoder", "decoder"):
        setattr(model, name, ASRModel.from_config_dict(config[name]))
    model.cfg = config
    model.eval()
    model.save_to(str(path))
