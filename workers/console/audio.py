"""Audio for the browser: a segment as WAV, whole or by ranges of bytes (RFC 9110)."""

from __future__ import annotations

import asyncio
import io
import re
import wave
from collections import OrderedDict

import numpy as np
from litestar import Response
from litestar.exceptions import NotFoundException

from schemas.channels import EACH, OneChannel
from schemas.failures import ErrorCode
from schemas.settings import AudioSettings
from schemas.transcript import Transcript
from serve_app.audio import AudioError, AudioLoader
from serve_app.audio.clip import SAMPLE_RATE, Clip, Recording
from workers.console.errors import Unavailable
from workers.console.place import Place

#: Bytes of the segments that are kept: a player asks for one several times.
_KEPT_BYTES = 64 << 20
_RANGE = re.compile(r"bytes=([0-9]{0,15})-([0-9]{0,15})", re.ASCII)


class AudioReader:
    """Reads the audio of transcripts by the one loader, under `audio.roots` alone.

    Args:
        settings: the section `audio`.
    """

    def __init__(self, settings: AudioSettings) -> None:
        self._loader = AudioLoader(settings)
        self._kept: OrderedDict[Place, bytes] = OrderedDict()

    def kept(self, place: Place) -> bytes | None:
        """The segment of a transcript as a WAV file, if it was read lately."""
        return self._kept.get(place)

    async def wav(self, place: Place, transcript: Transcript) -> bytes:
        """The segment of a transcript as a WAV file.

        Args:
            place: of its message.
            transcript: what is there.

        Raises:
            AudioError: it may not or cannot be read, see `AudioLoader.read`.
        """
        recording = await self.recording(transcript)
        found = await asyncio.to_thread(wav_of, recording.clip)
        self._kept[place] = found
        self._kept.move_to_end(place)
        while len(self._kept) > 1 and sum(map(len, self._kept.values())) > _KEPT_BYTES:
            self._kept.popitem(last=False)
        return found

    async def recording(self, transcript: Transcript) -> Recording:
        """The segment of a transcript.

        Raises:
            AudioError: it may not or cannot be read, see `AudioLoader.read`.
        """
        return await asyncio.to_thread(
            self._loader.read,
            transcript.audio_filepath,
            offset=transcript.offset,
            duration=transcript.duration or None,
            channel=_channel(transcript),
        )


def _channel(transcript: Transcript) -> OneChannel | None:
    """The channel that was transcribed; the mean of all where each was."""
    if transcript.channel == EACH:
        return "mean"
    taken = transcript.audio_measures.get("channel")
    return transcript.channel if taken is None else int(taken)


def wav_of(clip: Clip) -> bytes:
    """A clip at `SAMPLE_RATE` as a WAV file of 16-bit samples."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE)
        writer.writeframes((np.clip(clip, -1, 1) * 32767).astype("<i2").tobytes())
    return file.getvalue()


def answer(content: bytes, asked: str | None) -> Response[bytes]:
    """The answer to a request for a file, or for one range of its bytes.

    Args:
        content: the file.
        asked: the header `Range`; several ranges, and other units, are answered with all of it.
    """
    headers = {"accept-ranges": "bytes"}
    found = _RANGE.fullmatch((asked or "").strip())
    if found is None or found.group(0) == "bytes=-":
        return Response(content, media_type="audio/wav", headers=headers)
    size = len(content)
    if not found[1]:
        first, last = max(0, size - int(found[2])), size - 1
    else:
        first, last = int(found[1]), min(int(found[2] or size), size - 1)
    if first > last:
        headers["content-range"] = f"bytes */{size}"
        return Response(b"", status_code=416, media_type="audio/wav", headers=headers)
    headers["content-range"] = f"bytes {first}-{last}/{size}"
    part = content[first : last + 1]
    return Response(part, status_code=206, media_type="audio/wav", headers=headers)


def refusal(error: AudioError) -> Exception:
    """What a handler raises for audio that cannot be had; the message never names the path."""
    if error.code is ErrorCode.AUDIO_IO:
        return Unavailable(f"the audio cannot be read just now ({error.code.value})")
    reason = _REASONS.get(error.code, f"the audio cannot be read ({error.code.value})")
    return NotFoundException(reason)


_REASONS = {
    ErrorCode.AUDIO_MISSING: "the audio is not there (any more)",
    ErrorCode.AUDIO_OUTSIDE_ROOTS: "the audio is outside of `audio.roots` of these settings",
}
