"""The NeMo engine for CTC, RNN-T, TDT, hybrid, prompted and multitask models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from msgspec.structs import replace

from schemas.decoding import nearest
from schemas.failures import ErrorCode
from schemas.requests import DEFAULT_REQUEST, ClipRequest
from schemas.settings import ModelSettings
from schemas.transcript import Word
from serve_app.audio.clip import Clip
from serve_app.engines.base import Hypothesis, Rejection
from serve_app.engines.batches import BatchRunner
from serve_app.engines.errors import EngineError, shown
from serve_app.engines.nemo.decoding import Decoded, PhraseBoost, Wish
from serve_app.engines.nemo.heads import alphabet_of, make_head, writable
from serve_app.engines.nemo.loading import (
    choose_head,
    find_model,
    frame_seconds,
    min_samples,
    restore,
    restore_timer,
)
from serve_app.engines.nemo.options import options_of, refuse_options
from serve_app.engines.pieces import transcribe_pieces
from serve_app.engines.results import not_finite
from serve_app.engines.words import fold_words, mean_confidence


class _Segment(NamedTuple):
    """A clip, or a part of one that fits the model, and how it is decoded.

    Attributes:
        clip: mono float32 samples, at least one.
        wish: how it is decoded.
    """

    clip: Clip
    wish: Wish = Wish(words=True)


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
        head: "ctc", "rnnt" (which is also TDT) or "aed" (of a multitask model).
        takes_phrases: whether it supports phrases for single clips; otherwise it ignores them.
        frame_seconds: length of one frame of the model's output.
        min_samples: shortest clip that the model takes; a shorter one is padded with silence.
    """

    def __init__(self, settings: ModelSettings) -> None:
        """Load the model. Blocks for seconds, most of them NeMo's import.

        Raises:
            EngineError: the model file is refused or cannot be loaded, or has no such head; or an
                option is wrong.
        """
        options = options_of(settings)
        torch.set_num_threads(settings.threads or max(1, int(settings.num_cpus)))
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        if self.device == "cuda" and settings.gpu_fraction < 1:
            # Ray only counts shares of a GPU; enforce this one
            torch.cuda.set_per_process_memory_fraction(settings.gpu_fraction)
        with find_model(settings) as archive:
            self.sha256, self.model_class = archive.sha256, archive.model_class
            self.head = choose_head(archive, settings.head)
            refuse_options(settings, archive.model_class)
            model = restore(archive, device=self.device, dtype=settings.dtype)
            timer = restore_timer(archive, model, options, device=self.device, dtype=settings.dtype)
        self.parameters = sum(each.numel() for each in model.parameters())
        self.sample_rate = int(model.cfg.sample_rate)
        self.frame_seconds = frame_seconds(model)
        self.min_samples = max(min_samples(model), timer.min_samples if timer else 0)
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
        self._head = make_head(
            model,
            self.head,
            confidence=settings.confidence,
            boost=boost,
            options=options,
            timer=timer,
        )
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
            requests: one per clip; empty for the defaults. Phrases that the model cannot write are
                left out; only a transducer with subword tokens can use the others, see
                `takes_phrases`. A model that is told the language rejects a clip in one that it
                does not know.

        Raises:
            EngineError: the model fails on any audio.
        """
        wishes = [self._wish(each) for each in requests or [DEFAULT_REQUEST] * len(clips)]
        taken = [index for index, wish in enumerate(wishes) if isinstance(wish, Wish)]
        found = transcribe_pieces(
            [clips[index] for index in taken],
            [wish for wish in wishes if isinstance(wish, Wish)],
            lambda pieces: self._batches.run([_Segment(*each) for each in pieces]),
            sample_rate=self.sample_rate,
            max_seconds=self._settings.split_seconds,
        )
        heard = dict(zip(taken, found, strict=True))
        return [
            _with_phrases(heard[index], wish) if isinstance(wish, Wish) else wish
            for index, wish in enumerate(wishes)
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

    def _wish(self, request: ClipRequest) -> Wish | Rejection:
        """What the head is asked for a clip; its rejection where the language is unknown."""
        phrases = language = None
        if request.phrases and self.takes_phrases:
            phrases = writable(request.phrases, self._alphabet)
        if (languages := self._head.languages) is not None:
            language = languages.find(request.language)
            if language is None:
                message = (
                    f"the model does not know the language {shown(request.language)} (`lang`); "
                    f"{nearest(request.language or '', languages.known)}"
                )
                return Rejection(code=ErrorCode.MODEL_REJECTED, message=message)
        return Wish(phrases, language, self._settings.words or request.words)

    def _forward(self, segments: Sequence[_Segment]) -> list[Hypothesis | Rejection]:
        """Run one batch through the network and the decoder."""
        lengths = [max(len(each.clip), self.min_samples) for each in segments]
        signal = np.zeros((len(segments), max(lengths)), dtype=np.float32)
        for row, each in zip(signal, segments, strict=True):
            row[: len(each.clip)] = each.clip
        wishes = [each.wish for each in segments]
        try:
            with torch.inference_mode():
                decoded = self._head.decode(
                    torch.from_numpy(signal).to(self.device),
                    torch.tensor(lengths, device=self.device),
                    tokens=self._settings.confidence or any(each.words for each in wishes),
                    wishes=wishes,
                )
        except torch.AcceleratorError as error:  # the CUDA context is lost, regardless of the clips
            raise EngineError(f"the GPU failed: {error}") from error
        return [
            self._hypothesis(*each, len(each[1].clip) / self.sample_rate)
            for each in zip(decoded, segments, strict=True)
        ]

    def _hypothesis(
        self, decoded: Decoded, segment: _Segment, duration: float
    ) -> Hypothesis | Rejection:
        if not decoded.finite:
            return not_finite()
        if decoded.fault is not None:
            return Rejection(code=ErrorCode.MODEL_REPEATS, message=decoded.fault)
        folded: list[Word] | None = None
        if decoded.tokens is not None:
            folded = fold_words(
                decoded.text,
                decoded.tokens,
                frame_seconds=self.frame_seconds,
                duration=duration,
            )
        words = folded if self._head.has_frames else _timed(folded, decoded, duration)
        return Hypothesis(
            text=decoded.text,
            confidence=mean_confidence(folded),
            words=words if segment.wish.words else None,
        )


def _with_phrases(heard: Hypothesis | Rejection, wish: Wish) -> Hypothesis | Rejection:
    if isinstance(heard, Rejection) or wish.phrases is None:
        return heard
    return replace(heard, phrases=len(wish.phrases))


def _timed(words: list[Word] | None, decoded: Decoded, duration: float) -> list[Word] | None:
    """`words` with times that do not follow from the tokens; None where they are not known."""
    if not words:
        return words
    if decoded.times is None:
        return None
    return [
        replace(word, start=round(min(start, duration), 3), end=round(min(end, duration), 3))
        for word, (start, end) in zip(words, decoded.times, strict=True)
    ]
