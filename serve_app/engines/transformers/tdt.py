"""Greedy decoding of TDT models (Parakeet): a token and how many frames it lasts, step by step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from serve_app.audio.clip import Clip
from serve_app.engines.base import Hypothesis, Language, Rejection
from serve_app.engines.errors import EngineError
from serve_app.engines.results import not_finite
from serve_app.engines.transformers.frames import (
    MIN_SECONDS,
    features_of,
    frame_samples,
    hypothesis_of,
    surfaces_of,
)
from serve_app.engines.transformers.heads import Piece
from serve_app.engines.transformers.loading import Loaded
from serve_app.engines.words import Tokens, max_prob

#: Most frames that a token may last; a model says fewer than ten.
_LONGEST = 100


class _Emitted(NamedTuple):
    """The tokens of a clip; all lists have one item per token.

    Attributes:
        tokens: without blanks.
        logprobs: natural logarithm of the probability of each.
        starts: first frame of each.
        ends: frame after the last frame of each.
    """

    tokens: list[int]
    logprobs: list[float]
    starts: list[int]
    ends: list[int]


class TdtHead:
    """A TDT model; implements `Head`.

    Args:
        loaded: the model.
        confidence: whether words and hypotheses have confidences.

    Raises:
        EngineError: the settings of the model contradict themselves.
    """

    pads = True
    max_seconds = math.inf

    def __init__(self, loaded: Loaded, *, confidence: bool) -> None:
        self._loaded = loaded
        self._confidence = confidence
        config = loaded.model.config
        self.sample_rate = int(loaded.features.sampling_rate)
        self.min_samples = round(MIN_SECONDS * self.sample_rate)
        self._blank, self._size = config.blank_token_id, config.vocab_size
        if not 0 <= self._blank < self._size:
            raise EngineError(f"the vocabulary of {self._size} has no blank {self._blank}")
        durations = list(config.durations)
        if not all(isinstance(each, int) and 0 <= each <= _LONGEST for each in durations):
            raise EngineError(f"`durations` are numbers of frames, from 0 to {_LONGEST}")
        self._durations = torch.tensor(durations, device=loaded.device)
        self._max_symbols = max(1, int(config.max_symbols_per_step))
        self._surfaces = surfaces_of(loaded.tokenizer, self._size)
        self._frame_seconds = frame_samples(loaded) / self.sample_rate

    def transcribe(self, pieces: Sequence[Piece]) -> list[Hypothesis | Rejection]:
        """Transcribe a batch; see `Head.transcribe`."""
        inputs = features_of(self._loaded, pieces, self.min_samples, masked=True)
        with torch.inference_mode():
            heard = self._loaded.model.get_audio_features(**inputs)
            emitted = self._decode(heard.pooler_output, heard.attention_mask.sum(-1))
        return [self._hypothesis(*each) for each in zip(pieces, emitted, strict=True)]

    def identify(self, clips: Sequence[Clip]) -> list[Language]:
        """Refuse to; see `Head.identify`."""
        raise EngineError("a TDT model identifies no languages; Whisper of several does")

    def _decode(self, states: torch.Tensor, frames: torch.Tensor) -> list[_Emitted]:
        """Decode a batch.

        As in NeMo, a blank lasts a frame at least, and after so many symbols in one frame the next
        one is heard.

        Args:
            states: [clips, frames, size], the encoder's output, projected.
            frames: [clips], how many of them each clip has.
        """
        joint = self._loaded.model.joint
        clips, last = torch.arange(len(states), device=states.device), states.shape[1] - 1
        at, symbols = torch.zeros_like(clips), torch.zeros_like(clips)
        predictor = _Predictor(self._loaded, torch.full_like(clips, self._blank))
        steps: list[torch.Tensor] = []
        scores: list[torch.Tensor] = []
        while bool((live := at < frames).any()):
            logits = joint(
                decoder_hidden_states=predictor.output,
                encoder_hidden_states=states[clips, at.clamp(max=last), None],
            )[:, 0].float()
            score, tokens = logits[:, : self._size].log_softmax(-1).max(-1)
            duration = self._durations[logits[:, self._size :].argmax(-1)]
            spoken = live & (tokens != self._blank)
            duration = torch.where(spoken, duration, duration.clamp(min=1))
            symbols = symbols + spoken
            steps.append(torch.stack((spoken.long(), tokens, at, at + duration)))
            scores.append(score)
            at = at + torch.where(symbols >= self._max_symbols, duration.clamp(min=1), duration)
            symbols = torch.where(at > steps[-1][2], 0, symbols)
            predictor.advance(tokens, spoken)
        return _emitted(torch.stack(steps, -1).tolist(), torch.stack(scores, -1).tolist())

    def _hypothesis(self, piece: Piece, emitted: _Emitted) -> Hypothesis | Rejection:
        if not all(map(math.isfinite, emitted.logprobs)):
            return not_finite()
        text = self._loaded.tokenizer.decode(
            emitted.tokens, skip_special_tokens=True, group_tokens=False
        ).strip()
        tokens = None
        if piece.words or self._confidence:
            probabilities = torch.tensor(emitted.logprobs, dtype=torch.float64).exp().numpy()
            tokens = Tokens(
                [self._surfaces[each] for each in emitted.tokens],
                emitted.starts,
                emitted.ends,
                max_prob(probabilities, self._size) if self._confidence else None,
            )
        return hypothesis_of(
            piece, text, tokens, frame_seconds=self._frame_seconds, sample_rate=self.sample_rate
        )


class _Predictor:
    """The prediction network, and where it is in each clip's text.

    Args:
        loaded: the model.
        first: [clips], the tokens that it begins with.

    Attributes:
        output: [clips, 1, size], what it expects next.
    """

    def __init__(self, loaded: Loaded, first: torch.Tensor) -> None:
        self._network = loaded.model.decoder
        self.output, self._state = self._run(first, None)

    def advance(self, tokens: torch.Tensor, spoken: torch.Tensor) -> None:
        """Take the next token of the clips in which one was spoken, [clips] each."""
        output, state = self._run(tokens, self._state)
        self.output = torch.where(spoken[:, None, None], output, self.output)
        self._state = tuple(
            torch.where(spoken[None, :, None], new, old)
            for new, old in zip(state, self._state, strict=True)
        )

    def _run(
        self, tokens: torch.Tensor, state: tuple[torch.Tensor, ...] | None
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        network = self._network
        output, state = network.lstm(network.embedding(tokens[:, None]), state)
        return network.decoder_projector(output), state


def _emitted(
    steps: Sequence[Sequence[Sequence[int]]], scores: Sequence[Sequence[float]]
) -> list[_Emitted]:
    """The tokens of each clip.

    Args:
        steps: [kind, clips, steps]: whether a token was spoken, which, its first frame and its end.
        scores: [clips, steps], log probabilities.
    """
    found = []
    for spoken, tokens, starts, ends, logprobs in zip(*steps, scores, strict=True):
        places = [place for place, each in enumerate(spoken) if each]
        columns = (tokens, logprobs, starts, ends)
        found.append(_Emitted(*([column[place] for place in places] for column in columns)))
    return found
