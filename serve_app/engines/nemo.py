"""The NeMo engine: CTC, RNN-T, TDT and hybrid models, by NeMo's direct path."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from msgspec.structs import replace

from schemas.failures import ErrorCode
from schemas.settings import ModelSettings
from schemas.transcript import Word
from serve_app.batching import plan_batches
from serve_app.engines.base import Clip, Hypothesis, Phrases, Rejection
from serve_app.engines.errors import EngineError
from serve_app.engines.heads import Boost, Decoded, alphabet_of, make_head, writable
from serve_app.engines.isolation import run_isolated
from serve_app.engines.nemo_load import (
    choose_head,
    find_model,
    frame_seconds,
    min_samples,
    restore,
)
from serve_app.engines.splitting import join_hypotheses, split_at_silences
from serve_app.engines.words import fold_words, mean_confidence

log = logging.getLogger(__name__)


class _Piece(NamedTuple):
    """A clip, or a part of one that fits the model, and what to listen for in it."""

    clip: Clip
    phrases: Phrases = ()


class NemoEngine:
    """A NeMo speech model in memory; see `serve_app.engines.base.Engine` for the protocol.

    It calls the network and the decoder directly. NeMo's own `transcribe()` builds a data loader
    on every call, does not sort by length, leaves modules in training mode, and fails a whole
    batch for one bad clip.

    One engine to a process, used from one thread: torch's thread count, NeMo's type checks and,
    while it loads, the working directory are the process's.

    Attributes:
        sample_rate, sha256, device: as in the protocol.
        head: "ctc" or "rnnt" (which is also TDT).
        takes_phrases: see `serve_app.engines.base.PhraseEngine`.
        frame_seconds: length of one frame of the model's output.
        min_samples: shortest clip that the model takes; a shorter one is padded with silence.
        batch_seconds: padded seconds in a batch; less than the settings say once a batch did not
            fit the memory.
    """

    def __init__(self, settings: ModelSettings) -> None:
        """Load the model. Blocks for seconds, most of them NeMo's import.

        Raises:
            EngineError: the model file is refused or cannot be loaded, or has no such head.
        """
        torch.set_num_threads(settings.threads or max(1, int(settings.num_cpus)))
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        if self.device == "cuda" and settings.gpu_fraction < 1:
            # Ray counts shares of a GPU, but nobody else enforces them
            torch.cuda.set_per_process_memory_fraction(settings.gpu_fraction)
        with find_model(settings) as archive:
            self.sha256 = archive.sha256
            self.head = choose_head(archive, settings.head)
            model = restore(archive, device=self.device, dtype=settings.dtype)
        self.sample_rate = int(model.cfg.sample_rate)
        self.frame_seconds = frame_seconds(model)
        self.min_samples = min_samples(model)
        self.batch_seconds = settings.batch_seconds
        self._settings = settings
        boost = Boost(settings.phrases, settings.phrase_weight)
        self._head = make_head(model, self.head, confidence=settings.confidence, boost=boost)
        self.takes_phrases = self._head.takes_phrases
        self._alphabet = alphabet_of(self._head.surfaces)

    def transcribe(
        self, clips: Sequence[Clip], *, words: bool = False, phrases: Sequence[Phrases] = ()
    ) -> list[Hypothesis | Rejection]:
        """One hypothesis or rejection per clip, in order. Blocks while the model runs.

        Clips longer than `split_seconds` are split at silences and joined again. The pieces run
        sorted by length, in batches of `batch_seconds`. A batch that does not fit the memory is
        halved; a clip that the model fails on is found by halving, and rejected alone.

        Args:
            clips: mono, float32, at `sample_rate`.
            words: whether the hypotheses carry words with times; they also do where the settings
                say so.
            phrases: of each clip; those that the model cannot write are left out. A transducer of
                pieces can listen for them, see `takes_phrases`.

        Raises:
            EngineError: the model fails on any audio.
        """
        words = words or self._settings.words
        results: list[Hypothesis | Rejection | None] = [_fault(clip) for clip in clips]
        wanted = [writable(each, self._alphabet) for each in phrases] or [()] * len(clips)
        pieces: list[_Piece] = []
        places: list[tuple[int, float]] = []  # of each piece: its clip, its start in seconds
        for index, clip in enumerate(clips):
            if results[index] is not None:
                continue
            limit = self._settings.split_seconds
            for first, end in split_at_silences(clip, self.sample_rate, limit):
                pieces.append(_Piece(clip[first:end], wanted[index]))
                places.append((index, first / self.sample_rate))
        parts: dict[int, list[tuple[float, Hypothesis]]] = {}
        for (index, start), heard in zip(places, self._run(pieces, words=words), strict=True):
            if isinstance(heard, Rejection):
                results[index] = heard
            else:
                parts.setdefault(index, []).append((start, heard))
        for index, result in enumerate(results):
            if result is None:
                whole = join_hypotheses(parts[index])
                given = bool(phrases) and bool(phrases[index])
                results[index] = replace(whole, phrases=len(wanted[index])) if given else whole
        return [result for result in results if result is not None]

    def warm_up(self) -> None:
        """Run the shapes that traffic will bring, from the smallest to the largest. Blocks.

        On a GPU this captures CUDA graphs at full size, and shows whether the largest batch
        fits; on a CPU one short clip sets up all there is.

        Raises:
            EngineError: the model fails on noise, or the largest batch does not fit the memory.
        """
        self._probe(1, 1.0)
        if self.device == "cuda":
            longest = min(self._settings.split_seconds, self.batch_seconds)
            for power in range(5, -1, -1):
                seconds = longest / 2**power
                self._probe(int(self.batch_seconds / seconds), seconds)

    def _run(self, pieces: Sequence[_Piece], *, words: bool) -> list[Hypothesis | Rejection]:
        """Transcribe pieces that each fit the model, batch by batch."""
        lengths = [max(len(each.clip), self.min_samples) / self.sample_rate for each in pieces]
        heard: dict[int, Hypothesis | Rejection] = {}
        waiting = list(range(len(pieces)))
        while waiting:  # planned anew after each batch: the limit falls when memory runs out
            plan = plan_batches([lengths[index] for index in waiting], self.batch_seconds)
            batch = [waiting[place] for place in plan[0]]
            results = run_isolated(
                lambda some: self._forward(some, words=words),
                [pieces[index] for index in batch],
                on_out_of_memory=self._lower_limit,
            )
            heard.update(zip(batch, results, strict=True))
            waiting = [index for index in waiting if index not in heard]
        if any(_is_refusal(each) for each in heard.values()):
            # the clip's fault, or the engine's? Nobody tries a refused clip again: be sure
            self._probe(1, 1.0)
        return [heard[index] for index in range(len(pieces))]

    def _forward(self, pieces: Sequence[_Piece], *, words: bool) -> list[Hypothesis | Rejection]:
        """One batch through the network and the decoder."""
        lengths = [max(len(each.clip), self.min_samples) for each in pieces]
        signal = np.zeros((len(pieces), max(lengths)), dtype=np.float32)
        for row, each in zip(signal, pieces, strict=True):
            row[: len(each.clip)] = each.clip
        try:
            with torch.inference_mode():
                decoded = self._head.decode(
                    torch.from_numpy(signal).to(self.device),
                    torch.tensor(lengths, device=self.device),
                    tokens=words or self._settings.confidence,
                    phrases=[each.phrases for each in pieces],
                )
        except torch.AcceleratorError as error:  # the CUDA context is lost, whatever the clip
            raise EngineError(f"the GPU failed: {error}") from error
        return [
            self._hypothesis(found, len(each.clip) / self.sample_rate, words=words)
            for found, each in zip(decoded, pieces, strict=True)
        ]

    def _hypothesis(
        self, decoded: Decoded, duration: float, *, words: bool
    ) -> Hypothesis | Rejection:
        if not decoded.finite:
            message = "the model's output for this clip is not finite"
            return Rejection(code=ErrorCode.MODEL_REJECTED, message=message)
        folded: list[Word] | None = None
        if decoded.tokens is not None:
            folded = fold_words(
                decoded.text,
                decoded.tokens,
                frame_seconds=self.frame_seconds,
                duration=duration,
            )
        return Hypothesis(
            text=decoded.text,
            confidence=mean_confidence(folded),
            words=folded if words else None,
        )

    def _lower_limit(self, pieces: Sequence[_Piece]) -> None:
        """Plan smaller batches from now on, for `pieces` did not fit together."""
        if len(pieces) > 1:
            padded = len(pieces) * max(len(each.clip) for each in pieces) / self.sample_rate
            self.batch_seconds = min(self.batch_seconds, padded / 2)
            log.warning(
                "out of memory on %d clips, %.0f padded seconds; batches now hold %.0f",
                len(pieces),
                padded,
                self.batch_seconds,
            )

    def _probe(self, clips: int, seconds: float) -> None:
        """Transcribe noise; EngineError where that fails."""
        rng = np.random.default_rng(0)
        noise = rng.normal(0, 0.05, int(seconds * self.sample_rate)).astype(np.float32)
        try:
            heard = self._forward([_Piece(noise)] * clips, words=True)
        except Exception as error:
            size = f"{clips} x {seconds:.1f} s"
            raise EngineError(f"the model fails on {size} of noise: {error}") from error
        for each in heard:
            if isinstance(each, Rejection):
                raise EngineError(f"the model fails on noise: {each.message}")


def _fault(clip: Clip) -> Rejection | None:
    """What makes `clip` unfit for any model."""
    if clip.ndim != 1 or clip.dtype != np.float32:
        message = f"expected mono float32 samples, got {clip.dtype} {clip.shape}"
        return Rejection(code=ErrorCode.MODEL_REJECTED, message=message)
    if not len(clip):
        return Rejection(code=ErrorCode.AUDIO_EMPTY, message="the clip has no samples")
    if not np.isfinite(clip).all():
        message = "the clip contains NaN or infinite samples"
        return Rejection(code=ErrorCode.MODEL_REJECTED, message=message)
    return None


def _is_refusal(heard: Hypothesis | Rejection) -> bool:
    return isinstance(heard, Rejection) and heard.code is ErrorCode.MODEL_REJECTED
