"""Models of real size with random weights, over the demo's tokenizer.

- FastConformer-L with CTC: the encoder of `fast-conformer_ctc_bpe.yaml` of NeMo's examples, size L
  (115 million parameters).
- Parakeet-TDT-0.6B: the encoder of `fast-conformer_transducer_bpe.yaml`, size XL (600 million),
  with its prediction network and joint, and durations up to four frames. A token wins on every
  second frame, so that it writes about as much as a model that hears something; untrained, it would
  write nothing or as much as it is allowed to.
"""

from __future__ import annotations

import copy
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.demo import MODELS

_GENERAL = MODELS / "general.nemo"
LARGE = {
    "n_layers": 17,
    "d_model": 512,
    "n_heads": 8,
    "ff_expansion_factor": 4,
    "subsampling_conv_channels": 256,
    "feat_in": 80,
    "xscaling": True,
}
XL = {
    "n_layers": 24,
    "d_model": 1024,
    "n_heads": 8,
    "ff_expansion_factor": 4,
    "subsampling_conv_channels": 256,
    "feat_in": 128,
    "xscaling": False,
}
_DURATIONS = [0, 1, 2, 3, 4]
_HIDDEN = 640


def write_large_model(path: Path, encoder: Mapping[str, Any] = LARGE) -> None:
    """Write a CTC model as a `.nemo` file; the large one is of 460 MB and takes ten seconds.

    Args:
        path: of the file.
        encoder: what is other than in the encoder of the demo's models.
    """
    import torch
    from nemo.collections.asr.models import ASRModel
    from omegaconf import open_dict

    torch.manual_seed(0)
    model = ASRModel.restore_from(str(_GENERAL), map_location="cpu")
    config = copy.deepcopy(model.cfg)
    with open_dict(config):
        config.encoder.update(encoder)
        config.preprocessor.features = encoder["feat_in"]
        config.decoder.feat_in = encoder["d_model"]
    for name in ("preprocessor", "encoder", "decoder"):
        setattr(model, name, ASRModel.from_config_dict(config[name]))
    model.cfg = config
    model.eval()
    model.save_to(str(path))


def write_tdt_model(path: Path, encoder: Mapping[str, Any] = XL, *, graphs: bool = True) -> None:
    """Write a TDT model as a `.nemo` file; the XL one is of 2.4 GB and takes a minute.

    Args:
        path: of the file.
        encoder: what is other than in the encoder of the demo's models.
        graphs: whether NeMo's decoder may use CUDA graphs.
    """
    import torch
    from nemo.collections.asr.models import ASRModel, EncDecRNNTBPEModel
    from omegaconf import OmegaConf

    from tests.serve_app.engines.nemo.tiny_models import centre

    torch.manual_seed(0)
    general = ASRModel.restore_from(str(_GENERAL), map_location="cpu", return_config=True)
    config = OmegaConf.to_container(general)
    with tempfile.TemporaryDirectory() as folder:
        config = {
            "sample_rate": config["sample_rate"],
            "preprocessor": config["preprocessor"] | {"features": encoder["feat_in"]},
            "encoder": config["encoder"] | dict(encoder),
            "tokenizer": {"dir": str(_unpack_tokenizer(Path(folder))), "type": "bpe"},
            **_transducer(encoder["d_model"], graphs=graphs),
        }
        model = EncDecRNNTBPEModel(cfg=OmegaConf.create(config))
        model.eval()
        with torch.inference_mode(False), torch.no_grad():
            centre(model, model.joint.enc, spread=2.0)
            centre(model, model.joint.joint_net[-1], blank=-1 - len(_DURATIONS))
        model.save_to(str(path))


def _unpack_tokenizer(folder: Path) -> Path:
    """The tokenizer of the demo's models, under the names that NeMo wants."""
    with tarfile.open(_GENERAL) as archive:
        for member in archive:
            for name in ("tokenizer.model", "tokenizer.vocab", "vocab.txt"):
                if member.name.endswith(f"_{name}"):
                    content = archive.extractfile(member)
                    assert content is not None
                    (folder / name).write_bytes(content.read())
    return folder


def _transducer(width: int, *, graphs: bool) -> dict[str, Any]:
    modules = "nemo.collections.asr.modules"
    return {
        "decoder": {
            "_target_": f"{modules}.RNNTDecoder",
            "normalization_mode": None,
            "random_state_sampling": False,
            "blank_as_pad": True,
            "prednet": {"pred_hidden": _HIDDEN, "pred_rnn_layers": 2, "dropout": 0.0},
        },
        "joint": {
            "_target_": f"{modules}.RNNTJoint",
            "log_softmax": None,
            "fuse_loss_wer": False,
            "num_extra_outputs": len(_DURATIONS),
            "jointnet": {"joint_hidden": _HIDDEN, "activation": "relu", "dropout": 0.0},
        },
        "decoding": {
            "strategy": "greedy_batch",
            "model_type": "tdt",
            "durations": _DURATIONS,
            "greedy": {"max_symbols": 10, "use_cuda_graph_decoder": graphs},
        },
        "loss": {
            "loss_name": "tdt",
            "tdt_kwargs": {"durations": _DURATIONS, "sigma": 0.02, "omega": 0.1},
        },
        "model_defaults": {
            "enc_hidden": width,
            "pred_hidden": _HIDDEN,
            "joint_hidden": _HIDDEN,
            "tdt_durations": _DURATIONS,
            "num_tdt_durations": len(_DURATIONS),
        },
    }
