"""Decode with one head of a NeMo model: from a batch of audio to text and tokens."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf, open_dict

from schemas.unicode_text import composed
from serve_app.engines.errors import EngineError
from serve_app.engines.nemo.decoding import (
    NO_BOOST,
    Decoded,
    Head,
    PhraseBoost,
    Wish,
    confidence_config,
)
from serve_app.engines.nemo.multitask import MultitaskHead
from serve_app.engines.nemo.options import NO_OPTIONS, NemoOptions
from serve_app.engines.nemo.prompted import LanguagePrompts, is_prompted
from serve_app.engines.nemo.word_times import WordTimer
from serve_app.engines.words import Tokens, merge_runs

#: Score of a token in a phrase, and its growth along the phrase: NeMo's values for greedy search.
_BOOSTING_TREE = {"context_score": 1.0, "depth_scaling": 2.0}


def make_head(
    model: Any,
    name: str,
    *,
    confidence: bool,
    boost: PhraseBoost = NO_BOOST,
    options: NemoOptions = NO_OPTIONS,
    timer: WordTimer | None = None,
) -> Head:
    """Set up a head of a model for decoding.

    Args:
        model: NeMo's model.
        name: "ctc", "rnnt" or "aed".
        confidence: whether tokens have confidences.
        boost: phrases for every clip.
        options: of the settings.
        timer: times the words of an "aed".

    Raises:
        EngineError: a phrase of `boost` is empty or has a character that the model does not write,
            or the model has no tokens of several characters; or an option does not fit the model.
    """
    _check_boost(model, name, boost)
    head: Head
    if name == "aed":
        head = MultitaskHead(model, options, timer, confidence=confidence)
    else:
        encode = Encoder(model, LanguagePrompts(model, options) if is_prompted(model) else None)
        if name == "rnnt":
            head = TransducerHead(model, encode, confidence=confidence, boost=boost)
        else:
            hybrid = hasattr(model, "ctc_decoder")
            head = CTCHead(model, encode, hybrid=hybrid, confidence=confidence, boost=boost)
    _check_phrases(boost, head.surfaces)
    model.eval()  # the new strategy has new modules
    return head


def _check_boost(model: Any, name: str, boost: PhraseBoost) -> None:
    if boost.phrases and name == "aed":
        raise EngineError("phrases: not supported by a multitask model; remove them")
    if boost.phrases and getattr(model, "tokenizer", None) is None:
        raise EngineError(
            "phrases: not supported by a model that writes single characters; remove them"
        )
    if not all(phrase.strip() for phrase in boost.phrases):
        raise EngineError("phrases: one of the phrases is empty")


def _check_phrases(boost: PhraseBoost, surfaces: Sequence[str]) -> None:
    alphabet = alphabet_of(surfaces)
    for phrase in boost.phrases:
        outside = sorted(set(phrase) - alphabet)
        if outside:
            characters = " ".join(map(repr, outside))
            raise EngineError(f"phrases: {phrase!r}: the model cannot write {characters}")


def writable(phrases: tuple[str, ...], alphabet: Set[str]) -> tuple[str, ...]:
    """The phrases that a model can write, in lower case if it writes no upper case.

    Args:
        phrases: the phrases.
        alphabet: the characters that the model writes.
    """
    known = (composed(each.strip()) for each in phrases)
    spellings = ((each, each.lower()) for each in known)
    found = (next((s for s in both if s and set(s) <= alphabet), "") for both in spellings)
    return tuple(dict.fromkeys(each for each in found if each))


def alphabet_of(surfaces: Sequence[str]) -> frozenset[str]:
    """The characters that a model writes.

    Args:
        surfaces: what each token ID adds to the text.
    """
    return frozenset({" ", *"".join(surfaces)})


class Encoder:
    """Runs the encoder of a model.

    Args:
        model: NeMo's model.
        prompts: what it is told of each clip; None for a model that is told nothing.

    Attributes:
        languages: that it can be told; None if it is not told any.
    """

    def __init__(self, model: Any, prompts: LanguagePrompts | None) -> None:
        self._model, self._prompts = model, prompts
        self.languages = None if prompts is None else prompts.languages

    def __call__(self, signal: torch.Tensor, lengths: torch.Tensor, wishes: Sequence[Wish]) -> Any:
        """The outputs of NeMo's `forward` for a batch, see `Head.decode`."""
        told = {}
        if self._prompts is not None:
            indices = self._prompts.indices(wishes or [Wish()] * len(signal))
            told["prompt_indices"] = indices.to(signal.device)
        return self._model.forward(input_signal=signal, input_signal_length=lengths, **told)


