"""Tiny multitask models (Canary), with and without the CTC model that times their words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.serve_app.engines.nemo.archives import (
    CONFIG,
    TIMES_CONFIG,
    TIMES_WEIGHTS,
    WEIGHTS,
    plain_tar,
    read_members,
)
from tests.serve_app.engines.nemo.tiny_models import (
    CONFORMER,
    CORPUS,
    PREPROCESSOR,
    SAMPLE_RATE,
    babble,
    centre,
)

LANGUAGES = ("en", "de")
#: Tokens of the prompts, those of languages that a model has not learned among them.
SPECIAL = [
    *("translate", "transcribe", "startofcontext", "emo:undefined", "emo:neutral"),
    *("itn", "noitn", "timestamp", "notimestamp", "diarize", "nodiarize"),
    *LANGUAGES,
    "it",
]
_TOKENIZERS = "nemo.collections.common.tokenizers.canary_tokenizer"
#: The section that names the class of one tokenizer for all languages.
CANARY_BPE = {"_target_": f"{_TOKENIZERS}.CanaryBPETokenizer"}
_WIDTH = 32
#: Share of the steps on which a model ends its text.
_ENDS = 0.3


def special_tokenizer(folder: Path) -> Path:
    """The tokenizer of the special tokens, as NeMo makes it."""
    from nemo.collections.common.tokenizers.canary_tokenizer import CanaryTokenizer

    CanaryTokenizer.build_special_tokenizer(SPECIAL, folder)
    return folder


def unified_tokenizer(folder: Path) -> Path:
    """One tokenizer for the special tokens and all languages, as Canary 1B v2 has it."""
    import sentencepiece
    from nemo.collections.common.tokenizers.canary_tokenizer import DEFAULT_TOKENS

    symbols = [*DEFAULT_TOKENS, *(f"<|{each}|>" for each in SPECIAL)]
    folder.mkdir()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS * 20),
        model_prefix=str(folder / "tokenizer"),
        model_type="bpe",
        vocab_size=64 + len(symbols),
        user_defined_symbols=symbols,
        minloglevel=2,
        bos_id=-1,
        eos_id=-1,
    )
    (folder / "vocab.txt").write_text(
        "\n".join(line.split("\t")[0] for line in (folder / "tokenizer.vocab").open()) + "\n"
    )
    return folder


def multitask_config(tokenizer: dict[str, Any], prompt_format: str) -> dict[str, Any]:
    """The configuration of a model, as NeMo's example has it."""
    return {
        "target": "nemo.collections.asr.models.aed_multitask_models.EncDecMultiTaskModel",
        "sample_rate": SAMPLE_RATE,
        "label_smoothing": 0.0,
        "prompt_format": prompt_format,
        "model_defaults": {
            "asr_enc_hidden": _WIDTH,
            "lm_enc_hidden": _WIDTH,
            "lm_dec_hidden": 2 * _WIDTH,
        },
        "tokenizer": tokenizer,
        "preprocessor": PREPROCESSOR,
        "encoder": CONFORMER,
        "transf_encoder": {
            "_target_": "nemo.collections.asr.modules.transformer.transformer_encoders."
            "TransformerEncoder",
            "num_layers": 0,
            "hidden_size": _WIDTH,
            "inner_size": 2 * _WIDTH,
            "num_attention_heads": 2,
            "ffn_dropout": 0.1,
            "mask_future": False,
            "pre_ln": True,
            "pre_ln_final_layer_norm": True,
        },
        "transf_decoder": {
            "_target_": "nemo.collections.asr.modules.transformer.get_nemo_transformer",
            "model_name": None,
            "pretrained": False,
            "encoder": None,
            "pre_ln_final_layer_norm": True,
            "config_dict": {
                "max_sequence_length": 256,
                "num_token_types": 0,
                "embedding_dropout": 0.1,
                "learn_positional_encodings": False,
                "hidden_size": 2 * _WIDTH,
                "inner_size": 4 * _WIDTH,
                "num_layers": 1,
                "num_attention_heads": 2,
                "ffn_dropout": 0.1,
                "attn_score_dropout": 0.1,
                "attn_layer_dropout": 0.1,
                "hidden_act": "relu",
                "pre_ln": True,
                "vocab_size": "None",
            },
        },
        "head": {
            "_target_": "nemo.collections.asr.parts.submodules.token_classifier.TokenClassifier",
            "num_layers": 1,
            "activation": "relu",
            "log_softmax": True,
            "hidden_size": 2 * _WIDTH,
            "num_classes": "None",
            "dropout": 0.0,
            "use_transformer_init": True,
        },
        "decoding": {
            "strategy": "beam",
            "return_best_hypothesis": True,
            "beam": {"beam_size": 1, "len_pen": 0.0, "max_generation_delta": 50},
        },
        "loss": {
            "_target_": "nemo.collections.common.losses.smoothed_cross_entropy."
            "SmoothedCrossEntropyLoss",
            "label_smoothing": 0.0,
            "pad_id": None,
        },
        "multitask_metrics_cfg": {
            "metrics": {"wer": {"_target_": "nemo.collections.asr.metrics.WER"}}
        },
    }


