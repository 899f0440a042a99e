"""Load a NeMo model for serving: find, check, restore and freeze it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from schemas.settings import ModelSettings
from serve_app.engines.errors import EngineError
from serve_app.engines.nemo.allow_list import HEADS
from serve_app.engines.nemo.archive import ModelArchive, load_model, open_archive
from serve_app.engines.nemo.features import quicken
from serve_app.engines.nemo.imports import import_nemo, without_librosa
from serve_app.engines.nemo.options import NemoOptions
from serve_app.engines.nemo.pretrained import pretrained_file
from serve_app.engines.nemo.word_times import WordTimer

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

#: Feature frames that a clip needs: with only one, the standard deviation of the features is
#: undefined, and NeMo may fail on the whole batch.
_MIN_FRAMES = 2


@contextmanager
def find_model(settings: ModelSettings) -> Iterator[ModelArchive]:
    """Open the archive of `settings.path`, or of `settings.pretrained` in NeMo's cache.

    A pretrained model that is not in the cache is downloaded first, which blocks.

    Raises:
        EngineError: it cannot be downloaded, or `open_archive` refuses it.
    """
    with open_archive(_path_of(settings), sha256=settings.sha256) as archive:
        yield archive


def _path_of(settings: ModelSettings) -> Path:
    if settings.path is not None:
        return Path(settings.path)
    if settings.pretrained is None:
        raise EngineError("give either `path` (a .nemo file) or `pretrained` (a model's name)")
    return pretrained_file(settings.pretrained)


def choose_head(archive: ModelArchive, wanted: str) -> str:
    """Choose the head that decodes: "ctc", "rnnt" (which is also TDT), or "aed".

    Args:
        archive: the model.
        wanted: one of these, or "auto" for the model's default.

    Raises:
        EngineError: the model has no such head.
    """
    heads = HEADS[archive.model_class]
    if wanted == "auto":
        return heads[0]
    if wanted not in heads:
        raise EngineError(
            f"{archive.path}: a model of class {archive.model_class} has no {wanted!r} head; "
            f"set `head: {heads[0]}`, or leave it out"
        )
    return wanted


def restore(archive: ModelArchive, *, device: str, dtype: str) -> Any:
    """Restore the model, frozen, in evaluation mode, with features without dither and padding.

    NeMo changes the working directory of the process meanwhile: load one model at a time.

    Args:
        archive: as `find_model` returns it.
        device: "cpu" or "cuda".
        dtype: as in `ModelSettings`. Features are computed in single precision in any case.

    Raises:
        EngineError: NeMo cannot restore it.
    """
    import_nemo()
    from nemo.core.classes.common import typecheck

    # checking shapes takes two of nine milliseconds per call
    typecheck.set_typecheck_enabled(False)
    with without_librosa():
        model = load_model(archive, device=device)
    try:
        if dtype == "auto":
            dtype = "bfloat16" if device == "cuda" else "float32"
        model.to(_DTYPES[dtype])
        featurizer = model.preprocessor.featurizer
        featurizer.float()
        featurizer.dither = 0.0
        featurizer.pad_to = 0
    except Exception as error:
        raise EngineError(f"{archive.path}: cannot be loaded: {error}") from error
    model.eval()
    model.freeze()
    quicken(model.preprocessor.featurizer)
    return model


def restore_timer(
    archive: ModelArchive, model: Any, options: NemoOptions, *, device: str, dtype: str
) -> WordTimer | None:
    """What times the words of a multitask model: the second model of its archive.

    Args:
        archive: as `find_model` returns it.
        model: the first model.
        options: of the settings.
        device: "cpu" or "cuda".
        dtype: as in `ModelSettings`.

    Returns:
        None if the archive has no second model, or the options do without it.

    Raises:
        EngineError: NeMo cannot restore it, or it hears another sample rate.
    """
    if archive.times is None or not options.word_times:
        return None
    second = restore(archive.times, device=device, dtype=dtype)
    if second.cfg.sample_rate != model.cfg.sample_rate:
        raise EngineError(f"{archive.path}: its two models hear different sample rates")
    return WordTimer(second, min_samples=min_samples(second))


def frame_seconds(model: Any) -> float:
    """Length of one frame of the model's output, in seconds."""
    hop = model.preprocessor.featurizer.hop_length
    factor = getattr(model.encoder, "subsampling_factor", None)  # an RNNEncoder does not have it
    if factor is None:
        factor = model.cfg.encoder.subsampling_factor
    return float(factor * hop / model.cfg.sample_rate)


def min_samples(model: Any) -> int:
    """Shortest clip, in samples, that the model's features are defined for."""
    featurizer = model.preprocessor.featurizer
    hop = int(featurizer.hop_length)
    return next(
        samples
        for samples in itertools.count(hop, hop)
        if featurizer.get_seq_len(torch.tensor(samples)) >= _MIN_FRAMES
    )
