"""Where results are written to: a file, or an object in an object store.

What is to be an object is written to a temporary file and stored when it is complete, or as far as
it came: an object is stored whole, or not at all.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from serve_app.system.files import check_place
from workers.manifests.source import store_of, url_of

if TYPE_CHECKING:
    from serve_app.registry.object_store import ObjectStore


def check_destination(path: Path) -> None:
    """Check that something can be written to `path`, before work is done for it.

    Raises:
        OSError: no file can be made there, or no object; the message says why.
    """
    if url_of(path) is None:
        check_place(path)
        return
    store, name = store_of(path)
    trial = f"{name}.trial"
    with tempfile.NamedTemporaryFile(prefix="chorus-") as empty:
        store.add(trial, Path(empty.name))
    store.remove(trial)


@contextmanager
def destination(path: Path, *, goes_on: bool = False) -> Iterator[Path]:
    """The file to write to for what is to be at `path`.

    Of an object it is a temporary one, which is stored at the end of the block.

    Args:
        path: a path, or the URL of an object.
        goes_on: whether the work goes on with what is there already, and what it came to is kept
            also where it is interrupted. Otherwise the block has to end well.

    Raises:
        OSError: the object cannot be read, or not be written; then the message says which file has
            what was to be there.
    """
    if url_of(path) is None:
        yield path
        return
    store, name = store_of(path)
    file = Path(tempfile.mkdtemp(prefix="chorus-")) / path.name
    if goes_on:
        try:
            store.fetch(name, file)
        except FileNotFoundError:  # there is nothing yet
            file.unlink(missing_ok=True)
    try:
        yield file
    except BaseException:
        if goes_on and file.exists():
            _store(store, name, file)
        raise
    if file.exists():
        _store(store, name, file)


def _store(store: ObjectStore, name: str, file: Path) -> None:
    try:
        store.add(name, file, move=True)
        file.parent.rmdir()
    except OSError as error:
        raise OSError(f"{error}; what was to be there is in {file}") from error