class CTCHead:
    """The CTC head of a CTC model or of a hybrid one; implements `Head`.

    Args:
        model: NeMo's model.
        encode: runs its encoder.
        hybrid: whether it also has an RNN-T or TDT head.
        confidence: whether tokens have confidences.
        boost: phrases for every clip.
    """

    takes_phrases = False  # NeMo supports it for transducers only
    has_frames = True

    def __init__(
        self, model: Any, encode: Encoder, *, hybrid: bool, confidence: bool, boost: PhraseBoost
    ) -> None:
        config = model.cfg.aux_ctc.decoding if hybrid else model.cfg.decoding
        # confidences are computed from the log probabilities: NeMo's own need its timestamps, which
        # it computes in Python, frame by frame
        config = _greedy(config, confidence=False, boost=boost)
        if hybrid:
            model.change_decoding_strategy(config, decoder_type="ctc", verbose=False)
        else:
            model.change_decoding_strategy(config, verbose=False)
        self._model, self._encode = model, encode
        self.languages = encode.languages
        self._hybrid = hybrid
        self._decoding = model.ctc_decoding if hybrid else model.decoding
        self.surfaces = _surfaces(self._decoding)
        self._confidence = confidence
        self._boosted = bool(boost.phrases)

    def decode(
        self,
        signal: torch.Tensor,
        lengths: torch.Tensor,
        *,
        tokens: bool,
        wishes: Sequence[Wish] = (),
    ) -> list[Decoded]:
        """Transcribe a batch; see `Head.decode`."""
        outputs = self._encode(signal, lengths, wishes)
        if self._hybrid:
            logprobs = self._model.ctc_decoder(encoder_output=outputs[0])
        else:
            logprobs = outputs[0]
        hypotheses = self._decoding.ctc_decoder_predictions_tensor(
            logprobs, decoder_lengths=outputs[1], return_hypotheses=True
        )
        best = self._chosen(logprobs, hypotheses).float().cpu().numpy()  # [clips, frames]
        decoded = []
        for hypothesis, row in zip(hypotheses, best, strict=True):
            labels = np.asarray(hypothesis.y_sequence, dtype=np.int64)
            row = row[: len(labels)]
            merged = None
            if tokens:
                merged = merge_runs(
                    labels,
                    row,
                    self.surfaces,
                    blank=self._decoding.blank_id,
                    size=logprobs.shape[-1],
                    confidence=self._confidence,
                )
            decoded.append(Decoded(hypothesis.text, merged, bool(np.isfinite(row).all())))
        return decoded

    def _chosen(self, logprobs: torch.Tensor, hypotheses: Sequence[Any]) -> torch.Tensor:
        """The model's log probability of each frame's label, without phrase boosting."""
        if not self._boosted:
            return logprobs.max(dim=-1).values
        labels = torch.zeros(logprobs.shape[:2], dtype=torch.int64)
        for row, hypothesis in zip(labels, hypotheses, strict=True):
            found = torch.as_tensor(hypothesis.y_sequence)
            row[: len(found)] = found
        return logprobs.gather(-1, labels.to(logprobs.device)[..., None])[..., 0]


