"""A call of the Router in MessagePack, which takes a tenth of what pickling its records does.

Nothing of what JSON can hold is lost on the way, and errors keep their codes, so their classes.
Over HTTP, this is what stream workers elsewhere send and get.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec
from msgspec.msgpack import Decoder, Encoder, Ext
from msgspec.structs import replace

from schemas.failures import RecordError
from schemas.manifest import ManifestRecord
from schemas.requests import DEFAULT_OPTIONS, CallOptions
from schemas.transcript import Transcript

#: Of both bodies.
MEDIA_TYPE = "application/msgpack"
#: The route.
PATH = "/v1/records"


class RecordsCall(msgspec.Struct, frozen=True, kw_only=True):
    """A list of records to be transcribed.

    Attributes:
        records: the records.
        options: of the call.
    """

    records: list[ManifestRecord]
    options: CallOptions = DEFAULT_OPTIONS


class RecordsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A result for each record of a call: a transcript, or an error.

    Attributes:
        transcripts: in the order of the records; None where there is an error.
        errors: likewise; None where there is a transcript.
    """

    transcripts: list[Transcript | None]
    errors: list[RecordError | None]

    @classmethod
    def of(cls, results: list[Transcript | RecordError]) -> RecordsAnswer:
        """The answer that has these results."""
        return cls(
            transcripts=[each if isinstance(each, Transcript) else None for each in results],
            errors=[each if isinstance(each, RecordError) else None for each in results],
        )

    def results(self) -> list[Transcript | RecordError]:
        """The results in order.

        Raises:
            ValueError: a record has both, or neither.
        """
        results: list[Transcript | RecordError] = []
        for transcript, error in zip(self.transcripts, self.errors, strict=True):
            if (transcript is None) == (error is None):
                raise ValueError("a record has no result, or two")
            results += [each for each in (transcript, error) if each is not None]
        return results


_Message = TypeVar("_Message", RecordsCall, RecordsAnswer)
#: MessagePack's integers, and the type of an extension for others, which JSON may have.
_INTEGERS, _OTHER_INTEGER = range(-(1 << 63), 1 << 64), 1


def encode(message: RecordsCall | RecordsAnswer) -> bytes:
    """A call or an answer as MessagePack."""
    try:
        return _encoder.encode(message)
    except OverflowError:  # of an integer, which is rare
        return _encoder.encode(_with_extensions(msgspec.to_builtins(message)))


def decode(body: bytes | memoryview, kind: type[_Message]) -> _Message:
    """What `encode` has written.

    Raises:
        ValueError: it is no such message.
    """
    try:
        found: _Message = _decoders[kind].decode(body)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return found


def encoded_call(
    records: Iterable[ManifestRecord], options: CallOptions, settings: str | None
) -> bytes:
    """A call as MessagePack.

    Args:
        records: the records.
        options: of the call.
        settings: `settings_digest` of the settings that the caller means; None leaves those of the
            options.
    """
    if settings is not None:
        options = replace(options, settings=settings)
    return encode(RecordsCall(records=list(records), options=options))


def results_in(answer: bytes) -> list[Transcript | RecordError]:
    """The results of an answer, in order.

    Raises:
        ValueError: it is none.
    """
    return decode(answer, RecordsAnswer).results()


def _with_extensions(value: Any) -> Any:
    match value:
        case dict():
            return {key: _with_extensions(each) for key, each in value.items()}
        case list():
            return [_with_extensions(each) for each in value]
        case int() if value not in _INTEGERS:
            return Ext(_OTHER_INTEGER, str(value).encode())
    return value


def _from_extension(code: int, data: memoryview) -> int:
    if code != _OTHER_INTEGER:
        raise ValueError(f"unknown extension {code}")
    return int(bytes(data))


_encoder = Encoder()
_decoders: dict[type[Any], Decoder[Any]] = {
    kind: Decoder(kind, ext_hook=_from_extension) for kind in (RecordsCall, RecordsAnswer)
}


class RecordsInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What `GET` of the route answers, as JSON.

    Attributes:
        settings: `settings_digest` of the settings of the API.
    """

    settings: str
