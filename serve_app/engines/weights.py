"""Load a model's weights, and nothing but weights, from the file that `torch.save` made."""

from __future__ import annotations

import pickletools
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serve_app.engines.errors import EngineError, shown

if TYPE_CHECKING:
    import torch

#: All that a file of weights refers to. torch's own list of harmless globals is longer, and every
#: library in the process may extend it.
_NAMED = re.compile(
    r"collections OrderedDict"
    r"|torch\._utils (_rebuild_tensor_v2|_rebuild_parameter)"
    r"|torch ((Float|Double|Half|BFloat16|Long|Int|Short|Char|Byte|Bool)Storage|Size)"
    r"|torch\.nn\.parameter Parameter"
)
#: Largest list of tensors, without the tensors.
_MAX_LIST_BYTES = 64 << 20
#: Opcodes that refer to code and that `torch.save` does not use.
_NOT_OF_TORCH = frozenset({"STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4"})


def check_weights(path: Path) -> None:
    """Refuse a file that holds anything but weights, without loading it.

    Raises:
        EngineError: it refers to anything but tensors, is compressed (a small file could fill the
            memory), or is not a zip (torch before 1.6) or is TorchScript.
    """
    try:
        if not zipfile.is_zipfile(path):
            raise EngineError("its weights are damaged, or in a format older than torch 1.6")
        with zipfile.ZipFile(path) as archive:
            _check_list(archive.read(_list_of(archive.infolist())))
    except EngineError:
        raise
    except Exception as error:  # what a damaged file makes zip and pickle raise
        raise EngineError(f"its weights cannot be read: {str(error)[:300]}") from error


def _list_of(entries: Sequence[zipfile.ZipInfo]) -> zipfile.ZipInfo:
    """The entry that lists the tensors."""
    names = [each.filename for each in entries]
    if len(set(names)) < len(names):
        raise EngineError("its weights have two entries with the same name")
    lists = [each for each in entries if each.filename.rpartition("/")[2] == "data.pkl"]
    if len(lists) != 1 or any("/code/" in name for name in names):
        raise EngineError("its weights are not a file of torch.save (TorchScript is not allowed)")
    if any(each.compress_type != zipfile.ZIP_STORED for each in entries):
        raise EngineError("its weights are compressed, which is not allowed")
    if lists[0].file_size > _MAX_LIST_BYTES:
        raise EngineError("the list of its weights is too large")
    return lists[0]


def _check_list(pickled: bytes) -> None:
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name in _NOT_OF_TORCH:
            raise EngineError("its weights refer to code in a way that torch.save does not")
        if opcode.name == "GLOBAL" and not _NAMED.fullmatch(str(argument)):
            raise EngineError(f"its weights refer to {shown(argument)}; only tensors are allowed")


def load_weights(path: Path, device: Any = "cpu") -> dict[str, torch.Tensor]:
    """The tensors by their names in a file that passed `check_weights`, on `device`.

    Raises:
        EngineError: they cannot be read, or are not tensors by name.
    """
    import torch

    try:
        # given explicitly, so that no environment variable can switch it off
        weights = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # what a damaged file makes torch raise
        raise EngineError(f"its weights cannot be read: {str(error)[:300]}") from error
    if not isinstance(weights, dict) or not all(
        isinstance(name, str) and isinstance(each, torch.Tensor) for name, each in weights.items()
    ):
        raise EngineError("its weights are not tensors by name")
    return weights
