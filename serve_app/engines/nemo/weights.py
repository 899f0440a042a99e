"""Read a model's weights from an untrusted file of `torch.save`.

`torch.load` and Python's `zipfile` may interpret the same file differently (two directories in a
zip, names that differ in case, an older format in front), so a check with one says nothing about
the other. Here one reader does both: it unpickles the list of tensors with functions of this module
only, and reads their data from the places that it has checked.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from serve_app.engines.errors import EngineError, shown

if TYPE_CHECKING:
    import torch

#: Largest directory of the zip, and largest list of tensors, in bytes. Each takes about 150 bytes
#: per tensor; a model with a billion parameters has 2,000 tensors.
_MAX_DIRECTORY_BYTES = _MAX_LIST_BYTES = 4 << 20
_MAX_DIMENSIONS = 16

#: The element type and its size in bytes, by the name of torch's storage class in the list.
_STORAGE_TYPES = {
    "FloatStorage": ("float32", 4),
    "DoubleStorage": ("float64", 8),
    "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2),
    "LongStorage": ("int64", 8),
    "IntStorage": ("int32", 4),
    "ShortStorage": ("int16", 2),
    "CharStorage": ("int8", 1),
    "ByteStorage": ("uint8", 1),
    "BoolStorage": ("bool", 1),
}
_LOCAL_HEADER = struct.Struct("<4s22xHH")


class _StorageType(NamedTuple):
    """Replaces a class of storages, such as `torch.FloatStorage`."""

    dtype: str
    itemsize: int


class _Storage(NamedTuple):
    """An array in the file: its entry, and the number of its elements."""

    key: str
    kind: _StorageType
    numel: int


class Tensor(NamedTuple):
    """A tensor as described in the list: a view of a storage.

    Attributes:
        storage: the array that holds its elements.
        offset: index of its first element.
        size: its shape.
        stride: distance between elements in each dimension.
    """

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def read_list(path: Path) -> dict[str, Tensor]:
    """Read the description of every tensor, by name, without loading data.

    Args:
        path: the file of weights.

    Raises:
        EngineError: the file is damaged, is not of `torch.save` 1.6 or later, refers to anything
            but tensors, or describes tensors beyond the data that it holds.
    """
    with _Zip(path) as archive:
        return archive.tensors()


def load_weights(path: Path, device: Any = "cpu") -> dict[str, torch.Tensor]:
    """Load the tensors, by name.

    Args:
        path: the file of weights.
        device: where the tensors are put.

    Raises:
        EngineError: as `read_list`.
    """
    import torch

    with _Zip(path) as archive:
        tensors = archive.tensors()
        storages: dict[str, torch.Tensor] = {}
        loaded = {}
        for name, each in tensors.items():
            if each.storage.key not in storages:
                data = torch.empty(
                    each.storage.numel * each.storage.kind.itemsize, dtype=torch.uint8
                )
                archive.read_into(each.storage, data.numpy())
                kind = getattr(torch, each.storage.kind.dtype)
                storages[each.storage.key] = data.view(kind).to(device)
            storage = storages[each.storage.key]
            loaded[name] = storage.as_strided(each.size, each.stride, each.offset)
        return loaded


class _Zip:
    """The zip file that `torch.save` writes: uncompressed entries in one folder."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "rb")  # noqa: SIM115 - closed by __exit__
        try:
            self._entries = _entries(self._file)
            lists = [name for name in self._entries if name.endswith("/data.pkl")]
            if len(lists) != 1:
                raise EngineError("its weights are not a file of torch.save")
            self._folder = lists[0].removesuffix("data.pkl")
            self._check_names()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> _Zip:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _check_names(self) -> None:
        if any(name.startswith(f"{self._folder}code/") for name in self._entries):
            raise EngineError("its weights are TorchScript, which is not allowed")
        order = f"{self._folder}byteorder"
        if order in self._entries and self._bytes(order, 16) != b"little":
            raise EngineError("its weights have the byte order of another kind of machine")

    def tensors(self) -> dict[str, Tensor]:
        """Read and check the list of tensors; see `read_list`."""
        pickled = self._bytes(f"{self._folder}data.pkl", _MAX_LIST_BYTES)
        try:
            found = _TensorListUnpickler(io.BytesIO(pickled)).load()
        except EngineError:
            raise
        except Exception as error:  # damaged or hostile lists make pickle raise anything
            raise EngineError(f"the list of its weights cannot be read: {error}") from error
        if not isinstance(found, dict) or not all(
            isinstance(name, str) and isinstance(each, Tensor) for name, each in dict.items(found)
        ):
            raise EngineError("its weights are not a mapping of names to tensors")
        tensors = dict(dict.items(found))
        storages: dict[str, _Storage] = {}
        for name, each in tensors.items():
            if storages.setdefault(each.storage.key, each.storage) != each.storage:
                raise EngineError("its weights use one array with two element types")
            self._check(name, each)
        return tensors

    def _check(self, name: str, tensor: Tensor) -> None:
        storage = tensor.storage
        held = self._entries.get(self._entry(storage))
        last = tensor.offset + sum(
            (size - 1) * stride for size, stride in zip(tensor.size, tensor.stride, strict=True)
        )
        fits = math.prod(tensor.size) == 0 or last < storage.numel
        if held is None or held.file_size != storage.numel * storage.kind.itemsize or not fits:
            raise EngineError(f"the data of its weights {shown(name)} is not in the file")

    def read_into(self, storage: _Storage, target: Any) -> None:
        """Read the data of a storage.

        Args:
            storage: the storage.
            target: buffer that is filled, bytes [numel * itemsize].

        Raises:
            EngineError: the file is truncated or damaged.
        """
        entry = self._entries[self._entry(storage)]
        self._go_to(entry)
        if len(target) and self._file.readinto(target) != entry.file_size:
            raise EngineError("its weights end too early")

    def _entry(self, storage: _Storage) -> str:
        return f"{self._folder}data/{storage.key}"

    def _bytes(self, name: str, limit: int) -> bytes:
        entry = self._entries[name]
        if entry.file_size > limit:
            raise EngineError(f"the part {shown(name)} of its weights is too large")
        self._go_to(entry)
        data = self._file.read(entry.file_size)
        if len(data) != entry.file_size:
            raise EngineError("its weights end too early")
        return data

    def _go_to(self, entry: zipfile.ZipInfo) -> None:
        """Move to the first byte of an entry's data."""
        self._file.seek(entry.header_offset)
        header = self._file.read(_LOCAL_HEADER.size)
        if len(header) != _LOCAL_HEADER.size or not header.startswith(b"PK\x03\x04"):
            raise EngineError("its weights are damaged")
        _, name, extra = _LOCAL_HEADER.unpack(header)
        self._file.seek(name + extra, io.SEEK_CUR)


