"""The manifest record: one utterance to transcribe, in NeMo's manifest keys."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec

from schemas.channels import CHANNELS, Channel, channel_of
from schemas.decoding import reason_and_key
from schemas.failures import ErrorCode
from schemas.manifest_values import unambiguous, unusable

#: Longest accepted id, in characters. Ids become Kafka keys, and keys in files of results.
MAX_ID_CHARS = 512
#: Longest accepted path, in characters (PATH_MAX on Linux).
MAX_PATH_CHARS = 4096
#: Deepest nesting of the value of an extra key. Python's stack ends at about 500 levels, and a
#: record that cannot be sent to the Router would make every call with its batch fail.
MAX_EXTRA_DEPTH = 100

#: Most phrases of a record: NeMo takes 40 ms to prepare a hundred.
MAX_PHRASES = 100
#: Longest phrase of a record, in characters.
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
        channel: of a file with several channels, which is transcribed: the one of this number,
            from 0; "mean", the mean of all; or "each", every one by itself. None means what
            `audio.channel` of the settings says, else the mean, or one channel of those that cancel
            each other. NeMo's key for it, `channel_selector`, is read as well.
        text: reference transcript; where given, the result carries a WER.
        lang: BCP 47 language tag: a hint, and what a model is told that does not hear it itself.
        domain: what the speech is about ("medical", "legal", ...), a hint.
        conditions: how it was recorded ("telephony", "noisy", ...), a hint.
        phrases: words and phrases to listen for, names and terms, where a model can.
        extra: every other key of the record. Passed through to the transcript untouched.
    """

    id: Id
    audio_filepath: Path
    offset: Seconds = 0.0
    duration: Annotated[float, msgspec.Meta(gt=0, le=86_400)] | None = None
    channel: Channel | None = None
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
        code: `RECORD_JSON` (not JSON, not an object, or nested too deeply) or `RECORD_SCHEMA` (a
            known key has a wrong type or value).
        key: the key at fault; None if the line as a whole is wrong.
        keys: what the line says, by its keys, where only their types or values are wrong.
    """

    def __init__(self, code: ErrorCode, message: str, key: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.key = key
        self.keys: dict[str, Any] = {}

    @property
    def id(self) -> str | None:
        """The id that the line gives itself; None where it has none that can be one."""
        own = self.keys.get("id")
        if isinstance(own, int) and not isinstance(own, bool):
            return str(own)
        if isinstance(own, str) and 0 < len(own) <= MAX_ID_CHARS and own.isprintable():
            return own
        return None


_FIELDS = frozenset(f.name for f in msgspec.structs.fields(ManifestRecord)) - {"extra"}
#: NeMo's key for the channel (`AudioSegment`); it stays with the keys that pass through.
_SELECTOR = "channel_selector"
_decoder = msgspec.json.Decoder(dict[str, Any])
_CONTROL = re.compile(r"[\x00-\x1f]")
#: Some editors and exporters put it before the first record of a file or a message.
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def decode_manifest(data: bytes, *, default_id: str) -> ManifestRecord:
    """Decode one manifest record from JSON.

    Args:
        data: UTF-8 JSON of one object. A byte order mark before it is ignored, and a value of
            another type is taken where it can mean one thing only (`schemas.manifest_values`).
        default_id: the id of a record that has none.

    Raises:
        ManifestError: `data` is not a JSON object, is nested too deeply, or a known key has a wrong
            type or value. The message names the key and what was expected.
    """
    keys = _decode_json(data.removeprefix(BYTE_ORDER_MARK))
    try:
        return _record_of(keys, default_id)
    except ManifestError as error:
        if error.code is ErrorCode.RECORD_SCHEMA:
            error.keys = keys
        raise


def _record_of(keys: dict[str, Any], default_id: str) -> ManifestRecord:
    known: dict[str, Any] = {"id": default_id}
    extra: dict[str, Any] = {}
    for key, value in keys.items():
        if key not in _FIELDS:
            extra[key] = value
        elif value is not None:  # null means "not given", also for keys with a default
            known[key] = unambiguous(key, value)
        if isinstance(value, dict | list) and is_too_deep(value):
            reason = f"is nested more than {MAX_EXTRA_DEPTH} levels deep"
            raise ManifestError(ErrorCode.RECORD_JSON, f"`{key[:100]}`: {reason}", key)
    known["extra"] = extra
    selected = _selected(extra)
    if selected is not None:
        known.setdefault("channel", selected)
    try:
        record = msgspec.convert(known, ManifestRecord, strict=True)
    except msgspec.ValidationError as error:
        reason, at = reason_and_key(error)
        if at == "channel":
            reason = f"{reason}; give {CHANNELS}"
        message = f"`{at}`: {reason}" if at else reason
        raise ManifestError(ErrorCode.RECORD_SCHEMA, message, at or None) from None
    if selected not in {None, record.channel}:
        reason = f"means {selected}, and `channel` is {record.channel}; leave one of them out"
        raise ManifestError(ErrorCode.RECORD_SCHEMA, f"`{_SELECTOR}`: {reason}", _SELECTOR)
    for key in ("id", "audio_filepath", "phrases"):
        value = getattr(record, key)
        texts = [value] if isinstance(value, str) else value or []
        if any(map(_CONTROL.search, texts)):
            message = f"`{key}`: contains a control character"
            raise ManifestError(ErrorCode.RECORD_SCHEMA, message, key)
    return record


def _selected(keys: dict[str, Any]) -> Channel | None:
    """The channel that NeMo's key for it names; None where there is no such key."""
    if _SELECTOR not in keys:  # as in most: what follows takes a tenth of the time of a record
        return None
    value = channel_of(keys[_SELECTOR])
    try:
        channel: Channel | None = msgspec.convert(value, Channel | None, strict=True)
    except msgspec.ValidationError:
        message = f"`{_SELECTOR}`: is no channel; give {CHANNELS}"
        raise ManifestError(ErrorCode.RECORD_SCHEMA, message, _SELECTOR) from None
    return channel


def _decode_json(data: bytes) -> dict[str, Any]:
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        fault = unusable(data)
        if fault is None:
            raise ManifestError(ErrorCode.RECORD_JSON, f"not a JSON object: {error}") from None
        key, reason = fault
        raise ManifestError(ErrorCode.RECORD_JSON, f"`{key[:100]}`: {reason}", key) from None
    except RecursionError:
        raise ManifestError(ErrorCode.RECORD_JSON, "JSON is nested too deeply") from None


def is_too_deep(value: Any) -> bool:
    """Whether a value of JSON is nested more than `MAX_EXTRA_DEPTH` levels deep."""
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


def with_channel(record: ManifestRecord, default: Channel | None) -> ManifestRecord:
    """`record` with the channel `default`, if it does not say one itself."""
    if default is None or record.channel is not None:
        return record
    return msgspec.structs.replace(record, channel=default)


def encode_manifest(record: ManifestRecord) -> bytes:
    """`record` as one JSON object with its extra keys at the top level; no trailing newline."""
    return msgspec.json.encode(flatten(record))


def flatten(struct: msgspec.Struct) -> dict[str, Any]:
    """`struct` as a JSON-ready dict: `extra` keys at the top level, absent (None) keys left out.

    If an extra key has the name of a field, the field wins, even if it is absent: a `wer` in the
    input is never published as if Chorus had measured it.
    """
    keys = msgspec.to_builtins(struct)
    extra = {key: value for key, value in keys.pop("extra", {}).items() if key not in keys}
    return {**extra, **{key: value for key, value in keys.items() if value is not None}}
