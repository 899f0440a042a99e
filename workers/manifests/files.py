"""Which files a manifest is: one, or the shards that NeMo's tarred data sets are cut into."""

from __future__ import annotations

import errno
import glob
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

from braceexpand import braceexpand

from schemas.manifest_text import ManifestFileError
from workers.manifests.source import file_sha256, is_stream, name_of, url_of

#: NeMo's words for braces, which a shell would expand itself.
_BRACES = {"_OP_": "{", "_CL_": "}"}
_COMMA = re.compile(r",(?![^{]*})")
#: Most files of a manifest: the largest data sets have tens of thousands of shards.
MOST = 100_000
_RANGE = re.compile(r"\{(-?\d+)\.\.(-?\d+)")
_NUMBER = re.compile(r"(\d+)")


def manifest_files(manifest: Path) -> list[Path]:
    """The files that make up a manifest, in order.

    Args:
        manifest: of one file or stream; or several names with commas between them, ranges as NeMo
            writes them (``manifest__OP_0..7_CL_.json``, ``manifest_{0..7}.json``), or patterns with
            ``*``, ``?`` or ``[...]``. What exists as it is named is taken as it is.

    Raises:
        ManifestFileError: braces do not match, or there are more than `MOST`.
        FileNotFoundError: a pattern has no file.
    """
    if is_there(manifest):
        return [manifest]
    text = str(manifest)
    for word, brace in _BRACES.items():
        text = text.replace(word, brace)
    files: list[Path] = []
    for part in filter(None, _COMMA.split(text)):
        # they would all be in memory before the first one is seen
        if (
            math.prod(abs(int(last) - int(first)) + 1 for first, last in _RANGE.findall(part))
            > MOST
        ):
            raise ManifestFileError(f"{manifest}: is more than {MOST} files")
        try:
            names = list(braceexpand(part, escape=False))
        except ValueError:
            raise ManifestFileError(f"{manifest}: has a brace without its other one") from None
        for name in names:
            files += _matching(name)
    return files


def joined(manifests: Sequence[Path]) -> Path:
    """The name of the manifest that several make up together, for `manifest_files`."""
    return manifests[0] if len(manifests) == 1 else Path(",".join(map(str, manifests)))


def called(files: Sequence[Path]) -> list[str]:
    """What the files of a manifest are called in ids and messages: each has a name of its own.

    That is its name, after those of its folders as far as it needs them.

    Raises:
        ManifestFileError: one is given twice.
    """
    given = Counter(file.absolute() for file in files)
    for file, count in given.items():
        if count > 1:
            raise ManifestFileError(f"{name_of(file)}: is given more than once")
    names = [name_of(file) for file in files]
    parents = 0
    while again := {name for name, count in Counter(names).items() if count > 1}:
        parents += 1
        names = [
            "/".join(file.absolute().parts[-1 - parents :]) if name in again else name
            for file, name in zip(files, names, strict=True)
        ]
    return names


def manifest_sha256(manifest: Path) -> str:
    """SHA-256 digest of a manifest, lower-case hexadecimal; of several files that of their digests.

    Raises:
        ManifestFileError: see `manifest_files`.
        OSError: a file cannot be read.
    """
    digests = [file_sha256(file) for file in manifest_files(manifest)]
    return digests[0] if len(digests) == 1 else sha256("\n".join(digests).encode()).hexdigest()


def is_there(manifest: Path) -> bool:
    """Whether the manifest is one file or stream, by its very name; a URL is taken to be."""
    if url_of(manifest) is not None:
        return not any(each in str(manifest) for each in (",", "{", "_OP_"))
    try:
        return is_stream(manifest) or True
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:  # several names may be longer than one can be
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise


def any_stream(manifests: Iterable[Path]) -> bool:
    """Whether one of the manifests can be read by one process only."""
    return any(is_stream(file) for manifest in manifests for file in manifest_files(manifest))


def _matching(name: str) -> list[Path]:
    if not glob.has_magic(name) or os.path.exists(name):
        return [Path(name)]
    found = sorted(glob.glob(name, recursive=True), key=_by_number)
    if not found:
        raise FileNotFoundError(errno.ENOENT, "no file has such a name", name)
    return [Path(each) for each in found]


def _by_number(name: str) -> list[str | int]:
    """Sorts ``shard_10`` after ``shard_9``."""
    return [int(part) if part.isdigit() else part for part in _NUMBER.split(name)]
