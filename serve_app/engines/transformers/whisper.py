"""Whisper: encoder, language, greedy text with its guards, word times on request."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from schemas.failures import ErrorCode
from schemas.transcript import Word
from serve_app.audio.clip import Clip
from serve_app.engines.base import Hypothesis, Language, Rejection
from serve_app.engines.errors import EngineError
from serve_app.engines.repetition import repetition
from serve_app.engines.results import not_finite
from serve_app.engines.transformers.alignment import token_frames
from serve_app.engines.transformers.heads import Piece
from serve_app.engines.transformers.loading import Loaded
from serve_app.engines.transformers.options import WhisperOptions
from serve_app.engines.transformers.whisper_decoding import WhisperDecoder, Written
from serve_app.engines.transformers.whisper_tokens import Units, read_tokens, units_of
from serve_app.engines.words import Tokens, fold_words, mean_confidence

#: Feature frames in a frame of the encoder's output.
_STRIDE = 2


class _Heard(NamedTuple):
    """A clip on its way through the decoder.

    Attributes:
        states: [1, frames, size], the encoder's output.
        prompt: what its decoder starts from.
        silence: probability that nobody speaks.
    """

    states: torch.Tensor
    prompt: list[int]
    silence: float


class WhisperHead:
    """A Whisper model; implements `Head`.

    Args:
        loaded: the model.
        options: of the settings.
        confidence: whether words and hypotheses have confidences.

    Raises:
        EngineError: the model's tokens or features are not those of a Whisper model, or an option
            does not fit it.
    """

    def __init__(self, loaded: Loaded, options: WhisperOptions, *, confidence: bool) -> None:
        self._loaded, self._options, self._confidence = loaded, options, confidence
        config, features = loaded.model.config, loaded.features
        self._tokens = read_tokens(loaded.generation, config)
        if options.language is not None:
            self._tokens.check_language(options.language)
        if options.task == "translate" and not self._tokens.tasks:
            raise EngineError("options.task: a model of one language cannot translate")
        if features.nb_max_frames != _STRIDE * config.max_source_positions:
            raise EngineError(
                f"the features have {features.nb_max_frames} frames, "
                f"the model {_STRIDE * config.max_source_positions}"
            )
        self._decoder = WhisperDecoder(loaded.model, self._tokens, options.max_tokens)
        self.sample_rate = int(features.sampling_rate)
        self.max_seconds = float(features.chunk_length)
        self.min_samples = int(features.n_samples)
        self.pads = True
        self._frame_samples = _STRIDE * int(features.hop_length)

    def transcribe(self, pieces: Sequence[Piece]) -> list[Hypothesis | Rejection]:
        """Transcribe a batch; see `Head.transcribe`."""
        with torch.inference_mode():
            states = self._encode(pieces)
            heard = self._hear(states, pieces)
            written = self._decoder.write(states, [each.prompt for each in heard])
            return [self._result(*each) for each in zip(pieces, heard, written, strict=True)]

    def identify(self, clips: Sequence[Clip]) -> list[Language]:
        """The language of each clip, in its first 30 seconds; see `Head.identify`."""
        codes = list(self._tokens.languages)
        if not codes:
            raise EngineError("this Whisper model knows one language, so it identifies no others")
        with torch.inference_mode():
            states = self._encode([Piece(clip) for clip in clips])
            scores = self._decoder.hear(states)[:, [self._tokens.languages[each] for each in codes]]
            best = (scores / scores.sum(-1, keepdim=True)).max(-1)
        return [
            Language(codes[place], round(probability, 4))
            for place, probability in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

    def _encode(self, pieces: Sequence[Piece]) -> torch.Tensor:
        """[clips, frames, size]; every clip is padded to 30 seconds."""
        loaded = self._loaded
        found = loaded.features(
            [each.clip for each in pieces], sampling_rate=self.sample_rate, return_tensors="pt"
        )
        features = found.input_features.to(loaded.device, loaded.dtype)
        states: torch.Tensor = loaded.model.model.encoder(features).last_hidden_state
        return states

    def _hear(self, states: torch.Tensor, pieces: Sequence[Piece]) -> list[_Heard]:
        """Choose each clip's language: its record's, that of the settings, or what is heard."""
        first = self._decoder.hear(states)
        silence = first[:, self._tokens.no_speech].tolist()
        codes = list(self._tokens.languages)
        likeliest: list[str | None] = [None] * len(pieces)
        if codes:
            scores = first[:, [self._tokens.languages[code] for code in codes]]
            likeliest = [codes[place] for place in scores.argmax(-1).tolist()]
        return [
            _Heard(
                states[index : index + 1],
                self._tokens.prompt(
                    self._tokens.code_of(piece.language)
                    or self._tokens.code_of(self._options.language)
                    or likeliest[index],
                    self._options.task,
                ),
                silence[index],
            )
            for index, piece in enumerate(pieces)
        ]

    def _result(self, piece: Piece, heard: _Heard, written: Written) -> Hypothesis | Rejection:
        """Apply the guards: silence, doubtful texts, and texts that repeat themselves."""
        options = self._options
        temperatures = iter(options.temperatures)
        while True:
            if not all(map(math.isfinite, written.logprobs)):
                return not_finite()
            doubtful = options.doubts(written.mean_logprob)
            if options.hears_silence(heard.silence, written.mean_logprob):
                return Hypothesis(text="", words=[] if piece.words else None)
            text = self._text(written)
            loop = repetition(text, options.compression_ratio_threshold)
            temperature = next(temperatures, None) if doubtful or loop else None
            if temperature is None:
                break
            [written] = self._decoder.write(heard.states, [heard.prompt], temperature=temperature)
        if loop is not None:
            return Rejection(code=ErrorCode.MODEL_REPEATS, message=loop)
        return self._hypothesis(piece, heard, written, text)

    def _text(self, written: Written) -> str:
        text: str = self._loaded.tokenizer.decode(written.tokens, skip_special_tokens=True)
        return text.strip()

    def _hypothesis(self, piece: Piece, heard: _Heard, written: Written, text: str) -> Hypothesis:
        if not (piece.words or self._confidence):
            return Hypothesis(text=text)
        units = units_of(self._loaded.tokenizer, written.tokens)
        frames = [0] * (len(written.tokens) + 1)
        if piece.words:
            frames = token_frames(
                self._loaded.model.model.decoder,
                heard.states,
                heard.prompt,
                written.tokens,
                heads=self._tokens.alignment_heads,
                frames=math.ceil(len(piece.clip) / self._frame_samples),
            )
        words = fold_words(
            text,
            Tokens(
                units.surfaces,
                [frames[first] for first in units.firsts],
                [frames[end] for end in units.ends],
                _confidences(units, written) if self._confidence else None,
            ),
            frame_seconds=self._frame_samples / self.sample_rate,
            duration=len(piece.clip) / self.sample_rate,
        )
        return Hypothesis(
            text=text,
            confidence=self._mean(words, written),
            words=words if piece.words else None,
        )

    def _mean(self, words: list[Word] | None, written: Written) -> float | None:
        """The mean of the words' confidences, or of the tokens' where they spell no words."""
        if not self._confidence or not written.tokens:
            return None
        if words is not None:
            return mean_confidence(words)
        spoken = [math.exp(each) for each in written.logprobs[: len(written.tokens)]]
        return round(sum(spoken) / len(spoken), 4)


def _confidences(units: Units, written: Written) -> list[float]:
    """The probability of each unit: that of all its tokens."""
    return [
        math.exp(sum(written.logprobs[first:end]))
        for first, end in zip(units.firsts, units.ends, strict=True)
    ]
