"""Open an untrusted `.nemo` file, and build its model without running any code of the file.

Our own reader unpacks the file once, into a private folder, where every part is checked. NeMo gets
that folder and a configuration of our making. It never reads the file itself.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from serve_app.engines.archive import unpack
from serve_app.engines.configuration import (
    model_class,
    parse_config,
    safe_config,
    tokenizer_files,
)
from serve_app.engines.errors import EngineError
from serve_app.engines.nemo_import import import_nemo
from serve_app.engines.weights import load_weights, read_list

#: Largest configuration; most of one is the vocabulary.
MAX_CONFIG_BYTES = 16 << 20

#: Largest SentencePiece model; one of 256,000 pieces has 4 MB.
MAX_TOKENIZER_BYTES = 16 << 20

_CONFIG = "model_config.yaml"
#: Name of the file of weights, in the archive and in `ModelArchive.folder`.
WEIGHTS = "model_weights.ckpt"


class ModelArchive(msgspec.Struct, frozen=True, kw_only=True):
    """A `.nemo` file that passed `open_archive`.

    Attributes:
        path: where it is.
        sha256: its digest, lower-case hexadecimal.
        model_class: name of its class, one of `serve_app.engines.parts.HEADS`.
        config: the part of its configuration that is loaded, see `safe_config`.
        folder: holds its weights and its tokenizer only; removed when the archive is closed.
    """

    path: Path
    sha256: str
    model_class: str
    config: dict[str, Any]
    folder: Path


@contextmanager
def open_archive(path: Path, *, sha256: str | None = None) -> Iterator[ModelArchive]:
    """Unpack the archive and check every part that the model is built from.

    Refused are: a digest other than `sha256`; whatever `unpack` refuses; a configuration that is
    not plain data, see `parse_config`, or that goes beyond the allow-list, see `safe_config`; a
    tokenizer outside the archive; anything but weights in the file of weights, see
    `read_list`; and every archive while TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD is set.

    Raises:
        EngineError: the archive is refused; the message says why.
    """
    if os.environ.get("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "0").lower() not in {"", "0"}:
        raise EngineError(
            "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD is set: a model file could run any code; unset it"
        )
    with tempfile.TemporaryDirectory(prefix="chorus-model-") as folder:  # of mode 0700
        try:
            archive = _open(path, Path(folder), sha256)
        except EngineError as error:
            reason = " ".join(str(error).split())  # a line: some callers show the last one only
            raise EngineError(f"{path}: {reason}") from error.__cause__
        except Exception as error:  # whatever a damaged or hostile file makes a library raise
            reason = " ".join(str(error).split())[:300]
            raise EngineError(f"{path}: cannot be read as a .nemo archive: {reason}") from error
        yield archive


def load_model(archive: ModelArchive, *, device: str = "cpu") -> Any:
    """NeMo's model of an open archive, on `device`. Blocks for seconds.

    NeMo changes the process's working directory meanwhile: load one model at a time.

    Raises:
        EngineError: its weights are refused, or NeMo cannot make it.
    """
    import_nemo()
    from nemo.collections.asr import models
    from nemo.core.connectors.save_restore_connector import SaveRestoreConnector
    from nemo.utils import logging as nemo_logging
    from omegaconf import OmegaConf

    connector = SaveRestoreConnector()
    connector.model_extracted_dir = str(archive.folder)
    connector._load_state_dict_from_disk = lambda path, map_location: load_weights(
        Path(path), map_location
    )
    size = (archive.folder / WEIGHTS).stat().st_size
    try:
        with (
            nemo_logging.temp_verbosity(nemo_logging.CRITICAL),  # its errors are tracebacks
            _parameters_limited(size),
        ):
            return getattr(models, archive.model_class).restore_from(
                str(archive.folder),
                override_config_path=OmegaConf.create(archive.config),
                map_location=device,
                save_restore_connector=connector,
            )
    except Exception as error:
        cause: BaseException = error  # Hydra wraps it in words of its own
        while cause.__cause__ is not None and not isinstance(cause, EngineError):
            cause = cause.__cause__
        reason = " ".join(str(cause).split())[:500]  # NeMo lists all weights that do not fit
        raise EngineError(f"{archive.path}: cannot be loaded: {reason}") from error


@contextmanager
def _parameters_limited(limit: int) -> Iterator[None]:
    """Within the block, making modules with more than `limit` parameters together is refused.

    A parameter takes at least a byte in the file of weights, so that file's size is a limit that
    every honest configuration keeps.
    """
    from torch.nn.modules.module import register_module_parameter_registration_hook

    total = 0

    def count(module: Any, name: str, parameter: Any) -> None:
        nonlocal total
        total += 0 if parameter is None else parameter.numel()
        if total > limit:
            raise EngineError("its configuration asks for more parameters than its weights have")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def _open(path: Path, folder: Path, sha256: str | None) -> ModelArchive:
    unpacked = folder / "unpacked"
    unpacked.mkdir()
    digest, members = unpack(path, unpacked)
    if sha256 is not None and digest != sha256:
        raise EngineError(
            f"has SHA-256 {digest}, but the settings expect {sha256}; "
            "it is another file than the one that was approved, or damaged"
        )
    for required in (_CONFIG, WEIGHTS):
        if required not in members:
            raise EngineError(f"has no {required}; it is not a NeMo model")
    found = _read_config(members[_CONFIG])
    try:
        config = safe_config(found)
        tokenizer = tokenizer_files(found, members)
    except EngineError as error:
        raise EngineError(f"{_CONFIG}: {error}") from None
    read_list(members[WEIGHTS])
    members[WEIGHTS].rename(folder / WEIGHTS)
    if tokenizer:
        config["tokenizer"] = _place_tokenizer(tokenizer, folder / "tokenizer")
    shutil.rmtree(unpacked)  # what loading does not need, nothing can read
    return ModelArchive(
        path=path, sha256=digest, model_class=model_class(found), config=config, folder=folder
    )


def _read_config(file: Path) -> dict[str, Any]:
    if file.stat().st_size > MAX_CONFIG_BYTES:
        raise EngineError(f"{_CONFIG} is larger than {MAX_CONFIG_BYTES >> 20} MiB")
    try:
        return parse_config(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise EngineError(f"{_CONFIG} is not UTF-8") from None
    except EngineError as error:
        raise EngineError(f"{_CONFIG} {error}") from None


def _place_tokenizer(tokenizer: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Copy the tokenizer's files to `folder`, and return its section of the configuration."""
    folder.mkdir()
    if tokenizer["type"] == "agg":
        languages = {
            language: _place_tokenizer(each, folder / language)
            for language, each in tokenizer["langs"].items()
        }
        return {"type": "agg", "langs": languages}
    if tokenizer["model"].stat().st_size > MAX_TOKENIZER_BYTES:
        raise EngineError(f"its tokenizer is larger than {MAX_TOKENIZER_BYTES >> 20} MiB")
    model, vocabulary, scores = (
        folder / name for name in ("tokenizer.model", "vocab.txt", "tokenizer.vocab")
    )
    shutil.copyfile(tokenizer["model"], model)  # two languages may share one
    _write_vocabulary(model, vocabulary, scores)
    return {
        "dir": "",
        "type": tokenizer["type"],
        "model_path": str(model),
        "vocab_path": str(vocabulary),
        "spe_tokenizer_vocab": str(scores),
    }


def _write_vocabulary(model: Path, vocabulary: Path, scores: Path) -> None:
    """Write the lists of pieces that NeMo wants beside a SentencePiece model, from that model.

    Those in the archive are not trusted to match it.
    """
    import sentencepiece

    try:
        pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))
        names = [pieces.id_to_piece(number) for number in range(pieces.get_piece_size())]
    except (RuntimeError, OSError, ValueError) as error:
        raise EngineError(f"its tokenizer cannot be read: {str(error)[:300]}") from None
    vocabulary.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    rows = [f"{name}\t{pieces.get_score(number):g}\n" for number, name in enumerate(names)]
    scores.write_text("".join(rows), encoding="utf-8")
