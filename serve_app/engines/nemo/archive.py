"""Open an untrusted `.nemo` file, and build its model without running any code from the file.

The file is unpacked once (`unpacking`), into a private folder, and every part is checked. NeMo is
given that folder and a configuration built here. It never reads the file itself.
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

from serve_app.engines.errors import EngineError
from serve_app.engines.nemo.allow_list import MULTITASK, TIMES_CLASS
from serve_app.engines.nemo.configuration import (
    model_class,
    parse_config,
    safe_config,
    transformer_size,
)
from serve_app.engines.nemo.examination import CONFIG, MAX_CONFIG_BYTES, WEIGHTS
from serve_app.engines.nemo.imports import import_nemo, nemo_class, silent_nemo
from serve_app.engines.nemo.tokenizers import tokenizer_files
from serve_app.engines.nemo.unpacking import unpack
from serve_app.engines.nemo.weights import load_weights, read_list

#: Largest SentencePiece model; one with 256,000 tokens has 4 MB.
MAX_TOKENIZER_BYTES = 16 << 20

_TOO_LARGE = "its configuration asks for more parameters than its weights have"
#: The configuration and the weights of a second model, which times the words of a multitask one.
_TIMES = ("timestamps_asr_model_config.yaml", "timestamps_asr_model_weights.ckpt")


class ModelArchive(msgspec.Struct, frozen=True, kw_only=True):
    """A `.nemo` file that passed `open_archive`.

    Attributes:
        path: of the file.
        sha256: its digest, lower-case hexadecimal.
        model_class: name of the model's class, one of `serve_app.engines.nemo.allow_list.HEADS`.
        config: the checked part of its configuration, see `safe_config`.
        folder: holds only its weights and tokenizer, and the folder of `times`; removed when the
            archive is closed.
        times: the second model in the archive of a multitask one, which times its words; it passed
            the same checks. None if there is none.
    """

    path: Path
    sha256: str
    model_class: str
    config: dict[str, Any]
    folder: Path
    times: ModelArchive | None = None


@contextmanager
def open_archive(path: Path, *, sha256: str | None = None) -> Iterator[ModelArchive]:
    """Unpack the archive and check every part that the model is built from.

    Refused are: a digest other than `sha256`; whatever `unpack` refuses; a configuration that is
    not plain data, see `parse_config`, or that goes beyond the allow-list, see `safe_config`; a
    tokenizer outside the archive; anything but weights in the file of weights, see
    `read_list`; and every archive while TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD is set.

    Args:
        path: of the file.
        sha256: the expected digest of the file; None accepts any.

    Raises:
        EngineError: the archive is refused; the message says why.
    """
    if os.environ.get("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "0").lower() not in {"", "0"}:
        raise EngineError(
            "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD is set: a model file could run any code; unset it"
        )
    with tempfile.TemporaryDirectory(prefix="chorus-model-") as folder:  # mode 0700
        try:
            archive = _open(path, Path(folder), sha256)
        except EngineError as error:
            reason = " ".join(str(error).split())  # one line: some callers show the last line only
            raise EngineError(f"{path}: {reason}") from error.__cause__
        except Exception as error:  # damaged or hostile files make libraries raise anything
            reason = " ".join(str(error).split())[:300]
            raise EngineError(f"{path}: cannot be read as a .nemo archive: {reason}") from error
        yield archive


def load_model(archive: ModelArchive, *, device: str = "cpu") -> Any:
    """Build NeMo's model of an open archive. Blocks for seconds.

    NeMo changes the working directory of the process meanwhile: load one model at a time.

    Args:
        archive: an open archive.
        device: "cpu" or "cuda".

    Raises:
        EngineError: its weights are refused, or NeMo cannot build it.
    """
    import_nemo()
    from nemo.core.connectors.save_restore_connector import SaveRestoreConnector
    from omegaconf import OmegaConf

    connector = SaveRestoreConnector()
    connector.model_extracted_dir = str(archive.folder)
    connector._load_state_dict_from_disk = lambda path, map_location: load_weights(
        Path(path), map_location
    )
    size = (archive.folder / WEIGHTS).stat().st_size
    try:
        with (
            silent_nemo(),  # its errors are tracebacks
            _parameters_limited(size),
        ):
            return nemo_class(archive.model_class).restore_from(
                str(archive.folder),
                override_config_path=OmegaConf.create(archive.config),
                map_location=device,
                save_restore_connector=connector,
            )
    except Exception as error:
        cause: BaseException = error  # Hydra wraps it in an error of its own
        while cause.__cause__ is not None and not isinstance(cause, EngineError):
            cause = cause.__cause__
        reason = " ".join(str(cause).split())[:500]  # NeMo lists all mismatched weights
        raise EngineError(f"{archive.path}: cannot be loaded: {reason}") from error


@contextmanager
def _parameters_limited(limit: int) -> Iterator[None]:
    """Within the block, refuse modules with more than `limit` parameters in total.

    A parameter takes at least a byte in the file of weights, so a valid model has no more
    parameters than that file has bytes.
    """
    from torch.nn.modules.module import register_module_parameter_registration_hook

    total = 0

    def count(module: Any, name: str, parameter: Any) -> None:
        nonlocal total
        total += 0 if parameter is None else parameter.numel()
        if total > limit:
            raise EngineError(_TOO_LARGE)

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
            f"has SHA-256 {digest}, but {sha256} is expected; "
            "it is not the approved file, or it is damaged"
        )
    archive = _model(members, folder, (CONFIG, WEIGHTS), path=path, sha256=digest)
    if archive.model_class == MULTITASK and not members.keys().isdisjoint(_TIMES):
        times = _model(members, folder / "times", _TIMES, path=path, sha256=digest)
        if times.model_class != TIMES_CLASS:
            raise EngineError(f"{_TIMES[0]}: its model class is not {TIMES_CLASS}")
        archive = msgspec.structs.replace(archive, times=times)
    shutil.rmtree(unpacked)  # so that nothing reads what loading does not need
    return archive


def _model(
    members: Mapping[str, Path], folder: Path, names: tuple[str, str], *, path: Path, sha256: str
) -> ModelArchive:
    """Check one of the models of an archive, and place its weights and its tokenizer in `folder`.

    Args:
        members: the file of each member of the archive, by name.
        folder: made if it is not there.
        names: of its configuration and its weights.
        path: of the archive.
        sha256: digest of the archive.
    """
    for required in names:
        if required not in members:
            raise EngineError(f"has no {required}; it is not a NeMo model")
    folder.mkdir(exist_ok=True)
    name, weights = names[0], members[names[1]]
    found = _read_config(members[name], name)
    try:
        config = safe_config(found)
        tokenizer = tokenizer_files(found, members)
        if transformer_size(config) > weights.stat().st_size:
            raise EngineError(_TOO_LARGE)
    except EngineError as error:
        raise EngineError(f"{name}: {error}") from None
    read_list(weights)
    weights.rename(folder / WEIGHTS)
    if tokenizer:
        config["tokenizer"] = _place_tokenizer(tokenizer, folder / "tokenizer")
    return ModelArchive(
        path=path, sha256=sha256, model_class=model_class(found), config=config, folder=folder
    )


def _read_config(file: Path, name: str) -> dict[str, Any]:
    if file.stat().st_size > MAX_CONFIG_BYTES:
        raise EngineError(f"{name} is larger than {MAX_CONFIG_BYTES >> 20} MiB")
    try:
        return parse_config(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise EngineError(f"{name} is not UTF-8") from None
    except EngineError as error:
        raise EngineError(f"{name} {error}") from None


def _place_tokenizer(tokenizer: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Copy the tokenizer's files to `folder`, and return its section of the configuration."""
    folder.mkdir()
    custom = {key: each for key, each in tokenizer.items() if key == "custom_tokenizer"}
    if tokenizer["type"] == "agg":
        languages = {
            language: _place_tokenizer(each, folder / language)
            for language, each in tokenizer["langs"].items()
        }
        return {"type": "agg", "langs": languages} | custom
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
    } | custom


def _write_vocabulary(model: Path, vocabulary: Path, scores: Path) -> None:
    """Write the token lists that NeMo needs with a SentencePiece model, from that model.

    Those in the archive may not match it.
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
