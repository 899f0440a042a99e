"""Tiny NeMo models of every kind that the engine serves, built from a seed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

SAMPLE_RATE = 16_000
#: Sentences that the BPE tokenizer is trained on.
CORPUS = [
    "the quick brown fox jumps over the lazy dog",
    "pack my box with five dozen liquor jugs",
    "how vexingly quick daft zebras jump",
    "sphinx of black quartz judge my vow",
    "it's the doctor's appointment at half past nine",
]
LETTERS = list(" abcdefghijklmnopqrstuvwxyz'")

_MODELS = "nemo.collections.asr.models"
_MODULES = "nemo.collections.asr.modules"
PREPROCESSOR = {
    "_target_": f"{_MODULES}.AudioToMelSpectrogramPreprocessor",
    "sample_rate": SAMPLE_RATE,
    "window_size": 0.025,
    "window_stride": 0.01,
    "features": 32,
    "n_fft": 512,
    "normalize": "per_feature",
    "dither": 1e-5,
    "pad_to": 16,
}
CONFORMER = {
    "_target_": f"{_MODULES}.ConformerEncoder",
    "feat_in": 32,
    "n_layers": 1,
    "d_model": 32,
    "n_heads": 2,
    "ff_expansion_factor": 2,
    "conv_kernel_size": 9,
    "subsampling": "dw_striding",
    "subsampling_factor": 8,
    "subsampling_conv_channels": 16,
    "dropout": 0.0,
    "dropout_pre_encoder": 0.0,
    "dropout_emb": 0.0,
    "dropout_att": 0.0,
}
#: What prompted models are told, and the number of each prompt.
PROMPTS = {"en-US": 0, "en": 0, "en-GB": 1, "de-DE": 2, "no": 3, "auto": 7}
_TDT_DURATIONS = [0, 1, 2, 3, 4]


def train_tokenizer(folder: Path) -> Path:
    """A sentencepiece BPE tokenizer of 64 pieces over `CORPUS`, as NeMo reads it."""
    import sentencepiece

    folder.mkdir()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS * 20),
        model_prefix=str(folder / "tokenizer"),
        model_type="bpe",
        vocab_size=64,
        minloglevel=2,
        bos_id=-1,
        eos_id=-1,
    )
    (folder / "vocab.txt").write_text(
        "\n".join(line.split("\t")[0] for line in (folder / "tokenizer.vocab").open()) + "\n"
    )
    return folder


def _ctc_decoder(classes: int, vocabulary: list[str]) -> dict[str, Any]:
    return {
        "_target_": f"{_MODULES}.ConvASRDecoder",
        "feat_in": 32,
        "num_classes": classes,
        "vocabulary": vocabulary,
    }


def _transducer(*, tdt: bool) -> dict[str, Any]:
    config: dict[str, Any] = {
        "decoder": {
            "_target_": f"{_MODULES}.RNNTDecoder",
            "normalization_mode": None,
            "random_state_sampling": False,
            "blank_as_pad": True,
            "prednet": {"pred_hidden": 32, "pred_rnn_layers": 1, "dropout": 0.0},
        },
        "joint": {
            "_target_": f"{_MODULES}.RNNTJoint",
            "log_softmax": None,
            "fuse_loss_wer": False,
            "jointnet": {"joint_hidden": 32, "activation": "relu", "dropout": 0.0},
        },
        "decoding": {"strategy": "greedy_batch", "greedy": {"max_symbols": 5}},
        "loss": {"loss_name": "default", "warprnnt_numba_kwargs": {"fastemit_lambda": 0.0}},
        "model_defaults": {"enc_hidden": 32, "pred_hidden": 32, "joint_hidden": 32},
    }
    if tdt:
        config["model_defaults"]["tdt_durations"] = _TDT_DURATIONS
        config["joint"]["num_extra_outputs"] = len(_TDT_DURATIONS)
        config["decoding"] |= {"model_type": "tdt", "durations": _TDT_DURATIONS}
        config["loss"] = {
            "loss_name": "tdt",
            "tdt_kwargs": {"durations": _TDT_DURATIONS, "sigma": 0.02, "omega": 0.1},
        }
    return config


def _aux_ctc() -> dict[str, Any]:
    ctc = {"decoder": _ctc_decoder(-1, []), "decoding": {"strategy": "greedy"}}
    return {"aux_ctc": ctc | {"ctc_loss_weight": 0.3}}


def config_of(kind: str, tokenizer: Path) -> tuple[str, dict[str, Any]]:
    """Class name and configuration of a model of one kind.

    The kinds are "ctc_char", "ctc_bpe", "ctc_conv", "rnnt", "tdt", "rnnt_char", "hybrid_rnnt",
    "hybrid_tdt", "prompted_rnnt" and "prompted_hybrid".
    """
    config: dict[str, Any] = {
        "sample_rate": SAMPLE_RATE,
        "preprocessor": PREPROCESSOR,
        "encoder": CONFORMER,
        # transcribe() reads this section
        "validation_ds": {"manifest_filepath": None, "sample_rate": SAMPLE_RATE, "shuffle": False},
    }
    bpe = {"tokenizer": {"dir": str(tokenizer), "type": "bpe"}}
    match kind:
        case "ctc_char":
            return "EncDecCTCModel", config | {
                "labels": LETTERS,
                "decoder": _ctc_decoder(len(LETTERS), LETTERS),
                "decoding": {"strategy": "greedy"},
            }
        case "ctc_conv":
            block = {"dropout": 0.0, "residual": False, "separable": True}
            encoder = {
                "_target_": f"{_MODULES}.ConvASREncoder",
                "feat_in": 32,
                "activation": "relu",
                "conv_mask": True,
                "jasper": [
                    {"filters": 32, "repeat": 1, "kernel": [11], "stride": [2], "dilation": [1]}
                    | block,
                    {"filters": 32, "repeat": 1, "kernel": [11], "stride": [1], "dilation": [1]}
                    | block,
                ],
            }
            return "EncDecCTCModel", config | {
                "encoder": encoder,
                "labels": LETTERS,
                "decoder": _ctc_decoder(len(LETTERS), LETTERS),
            }
        case "ctc_bpe":
            return "EncDecCTCModelBPE", config | bpe | {"decoder": _ctc_decoder(-1, [])}
        case "rnnt_char":
            return "EncDecRNNTModel", config | _transducer(tdt=False) | {"labels": LETTERS}
        case "rnnt" | "tdt":
            return "EncDecRNNTBPEModel", config | bpe | _transducer(tdt=kind == "tdt")
        case "hybrid_rnnt" | "hybrid_tdt":
            transducer = _transducer(tdt=kind == "hybrid_tdt")
            return "EncDecHybridRNNTCTCBPEModel", config | bpe | transducer | _aux_ctc()
        case "prompted_rnnt" | "prompted_hybrid":
            transducer = _transducer(tdt=False)
            transducer["model_defaults"] |= {
                "initialize_prompt_feature": True,
                "num_prompts": 8,
                "prompt_dictionary": PROMPTS,
            }
            if kind == "prompted_rnnt":
                return "EncDecRNNTBPEModelWithPrompt", config | bpe | transducer
            return "EncDecHybridRNNTCTCBPEModelWithPrompt", config | bpe | transducer | _aux_ctc()
    raise ValueError(kind)


def build(kind: str, tokenizer: Path, path: Path, *, seed: int = 0) -> Path:
    """Write a model of random weights, which writes random text, as a `.nemo` file."""
    from nemo.collections.asr import models
    from omegaconf import OmegaConf

    torch.manual_seed(seed)
    name, config = config_of(kind, tokenizer)
    model = getattr(models, name)(cfg=OmegaConf.create(config))
    model.eval()
    with torch.inference_mode(False), torch.no_grad():
        if hasattr(model, "joint"):
            extra = model.joint.num_extra_outputs
            centre(model, model.joint.enc, spread=2.0)
            centre(model, model.joint.joint_net[-1], blank=-1 - extra)
        if "hybrid" in kind:
            centre(model, model.ctc_decoder.decoder_layers[0], blank=-1)
        if "ctc" in kind:
            centre(model, model.decoder.decoder_layers[0], blank=-1)
    model.save_to(str(path))
    return path


def centre(model: Any, layer: Any, *, spread: float = 3.0, blank: int | None = None) -> None:
    """Scale and shift `layer` so that each of its outputs has mean 0 and `spread` on some babble.

    Untrained networks say the same on every frame; without that constant part, what is left
    varies with the sound.

    Args:
        blank: index of the output that is to win on about every second frame.
    """
    outputs: list[torch.Tensor] = []
    handle = layer.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    signal = torch.from_numpy(np.stack([babble(4.0, seed) for seed in range(100, 104)]))
    told = {"prompt_indices": torch.arange(len(signal))} if hasattr(model, "prompt_kernel") else {}
    encoded, lengths = model.forward(
        input_signal=signal, input_signal_length=torch.full([len(signal)], signal.shape[1]), **told
    )[:2]
    if hasattr(model, "ctc_decoder"):
        model.ctc_decoder(encoder_output=encoded)
    if hasattr(model, "joint"):
        model.decoding.rnnt_decoder_predictions_tensor(encoded, lengths)
    handle.remove()
    axis = 1 if isinstance(layer, torch.nn.Conv1d) else -1
    flat = torch.cat([output.movedim(axis, -1).flatten(0, -2) for output in outputs])
    gain = spread / flat.std(dim=0).mean()
    layer.bias.copy_((layer.bias - flat.mean(dim=0)) * gain)
    layer.weight.mul_(gain)
    if blank is not None:
        logits = (flat - flat.mean(dim=0)) * gain
        others = torch.cat([logits[:, :blank], logits[:, blank:][:, 1:]], dim=1).max(dim=1).values
        layer.bias[blank] += (others - logits[:, blank]).median()


def babble(seconds: float, seed: int) -> npt.NDArray[np.float32]:
    """Sound with the slow changes of speech: noise through drifting resonances, in bursts."""
    rng = np.random.default_rng(seed)
    samples = int(seconds * SAMPLE_RATE)
    time = np.arange(samples) / SAMPLE_RATE
    sound = np.zeros(samples)
    for _ in range(4):
        rate, low, high = rng.uniform(1, 5), rng.uniform(150, 800), rng.uniform(900, 3500)
        pitch = low + (high - low) * (0.5 + 0.5 * np.sin(2 * math.pi * rate * time))
        sound += np.sin(2 * math.pi * np.cumsum(pitch) / SAMPLE_RATE)
    envelope = np.clip(np.sin(2 * math.pi * rng.uniform(2, 4) * time) + 0.3, 0, None)
    return (0.1 * sound * envelope + rng.normal(0, 0.003, samples)).astype(np.float32)
