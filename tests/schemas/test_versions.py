"""A message of a newer major version is refused in words, any other is read."""

from __future__ import annotations

import pytest

from schemas.dead_letter import from_headers, to_headers
from schemas.failures import ErrorCode, FailureClass, failure_class
from schemas.versions import SCHEMA_VERSION, SchemaVersionError, check_version
from tests.schemas.test_dead_letter import LETTER


@pytest.mark.parametrize(
    "headers",
    [
        None,
        (),
        [("x", b"2")],
        [("schema-version", SCHEMA_VERSION)],
        [("schema-version", b"1.7")],
        [("schema-version", b"0")],
        [("schema-version", None)],
        [("schema-version", b"")],
        [("schema-version", b"2"), ("schema-version", b"1")],
        [("chorus.schema-version", b"2")],
    ],
)
def test_a_version_that_is_read(headers: list[tuple[str, bytes | None]] | None) -> None:
    check_version(headers, "transcript")


@pytest.mark.parametrize("version", ["2", "2.0", "10", "1" * 9])
def test_a_newer_major_version_is_refused(version: str) -> None:
    said = rf"the transcript has schema version {version}, .* up to 1; update Chorus"
    with pytest.raises(SchemaVersionError, match=said):
        check_version([("schema-version", version.encode())], "transcript")


@pytest.mark.parametrize(
    "version", [b"v2", b"1.", b"-1", b"\xff", b" 1", b"9" * 5000, "²".encode()]
)
def test_what_is_no_version_is_refused(version: bytes) -> None:
    with pytest.raises(SchemaVersionError, match="`schema-version` of the transcript") as caught:
        check_version([("schema-version", version)], "transcript")
    assert len(str(caught.value)) < 200


def test_the_record_is_at_fault() -> None:
    assert SchemaVersionError.code is ErrorCode.RECORD_VERSION
    assert failure_class(SchemaVersionError.code) is FailureClass.POISON


def test_a_dead_letter_has_a_version_of_its_own_beside_its_records() -> None:
    headers = [("schema-version", b"2"), *to_headers(LETTER)]
    assert ("chorus.schema-version", SCHEMA_VERSION) in headers
    assert from_headers(headers) == LETTER
    assert from_headers(headers[:-1]) == LETTER  # as they were written before it had one
    with pytest.raises(SchemaVersionError, match="the dead letter has schema version 2"):
        from_headers([*headers, ("chorus.schema-version", b"2")])
