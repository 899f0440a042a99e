"""Whisper's decoder: greedy or sampled, a batch at once, with the probability of each token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from serve_app.engines.transformers.whisper_tokens import WhisperTokens


class Written(NamedTuple):
    """What the decoder wrote for one clip.

    Attributes:
        tokens: of the text, without the one that ends it.
        logprobs: natural logarithm of the probability of each token, and of the one that ends the
            text if it was reached.
    """

    tokens: list[int]
    logprobs: list[float]

    @property
    def mean_logprob(self) -> float:
        """As OpenAI's implementation has it: the mean over the tokens and the end."""
        return sum(self.logprobs) / (len(self.tokens) + 1)


class WhisperDecoder:
    """The decoder of a Whisper model.

    Args:
        model: of Transformers.
        tokens: its tokens that are not text.
        max_tokens: most tokens of a text; None for as many as there are positions.
    """

    def __init__(self, model: Any, tokens: WhisperTokens, max_tokens: int | None) -> None:
        self._decoder, self._project = model.model.decoder, model.proj_out
        self._tokens = tokens
        positions = int(model.config.max_target_positions)
        self._positions = positions
        self._max_tokens = positions if max_tokens is None else max_tokens

    def hear(self, states: torch.Tensor) -> torch.Tensor:
        """Probabilities of the token after the start, which tells the language, and silence.

        Args:
            states: [clips, frames, size], the encoder's output.

        Returns:
            [clips, vocabulary], float32.
        """
        ids = torch.full((len(states), 1), self._tokens.start, device=states.device)
        found = self._decoder(input_ids=ids, encoder_hidden_states=states, use_cache=False)
        probabilities: torch.Tensor = self._project(found.last_hidden_state[:, 0]).float()
        return probabilities.softmax(-1)

    def write(
        self,
        states: torch.Tensor,
        prompts: Sequence[Sequence[int]],
        *,
        temperature: float = 0.0,
    ) -> list[Written]:
        """Write the text of each clip.

        Args:
            states: [clips, frames, size], the encoder's output.
            prompts: of each clip; all have the same length.
            temperature: 0 takes the likeliest token each time, more samples. The random numbers
                are the same in each call.
        """
        ids = torch.tensor([list(each) for each in prompts], device=states.device)
        ended = torch.zeros(len(ids), dtype=torch.bool, device=states.device)
        random = torch.Generator(states.device).manual_seed(0)
        cache, chosen, scores = None, [], []
        for step in range(min(self._max_tokens, self._positions - ids.shape[1])):
            found = self._decoder(
                input_ids=ids,
                encoder_hidden_states=states,
                past_key_values=cache,
                use_cache=True,
            )
            cache = found.past_key_values
            logits = self._project(found.last_hidden_state[:, -1]).float()
            self._suppress(logits, first=step == 0)
            logprobs = logits.log_softmax(-1)
            if temperature > 0:
                weights = (logits / temperature).softmax(-1)
                picked = torch.multinomial(weights, 1, generator=random)[:, 0]
            else:
                picked = logprobs.argmax(-1)
            picked = torch.where(ended, self._tokens.end, picked)
            chosen.append(picked)
            scores.append(logprobs.gather(-1, picked[:, None])[:, 0])
            ended = ended | (picked == self._tokens.end)
            if bool(ended.all()):
                break
            ids = picked[:, None]
        return [
            self._written(*pair)
            for pair in zip(
                torch.stack(chosen, -1).tolist(), torch.stack(scores, -1).tolist(), strict=True
            )
        ]

    def _suppress(self, logits: torch.Tensor, *, first: bool) -> None:
        if self._tokens.suppressed:
            logits[:, list(self._tokens.suppressed)] = -torch.inf
        if first and self._tokens.suppressed_first:
            logits[:, list(self._tokens.suppressed_first)] = -torch.inf

    def _written(self, tokens: list[int], logprobs: list[float]) -> Written:
        if self._tokens.end not in tokens:
            return Written(tokens, logprobs)
        end = tokens.index(self._tokens.end)
        return Written(tokens[:end], logprobs[: end + 1])
