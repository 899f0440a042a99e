"""Run the pieces of many clips in batches of similar length that fit the memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

import numpy as np

from schemas.failures import ErrorCode
from serve_app.audio.clip import Clip
from serve_app.engines.base import Hypothesis, Rejection
from serve_app.engines.batch_plan import plan_batches
from serve_app.engines.errors import EngineError, cause_of
from serve_app.engines.isolation import is_out_of_memory, run_isolated

log = logging.getLogger(__name__)

Piece = TypeVar("Piece")


class BatchRunner(Generic[Piece]):
    """Cuts batches by their padded size; smaller ones after one did not fit the memory.

    Args:
        forward: transcribes a batch; one result per piece, in order.
        piece_of: makes a piece of a clip, with all that can be asked for.
        clip_of: the clip of a piece.
        sample_rate: of the clips, in hertz.
        min_samples: what shorter clips are padded to.
        batch_seconds: padded seconds (pieces x longest piece) in a batch.
        alike: a batch has only pieces for which this is the same.

    Attributes:
        batch_seconds: padded seconds in a batch; reduced when a batch does not fit the memory.
    """

    def __init__(
        self,
        forward: Callable[[Sequence[Piece]], list[Hypothesis | Rejection]],
        *,
        piece_of: Callable[[Clip], Piece],
        clip_of: Callable[[Piece], Clip],
        sample_rate: int,
        min_samples: int,
        batch_seconds: float,
        alike: Callable[[Piece], Hashable] = lambda piece: None,
    ) -> None:
        self._forward = forward
        self._piece_of = piece_of
        self._clip_of = clip_of
        self._sample_rate = sample_rate
        self._min_samples = min_samples
        self._alike = alike
        self.batch_seconds = batch_seconds

    def run(self, pieces: Sequence[Piece]) -> list[Hypothesis | Rejection]:
        """One hypothesis or rejection per piece, in order. Blocks while the model runs.

        A batch that does not fit the memory is halved; a piece on which the model fails is found
        by halving and rejected.

        Raises:
            EngineError: the model fails on noise as well, so that the pieces are not at fault.
        """
        heard: dict[int, Hypothesis | Rejection] = {}
        waiting = list(range(len(pieces)))
        while waiting:  # planned again after each batch: the limit may have been lowered
            batch = self._next_batch(pieces, waiting)
            results = run_isolated(
                self._forward,
                [pieces[index] for index in batch],
                on_out_of_memory=self._lower_limit,
            )
            heard.update(zip(batch, results, strict=True))
            waiting = [index for index in waiting if index not in heard]
        if any(is_failure(each) for each in heard.values()):
            # over one clip, or over any
            self.probe(1, 1.0)
        return [heard[index] for index in range(len(pieces))]

    def probe(self, clips: int, seconds: float) -> None:
        """Transcribe a batch of noise. Blocks.

        Raises:
            EngineError: the model fails on it, or it does not fit the memory.
        """
        piece = self._piece_of(noise(int(seconds * self._sample_rate)))
        try:
            heard = self._forward([piece] * clips)
        except Exception as error:
            reason = "memory ran out" if is_out_of_memory(error) else cause_of(error)
            size = f"{clips} x {seconds:.1f} s"
            raise EngineError(f"the model fails on {size} of noise: {reason}") from error
        for each in heard:
            if isinstance(each, Rejection) and is_failure(each):
                raise EngineError(f"the model fails on noise: {each.message}")

    def _next_batch(self, pieces: Sequence[Piece], waiting: Sequence[int]) -> list[int]:
        """The longest of the waiting pieces that fit a batch, by their indices."""
        lengths = [self._padded_seconds(pieces[index]) for index in waiting]
        batch = [waiting[place] for place in plan_batches(lengths, self.batch_seconds)[0]]
        kind = self._alike(pieces[batch[0]])
        return [index for index in batch if self._alike(pieces[index]) == kind]

    def _padded_seconds(self, piece: Piece) -> float:
        return max(len(self._clip_of(piece)), self._min_samples) / self._sample_rate

    def _lower_limit(self, pieces: Sequence[Piece]) -> None:
        """Plan smaller batches from now on, because `pieces` did not fit the memory together."""
        if len(pieces) > 1:
            padded = len(pieces) * max(map(self._padded_seconds, pieces))
            self.batch_seconds = min(self.batch_seconds, padded / 2)
            log.warning(
                "out of memory on a batch of %d clips, %.0f padded seconds; the new limit is %.0f",
                len(pieces),
                padded,
                self.batch_seconds,
            )


def noise(samples: int) -> Clip:
    """Audio on which every model that works can be tried; the same each time."""
    return np.random.default_rng(0).normal(0, 0.05, samples).astype(np.float32)


def is_failure(heard: Hypothesis | Rejection) -> bool:
    """Whether the model may fail on any audio: it did, or what it computed is not finite."""
    return isinstance(heard, Rejection) and heard.code not in (
        ErrorCode.MODEL_OUT_OF_MEMORY,
        ErrorCode.MODEL_REPEATS,
    )
