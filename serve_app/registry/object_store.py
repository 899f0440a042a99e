"""A store in an object store: S3 and what speaks its protocol, Google Cloud Storage, Azure.

Credentials and endpoints are found as those stores' own tools find them, in the environment
(``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``, ...) or from the machine's role.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import obstore
from obstore import exceptions
from obstore.store import from_url

#: Schemes of URLs of object stores. `memory` is a store of this process, for trials.
SCHEMES = ("s3", "gs", "az", "azure", "memory")
#: Files that are sent in parts of this many bytes.
_PART = 16 << 20
#: Of requests about small files: none is tried again after this time; one that is not answered ends
#: after 30 seconds. Options of the client would take the place of those in the environment.
_PROMPT: Any = {"retry_config": {"retry_timeout": timedelta(seconds=15)}}


class ObjectStore:
    """Objects below a URL; see `Store`.

    Raises:
        ValueError: the URL has none of `SCHEMES`, or does not name a bucket.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES:
            raise ValueError(f"{url}: the registry is neither a path nor a URL with s3, gs or az")
        self.url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))
        try:
            self._store: Any = from_url(url)
            #: For small files and listings: who waits for them is to learn soon of a store that
            #: takes requests and does not answer, which takes three minutes otherwise.
            self._prompt = self._store if parts.scheme == "memory" else from_url(url, **_PROMPT)
        except (exceptions.BaseError, ValueError) as error:
            raise ValueError(f"{self.url}: {_reason(error)}") from None
        self._exclusive = False  # whether it is known to create exclusively

    def create(self, key: str, content: bytes, *, new_folder: bool = True) -> None:
        """See `Store.create`.

        Raises:
            OSError: also if the store ignores that the object must not exist yet, as some
                imitations of S3 do.
        """
        if not self._exclusive:
            self._probe()
        self._create(key, content)

    def read(self, key: str) -> bytes:
        """See `Store.read`."""
        with self._errors(key):
            return bytes(obstore.get(self._prompt, key).bytes())

    def keys(self, folder: str) -> list[str]:
        """See `Store.keys`."""
        with self._errors(folder):
            prefix = f"{folder}/" if folder else None
            return sorted(
                each["path"] for chunk in obstore.list(self._prompt, prefix) for each in chunk
            )

    def add(self, key: str, path: Path, *, move: bool = False) -> None:
        """See `Store.add`; `move` makes no difference but that the file is gone afterwards."""
        with self._errors(key), path.open("rb") as file:
            obstore.put(self._store, key, file, chunk_size=_PART)
        if move:
            path.unlink()

    def fetch(self, key: str, path: Path) -> None:
        """See `Store.fetch`."""
        with self._errors(key), path.open("wb") as file:
            for chunk in obstore.get(self._store, key).stream(min_chunk_size=_PART):
                file.write(chunk)

    def remove(self, key: str) -> None:
        """See `Store.remove`."""
        with contextlib.suppress(FileNotFoundError), self._errors(key):
            obstore.delete(self._prompt, key)

    def path(self, key: str) -> Path | None:
        """See `Store.path`."""
        return None

    def _create(self, key: str, content: bytes) -> None:
        with self._errors(key):
            obstore.put(self._prompt, key, content, mode="create", use_multipart=False)

    def _probe(self) -> None:
        """Try once whether the store refuses to create an object that exists."""
        key = f"probe-{secrets.token_hex(8)}"
        self._create(key, b"")
        try:
            self._create(key, b"")
        except FileExistsError:
            self._exclusive = True
        finally:
            self.remove(key)
        if not self._exclusive:
            raise OSError(
                f"{self.url}: this store overwrites objects that must not exist yet (no "
                "conditional writes), so that two writers could lose each other's changes; "
                "a registry in it can only be read"
            )

    @contextlib.contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except exceptions.AlreadyExistsError:
            raise FileExistsError(f"{self.url}/{key} exists") from None
        except FileNotFoundError:
            raise FileNotFoundError(f"{self.url}/{key}: no such object") from None
        except exceptions.BaseError as error:
            raise OSError(f"{self.url}/{key}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """The first line of what the library says; the others are for its developers."""
    first = next(iter(str(error).splitlines()), "")
    return first.partition("<?xml")[0].rstrip(": ") or type(error).__name__
