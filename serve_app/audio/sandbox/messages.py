"""The messages between the parent and a worker, and how the parent checks them.

The parent starts a worker with `WorkerOptions`, as JSON. The worker's first message is `READY`.
Each request is a `Request`, as JSON, with two descriptors, the file and the shared memory; each
answer is a `Reply`, as JSON. A message is one packet of a Unix socket.
"""

from __future__ import annotations

import logging
from typing import Annotated, TypeAlias

import msgspec

from schemas.channels import MAX_CHANNEL, OneChannel
from schemas.failures import ErrorCode
from schemas.settings import AudioSettings
from serve_app.audio.errors import AudioError
from serve_app.audio.header import CONVERT

logger = logging.getLogger(__name__)

READY = b"ready"
#: Bytes of the longest message; the parent reads no more of one.
MAX_MESSAGE_BYTES = 8_192
#: Characters of the longest message of an `AudioError` that a worker may send.
MAX_REFUSAL_LENGTH = 1_000
#: The error codes that a worker may report about a file.
REFUSALS = frozenset(
    {
        ErrorCode.AUDIO_UNDECODABLE,
        ErrorCode.AUDIO_UNSUPPORTED,
        ErrorCode.AUDIO_CHANNEL,
        ErrorCode.AUDIO_EMPTY,
        ErrorCode.AUDIO_TOO_LONG,
        ErrorCode.AUDIO_TOO_LARGE,
        ErrorCode.AUDIO_IO,
    }
)


class WorkerOptions(msgspec.Struct, frozen=True):
    """What a worker is started with.

    Attributes:
        limits: on the audio; without the roots, which a worker has no use for.
        sample_rate: hertz of the clips.
        memory_bytes: address space for a request, in addition to that of an idle worker.
        cpu_s: CPU seconds for a request.
        max_requests: requests that it will serve.
    """

    limits: AudioSettings
    sample_rate: int
    memory_bytes: int
    cpu_s: int
    max_requests: int


class Request(msgspec.Struct, frozen=True):
    """The segment of the file to decode: from `offset` for `duration` seconds, or to the end.

    `channel` is that of `serve_app.audio.downmix.mixed`.
    """

    offset: float = 0.0
    duration: float | None = None
    channel: OneChannel | None = None


class Decoded(msgspec.Struct, frozen=True, tag=True):
    """The file was decoded; the shared memory begins with the clip.

    Attributes:
        samples: the length of the clip.
        channel, channels, similarity: as in `serve_app.audio.clip.Recording`.
    """

    samples: Annotated[int, msgspec.Meta(gt=0)]
    channel: Annotated[int, msgspec.Meta(ge=0, le=MAX_CHANNEL)] | None = None
    channels: Annotated[int, msgspec.Meta(gt=0, le=MAX_CHANNEL + 1)] = 1
    similarity: Annotated[float, msgspec.Meta(ge=-1.001, le=1.001)] | None = None


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The file is at fault; see `AudioError`."""

    code: ErrorCode
    message: Annotated[str, msgspec.Meta(max_length=MAX_REFUSAL_LENGTH)]


class Broken(msgspec.Struct, frozen=True, tag=True):
    """An unexpected error, after which the worker ends.

    Attributes:
        where: the type of the error and where it was raised. Its message is left out: it may hold
            parts of the file.
    """

    where: Annotated[str, msgspec.Meta(pattern=r"^[\w<>.: -]{0,200}$")]


Reply: TypeAlias = Decoded | Refused | Broken


def parse_reply(message: bytes) -> Decoded | Refused:
    """Read the answer of a worker, which is not trusted: a file may have taken it over.

    Raises:
        AudioError: `AUDIO_UNDECODABLE`: the worker failed, or its answer is not a valid one. It
            must be ended.
    """
    try:
        reply: Reply = msgspec.json.decode(message, type=Reply)
    except msgspec.DecodeError:
        logger.warning("a media decoder sent a malformed answer; it is replaced")
        raise crash_error() from None
    if isinstance(reply, Broken):
        logger.warning("a media decoder failed: %s; it is replaced", reply.where)
        raise crash_error()
    if isinstance(reply, Refused) and reply.code not in REFUSALS:
        logger.warning("a media decoder sent the error code %s; it is replaced", reply.code.value)
        raise crash_error()
    return reply


def unavailable_error() -> AudioError:
    """The error of a request that failed through no fault of its file."""
    return AudioError(ErrorCode.AUDIO_IO, "could not be decoded just now; it is tried again")


def crash_error() -> AudioError:
    """The error of a request whose file crashed or took over its worker."""
    return AudioError(
        ErrorCode.AUDIO_UNDECODABLE,
        f"crashed the decoder, so it is probably damaged; {CONVERT}",
    )
