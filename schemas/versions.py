"""The version of the message formats, and the refusal of messages that are too new to be read.

A field that is added to a contract has a default, so that readers of either age understand each
other, and the version stays. A change that an older reader would misunderstand raises the version;
that reader then refuses the message instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from schemas.failures import ErrorCode

#: Version of the message formats that this code writes, and the newest that it reads.
SCHEMA_VERSION = b"1"
#: Header of a message that says which version it has; without it, it is `SCHEMA_VERSION`.
VERSION_HEADER = "schema-version"


class SchemaVersionError(ValueError):
    """A message has a newer version than this code reads, or a malformed one."""

    code = ErrorCode.RECORD_VERSION


def check_version(
    headers: Iterable[tuple[str, bytes | None]] | None, what: str, header: str = VERSION_HEADER
) -> None:
    """Refuse a message that this code does not understand.

    Args:
        headers: of the message.
        what: the kind of message, for the error: "manifest record", "transcript", ...
        header: name of the header that holds the version, ``MAJOR`` or ``MAJOR.MINOR``; the last
            one counts if there are several.

    Raises:
        SchemaVersionError: its major version is newer than `SCHEMA_VERSION`, or the header is not
            a version.
    """
    found = [value for key, value in headers or () if key == header and value]
    if not found or found[-1] == SCHEMA_VERSION:
        return
    version = found[-1].decode(errors="replace")[:50]
    supported = SCHEMA_VERSION.decode()
    number = re.fullmatch(r"([0-9]{1,9})(?:\.[0-9]+)*", version)
    if number is None:
        raise SchemaVersionError(
            f"the header `{header}` of the {what} is {version!r}, not a version like {supported}"
        )
    if int(number[1]) > int(supported):
        raise SchemaVersionError(
            f"the {what} has schema version {version}, and this Chorus reads versions up to "
            f"{supported}; update Chorus"
        )
