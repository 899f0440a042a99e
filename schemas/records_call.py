"""A call of the Router over HTTP, in MessagePack: what stream workers elsewhere send and get.

Nothing is lost on the way: errors keep their codes, so their classes.
"""

from __future__ import annotations

import msgspec

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
        options: of the call; `caller` is not looked at.
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


class RecordsInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What `GET` of the route answers, as JSON.

    Attributes:
        settings: `settings_digest` of the settings of the API.
    """

    settings: str
