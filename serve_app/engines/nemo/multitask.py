"""Decode with a multitask model (Canary): told the language, it writes the text by attention."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import torch
from omegaconf import OmegaConf

from serve_app.engines.errors import EngineError, cause_of
from serve_app.engines.nemo.decoding import Decoded, Wish, confidence_config
from serve_app.engines.nemo.options import Languages, NemoOptions
from serve_app.engines.nemo.word_times import WordTimer
from serve_app.engines.repetition import repetition
from serve_app.engines.words import Tokens

#: Tokens that are no text, and those of them that name a language.
_SPECIAL = re.compile(r"<\|.*\|>|<pad>")
_LANGUAGE = re.compile(r"<\|([a-z]{2,3}(?:-[A-Za-z]{2,4})?)\|>")
_NO_LANGUAGES = ("pnc", "itn")
#: What the slots of a prompt hold that nothing else decides; those of "canary2" but the first.
_SLOTS = {
    "task": "transcribe",
    "decodercontext": "",
    "emotion": "<|emo:undefined|>",
    "itn": "no",
    "timestamp": "no",
    "diarize": "no",
}
#: Slots that the model's own defaults may fill.
_OWN_SLOTS = ("emotion", "itn")


class MultitaskHead:
    """An attention encoder-decoder; implements `Head`.

    It transcribes: the language of the text is that of the speech.

    Args:
        model: NeMo's model.
        options: of the settings.
        timer: times words; None if words have no times.
        confidence: whether tokens have confidences.

    Raises:
        EngineError: an option does not fit the model, or the model has no such prompts.
    """

    takes_phrases = False  # NeMo supports it for a beam only
    has_frames = False

    def __init__(
        self, model: Any, options: NemoOptions, timer: WordTimer | None, *, confidence: bool
    ) -> None:
        config = OmegaConf.create(OmegaConf.to_container(model.cfg.decoding))
        config.confidence_cfg = confidence_config(confidence=confidence)
        model.change_decoding_strategy(config)
        self._model, self._timer = model, timer
        self._confidence = confidence
        self._most_ratio = options.compression_ratio_threshold
        self.surfaces = _surfaces(model)
        self._special = [bool(_SPECIAL.fullmatch(each)) for each in _pieces(model.tokenizer)]
        own = _own_slots(model)
        spoken = str(own.get("source_lang") or "").removeprefix("<|").removesuffix("|>")
        self.languages = Languages(_languages(model.tokenizer), options, [spoken, "en"])
        self._prompts = {
            each: _prompt(model, each, own, pnc=options.pnc) for each in self.languages.known
        }
        if len({len(each) for each in self._prompts.values()}) != 1:
            raise EngineError("its prompts are of several lengths")

    def decode(
        self,
        signal: torch.Tensor,
        lengths: torch.Tensor,
        *,
        tokens: bool,
        wishes: Sequence[Wish] = (),
    ) -> list[Decoded]:
        """Transcribe a batch; see `Head.decode`."""
        wishes = wishes or [Wish()] * len(signal)
        told = [self._prompts[each.language or self.languages.default] for each in wishes]
        prompts = torch.stack(told).to(signal.device)
        _, frames, states, mask = self._model.forward(
            input_signal=signal, input_signal_length=lengths
        )
        hypotheses = self._model.decoding.decode_predictions_tensor(
            encoder_hidden_states=states,
            encoder_input_mask=mask,
            decoder_input_ids=prompts,
            return_hypotheses=True,
        )
        for module in (self._model.transf_decoder, self._model.log_softmax):
            module.eval()  # NeMo leaves them in training mode
        finite = (states.sum(dim=-1).isfinite() | (mask == 0)).all(dim=1).tolist()
        decoded = [
            self._decoded(hypothesis, most - prompts.shape[1], healthy, tokens=tokens)
            for hypothesis, most, healthy in zip(
                hypotheses, self._limits(frames), finite, strict=True
            )
        ]
        return self._timed(decoded, signal, lengths, wishes)

    def _limits(self, frames: torch.Tensor) -> list[int]:
        """How many tokens each clip may have, its prompt's among them, whatever batch it is in."""
        most = int(self._model.transf_decoder.max_sequence_length)
        more = int(self._model.decoding.cfg.greedy.max_generation_delta)
        return [min(most, count + more) for count in frames.tolist()]

    def _decoded(self, hypothesis: Any, most: int, finite: bool, *, tokens: bool) -> Decoded:
        ids = hypothesis.y_sequence.tolist()
        kept = [place for place, token in enumerate(ids) if not self._special[token]]
        spoken = [ids[place] for place in kept]
        text = self._model.decoding.decode_ids_to_str(spoken).strip()
        unending = "the model does not come to an end on this clip" if len(ids) >= most else None
        confidences = self._confidences(hypothesis, kept)
        finite = finite and all(map(math.isfinite, confidences or ()))
        found = None
        if tokens:
            nowhere = [0] * len(spoken)
            surfaces = [self.surfaces[token] for token in spoken]
            found = Tokens(surfaces, nowhere, nowhere, confidences)
        return Decoded(text, found, finite, unending or repetition(text, self._most_ratio))

    def _confidences(self, hypothesis: Any, kept: Sequence[int]) -> list[float] | None:
        """Those of the tokens at some places; None if NeMo's list is not that of its tokens."""
        given = hypothesis.token_confidence if self._confidence else None
        if given is None or len(given) != len(hypothesis.y_sequence):
            return None
        return [float(given[place]) for place in kept]

    def _timed(
        self,
        decoded: list[Decoded],
        signal: torch.Tensor,
        lengths: torch.Tensor,
        wishes: Sequence[Wish],
    ) -> list[Decoded]:
        """`decoded` with the times of the words of those clips that want them."""
        rows = [
            row
            for row, (each, wish) in enumerate(zip(decoded, wishes, strict=True))
            if wish.words and each.text and each.finite and each.fault is None
        ]
        if self._timer is None or not rows:
            return decoded
        longest = int(lengths[rows].max())
        found = self._timer.times(
            signal[rows, :longest], lengths[rows], [decoded[row].text for row in rows]
        )
        timed = dict(zip(rows, found, strict=True))
        return [each._replace(times=timed.get(row)) for row, each in enumerate(decoded)]


