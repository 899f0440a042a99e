"""Tiny models of Transformers with random weights, each saved as a folder with its files.

What they write means nothing, but it depends on the audio, and so does what the library writes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from serve_app.audio.clip import Clip

transformers.utils.logging.disable_progress_bar()

RATE = 16_000
LANGUAGES = ("en", "de", "fr")


def speech(seconds: float, seed: int) -> Clip:
    """Noise that becomes louder and softer, a few times a second."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    loudness = 0.02 + 0.2 * np.abs(np.sin(2 * np.pi * rng.uniform(0.5, 2) * time))
    tone = np.sin(2 * np.pi * rng.uniform(200, 2000) * time)
    return (loudness * (tone + rng.normal(0, 0.3, len(time)))).astype(np.float32)


def whisper(folder: Path, *, multilingual: bool = True, **changes: Any) -> Path:
    """A Whisper model of two layers that writes at most 48 tokens, of ASCII."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("Ġ", "a"), ("Ġ", "b"), ("Ġ", "t"), ("Ġt", "h"), ("Ġth", "e"), ("o", "n")]
    vocabulary = {each: index for index, each in enumerate(alphabet)}
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    tokenizer = transformers.WhisperTokenizer(vocab=vocabulary, merges=merges)
    names = ["endoftext", "startoftranscript", *LANGUAGES, "translate", "transcribe"]
    names += ["startoflm", "startofprev", "nospeech", "notimestamps"]
    tokenizer.add_tokens([AddedToken(f"<|{each}|>", special=True) for each in names], True)
    tokenizer.save_pretrained(folder)
    number = {each: tokenizer.convert_tokens_to_ids(f"<|{each}|>") for each in names}
    config = transformers.WhisperConfig(
        vocab_size=len(tokenizer),
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_target_positions=48,
        init_std=0.4,
        pad_token_id=number["endoftext"],
        bos_token_id=number["endoftext"],
        eos_token_id=number["endoftext"],
        decoder_start_token_id=number["startoftranscript"],
        suppress_tokens=None,
        begin_suppress_tokens=None,
        **changes,
    )
    torch.manual_seed(1)
    model = transformers.WhisperForConditionalGeneration(config)
    letters = set("abcdefghijklmnopqrstuvwxyzĠ")
    odd = [index for text, index in vocabulary.items() if not set(text) <= letters]
    special = [token for name, token in number.items() if name != "endoftext"]
    generation = {
        "is_multilingual": multilingual,
        "no_timestamps_token_id": number["notimestamps"],
        "suppress_tokens": sorted(odd + special),
        "begin_suppress_tokens": [vocabulary["Ġ"], number["endoftext"]],
        "alignment_heads": [[0, 1], [1, 0]],
        "decoder_start_token_id": number["startoftranscript"],
        "eos_token_id": number["endoftext"],
        "pad_token_id": number["endoftext"],
        "max_length": 48,
        "return_timestamps": False,
    }
    if multilingual:
        generation["lang_to_id"] = {f"<|{each}|>": number[each] for each in LANGUAGES}
        generation["task_to_id"] = {each: number[each] for each in ("transcribe", "translate")}
    model.save_pretrained(folder)
    (folder / "generation_config.json").write_text(json.dumps(generation))
    transformers.WhisperFeatureExtractor().save_pretrained(folder)
    return folder


def wav2vec2(folder: Path, *, norm: str = "layer", shard: str = "5GB", **changes: Any) -> Path:
    """A wav2vec 2.0 model of two layers that writes letters."""
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDEFGHIJ"]
    folder.mkdir(exist_ok=True)
    vocabulary = folder / "vocab.json"
    vocabulary.write_text(json.dumps({each: index for index, each in enumerate(letters)}))
    transformers.Wav2Vec2CTCTokenizer(str(vocabulary)).save_pretrained(folder)
    config = transformers.Wav2Vec2Config(
        vocab_size=len(letters),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(16, 16, 16),
        conv_stride=(5, 8, 8),
        conv_kernel=(10, 8, 8),
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        feat_extract_norm=norm,
        do_stable_layer_norm=norm == "layer",
        initializer_range=0.5,
        pad_token_id=0,
        **changes,
    )
    torch.manual_seed(2)
    transformers.Wav2Vec2ForCTC(config).save_pretrained(folder, max_shard_size=shard)
    transformers.Wav2Vec2FeatureExtractor(return_attention_mask=norm == "layer").save_pretrained(
        folder
    )
    return folder


_PIECES = ["<unk>", "▁a", "▁be", "▁", "c", "de", "f", "gh", "▁is", "o"]
_ENCODER = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "subsampling_conv_channels": 8,
    "num_mel_bins": 80,
    "initializer_range": 0.5,
}


def parakeet(folder: Path) -> Path:
    """A Parakeet CTC model of two layers that writes pieces of words."""
    _pieces(folder, "<pad>")
    config = transformers.ParakeetCTCConfig(
        vocab_size=len(_PIECES) + 1, pad_token_id=len(_PIECES), encoder_config=_ENCODER
    )
    torch.manual_seed(3)
    model = transformers.ParakeetForCTC(config)
    _randomize(model)
    torch.nn.init.zeros_(model.ctc_head.bias)
    model.save_pretrained(folder)
    return folder


def tdt(folder: Path) -> Path:
    """A Parakeet TDT model of two layers that writes pieces of words."""
    _pieces(folder, "<pad>", "<blank>")
    size = len(_PIECES) + 2
    config = transformers.ParakeetTDTConfig(
        vocab_size=size,
        pad_token_id=size - 2,
        blank_token_id=size - 1,
        decoder_hidden_size=32,
        num_decoder_layers=2,
        encoder_config=_ENCODER,
    )
    torch.manual_seed(3)
    model = transformers.ParakeetForTDT(config)
    _randomize(model)
    with torch.no_grad():
        torch.nn.init.zeros_(model.joint.head.bias)
        model.joint.head.bias[[0, size - 2]] = -20  # tokens that are no text
        model.joint.head.bias[size] = -2  # else it writes for ever within one frame
    model.generation_config.decoder_start_token_id = size - 1
    model.generation_config.suppress_tokens = list(range(size, size + len(config.durations)))
    model.save_pretrained(folder)
    return folder


def _pieces(folder: Path, *special: str) -> None:
    """The tokenizer and the feature extractor of Parakeet."""
    inner = Tokenizer(models.Unigram([(each, -1.0) for each in _PIECES], unk_id=0))
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.decoder = decoders.Metaspace()
    inner.add_special_tokens([AddedToken(each, special=True) for each in special])
    transformers.ParakeetTokenizer(
        tokenizer_object=inner, unk_token="<unk>", pad_token="<pad>"
    ).save_pretrained(folder)
    transformers.ParakeetFeatureExtractor().save_pretrained(folder)


def _randomize(model: Any) -> None:
    for weight in model.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.4)
