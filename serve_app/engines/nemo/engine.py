"""The NeMo engine for CTC, RNN-T, TDT and hybrid models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from msgspec.structs import replace

from schemas.failures import ErrorCode
from schemas.requests import DEFAULT_REQUEST, ClipRequest
from schemas.settings import ModelSettings
from schemas.transcript import Word
from serve_app.audio.clip import Clip
from serve_app.engines.base import Hypothesis, Rejection
from serve_app.engines.batches import BatchRunner
from serve_app.engines.errors import EngineError
from serve_app.engines.nemo.heads import Decoded, PhraseBoost, alphabet_of, make_head, writable
from serve_app.engines.nemo.loading import (
    choose_head,
    find_model,
    frame_seconds,
    min_samples,
    restore,
)
from serve_app.engines.pieces import transcribe_pieces
from serve_app.engines.words import fold_words, mean_confidence


class _Segment(NamedTuple):
    """A clip, or a part of one that fits the model.

    Attributes:
        clip: mono float32 samples, at least one.
        phrases: what to bias it towards.
        words: whether the batch that it is in needs times of words.
    """

    clip: Clip
    phrases: tuple[str, ...] = ()
    words: bool = True


class NemoEngine:
    """A NeMo speech model in memory; see `serve_app.engines.base.Engine` for the protocol.

    It calls the network and the decoder directly: NeMo's own `transcribe()` builds a data loader
    on every call, does not sort by length, leaves modules in training mode, and fails a whole
    batch for one bad clip.

    Use one engine per process, from one thread: it changes torch's thread count, NeMo's type checks
    and, while it loads, the working directory, which belong to the whole process.

    Args:
        settings: of the model.

    Attributes:
        sample_rate: sample rate that the clips must have, in hertz.
        sha256: digest of the model file.
        device: "cpu" or "cuda".
        model_class: name of NeMo's class.
        parameters: how many the model has.
        head: "ctc" or "rnnt" (which is also TDT).
        takes_phrases: whether it supports phrases for single clips; otherwise it ignores them.
        frame_seconds: length of one frame of the model's output.
        min_samples: shortest clip that the model takes; a shorter one is padded with silence.
    """

    def __init__(self, settings: ModelSettings) -> None:
        """Load the model. Blocks for seconds, most of them NeMo's import.

        Raises:
            EngineError: the model file is refused or cannot be loaded, or has no such head.
        """
        torch.set_num_threads(settings.threads or max(1, int(settings.num_cpus)))
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        if self.device == "cuda" and settings.gpu_fraction < 1:
            # Ray only counts shares of a GPU; enforce this one
            torch.cuda.set_per_process_memory_fraction(settings.gpu_fraction)
        with find_model(settings) as archive:
            self.sha256, self.model_class = archive.sha256, archive.model_class
            self.head = choose_head(archive, settings.head)
            model = restore(archive, device=self.device, dtype=settings.dtype)
        self.parameters = sum(each.numel() for each in model.parameters())
        self.sample_rate = int(model.cfg.sample_rate)
        self.frame_seconds = frame_seconds(model)
        self.min_samples = min_samples(model)
        self._batches = BatchRunner(
            self._forward,
            piece_of=_Segment,
            clip_of=lambda segment: segment.clip,
            sample_rate=self.sample_rate,
            min_samples=self.min_samples,
            batch_seconds=settings.batch_seconds,
        )
        self._settings = settings
        boost = PhraseBoost(settings.phrases, settings.phrase_weight)
        self._head = make_head(model, self.head, confidence=settings.confidence, boost=boost)
        self.takes_phrases = self._head.takes_phrases
        self._alphabet = alphabet_of(self._head.surfaces)

    def transcribe(
        self, clips: Sequence[Clip], requests: Sequence[ClipRequest] = ()
    ) -> list[Hypothesis | Rejection]:
        """One hypothesis or rejection per clip, in order. Blocks while the model runs.

        Clips longer than `split_seconds` are split at silences, and their hypotheses are joined.
        Segments run sorted by length, in batches of `batch_seconds`. A batch that does not fit the
        memory is halved; a clip on which the model fails is found by halving and rejected.

        Args:
            clips: mono, float32, at `sample_rate`.
            requests: one per clip; empty for the defaults. All hypotheses carry words with times
                if one request or the settings ask for them. Phrases that the model cannot write are
                left out; only a transducer with subword tokens can use the others, see
                `takes_phrases`.

        Raises:
            EngineError: the model fails on any audio.
        """
        requests = requests or [DEFAULT_REQUEST] * len(clips)
        words = self._settings.words or any(each.words for each in requests)
        wanted = [self._writable(each) for each in requests]
        heard = transcribe_pieces(
            clips,
            wanted,
            lambda pieces: self._batches.run(
                [_Segment(clip, phrases or (), words) for clip, phrases in pieces]
            ),
            sample_rate=self.sample_rate,
            max_seconds=self._settings.split_seconds,
        )
        return [
            each
            if isinstance(each, Rejection)
            else replace(each, phrases=None if phrases is None else len(phrases))
            for each, phrases in zip(heard, wanted, strict=True)
        ]

    def warm_up(self) -> None:
        """Run batches of all expected shapes, from the smallest to the largest. Blocks.

        On a GPU this captures CUDA graphs at full size, and shows whether the largest batch
        fits; on a CPU one short clip is enough.

        Raises:
            EngineError: the model fails on noise, or the largest batch does not fit the memory.
        """
        self._batches.probe(1, 1.0)
        if self.device == "cuda":
            longest = min(self._settings.split_seconds, self.batch_seconds)
            for power in range(5, -1, -1):
                seconds = longest / 2**power
                self._batches.probe(int(self.batch_seconds / seconds), seconds)

    @property
    def batch_seconds(self) -> float:
        """Padded seconds in a batch; reduced when a batch does not fit the memory."""
        return self._batches.batch_seconds

    def _writable(self, request: ClipRequest) -> tuple[str, ...] | None:
        """The phrases that the model can use; None without phrases or support for them."""
        if not request.phrases or not self.takes_phrases:
            return None
        return writable(request.phrases, self._alphabet)

    def _forward(self, segments: Sequence[_Segment]) -> list[Hypothesis | Rejection]:
        """Run one batch through the network and the decoder."""
        words = any(each.words for each in segments)
        lengths = [max(len(each.clip), self.min_samples) for each in segments]
        signal = np.zeros((len(segments), max(lengths)), dtype=np.float32)
        for row, each in zip(signal, segments, strict=True):
            row[: len(each.clip)] = each.clip
        try:
            with torch.inference_mode():
                decoded = self._head.decode(
                    torch.from_numpy(signal).to(self.device),
                    torch.tensor(lengths, device=self.device),
                    tokens=words or self._settings.confidence,
                    phrases=[each.phrases for each in segments],
                )
        except torch.AcceleratorError as error:  # the CUDA context is lost, regardless of the clips
            raise EngineError(f"the GPU failed: {error}") from error
        return [
            self._hypothesis(found, len(each.clip) / self.sample_rate, words=words)
            for found, each in zip(decoded, segments, strict=True)
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
