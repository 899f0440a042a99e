"""Scaled-down models of the public NeMo families, in `.nemo` files as they are published.

Unlike those of `tiny_models`, their configurations hold all that a published one holds: also what
only training needs, and paths of the machine that trained.
"""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from tests.serve_app.engines.nemo.tiny_models import LETTERS, SAMPLE_RATE

Config = dict[str, Any]

_MODELS = "nemo.collections.asr.models"
_MODULES = "nemo.collections.asr.modules"
_DATA = "/data/NeMo_ASR_SET"
_WIDTH = 32
_FEATURES = 32
_TDT_DURATIONS = [0, 1, 2, 3, 4]
_TRAINING = ("train_ds", "validation_ds", "test_ds", "optim")
#: What NeMo adds to a configuration and a published one has.
_ADDED = ("labels", "adapters")


def build(family: str, tokenizer: Path, path: Path, *, seed: int = 0) -> Path:
    """Write a model of `family` with random weights as a `.nemo` file as it is published."""
    from omegaconf import OmegaConf

    published = _PUBLISHED[family]()
    with tempfile.TemporaryDirectory() as scratch:
        saved, folder = Path(scratch, "saved.nemo"), Path(scratch, "members")
        _model(family, published, tokenizer, seed).save_to(str(saved))
        with tarfile.open(saved) as archive:
            archive.extractall(folder, filter="data")
        file = folder / "model_config.yaml"
        config: Any = OmegaConf.to_container(OmegaConf.load(file))
        OmegaConf.save(OmegaConf.create(_as_published(published, config)), file)
        # before NeMo 1.7 the archives were compressed
        with tarfile.open(path, "w:gz" if family == "quartznet" else "w") as archive:
            archive.add(folder, arcname="./")
    return path


def _model(family: str, published: Config, tokenizer: Path, seed: int) -> Any:
    from nemo.collections.asr import models
    from omegaconf import OmegaConf

    torch.manual_seed(seed)
    config = OmegaConf.create({k: v for k, v in published.items() if k not in _TRAINING})
    if "tokenizer" in config:
        for section in config.tokenizer.get("langs", {"": config.tokenizer}).values():
            section.dir = str(tokenizer)
    model: Any = getattr(models, published["target"].rpartition(".")[2])(cfg=config)
    if family == "adapters":
        _add_adapters(model)
    model.eval()
    with torch.inference_mode(False), torch.no_grad():
        _make_talkative(model)
    return model


def _add_adapters(model: Any) -> None:
    from nemo.collections.common.parts.adapter_modules import LinearAdapterConfig

    for name in ("encoder:telephony", "dictation"):
        model.add_adapter(name, LinearAdapterConfig(in_features=_WIDTH, dim=8))
    model.set_enabled_adapters("encoder:telephony", enabled=False)
    for name, parameter in model.named_parameters():
        if "adapter_layer" in name:  # a new adapter changes nothing
            torch.nn.init.normal_(parameter, std=0.5)


def _make_talkative(model: Any) -> None:
    """Let an untrained model say more than one thing, and nothing on about every second frame."""
    if hasattr(model, "joint"):
        model.joint.pred.weight.mul_(10)  # else it repeats a piece up to `max_symbols`
        _spread(model, model.joint.enc)
        _spread(model, model.joint.joint_net[-1], blank=-1 - model.joint.num_extra_outputs)
    if hasattr(model, "ctc_decoder"):
        _spread(model, model.ctc_decoder.decoder_layers[0], blank=-1)
    elif not hasattr(model, "joint"):
        _spread(model, model.decoder.decoder_layers[0], blank=-1)


