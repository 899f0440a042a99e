"""The engine "transformers": a folder of Hugging Face's library, decoded by its family's head."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from schemas.requests import DEFAULT_REQUEST, ClipRequest
from schemas.settings import ModelSettings
from serve_app.audio.clip import Clip
from serve_app.engines.base import Hypothesis, Rejection
from serve_app.engines.batch_plan import plan_batches
from serve_app.engines.errors import EngineError, cause_of
from serve_app.engines.isolation import is_out_of_memory, run_isolated
from serve_app.engines.pieces import transcribe_pieces
from serve_app.engines.transformers.ctc import CtcHead
from serve_app.engines.transformers.folder import check_folder
from serve_app.engines.transformers.heads import Head, Piece
from serve_app.engines.transformers.loading import Loaded, load
from serve_app.engines.transformers.options import CtcOptions, WhisperOptions, read_options
from serve_app.engines.transformers.whisper import WhisperHead

log = logging.getLogger(__name__)


class TransformersEngine:
    """A speech model of Transformers in memory; see `serve_app.engines.base.Engine`.

    It takes the networks of Transformers, but not its pipelines and `generate`: these give no
    scores, and keep settings from one call to the next.

    Use one engine per process, from one thread: it changes torch's thread count.

    Args:
        settings: of the model.

    Attributes:
        sample_rate: sample rate that the clips must have, in hertz.
        sha256: digest of the list of the model's files, as the registry has it.
        device: "cpu" or "cuda".
        model_class: name of Transformers' class.
        parameters: how many the model has.
        min_samples: what shorter clips are padded to, in samples; 30 seconds for Whisper.
        batch_seconds: padded seconds in a batch; reduced below the settings when a batch does not
            fit the memory.
    """

    def __init__(self, settings: ModelSettings) -> None:
        """Load the model. Blocks for seconds, most of them Transformers' import.

        Raises:
            EngineError: the folder is refused, cannot be loaded, or has another digest; or an
                option is wrong.
        """
        torch.set_num_threads(settings.threads or max(1, int(settings.num_cpus)))
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        if self.device == "cuda" and settings.gpu_fraction < 1:
            # Ray only counts shares of a GPU; enforce this one
            torch.cuda.set_per_process_memory_fraction(settings.gpu_fraction)
        if settings.path is None:
            raise EngineError("give `path`, the folder of a Transformers model, or `model`")
        folder = check_folder(Path(settings.path))
        self.sha256 = folder.sha256()
        if settings.sha256 not in (None, self.sha256):
            raise EngineError(
                f"{settings.path}: SHA-256 is {self.sha256}, not {settings.sha256} as expected"
            )
        make = _whisper if folder.family == "whisper" else _ctc
        loaded = load(folder, device=self.device, dtype=settings.dtype)
        try:
            self._head = make(settings, loaded)
        except EngineError as error:
            raise EngineError(f"{settings.path}: {error}") from None
        self.model_class = type(loaded.model).__name__
        self.parameters = sum(each.numel() for each in loaded.model.parameters())
        self.sample_rate = self._head.sample_rate
        self.min_samples = self._head.min_samples
        self.batch_seconds = settings.batch_seconds
        self._settings = settings

    def transcribe(
        self, clips: Sequence[Clip], requests: Sequence[ClipRequest] = ()
    ) -> list[Hypothesis | Rejection]:
        """One hypothesis or rejection per clip, in order. Blocks while the model runs.

        Clips longer than the model hears, or than `split_seconds`, are split at silences, and
        their hypotheses are joined. Pieces run sorted by length, in batches of `batch_seconds`.

        Args:
            clips: mono, float32, at `sample_rate`.
            requests: one per clip; empty for the defaults. Phrases are ignored.

        Raises:
            EngineError: the model fails on any audio.
        """
        requests = requests or [DEFAULT_REQUEST] * len(clips)
        return transcribe_pieces(
            clips,
            requests,
            lambda pieces: self._run(
                [Piece.of(clip, request, words=self._settings.words) for clip, request in pieces]
            ),
            sample_rate=self.sample_rate,
            max_seconds=min(self._settings.split_seconds, self._head.max_seconds),
        )

    def warm_up(self) -> None:
        """Transcribe noise, on a GPU in a batch of the largest size. Blocks.

        Raises:
            EngineError: the model fails on it, or the batch does not fit the memory.
        """
        longest = min(self._settings.split_seconds, self._head.max_seconds, self.batch_seconds)
        self._probe(1, 1.0)
        if self.device == "cuda":
            self._probe(max(1, int(self.batch_seconds / longest)), longest)

    def _run(self, pieces: Sequence[Piece]) -> list[Hypothesis | Rejection]:
        """Transcribe pieces that each fit the model, batch by batch."""
        heard: dict[int, Hypothesis | Rejection] = {}
        waiting = list(range(len(pieces)))
        while waiting:  # planned again after each batch: `batch_seconds` may have been reduced
            batch = self._next_batch(pieces, waiting)
            results = run_isolated(
                self._forward,
                [pieces[index] for index in batch],
                on_out_of_memory=self._lower_limit,
            )
            heard.update(zip(batch, results, strict=True))
            waiting = [index for index in waiting if index not in heard]
        return [heard[index] for index in range(len(pieces))]

    def _next_batch(self, pieces: Sequence[Piece], waiting: Sequence[int]) -> list[int]:
        """The longest of the waiting pieces that fit a batch, by their indices."""
        lengths = [self._padded_seconds(pieces[index]) for index in waiting]
        batch = [waiting[place] for place in plan_batches(lengths, self.batch_seconds)[0]]
        if self._head.pads:
            return batch
        longest = len(pieces[batch[0]].clip)
        return [index for index in batch if len(pieces[index].clip) == longest]

    def _forward(self, pieces: Sequence[Piece]) -> list[Hypothesis | Rejection]:
        try:
            return self._head.transcribe(pieces)
        except torch.AcceleratorError as error:  # the CUDA context is lost, regardless of the clips
            raise EngineError(f"the GPU failed: {error}") from error

    def _padded_seconds(self, piece: Piece) -> float:
        return max(len(piece.clip), self.min_samples) / self.sample_rate

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

    def _probe(self, clips: int, seconds: float) -> None:
        """Transcribe noise.

        Raises:
            EngineError: the model fails on it.
        """
        rng = np.random.default_rng(0)
        noise = rng.normal(0, 0.05, int(seconds * self.sample_rate)).astype(np.float32)
        try:
            self._forward([Piece(noise, words=True)] * clips)
        except Exception as error:
            reason = "memory ran out" if is_out_of_memory(error) else cause_of(error)
            raise EngineError(
                f"the model fails on {clips} x {seconds:.1f} s of noise: {reason}"
            ) from error


def _whisper(settings: ModelSettings, loaded: Loaded) -> Head:
    options = read_options(settings.options, WhisperOptions)
    return WhisperHead(loaded, options, confidence=settings.confidence)


def _ctc(settings: ModelSettings, loaded: Loaded) -> Head:
    read_options(settings.options, CtcOptions)
    return CtcHead(loaded, confidence=settings.confidence)