class TransducerHead:
    """The RNN-T or TDT head of a transducer or of a hybrid model; implements `Head`.

    Args:
        model: NeMo's model.
        encode: runs its encoder.
        confidence: whether tokens have confidences.
        boost: phrases for every clip.
    """

    has_frames = True

    def __init__(
        self, model: Any, encode: Encoder, *, confidence: bool, boost: PhraseBoost
    ) -> None:
        config = _greedy(model.cfg.decoding, confidence=confidence, boost=boost)
        model.change_decoding_strategy(config, verbose=False)
        self._model, self._encode = model, encode
        self.languages = encode.languages
        self._decoding = model.decoding
        self.surfaces = _surfaces(model.decoding)
        self.takes_phrases = getattr(model, "tokenizer", None) is not None
        self._confidence = confidence
        self._config = config
        self._weight = boost.weight
        self._biased_decoder: _BiasedDecoder | None = None

    def decode(
        self,
        signal: torch.Tensor,
        lengths: torch.Tensor,
        *,
        tokens: bool,
        wishes: Sequence[Wish] = (),
    ) -> list[Decoded]:
        """Transcribe a batch; see `Head.decode`."""
        encoded, encoded_lengths = self._encode(signal, lengths, wishes)
        phrases = [each.phrases or () for each in wishes]
        if any(phrases):
            if self._biased_decoder is None:
                self._biased_decoder = _BiasedDecoder(self._model, self._config, self._weight)
            hypotheses = self._biased_decoder.decode(encoded, encoded_lengths, phrases)
        else:
            hypotheses = self._decoding.rnnt_decoder_predictions_tensor(
                encoded, encoded_lengths, return_hypotheses=True
            )
        frames = torch.arange(encoded.shape[-1], device=encoded.device)
        inside = frames < encoded_lengths[:, None]
        finite = (encoded.sum(dim=1).isfinite() | ~inside).all(dim=1).tolist()
        return [
            Decoded(hypothesis.text, self._tokens(hypothesis) if tokens else None, healthy)
            for hypothesis, healthy in zip(hypotheses, finite, strict=True)
        ]

    def _tokens(self, hypothesis: Any) -> Tokens | None:
        labels = torch.as_tensor(hypothesis.y_sequence).tolist()
        starts = torch.as_tensor(hypothesis.timestamp).tolist()
        confidences = hypothesis.token_confidence if self._confidence else None
        if len(starts) != len(labels) or len(confidences or labels) != len(labels):
            return None
        return Tokens(
            surfaces=[self.surfaces[label] for label in labels],
            starts=starts,
            # A token is emitted on one frame. TDT also predicts its duration, but the one that NeMo
            # 3.0 returns for a clip depends on the other clips of the batch.
            ends=[start + 1 for start in starts],
            confidences=None if confidences is None else [float(each) for each in confidences],
        )


class _BiasedDecoder:
    """A separate decoder for batches in which clips have phrases; slower than the usual one."""

    def __init__(self, model: Any, config: Any, weight: float) -> None:
        config = config.copy()
        with open_dict(config):
            config.greedy.enable_per_stream_biasing = True
        usual = model.decoding
        model.change_decoding_strategy(config, verbose=False)
        model.eval()
        self._tokenizer = model.tokenizer
        self._weight = weight
        self._decoding, model.decoding = model.decoding, usual

    def decode(
        self, encoded: torch.Tensor, lengths: torch.Tensor, phrases: Sequence[tuple[str, ...]]
    ) -> list[Any]:
        from nemo.collections.asr.parts.utils.rnnt_utils import Hypothesis

        trees = self._decoding.decoding.decoding_computer.biasing_multi_model
        requests = {each: self._request(each) for each in phrases if each}
        try:
            for request in requests.values():  # about 15 ms each
                request.add_to_multi_model(self._tokenizer, trees)
            begun = [
                Hypothesis.empty_with_biasing_cfg(requests[each]) if each else None
                for each in phrases
            ]
            found: list[Any] = self._decoding.rnnt_decoder_predictions_tensor(
                encoded, lengths, return_hypotheses=True, partial_hypotheses=begun
            )
            return found
        finally:
            for request in requests.values():
                request.remove_from_multi_model(trees)

    def _request(self, phrases: tuple[str, ...]) -> Any:
        from nemo.collections.asr.parts.context_biasing import (
            biasing_multi_model,
            boosting_graph_batched,
        )

        tree = boosting_graph_batched.BoostingTreeModelConfig(
            key_phrases_list=list(phrases), **_BOOSTING_TREE
        )
        return biasing_multi_model.BiasingRequestItemConfig(
            tree, self._weight, auto_manage_multi_model=False
        )


def _greedy(config: Any, *, confidence: bool, boost: PhraseBoost) -> Any:
    """Change the configuration of a decoding strategy to batched greedy search."""
    config = OmegaConf.create(OmegaConf.to_container(config))
    with open_dict(config):
        config.strategy = "greedy_batch"
        config.compute_timestamps = False  # slow, and not needed for the tokens' frames
        config.preserve_alignments = False
        config.confidence_cfg = confidence_config(confidence=confidence)
        if boost.phrases:
            phrases = list(boost.phrases)
            config.greedy.boosting_tree = {"key_phrases_list": phrases, **_BOOSTING_TREE}
            config.greedy.boosting_tree_alpha = boost.weight
    return config


def _surfaces(decoding: Any) -> list[str]:
    """What each token ID adds to the text, without spaces and word-boundary marks."""
    if decoding.tokenizer_type == "char":
        size = len(decoding.labels_map)
    else:
        size = decoding.tokenizer.tokenizer.vocab_size
    texts = (decoding.decode_ids_to_str([label]) for label in range(size))
    return ["".join(text.split()).removeprefix("##") for text in texts]
