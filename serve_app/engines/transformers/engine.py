"""The engine "transformers": a folder of Hugging Face's library, decoded by its family's head."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from schemas.requests import DEFAULT_REQUEST, ClipRequest
from schemas.settings import ModelSettings
from serve_app.audio.clip import Clip
from serve_app.engines.base import Hypothesis, Language, Rejection
from serve_app.engines.batches import BatchRunner
from serve_app.engines.errors import EngineError
from serve_app.engines.options import read_options
from serve_app.engines.pieces import transcribe_pieces
from serve_app.engines.transformers.ctc import CtcHead
from serve_app.engines.transformers.folder import check_folder
from serve_app.engines.transformers.heads import Head, Piece
from serve_app.engines.transformers.loading import Loaded, load
from serve_app.engines.transformers.options import NoOptions, WhisperOptions
from serve_app.engines.transformers.tdt import TdtHead
from serve_app.engines.transformers.whisper import WhisperHead


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
        make = _HEADS.get(folder.family, _ctc)
        loaded = load(folder, device=self.device, dtype=settings.dtype)
        try:
            self._head = make(settings, loaded)
        except EngineError as error:
            raise EngineError(f"{settings.path}: {error}") from None
        self.model_class = type(loaded.model).__name__
        self.parameters = sum(each.numel() for each in loaded.model.parameters())
        self.sample_rate = self._head.sample_rate
        self.min_samples = self._head.min_samples
        self._batches = BatchRunner(
            self._forward,
            piece_of=lambda clip: Piece(clip, words=True),
            clip_of=lambda piece: piece.clip,
            sample_rate=self.sample_rate,
            min_samples=self.min_samples,
            batch_seconds=settings.batch_seconds,
            alike=lambda piece: 0 if self._head.pads else len(piece.clip),
        )
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
            lambda pieces: self._batches.run(
                [Piece.of(clip, request, words=self._settings.words) for clip, request in pieces]
            ),
            sample_rate=self.sample_rate,
            max_seconds=min(self._settings.split_seconds, self._head.max_seconds),
        )

    def identify_languages(self, clips: Sequence[Clip]) -> list[Language]:
        """The language at the beginning of each clip, in order. Blocks while the model runs.

        Raises:
            EngineError: the model knows one language only, or the GPU failed.
        """
        with _gpu_faults():
            return self._head.identify(clips)

    def warm_up(self) -> None:
        """Transcribe noise, on a GPU in a batch of the largest size. Blocks.

        Raises:
            EngineError: the model fails on it, or the batch does not fit the memory.
        """
        self._batches.probe(1, 1.0)
        if self.device == "cuda":
            most = self._batches.batch_seconds
            longest = min(self._settings.split_seconds, self._head.max_seconds, most)
            self._batches.probe(max(1, int(most / longest)), longest)

    def _forward(self, pieces: Sequence[Piece]) -> list[Hypothesis | Rejection]:
        with _gpu_faults():
            return self._head.transcribe(pieces)


@contextmanager
def _gpu_faults() -> Iterator[None]:
    try:
        yield
    except torch.AcceleratorError as error:  # the CUDA context is lost, regardless of the clips
        raise EngineError(f"the GPU failed: {error}") from error


def _whisper(settings: ModelSettings, loaded: Loaded) -> Head:
    options = read_options(settings.options, WhisperOptions)
    return WhisperHead(loaded, options, confidence=settings.confidence)


def _ctc(settings: ModelSettings, loaded: Loaded) -> Head:
    read_options(settings.options, NoOptions)
    return CtcHead(loaded, confidence=settings.confidence)


def _tdt(settings: ModelSettings, loaded: Loaded) -> Head:
    read_options(settings.options, NoOptions)
    return TdtHead(loaded, confidence=settings.confidence)


#: By family; the others are CTC models.
_HEADS = {"whisper": _whisper, "parakeet_tdt": _tdt}