def _pieces(tokenizer: Any) -> list[str]:
    found: list[str] = tokenizer.ids_to_tokens(list(range(tokenizer.vocab_size)))
    return found


def _surfaces(model: Any) -> list[str]:
    """What each token ID adds to the text, without spaces."""
    size = model.tokenizer.vocab_size
    texts = (model.decoding.decode_ids_to_str([token]) for token in range(size))
    return ["".join(text.split()) for text in texts]


def _languages(tokenizer: Any) -> list[str]:
    """The languages of a model: those that it has a token for and, if it has one for each, text.

    A tokenizer of all languages has tokens for more than the model was trained on.
    """
    found = [match[1] for each in _pieces(tokenizer) if (match := _LANGUAGE.fullmatch(each))]
    found = [each for each in found if each not in _NO_LANGUAGES]
    written = getattr(tokenizer, "langs", None)
    if written is None:
        return found
    roots = {each.partition("-")[0] for each in written}
    return [each for each in found if each in written or each in roots]


def _own_slots(model: Any) -> dict[str, Any]:
    """The model's own defaults of its prompt."""
    for turn in model.prompt.get_default_dialog_slots():
        if turn["role"] == "user":
            return dict(turn["slots"])
    return {}


def _prompt(model: Any, language: str, own: dict[str, Any], *, pnc: bool) -> torch.Tensor:
    """What the decoder begins with: int64 [tokens]."""
    slots = {key: each for key, each in own.items() if key in _OWN_SLOTS and each is not None}
    slots = _SLOTS | slots | {"source_lang": language, "target_lang": language}
    slots["pnc"] = "yes" if pnc else "no"
    wanted = {key: slots[key] for key in model.prompt.get_slots("user")}
    try:
        made = model.prompt.encode_dialog([{"role": "user", "slots": wanted}])["context_ids"]
    except Exception as error:  # NeMo has no class of its own for it
        raise EngineError(f"its tokenizer has no such prompt: {cause_of(error)}") from error
    prompt: torch.Tensor = made
    return prompt