def _entries(file: io.BufferedReader) -> dict[str, zipfile.ZipInfo]:
    """The entries of a zip file, by name; none may be compressed."""
    if file.read(4) != b"PK\x03\x04":  # another reader could use other data at the start
        raise EngineError("its weights are damaged, or in a format older than torch 1.6")
    try:
        with zipfile.ZipFile(_Bounded(file)) as archive:
            entries = {each.filename: each for each in archive.infolist()}
            if len(entries) < len(archive.infolist()):
                raise EngineError("its weights have two entries with the same name")
    except EngineError:
        raise
    except Exception as error:  # damaged or hostile files make zipfile raise anything
        raise EngineError(f"its weights are damaged: {error}") from error
    if any(each.compress_type != zipfile.ZIP_STORED for each in entries.values()):
        raise EngineError("its weights are compressed, which is not allowed")
    if sum(each.file_size for each in entries.values()) > file.seek(0, io.SEEK_END):
        raise EngineError("its weights claim more data than the file has")
    return entries


class _Bounded:
    """Limits how much `zipfile` reads at once; it would read a directory of any size."""

    def __init__(self, file: io.BufferedReader) -> None:
        self.seek, self.tell = file.seek, file.tell
        self._file = file

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(
            min(size, _MAX_DIRECTORY_BYTES) if size >= 0 else _MAX_DIRECTORY_BYTES
        )
        if len(data) == _MAX_DIRECTORY_BYTES:
            raise EngineError("the directory of its weights is too large")
        return data


class _TensorListUnpickler(pickle._Unpickler):
    """Unpickles a list of tensors; only the names in `_NAMES` are allowed.

    It is the Python implementation, because in the C one a pickle of a few bytes can allocate
    gigabytes.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        found = _NAMES.get((module, name))
        if found is None:
            raise EngineError(
                f"its weights refer to {shown(f'{module}.{name}')}; only tensors are allowed"
            )
        return found

    def persistent_load(self, pid: Any) -> _Storage:
        tag, kind, key, _, numel = pid
        if tag != "storage" or not isinstance(kind, _StorageType):
            raise EngineError(f"its weights refer to {shown(tag)}; only tensors are allowed")
        if not isinstance(key, str) or not _is_count(numel):
            raise EngineError("the list of its weights is damaged")
        return _Storage(key, kind, numel)


def _skip_state(unpickler: Any) -> None:
    """Replaces the opcode BUILD, with which `torch.save` adds module versions to the list."""
    unpickler.stack.pop()
    if type(unpickler.stack[-1]) is not OrderedDict:
        raise EngineError("the list of its weights is damaged")


_TensorListUnpickler.dispatch[pickle.BUILD[0]] = _skip_state


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    """Replaces `torch._utils._rebuild_tensor_v2`."""
    numbers = [offset, *size, *stride]
    if not isinstance(storage, _Storage) or not all(map(_is_count, numbers)):
        raise EngineError("the list of its weights is damaged")
    if len(size) != len(stride) or len(size) > _MAX_DIMENSIONS:
        raise EngineError("the list of its weights is damaged")
    return Tensor(storage, offset, tuple(size), tuple(stride))


def _parameter(tensor: Any, *_: Any) -> Any:
    """Replaces `torch._utils._rebuild_parameter`."""
    return tensor


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


_NAMES: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    **{("torch", name): _StorageType(*kind) for name, kind in _STORAGE_TYPES.items()},
}
