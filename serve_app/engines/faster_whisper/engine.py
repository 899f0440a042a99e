"""The faster-whisper engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ctranslate2
import msgspec
import numpy as np
import tokenizers
from faster_whisper.audio import pad_or_trim
from faster_whisper.feature_extractor import FeatureExtractor
from msgspec.structs import replace

from schemas.failures import ErrorCode
from schemas.requests import DEFAULT_REQUEST, ClipRequest
from schemas.settings import ModelSettings
from schemas.transcript import Word
from serve_app.audio.clip import Clip
from serve_app.engines.base import Hypothesis, Language, Rejection
from serve_app.engines.batches import BatchRunner
from serve_app.engines.errors import EngineError, cause_of
from serve_app.engines.faster_whisper.decoding import Attempt, Decoder, Encoded
from serve_app.engines.faster_whisper.folder import TOKENIZER, digest_of, model_files
from serve_app.engines.faster_whisper.options import compute_type, options_of
from serve_app.engines.faster_whisper.prompts import Prompts
from serve_app.engines.faster_whisper.times import timed_words
from serve_app.engines.pieces import transcribe_pieces
from serve_app.engines.whisper_options import WINDOW_S

#: Shorter clips are padded with silence: the times of words need a few frames.
_SHORTEST_S = 0.1
#: What a clip of the engine's own check asks for.
_EVERYTHING = ClipRequest(words=True)


class _Wish(msgspec.Struct):
    """What is wanted of a clip, and of each piece of it.

    Attributes:
        words: whether it needs words with times.
        phrases: tokens of the phrases to expect.
        used: how many of the clip's own phrases are among them; None without any.
        language: code of it; None until it has been found out, from the first piece.
    """

    words: bool
    phrases: list[int]
    used: int | None
    language: str | None


class _Piece(NamedTuple):
    """At most 30 s of a clip."""

    clip: Clip
    wish: _Wish


class FasterWhisperEngine:
    """A Whisper model of CTranslate2; see `serve_app.engines.base.Engine` for the protocol.

    It calls CTranslate2 itself: faster-whisper transcribes one recording at a time, and its
    pipeline batches only the parts of one.

    Args:
        settings: of the model.

    Attributes:
        sample_rate: sample rate that the clips must have, in hertz.
        sha256: digest of the model's files, as the registry has it.
        device: "cpu" or "cuda".
        model_class: "Whisper".
        min_samples: what shorter clips are padded to.
    """

    sample_rate = 16_000
    model_class = "Whisper"
    min_samples = int(WINDOW_S * sample_rate)

    def __init__(self, settings: ModelSettings) -> None:
        """Load the model. Blocks for seconds.

        Raises:
            EngineError: an option is wrong, or the model is refused or cannot be loaded.
        """
        options = options_of(settings)
        if settings.path is None:
            raise EngineError("give `path` (a folder) or `model` (registered)")
        folder = Path(settings.path)
        files = model_files(folder)
        self.sha256 = digest_of(files)
        if settings.sha256 not in (None, self.sha256):
            raise EngineError(f"{folder}: its files have the SHA-256 digest {self.sha256}")
        self.device = "cuda" if ctranslate2.get_cuda_device_count() else "cpu"
        ctranslate2.set_random_seed(0)
        try:
            self._model = ctranslate2.models.Whisper(
                str(folder),
                device=self.device,
                compute_type=compute_type(options, settings, self.device),
                intra_threads=settings.threads or max(1, int(settings.num_cpus)),
                inter_threads=1,
            )
            tokenizer = tokenizers.Tokenizer.from_file(str(files[TOKENIZER]))
        except Exception as error:  # tokenizers raises nothing more special
            raise EngineError(f"{folder}: {cause_of(error)}") from error
        multilingual = bool(self._model.is_multilingual)
        self._prompts = Prompts(
            tokenizer, multilingual=multilingual, task=options.task, phrases=settings.phrases
        )
        self._language = self._prompts.language(options.language)
        _check_language(options.language, options.task, self._language, multilingual=multilingual)
        self._extract = FeatureExtractor(feature_size=self._model.n_mels)
        self._decoder = Decoder(self._model, options)
        self._settings = settings
        self._batches = BatchRunner(
            self._forward,
            piece_of=lambda clip: _Piece(clip, self._wish(_EVERYTHING)),
            clip_of=lambda piece: piece.clip,
            sample_rate=self.sample_rate,
            min_samples=self.min_samples,
            batch_seconds=settings.batch_seconds,
        )

    @property
    def batch_seconds(self) -> float:
        """Padded seconds in a batch; reduced when a batch does not fit the memory."""
        return self._batches.batch_seconds

    @staticmethod
    def check(settings: ModelSettings) -> None:
        """Check the settings of a model, without its files.

        Raises:
            EngineError: an option is wrong.
        """
        options_of(settings)

    def transcribe(
        self, clips: Sequence[Clip], requests: Sequence[ClipRequest] = ()
    ) -> list[Hypothesis | Rejection]:
        """One hypothesis or rejection per clip, in order. Blocks while the model runs.

        Clips longer than 30 s, or than `split_seconds`, are split at silences. Pieces of all clips
        share batches.

        Args:
            clips: mono, float32, at `sample_rate`.
            requests: one per clip; empty for the defaults. A language that the model does not know
                counts as none. Phrases that do not fit the prompt are left out.
        """
        wishes = [self._wish(each) for each in requests or [DEFAULT_REQUEST] * len(clips)]
        heard = transcribe_pieces(
            clips,
            wishes,
            lambda pieces: self._run([_Piece(*each) for each in pieces]),
            sample_rate=self.sample_rate,
            max_seconds=min(WINDOW_S, self._settings.split_seconds),
        )
        return [
            each if isinstance(each, Rejection) else replace(each, phrases=wish.used)
            for each, wish in zip(heard, wishes, strict=True)
        ]

    def identify_languages(self, clips: Sequence[Clip]) -> list[Language]:
        """The language of each clip, in its first 30 seconds, in order. Blocks.

        Raises:
            EngineError: the model knows only English.
        """
        if not self._model.is_multilingual:
            raise EngineError("this model knows only English, so it identifies no languages")
        features, _ = self._features(clips)
        found = self._model.detect_language(ctranslate2.StorageView.from_array(features))
        return [Language(each[0][0].strip("<|>"), round(each[0][1], 4)) for each in found]

    def _wish(self, request: ClipRequest) -> _Wish:
        tokens, used = self._prompts.phrases(request.phrases)
        return _Wish(
            words=self._settings.words or request.words,
            phrases=tokens,
            used=used if request.phrases else None,
            language=self._prompts.language(request.language) or self._language,
        )

    def _run(self, pieces: Sequence[_Piece]) -> list[Hypothesis | Rejection]:
        """Transcribe pieces of at most 30 s, batch by batch, those with alike prompts together."""
        order = sorted(range(len(pieces)), key=lambda index: _kind(pieces[index].wish))
        results = self._batches.run([pieces[index] for index in order])
        heard = dict(zip(order, results, strict=True))
        return [heard[index] for index in range(len(pieces))]

    def _forward(self, pieces: Sequence[_Piece]) -> list[Hypothesis | Rejection]:
        """Run one batch through the encoder, and the decoder for each kind of prompt in it."""
        features, frames = self._features([clip for clip, _ in pieces])
        encoded = Encoded(self._model.encode(ctranslate2.StorageView.from_array(features)))
        self._find_languages(encoded, [wish for _, wish in pieces])
        groups: dict[tuple[str, int], list[int]] = {}
        for row, (_, wish) in enumerate(pieces):
            groups.setdefault(_kind(wish), []).append(row)
        results: dict[int, Hypothesis | Rejection] = {}
        for (language, _), rows in groups.items():
            tokenizer = self._prompts.of_language(language)
            prompts = [self._prompts.prompt(pieces[row].wish.phrases, language) for row in rows]
            attempts = self._decoder.decode(encoded, rows, prompts, tokenizer)
            found = dict(zip(rows, attempts, strict=True))
            words = self._words(encoded, pieces, frames, found, tokenizer)
            for row, attempt in found.items():
                results[row] = self._result(attempt, words.get(row))
        return [results[row] for row in range(len(pieces))]

    def _features(self, clips: Sequence[Clip]) -> tuple[Any, list[int]]:
        """Log-mel spectrograms, [clip, feature, frame], and how many frames of each are audio."""
        shortest = int(_SHORTEST_S * self.sample_rate)
        padded = [np.pad(clip, (0, max(0, shortest - len(clip)))) for clip in clips]
        spectrograms = [self._extract(clip)[:, :-1] for clip in padded]
        frames = [min(each.shape[1], self._extract.nb_max_frames) for each in spectrograms]
        return np.stack([pad_or_trim(each) for each in spectrograms]), frames

    def _find_languages(self, encoded: Encoded, wishes: Sequence[_Wish]) -> None:
        rows = [row for row, wish in enumerate(wishes) if wish.language is None]
        if not rows:
            return
        found = self._model.detect_language(encoded.rows(rows))
        for row, probabilities in zip(rows, found, strict=True):
            if wishes[row].language is None:  # not yet found in an earlier piece of the clip
                wishes[row].language = probabilities[0][0].strip("<|>")

    def _words(
        self,
        encoded: Encoded,
        pieces: Sequence[_Piece],
        frames: Sequence[int],
        attempts: dict[int, Attempt],
        tokenizer: Any,
    ) -> dict[int, list[Word] | None]:
        """The words of those rows that want them."""
        wanted = [row for row in attempts if pieces[row].wish.words]
        rows = [row for row in wanted if attempts[row].text]
        words: dict[int, list[Word] | None] = dict.fromkeys(wanted)
        words.update({row: [] for row in wanted if not attempts[row].text})
        if not rows:
            return words
        aligned = self._model.align(
            encoded.rows(rows),
            tokenizer.sot_sequence,
            [[t for t in attempts[row].tokens if t < tokenizer.eot] for row in rows],
            [frames[row] for row in rows],
        )
        for row, alignment in zip(rows, aligned, strict=True):
            words[row] = timed_words(
                attempts[row].text,
                attempts[row].tokens,
                alignment,
                tokenizer,
                duration=len(pieces[row].clip) / self.sample_rate,
                confidence=self._settings.confidence,
            )
        return words

    def _result(self, attempt: Attempt, words: list[Word] | None) -> Hypothesis | Rejection:
        if attempt.repeats:
            return Rejection(
                code=ErrorCode.MODEL_REPEATS,
                message="the model only repeats itself on this clip, at each temperature",
            )
        confidence = attempt.confidence if self._settings.confidence else None
        return Hypothesis(text=attempt.text, confidence=confidence, words=words)


def _kind(wish: _Wish) -> tuple[str, int]:
    """Pieces of the same kind can be decoded together."""
    return wish.language or "", len(wish.phrases)


def _check_language(given: str | None, task: str, found: str | None, *, multilingual: bool) -> None:
    """Refuse options that the model cannot follow."""
    if not multilingual and (task != "transcribe" or (given or "en").lower()[:2] != "en"):
        raise EngineError("options: this model knows only English, and cannot translate")
    if given is not None and found is None:
        raise EngineError(f"options.language: no language {given!r}")
