"""The manifest record: one utterance to transcribe, in NeMo's manifest keys."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from schemas.failures import ErrorCode

#: Longest accepted id, in characters. Ids become Kafka keys and file keys; a longer one is a bug.
MAX_ID_CHARS = 512
#: Longest accepted path, in characters (PATH_MAX on Linux).
MAX_PATH_CHARS = 4096
#: Deepest nesting of the value of an extra key. Python cannot pickle beyond about 500, and a record
#: that cannot travel would hold up its whole batch for ever.
MAX_EXTRA_DEPTH = 100

#: Most phrases of a record: NeMo takes 40 ms to prepare a hundred.
MAX_PHRASES = 100
#: Longest of them, in characters.
MAX_PHRASE_CHARS = 100

Phrase = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_PHRASE_CHARS)]
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_CHARS)]
Path = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_PATH_CHARS)]
#: A day: no offset or duration of a real recording's segment exceeds it.
Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]


class ManifestRecord(msgspec.Struct, kw_only=True):
    """One utterance: a file, or a segment of it, with what is known about it.

    Attributes:
        id: names the record in every output. Where the producer gave none, the source of the
            record does (``topic-partition-offset`` or the line number).
        audio_filepath: path of the audio; a relative one is looked up under the allowed roots.
        offset: start of the segment in seconds.
        duration: length of the segment in seconds; None means to the end of the file.
        text: reference transcript; where given, the result carries a WER.
        lang: BCP 47 language tag, a hint.
        domain: what the speech is about ("medical", "legal", ...), a hint.
        conditions: how it was recorded ("telephony", "noisy", ...), a hint.
        phrases: words and phrases to listen for, names and terms, where a model can.
        extra: every other key of the record. Passed through to the transcript untouched.
    """

    id: Id
    audio_filepath: Path
    offset: Seconds = 0.0
    duration: Annotated[float, msgspec.Meta(gt=0, le=86_400)] | None = None
    text: str | None = None
    lang: str | None = None
    domain: str | None = None
    conditions: str | None = None
    phrases: Annotated[list[Phrase], msgspec.Meta(max_length=MAX_PHRASES)] | None = None
    extra: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"ManifestRecord(id={self.id!r})"  # never the speech or its path


class ManifestError(ValueError):
    """A line or message that is not a manifest record.

    Attributes:
        code: `RECORD_JSON` (not JSON, not an object) or `RECORD_SCHEMA` (a key is wrong).
        key: the key at fault, where one is.
    """

    def __init__(self, code: ErrorCode, message: str, key: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.key = key


_FIELDS = frozenset(f.name for f in msgspec.structs.fields(ManifestRecord)) - {"extra"}
_decoder = msgspec.json.Decoder(dict[str, Any])


def decode_manifest(data: bytes, *, default_id: str) -> ManifestRecord:
    """Decode one manifest record from JSON.

    Args:
        data: UTF-8 JSON of one object.
        default_id: the id of a record that brings none.

    Raises:
        ManifestError: `data` is no JSON object, or a known key has a wrong type or value. The
            message names the key and what was expected.
    """
    try:
        keys = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ManifestError(ErrorCode.RECORD_JSON, f"not a JSON object: {error}") from None
    except RecursionError:
        raise ManifestError(ErrorCode.RECORD_JSON, "JSON is nested too deeply") from None
    known: dict[str, Any] = {"id": default_id}
    extra: dict[str, Any] = {}
    for key, value in keys.items():
        if key not in _FIELDS:
            extra[key] = value
        elif value is not None:  # null means "not given", also for keys with a default
            known[key] = value
        if _is_too_deep(value):
            reason = f"is nested more than {MAX_EXTRA_DEPTH} levels deep"
            raise ManifestError(ErrorCode.RECORD_JSON, f"`{key[:100]}`: {reason}", key)
    known["extra"] = extra
    try:
        record = msgspec.convert(known, ManifestRecord, strict=True)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at ")
        at = path.strip("`").removeprefix("$").removeprefix(".")
        message = f"`{at}`: {reason}" if at else reason
        raise ManifestError(ErrorCode.RECORD_SCHEMA, message, at or None) from None
    for key in ("id", "audio_filepath", "phrases"):
        value = getattr(record, key)
        texts = [value] if isinstance(value, str) else value or []
        if any(ord(char) < 32 for text in texts for char in text):
            message = f"`{key}`: contains a control character"
            raise ManifestError(ErrorCode.RECORD_SCHEMA, message, key)
    return record


def _is_too_deep(value: Any) -> bool:
    level = _containers([value])
    for _ in range(MAX_EXTRA_DEPTH):
        if not level:
            return False
        level = [inner for outer in level for inner in _containers(outer)]
    return bool(level)


def _containers(node: dict[str, Any] | list[Any]) -> list[dict[str, Any] | list[Any]]:
    """Those of the values in `node` that hold values themselves."""
    values = node.values() if isinstance(node, dict) else node
    return [value for value in values if isinstance(value, dict | list)]


def encode_manifest(record: ManifestRecord) -> bytes:
    """`record` as one JSON object with its extra keys at the top level; no trailing newline."""
    return msgspec.json.encode(flatten(record))


def flatten(struct: msgspec.Struct) -> dict[str, Any]:
    """`struct` as a JSON-ready dict: `extra` keys at the top level, absent (None) keys left out.

    Where an extra key has the name of a field, the field wins, also an absent one: what a record
    brings as `wer` is not our measurement.
    """
    keys = msgspec.to_builtins(struct)
    extra = {key: value for key, value in keys.pop("extra", {}).items() if key not in keys}
    return {**extra, **{key: value for key, value in keys.items() if value is not None}}
