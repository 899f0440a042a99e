"""Decode what the encoder heard, with the guards of Whisper's reference implementation.

The text of a clip must neither repeat itself nor be improbable; one that is is decoded again at
higher temperatures. Where nobody speaks there is no text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import ctranslate2
import msgspec
import numpy as np
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_suppressed_tokens

from serve_app.engines.faster_whisper.options import FasterWhisperOptions

#: Tokens of the decoder's context, which is also the reference's limit of a text.
MAX_LENGTH = 448
#: Samples that are drawn at each temperature above 0; the most probable one is kept.
_BEST_OF = 5


class Encoded:
    """What the encoder made of a batch.

    Args:
        view: of CTranslate2, [clip, frame, feature]; in the memory of the host if only some rows of
            it will be taken.
    """

    def __init__(self, view: Any) -> None:
        self._view = view
        self._array: Any = None

    def rows(self, indices: Sequence[int]) -> Any:
        """The rows of some clips, as CTranslate2 takes them."""
        if len(indices) == self._view.shape[0]:
            return self._view
        if self._array is None:
            whole = self._view.to_device(ctranslate2.Device.cpu)
            self._array = np.array(whole.to(ctranslate2.DataType.float32))
        return ctranslate2.StorageView.from_array(np.ascontiguousarray(self._array[list(indices)]))


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What was decoded of a clip.

    Attributes:
        tokens: of the text.
        text: without white space around it; empty where nobody speaks.
        avg_logprob: mean log-probability of the tokens and of the end.
        no_speech_prob: probability that nobody speaks.
        repeats: whether the text repeats itself, so that it must not be published.
    """

    tokens: list[int]
    text: str
    avg_logprob: float
    no_speech_prob: float
    repeats: bool = False

    @property
    def confidence(self) -> float | None:
        """Geometric mean of the probabilities of the tokens; None without text."""
        return round(math.exp(min(self.avg_logprob, 0.0)), 4) if self.text else None


class Decoder:
    """Decodes batches of one language, whose prompts have the same length.

    Args:
        model: of CTranslate2.
        options: of the engine.
    """

    def __init__(self, model: Any, options: FasterWhisperOptions) -> None:
        self._model = model
        self._options = options

    def decode(
        self,
        encoded: Encoded,
        rows: Sequence[int],
        prompts: Sequence[Sequence[int]],
        tokenizer: Tokenizer,
    ) -> list[Attempt]:
        """The best attempt for each of some rows, in order. Blocks.

        Args:
            encoded: the batch.
            rows: of it.
            prompts: one per row.
            tokenizer: of the language.
        """
        attempts: list[list[Attempt]] = [[] for _ in rows]
        waiting = list(range(len(rows)))
        for temperature in (0.0, *self._options.temperatures):
            found = self._generate(
                encoded.rows([rows[place] for place in waiting]),
                [list(prompts[place]) for place in waiting],
                tokenizer,
                temperature,
            )
            for place, each in zip(waiting, found, strict=True):
                attempts[place].append(each)
            waiting = [
                place
                for place, each in zip(waiting, found, strict=True)
                if self._is_bad(each) and not self._is_silence(each)
            ]
            if not waiting:
                break
        return [self._chosen(each, failed=place in waiting) for place, each in enumerate(attempts)]

    def _generate(
        self, features: Any, prompts: list[list[int]], tokenizer: Tokenizer, temperature: float
    ) -> list[Attempt]:
        how = (
            {"beam_size": self._options.beam_size, "patience": 1}
            if temperature == 0
            else {
                "beam_size": 1,
                "num_hypotheses": _BEST_OF,
                "sampling_topk": 0,
                "sampling_temperature": temperature,
            }
        )
        results = self._model.generate(
            features,
            prompts,
            max_length=MAX_LENGTH,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_blank=True,
            suppress_tokens=get_suppressed_tokens(tokenizer, [-1]),
            **how,
        )
        return [_attempt(each, tokenizer) for each in results]

    def _is_bad(self, attempt: Attempt) -> bool:
        return self._options.doubts(attempt.avg_logprob) or self._options.sees_loop(attempt.text)

    def _is_silence(self, attempt: Attempt) -> bool:
        return self._options.hears_silence(attempt.no_speech_prob, attempt.avg_logprob)

    def _chosen(self, attempts: list[Attempt], *, failed: bool) -> Attempt:
        """The last attempt, or the most probable one if none was good enough."""
        best = attempts[-1]
        if failed:
            some = [each for each in attempts if not self._options.sees_loop(each.text)]
            best = max(some or attempts, key=lambda each: each.avg_logprob)
        if self._is_silence(best):
            return msgspec.structs.replace(best, tokens=[], text="")
        return msgspec.structs.replace(best, repeats=self._options.sees_loop(best.text))


def _attempt(result: Any, tokenizer: Tokenizer) -> Attempt:
    tokens = list(result.sequences_ids[0])
    text = tokenizer.decode(tokens).strip()
    return Attempt(
        tokens=tokens,
        text=text,
        avg_logprob=result.scores[0] * len(tokens) / (len(tokens) + 1),
        no_speech_prob=result.no_speech_prob,
    )
