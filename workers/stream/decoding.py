"""From a Kafka message to work: a manifest record, or poison at once."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from kafka import TopicPartition

from schemas.failures import ErrorCode, RecordError
from schemas.manifest import Id, ManifestError, decode_manifest
from workers.stream.work import Work


class _Identified(msgspec.Struct):
    id: Id


_identify = msgspec.json.Decoder(_Identified)


def to_work(message: Any) -> Work:
    """`message` (kafka-python's record) as work; undecodable ones come with their outcome."""
    value: bytes | None = message.value
    work = Work(
        TopicPartition(message.topic, message.partition),
        message.offset,
        message,
        size=len(value or b""),
    )
    if value is None:
        reason = "the message has no value (a tombstone); a manifest record is a JSON object"
        return _poison(work, ErrorCode.RECORD_JSON, reason)
    try:
        work.record = decode_manifest(value, default_id=work.name)
    except ManifestError as error:
        return _poison(work, error.code, str(error))
    return work


def _poison(work: Work, code: ErrorCode, reason: str) -> Work:
    work.outcome = work.error = RecordError(id=_id(work), code=code, message=reason)
    work.finished = time.time()
    return work


def _id(work: Work) -> str:
    """The record's own id where it can be read, else its place."""
    try:
        return _identify.decode(work.message.value or b"").id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return work.name