def aggregate(special: Path, languages: Sequence[Path]) -> dict[str, Any]:
    """The section of one tokenizer for each language."""
    folders = {"spl_tokens": special, **dict(zip(LANGUAGES, languages, strict=True))}
    return {
        "dir": None,
        "type": "agg",
        "langs": {name: {"dir": str(each), "type": "bpe"} for name, each in folders.items()},
        "custom_tokenizer": {"_target_": f"{_TOKENIZERS}.CanaryTokenizer", "tokenizers": None},
    }


def unified(folder: Path) -> dict[str, Any]:
    """The section of one tokenizer for all."""
    return {
        "dir": str(folder),
        "type": "bpe",
        "custom_tokenizer": CANARY_BPE,
    }


def build(
    path: Path, tokenizer: dict[str, Any], *, prompt_format: str = "canary2", seed: int = 0
) -> Path:
    """Write a model of random weights, which writes random text, as a `.nemo` file."""
    from nemo.collections.asr.models.aed_multitask_models import EncDecMultiTaskModel
    from nemo.core.classes.common import typecheck
    from omegaconf import OmegaConf, open_dict

    torch.manual_seed(seed)
    config = multitask_config(tokenizer, prompt_format)
    # else NeMo looks for a second model in what was restored last
    config["restore_timestamps_model"] = False
    model = EncDecMultiTaskModel(cfg=OmegaConf.create(config))
    with open_dict(model.cfg):
        del model.cfg.restore_timestamps_model
    model.eval()
    with torch.inference_mode(False), torch.no_grad(), typecheck.disable_checks():
        _make_talkative(model)
    model.save_to(str(path))
    return path


def _make_talkative(model: Any) -> None:
    """Let each token depend on those before it and on the sound, and the text end now and then.

    An untrained decoder repeats one token for ever: the head has the weights of the embedding.
    """
    centre(model, model.encoder_decoder_proj, spread=3.0)
    layer = model.log_softmax.mlp.layer0
    for block in model.transf_decoder.decoder.layers:
        block.second_sub_layer.out_projection.weight.mul_(2)
        block.third_sub_layer.dense_in.weight.mul_(3)
        block.third_sub_layer.dense_out.weight.mul_(10)
    layer.weight.mul_(5)
    special = torch.tensor([text.startswith("<") for text in _pieces(model)])
    spoken = torch.arange(len(special))[~special]
    signal = torch.from_numpy(np.stack([babble(3.0, seed) for seed in range(100, 104)]))
    _, _, states, mask = model.forward(
        input_signal=signal, input_signal_length=torch.full([len(signal)], signal.shape[1])
    )
    said = spoken[torch.randint(len(spoken), (len(signal), 40))]
    hidden = model.transf_decoder(
        input_ids=said,
        decoder_mask=torch.ones_like(said),
        encoder_embeddings=states,
        encoder_mask=mask,
    )
    layer.bias[:] = -1e4  # no special tokens
    layer.bias[spoken] = -(hidden @ layer.weight.T).mean(dim=(0, 1))[spoken]
    layer.bias[model.tokenizer.eos] = _margins(model, states, mask, spoken).quantile(_ENDS)


def _margins(
    model: Any, states: torch.Tensor, mask: torch.Tensor, spoken: torch.Tensor
) -> torch.Tensor:
    """How far, on the steps of some texts, the end is behind the token that is written."""
    found: list[torch.Tensor] = []
    layer = model.log_softmax.mlp.layer0
    end = layer.weight[model.tokenizer.eos]

    def watch(module: Any, inputs: Any, output: torch.Tensor) -> None:
        found.append(output[:, -1, spoken].max(dim=-1).values - inputs[0][:, -1] @ end)

    hook = layer.register_forward_hook(watch)
    model.decoding.decoding.beam_search(
        encoder_hidden_states=states,
        encoder_input_mask=mask,
        decoder_input_ids=torch.full([len(states), 1], model.tokenizer.bos),
    )
    hook.remove()
    return torch.cat(found[1:])


def _pieces(model: Any) -> list[str]:
    found: list[str] = model.tokenizer.ids_to_tokens(list(range(model.tokenizer.vocab_size)))
    return found


def with_times(path: Path, model: Path, ctc: Path) -> Path:
    """Write an archive of `model` with the CTC model `ctc` inside, which times its words."""
    members, second = read_members(model), read_members(ctc)
    members[TIMES_CONFIG] = second.pop(CONFIG)
    members[TIMES_WEIGHTS] = second.pop(WEIGHTS)
    path.write_bytes(plain_tar(members | second))
    return path