def _spread(model: Any, layer: Any, *, blank: int | None = None) -> None:
    """Scale and shift `layer` so that over some noise each of its outputs has the mean 0.

    Args:
        blank: index of the output that is to win on every second frame.
    """
    outputs: list[torch.Tensor] = []
    hook = layer.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    noise = 0.1 * torch.randn(2, 4 * SAMPLE_RATE)
    noise *= torch.rand(2, 40).repeat_interleave(SAMPLE_RATE // 10, dim=1)
    encoded, lengths = model.forward(
        input_signal=noise, input_signal_length=torch.full([2], noise.shape[1])
    )[:2]
    if hasattr(model, "ctc_decoder"):
        model.ctc_decoder(encoder_output=encoded)
    if hasattr(model, "joint"):
        model.decoding.rnnt_decoder_predictions_tensor(encoded, lengths)
    hook.remove()
    channel = 1 if isinstance(layer, torch.nn.Conv1d) else -1
    flat = torch.cat([output.movedim(channel, -1).flatten(0, -2) for output in outputs])
    mean, gain = flat.mean(dim=0), 3.0 / flat.std(dim=0).mean()
    layer.weight.mul_(gain)
    layer.bias.sub_(mean).mul_(gain)
    if blank is not None:
        scores = (flat - mean) * gain  # those after the blank are of durations
        others = scores[:, :blank].max(dim=1).values
        layer.bias[blank] += (others - scores[:, blank]).median()


def _as_published(published: Config, saved: Config) -> Config:
    """What NeMo of today has saved, with the sections that it was not given and no others."""
    config = {
        key: value if saved.get(key) is None else saved[key] for key, value in published.items()
    }
    config |= {key: saved[key] for key in _ADDED if key in saved}
    for key in ("target", "nemo_version"):
        del config[key]
        config[key] = published[key]
    if "tokenizer" in config:
        config["tokenizer"] = _at_home(published["tokenizer"], config["tokenizer"])
    return config


def _at_home(published: Config, saved: Config) -> Config:
    """A tokenizer section with the folders of the machine that trained."""
    if "langs" not in published:
        return saved | {"dir": published["dir"]}
    langs = {
        lang: _at_home(section, saved["langs"][lang])
        for lang, section in published["langs"].items()
    }
    return saved | {"langs": langs}


# ------------------------------------------------------------------------------ sections


def _model_class(module: str, name: str, version: str) -> Config:
    return {"target": f"{_MODELS}.{module}.{name}", "nemo_version": version}


def _train_ds(**changes: Any) -> Config:
    """Tarred audio in buckets, one list for each."""
    buckets = range(1, 5)
    return {
        "manifest_filepath": [[f"{_DATA}/bucket{i}/tarred_audio_manifest.json"] for i in buckets],
        "sample_rate": SAMPLE_RATE,
        "batch_size": 1,
        "shuffle": True,
        "num_workers": 8,
        "pin_memory": True,
        "use_start_end_token": False,
        "trim_silence": False,
        "max_duration": 20.0,
        "min_duration": 0.1,
        "is_tarred": True,
        "tarred_audio_filepaths": [
            [f"{_DATA}/bucket{i}/audio__OP_0..4095_CL_.tar"] for i in buckets
        ],
        "shuffle_n": 2048,
        "bucketing_strategy": "synced_randomized",
        "bucketing_batch_size": [34, 28, 24, 16],
        "bucketing_weights": None,
    } | changes


def _lhotse_ds(**changes: Any) -> Config:
    return {
        "use_lhotse": True,
        "skip_missing_manifest_entries": True,
        "input_cfg": None,
        "tarred_audio_filepaths": None,
        "manifest_filepath": None,
        "sample_rate": SAMPLE_RATE,
        "shuffle": True,
        "num_workers": 2,
        "pin_memory": True,
        "max_duration": 40.0,
        "min_duration": 0.1,
        "text_field": "answer",
        "batch_duration": None,
        "quadratic_duration": 30,
        "use_bucketing": True,
        "bucket_duration_bins": [[5.76, 87], [8.0, 139], [12.4, 220]],
        "bucket_batch_size": [120, 80, 64],
        "num_buckets": 30,
        "bucket_buffer_size": 20000,
        "shuffle_buffer_size": 10000,
    } | changes


def _eval_ds(manifests: str | list[str] | None, **changes: Any) -> Config:
    return {
        "manifest_filepath": manifests,
        "sample_rate": SAMPLE_RATE,
        "batch_size": 16,
        "shuffle": False,
        "use_start_end_token": False,
        "num_workers": 8,
        "pin_memory": True,
    } | changes


def _manifests(names: Iterable[str]) -> list[str]:
    return [f"/manifests/librispeech/librivox-{name}.json" for name in names]


def _datasets(train: Config, *, labels: bool = False, **changes: Any) -> Config:
    """`changes` are of the data sets that are not for training."""
    sections = {
        "train_ds": train,
        "validation_ds": _eval_ds(_manifests(["dev-clean", "dev-other"]), **changes),
        "test_ds": _eval_ds(_manifests(["test-clean", "test-other"]), **changes),
    }
    if labels:
        sections = {name: section | {"labels": LETTERS} for name, section in sections.items()}
    return sections


def _tokenizer(name: str) -> Config:
    return {"tokenizer": {"dir": f"/tokenizers/{name}/tokenizer_spe_unigram_v1024", "type": "bpe"}}


def _preprocessor(**changes: Any) -> Config:
    return {
        "preprocessor": {
            "_target_": f"{_MODULES}.AudioToMelSpectrogramPreprocessor",
            "sample_rate": SAMPLE_RATE,
            "normalize": "per_feature",
            "window_size": 0.025,
            "window_stride": 0.01,
            "window": "hann",
            "features": _FEATURES,
            "n_fft": 512,
            "frame_splicing": 1,
            "dither": 1e-5,
            "pad_to": 0,
        }
        | changes
    }


def _spec_augment(**changes: Any) -> Config:
    section = {"freq_masks": 2, "time_masks": 10, "freq_width": 27, "time_width": 0.05}
    return {
        "spec_augment": {"_target_": f"{_MODULES}.SpectrogramAugmentation"} | (changes or section)
    }


def _rectangles() -> Config:
    return _spec_augment(rect_freq=50, rect_masks=5, rect_time=120)


def _conformer(**changes: Any) -> Config:
    return {
        "encoder": {
            "_target_": f"{_MODULES}.ConformerEncoder",
            "feat_in": _FEATURES,
            "feat_out": -1,
            "n_layers": 2,
            "d_model": _WIDTH,
            "subsampling": "striding",
            "subsampling_factor": 4,
            "subsampling_conv_channels": -1,
            "ff_expansion_factor": 4,
            "self_attention_model": "rel_pos",
            "n_heads": 4,
            "att_context_size": [-1, -1],
            "xscaling": True,
            "untie_biases": True,
            "pos_emb_max_len": 5000,
            "conv_kernel_size": 31,
            "conv_norm_type": "batch_norm",
            "dropout": 0.1,
            "dropout_emb": 0.0,
            "dropout_att": 0.1,
        }
        | changes
    }


def _fast_conformer(**changes: Any) -> Config:
    faster = {
        "subsampling": "dw_striding",
        "subsampling_factor": 8,
        "subsampling_conv_channels": 16,
        "causal_downsampling": False,
        "att_context_style": "regular",
        "conv_kernel_size": 9,
        "conv_context_size": None,
        "dropout_pre_encoder": 0.1,
        "stochastic_depth_drop_prob": 0.0,
        "stochastic_depth_mode": "linear",
        "stochastic_depth_start_layer": 1,
    }
    return _conformer(**faster | changes)


def _reduction() -> Config:
    return {"reduction": None, "reduction_position": None, "reduction_factor": 1}


def _blocks(blocks: Iterable[Config], **changes: Any) -> Config:
    return {
        "encoder": {
            "_target_": f"{_MODULES}.ConvASREncoder",
            "feat_in": _FEATURES,
            "activation": "relu",
            "conv_mask": True,
        }
        | changes
        | {"jasper": list(blocks)}
    }


def _block(filters: int, kernel: int, **changes: Any) -> Config:
    return {
        "filters": filters,
        "repeat": 1,
        "kernel": [kernel],
        "stride": [1],
        "dilation": [1],
        "dropout": 0.0,
        "residual": False,
    } | changes


def _squeezing_blocks(kernels: Iterable[int], defaults: Config, last: int) -> list[Config]:
    """Blocks of Citrinet and ContextNet: every second one halves the rate, three in all."""
    names = ("separable", "se", "se_context_size")
    squeeze = {name: defaults[name] for name in names}
    factor = {"kernel_size_factor": defaults["kernel_size_factor"]}
    deep = {"repeat": defaults["repeat"], "dropout": defaults["dropout"], "residual": True}
    strided = {"stride": [2], "stride_last": True, "residual_mode": "stride_add"}
    width = defaults.get("filters", _WIDTH)
    first, *middle, final = kernels
    blocks = [_block(width, first, **squeeze)]
    for i, kernel in enumerate(middle):
        blocks.append(_block(width, kernel, **squeeze, **deep, **factor))
        if i % 2:
            blocks[-1] |= strided
    return [*blocks, _block(last, final, **squeeze, **factor)]


def _squeeze_defaults() -> Config:
    return {
        "repeat": 2,
        "dropout": 0.1,
        "separable": True,
        "se": True,
        "se_context_size": -1,
        "kernel_size_factor": 1.0,
    }


def _ctc_decoder(feat_in: int | None = None, *, labels: list[str] | None = None) -> Config:
    return {
        "decoder": {
            "_target_": f"{_MODULES}.ConvASRDecoder",
            "feat_in": feat_in,
            "num_classes": len(labels) if labels else -1,
            "vocabulary": labels or [],
        }
    }


def _ctc_decoding(*, whole: bool) -> Config:
    """The section that NeMo adds to a CTC model that has none: that of 1.10, or of 1.22."""
    method = {
        "name": "entropy",
        "entropy_type": "tsallis",
        "alpha": 0.33,
        "entropy_norm": "exp",
        "temperature": "DEPRECATED",
    }
    section: Config = {
        "strategy": "greedy",
        "preserve_alignments": None,
        "compute_timestamps": None,
        "word_seperator": " ",
        "ctc_timestamp_type": "all",
        "batch_dim_index": 0,
        "greedy": {"preserve_alignments": False, "compute_timestamps": False},
    }
    if whole:
        section["greedy"] |= {"preserve_frame_confidence": False, "confidence_method_cfg": method}
        section["beam"] = {
            "beam_size": 4,
            "search_type": "default",
            "preserve_alignments": False,
            "compute_timestamps": False,
            "return_best_hypothesis": True,
            "beam_alpha": 1.0,
            "beam_beta": 0.0,
            "kenlm_path": None,
            "flashlight_cfg": {
                "lexicon_path": None,
                "boost_path": None,
                "beam_size_token": 16,
                "beam_threshold": 20.0,
                "unk_weight": float("-inf"),
                "sil_weight": 0.0,
            },
            "pyctcdecode_cfg": {
                "beam_prune_logp": -10.0,
                "token_min_logp": -5.0,
                "prune_history": False,
                "hotwords": None,
                "hotword_weight": 10.0,
            },
        }
        section["confidence_cfg"] = {
            "preserve_frame_confidence": False,
            "preserve_token_confidence": False,
            "preserve_word_confidence": False,
            "exclude_blank": True,
            "aggregation": "min",
            "method_cfg": method,
        }
        section["temperature"] = 1.0
    return {"decoding": section}


def _transducer(
    *, max_symbols: int, fused_batch_size: int, dropout: float = 0.2, layers: int = 1
) -> Config:
    return {
        "decoder": {
            "_target_": f"{_MODULES}.RNNTDecoder",
            "normalization_mode": None,
            "random_state_sampling": False,
            "blank_as_pad": True,
            "prednet": {
                "pred_hidden": _WIDTH,
                "pred_rnn_layers": layers,
                "t_max": None,
                "dropout": dropout,
            },
        },
        "joint": {
            "_target_": f"{_MODULES}.RNNTJoint",
            "log_softmax": None,
            "preserve_memory": False,
            "fuse_loss_wer": True,
            "fused_batch_size": fused_batch_size,
            "jointnet": {"joint_hidden": _WIDTH, "activation": "relu", "dropout": dropout},
        },
        "decoding": {
            "strategy": "greedy_batch",
            "greedy": {"max_symbols": max_symbols},
            "beam": {
                "beam_size": 2,
                "return_best_hypothesis": False,
                "score_norm": True,
                "tsd_max_sym_exp": 50,
                "alsd_max_target_len": 2.0,
            },
        },
        "loss": {
            "loss_name": "default",
            "warprnnt_numba_kwargs": {"fastemit_lambda": 0.0, "clamp": -1.0},
        },
    }


def _with_durations(transducer: Config) -> Config:
    transducer["joint"]["num_extra_outputs"] = len(_TDT_DURATIONS)
    transducer["decoding"] |= {"model_type": "tdt", "durations": _TDT_DURATIONS}
    transducer["loss"] = {
        "loss_name": "tdt",
        "tdt_kwargs": {
            "fastemit_lambda": 0.0,
            "clamp": -1.0,
            "durations": _TDT_DURATIONS,
            "sigma": 0.02,
            "omega": 0.1,
        },
    }
    return transducer


def _model_defaults(*, tdt: bool = False) -> Config:
    section: Config = {"enc_hidden": _WIDTH, "pred_hidden": _WIDTH, "joint_hidden": _WIDTH}
    if tdt:
        section |= {"tdt_durations": _TDT_DURATIONS, "num_tdt_durations": len(_TDT_DURATIONS)}
    return {"model_defaults": section}


def _aux_ctc(weight: float = 0.3) -> Config:
    section = {"ctc_loss_weight": weight, "use_cer": False, "ctc_reduction": "mean_batch"}
    return {"aux_ctc": section | _ctc_decoder() | {"decoding": {"strategy": "greedy"}}}


def _interctc() -> Config:
    return {"interctc": {"loss_weights": [], "apply_at_layers": []}}


def _noam(rate: float) -> Config:
    return {
        "optim": {
            "name": "adamw",
            "lr": rate,
            "betas": [0.9, 0.98],
            "weight_decay": 0.001,
            "sched": {
                "name": "NoamAnnealing",
                "d_model": _WIDTH,
                "warmup_steps": 10000,
                "warmup_ratio": None,
                "min_lr": 1e-6,
            },
        }
    }


def _cosine(name: str, rate: float, betas: list[float], **schedule: Any) -> Config:
    sched = {"name": "CosineAnnealing", "warmup_steps": None, "warmup_ratio": None, "min_lr": 1e-5}
    return {
        "optim": {
            "name": name,
            "lr": rate,
            "betas": betas,
            "weight_decay": 0.001,
            "sched": sched | schedule,
        }
    }


# ------------------------------------------------------------------------------ families


def _parakeet_ctc() -> Config:
    return {
        "sample_rate": SAMPLE_RATE,
        "log_prediction": True,
        "ctc_reduction": "mean_volume",
        "skip_nan_grad": False,
        **_model_defaults(),
        **_datasets(_train_ds(bucketing_strategy="fully_randomized")),
        **_tokenizer("parakeet"),
        **_preprocessor(log=True, pad_value=0.0),
        **_spec_augment(),
        **_fast_conformer(xscaling=False),
        **_ctc_decoder(),
        **_interctc(),
        **_cosine("adamw", 0.001, [0.9, 0.98], warmup_steps=15000),
        **_ctc_decoding(whole=True),
        **_model_class("ctc_bpe_models", "EncDecCTCModelBPE", "1.22.0rc0"),
    }


def _parakeet_rnnt() -> Config:
    return {
        "sample_rate": SAMPLE_RATE,
        "compute_eval_loss": False,
        "log_prediction": True,
        "rnnt_reduction": "mean_volume",
        "skip_nan_grad": False,
        **_model_defaults(),
        **_datasets(_train_ds(bucketing_strategy="fully_randomized")),
        **_tokenizer("parakeet"),
        **_preprocessor(),
        **_spec_augment(),
        **_fast_conformer(xscaling=False, subsampling_conv_chunking_factor=1, **_reduction()),
        **_transducer(max_symbols=10, fused_batch_size=4, layers=2),
        **_cosine("adamw", 0.005, [0.9, 0.98], warmup_steps=15000, min_lr=5e-4),
        **_model_class("rnnt_bpe_models", "EncDecRNNTBPEModel", "1.22.0rc0"),
    }


def _parakeet_tdt() -> Config:
    aux = _aux_ctc()["aux_ctc"]  # left over: a model of this class has no such decoder
    return {
        "sample_rate": SAMPLE_RATE,
        "compute_eval_loss": False,
        "log_prediction": True,
        "rnnt_reduction": "mean_volume",
        "skip_nan_grad": False,
        **_model_defaults(tdt=True),
        "train_ds": _lhotse_ds(),
        "validation_ds": _lhotse_ds(shuffle=False, use_bucketing=False, batch_size=16),
        "test_ds": _eval_ds(None),
        **_tokenizer("granary"),
        **_preprocessor(),
        **_spec_augment(),
        **_fast_conformer(use_bias=False, xscaling=False, **_reduction()),
        **_with_durations(_transducer(max_symbols=10, fused_batch_size=4, layers=2)),
        "aux_ctc": aux,
        **_interctc(),
        **_cosine("adamw", 5e-4, [0.9, 0.98], warmup_steps=5000, max_steps=150000),
        **_model_class("rnnt_bpe_models", "EncDecRNNTBPEModel", "2.2.0rc3"),
    }


def _parakeet_tdt_ctc() -> Config:
    return {
        "sample_rate": SAMPLE_RATE,
        "compute_eval_loss": False,
        "log_prediction": True,
        "rnnt_reduction": "mean_volume",
        "skip_nan_grad": False,
        **_model_defaults(tdt=True),
        **_datasets(_lhotse_ds(text_field="text")),
        **_tokenizer("parakeet"),
        **_preprocessor(),
        **_spec_augment(),
        **_fast_conformer(use_pytorch_sdpa=False, use_pytorch_sdpa_backends=[], **_reduction()),
        **_with_durations(_transducer(max_symbols=10, fused_batch_size=4)),
        **_aux_ctc(),
        **_interctc(),
        **_noam(5.0),
        **_model_class("hybrid_rnnt_ctc_bpe_models", "EncDecHybridRNNTCTCBPEModel", "2.0.0rc1"),
    }


def _fastconformer_hybrid() -> Config:
    return {
        "sample_rate": SAMPLE_RATE,
        "compute_eval_loss": False,
        "log_prediction": True,
        "skip_nan_grad": False,
        **_model_defaults(),
        **_datasets(_train_ds()),
        **_tokenizer("en_pc"),
        **_preprocessor(),
        **_spec_augment(),
        **_fast_conformer(),
        **_transducer(max_symbols=10, fused_batch_size=4),
        **_aux_ctc(),
        **_interctc(),
        **_noam(5.0),
        **_model_class("hybrid_rnnt_ctc_bpe_models", "EncDecHybridRNNTCTCBPEModel", "1.21.0rc0"),
    }


def _fastconformer_streaming() -> Config:
    contexts = [[70, 13], [70, 6], [70, 1], [70, 0]]
    config = _fastconformer_hybrid()
    config |= _tokenizer("en_streaming")
    config |= _preprocessor(normalize="NA")
    config |= _fast_conformer(
        use_bias=True,
        causal_downsampling=True,
        att_context_size=contexts,
        att_context_style="chunked_limited",
        att_context_probs=[1 / len(contexts)] * len(contexts),
        conv_norm_type="layer_norm",
        conv_context_size="causal",
    )
    config["loss"]["warprnnt_numba_kwargs"]["fastemit_lambda"] = 0.005
    config["nemo_version"] = "1.20.0rc0"
    return config


def _conformer_ctc() -> Config:
    return {
        "sample_rate": SAMPLE_RATE,
        "log_prediction": True,
        "ctc_reduction": "mean_batch",
        "skip_nan_grad": False,
        **_datasets(_train_ds()),
        **_tokenizer("en"),
        **_preprocessor(log=True, pad_value=0.0),
        **_spec_augment(),
        **_conformer(),
        **_ctc_decoder(),
        **_noam(2.0),
        **_ctc_decoding(whole=False),
        **_model_class("ctc_bpe_models", "EncDecCTCModelBPE", "1.10.0rc0"),
    }


def _conformer_ctc_char() -> Config:
    config = _conformer_ctc()
    del config["tokenizer"], config["decoding"]
    config |= {"labels": LETTERS, "use_cer": True}
    config |= _datasets(_train_ds(), labels=True)
    config |= _ctc_decoder(labels=LETTERS)
    config |= _model_class("ctc_models", "EncDecCTCModel", "1.6.0rc0")
    return config


def _conformer_transducer() -> Config:
    return {
        "sample_rate": SAMPLE_RATE,
        "compute_eval_loss": False,
        "log_prediction": True,
        **_model_defaults(),
        **_datasets(_train_ds()),
        **_tokenizer("en"),
        **_preprocessor(),
        **_spec_augment(),
        **_conformer(),
        **_transducer(max_symbols=30, fused_batch_size=16, dropout=0.1),
        "variational_noise": {"start_step": 0, "std": 0.0},
        "normalize_joint_txu": False,
        "normalize_encoder_norm": False,
        "normalize_decoder_norm": False,
        "normalize_joint_norm": False,
        **_noam(5.0),
        **_model_class("rnnt_bpe_models", "EncDecRNNTBPEModel", "1.10.0rc0"),
    }


def _citrinet() -> Config:
    defaults = _squeeze_defaults() | {"enc_final": 2 * _WIDTH}
    blocks = _squeezing_blocks([5, 11, 13, 15, 13, 17, 25, 41], defaults, defaults["enc_final"])
    shift = {"prob": 0.5, "min_shift_ms": -5.0, "max_shift_ms": 5.0}
    noise = {"prob": 0.5, "min_level": -90, "max_level": -46}
    return {
        "sample_rate": SAMPLE_RATE,
        **_datasets(
            _train_ds(
                manifest_filepath=f"{_DATA}/train/tarred_audio_manifest.json",
                tarred_audio_filepaths=f"{_DATA}/train/audio__OP_0..1023_CL_.tar",
                tarred_shard_strategy="scatter",
                augmentor={"shift": shift, "white_noise": noise},
            )
        ),
        "model_defaults": defaults,
        **_tokenizer("en"),
        **_preprocessor(pad_to=16, stft_conv=False),
        **_spec_augment(),
        **_blocks(blocks),
        **_ctc_decoder(defaults["enc_final"]),
        **_cosine("novograd", 0.05, [0.8, 0.25], warmup_steps=1000, last_epoch=-1),
        **_model_class("ctc_bpe_models", "EncDecCTCModelBPE", "1.0.0rc1"),
    }


def _contextnet() -> Config:
    defaults = {"filters": _WIDTH} | _squeeze_defaults() | _model_defaults()["model_defaults"]
    transducer = _transducer(max_symbols=10, fused_batch_size=16, dropout=0.1)
    transducer["decoding"]["beam"] = {
        "beam_size": 4,
        "score_norm": True,
        "return_best_hypothesis": False,
        "softmax_temperature": 1.0,
        "tsd_max_sym_exp": 10,
        "alsd_max_target_len": 5.0,
        "maes_num_steps": 2,
        "maes_prefix_alpha": 1,
        "maes_expansion_beta": 2,
        "maes_expansion_gamma": 2.3,
    }
    transducer["loss"]["warprnnt_numba_kwargs"] = {"fastemit_lambda": 0.001}
    return {
        "sample_rate": SAMPLE_RATE,
        "compute_eval_loss": False,
        **_datasets(_train_ds(tarred_shard_strategy="scatter"), batch_size=8),
        "model_defaults": defaults,
        **_tokenizer("en"),
        **_preprocessor(pad_to=16, stft_conv=False),
        **_spec_augment(),
        **_blocks(
            _squeezing_blocks([5] * 8, defaults, defaults["enc_hidden"]),
            activation="swish",
            init_mode="tds_uniform",
        ),
        **transducer,
        **_cosine("novograd", 0.05, [0.9, 0.0], warmup_steps=5000, min_lr=1e-6, last_epoch=-1),
        **_model_class("rnnt_bpe_models", "EncDecRNNTBPEModel", "1.6.0rc0"),
    }


def _quartznet() -> Config:
    rooms = "/data/datasets/freesound/rir_noises_tarred"
    augmentor = {
        "rir_noise_aug": {
            "prob": 0.5,
            "rir_manifest_path": f"{rooms}/tarred_audio_manifest.json",
            "rir_tar_filepaths": f"{rooms}/audio_{{0..63}}.tar",
            "rir_prob": 0.5,
            "noise_manifest_paths": [f"{rooms}/noise_manifest.json"],
            "noise_tar_filepaths": [f"{rooms}/noise_{{0..63}}.tar"],
            "min_snr_db": [0],
            "max_snr_db": [30],
            "orig_sample_rate": [SAMPLE_RATE],
            "bg_noise_manifest_paths": None,
            "bg_noise_tar_filepaths": None,
            "bg_min_snr_db": [10],
            "bg_max_snr_db": [40],
            "bg_orig_sample_rate": None,
        },
        "transcode_aug": {"prob": 0.1},
    }
    repeat, dropout, separable = 2, 0.0, True
    deep = {"repeat": repeat, "residual": True, "separable": separable, "dropout": dropout}
    blocks = [
        _block(16, 33, separable=separable, stride=[2]),
        _block(16, 33, **deep),
        _block(_WIDTH, 39, **deep),
        _block(_WIDTH, 87, separable=separable, dilation=[2]),
        _block(2 * _WIDTH, 1),
    ]
    return {
        "sample_rate": SAMPLE_RATE,
        "repeat": repeat,
        "dropout": dropout,
        "separable": separable,
        "labels": LETTERS,
        **_datasets(
            _train_ds(trim_silence=True, max_duration=16.7, augmentor=augmentor), labels=True
        ),
        **_preprocessor(window_size=0.02, pad_to=16, stft_conv=False),
        **_rectangles(),
        **_blocks(blocks),
        **_ctc_decoder(2 * _WIDTH, labels=LETTERS),
        **_cosine("novograd", 0.01, [0.8, 0.5], min_lr=0.0, last_epoch=-1),
        **_model_class("ctc_models", "EncDecCTCModel", "1.0.0rc1"),
    }


def _jasper() -> Config:
    dense = {"repeat": 2, "residual": True, "residual_dense": True, "dropout": 0.2}
    blocks = [
        _block(16, 11, stride=[2], dropout=0.2),
        _block(16, 11, **dense),
        _block(24, 13, **dense),
        _block(_WIDTH, 17, **dense),
        _block(_WIDTH, 29, dilation=[2], dropout=0.4),
        _block(2 * _WIDTH, 1, dropout=0.4),
    ]
    return {
        "sample_rate": SAMPLE_RATE,
        "labels": LETTERS,
        **_datasets(_train_ds(trim_silence=True, max_duration=16.7), labels=True),
        **_preprocessor(window_size=0.02, pad_to=16),
        **_rectangles(),
        **_blocks(blocks),
        **_ctc_decoder(2 * _WIDTH, labels=LETTERS),
        **_cosine("novograd", 0.01, [0.8, 0.5], min_lr=0.0, last_epoch=-1),
        **_model_class("ctc_models", "EncDecCTCModel", "1.0.0rc1"),
    }


def _lstm_ctc() -> Config:
    config = _conformer_ctc()
    config["encoder"] = {
        "_target_": f"{_MODULES}.RNNEncoder",
        "feat_in": _FEATURES,
        "n_layers": 2,
        "d_model": _WIDTH,
        "proj_size": 16,
        "rnn_type": "lstm",
        "bidirectional": True,
        "subsampling": "stacking",
        "subsampling_factor": 4,
        "subsampling_conv_channels": -1,
        "dropout": 0.2,
    }
    return config


def _multilingual() -> Config:
    config = _fastconformer_hybrid()
    config |= _datasets(
        _train_ds(
            is_concat=True,
            concat_sampling_technique="temperature",
            concat_sampling_temperature=1.5,
            concat_sampling_probabilities=None,
            return_language_id=False,
        ),
        return_language_id=False,
    )
    langs = {lang: _tokenizer(lang)["tokenizer"] for lang in ("en", "de")}
    config["tokenizer"] = {"type": "agg", "langs": langs}
    config["nemo_version"] = "1.20.0rc0"
    return config


def _adapters() -> Config:
    config = _conformer_ctc()
    config["encoder"]["_target_"] = f"{_MODULES}.conformer_encoder.ConformerEncoderAdapter"
    config["tokenizer"]["update_tokenizer"] = False  # from the script that fine-tunes
    config["decoding"] = None  # which NeMo fills in
    config["nemo_version"] = "3.0.0"
    return config


_PUBLISHED: dict[str, Callable[[], Config]] = {
    "parakeet_ctc": _parakeet_ctc,
    "parakeet_rnnt": _parakeet_rnnt,
    "parakeet_tdt": _parakeet_tdt,
    "parakeet_tdt_ctc": _parakeet_tdt_ctc,
    "fastconformer_hybrid": _fastconformer_hybrid,
    "fastconformer_streaming": _fastconformer_streaming,
    "conformer_ctc": _conformer_ctc,
    "conformer_ctc_char": _conformer_ctc_char,
    "conformer_transducer": _conformer_transducer,
    "citrinet": _citrinet,
    "contextnet": _contextnet,
    "quartznet": _quartznet,
    "jasper": _jasper,
    "lstm_ctc": _lstm_ctc,
    "multilingual": _multilingual,
    "adapters": _adapters,
}
FAMILIES: tuple[str, ...] = tuple(_PUBLISHED)
