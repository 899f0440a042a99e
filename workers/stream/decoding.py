"""Decoding a Kafka message: it is a manifest record, or it is given up at once."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from kafka import TopicPartition

from schemas.failures import ErrorCode, RecordError
from schemas.manifest import Id, ManifestError, decode_manifest
from schemas.versions import SchemaVersionError, check_version
from workers.stream.internal_fault import internal_fault
from workers.stream.pending_record import PendingRecord


class _Identified(msgspec.Struct):
    id: Id | int


_identify = msgspec.json.Decoder(_Identified)


def to_pending_record(message: Any) -> PendingRecord:
    """`message` as a pending record; one that cannot be decoded has its outcome already."""
    value: bytes | None = message.value
    record = PendingRecord(
        TopicPartition(message.topic, message.partition),
        message.offset,
        message,
        size=len(value or b""),
        leader_epoch=-1 if message.leader_epoch is None else message.leader_epoch,
    )
    if value is None:
        reason = "the message has no value (a tombstone); a manifest record is a JSON object"
        return _poison(record, ErrorCode.RECORD_JSON, reason)
    try:
        check_version(message.headers, "manifest record")
        record.manifest = decode_manifest(value, default_id=record.name)
    except (ManifestError, SchemaVersionError) as error:
        return _poison(record, error.code, str(error))
    except Exception as error:
        return _given_up(record, internal_fault(record, error))
    return record


def _poison(record: PendingRecord, code: ErrorCode, reason: str) -> PendingRecord:
    return _given_up(record, RecordError(id=_id(record), code=code, message=reason))


def _given_up(record: PendingRecord, error: RecordError) -> PendingRecord:
    record.outcome = record.error = error
    record.finished = time.time()
    return record


def _id(record: PendingRecord) -> str:
    """The record's own id where it can be read, else its place."""
    try:
        return str(_identify.decode(record.message.value or b"").id)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return record.name
