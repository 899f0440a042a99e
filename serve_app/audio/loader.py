"""Loading the audio of a record.

What libsndfile reads is decoded here, what only FFmpeg reads in processes of its own (`sandbox`):
its demuxers are large, and a file that crashes one must not take the other records with it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from schemas.channels import OneChannel
from schemas.failures import ErrorCode
from schemas.settings import AudioSettings
from serve_app.audio.clip import SAMPLE_RATE, Clip, Recording, Segment
from serve_app.audio.errors import AudioError, from_os_error
from serve_app.audio.formats import read_header
from serve_app.audio.header import MEDIA
from serve_app.audio.lookup import Lookup
from serve_app.audio.recordings import decode_segment
from serve_app.audio.remote.ahead import Ahead
from serve_app.audio.remote.locations import without_secrets
from serve_app.audio.sources import Source

if TYPE_CHECKING:
    from serve_app.audio.sandbox.threads import ThreadDecoder


class AudioLoader:
    """Loads clips within the limits of the settings. One loader serves any number of threads.

    Args:
        settings: the roots, resolved once, and the limits.
        sources: further sources by URL scheme; see `serve_app.audio.sources`.
    """

    def __init__(
        self, settings: AudioSettings, sources: Mapping[str, Source] | None = None
    ) -> None:
        self._limits = settings
        self._lock = threading.Lock()
        self._apart: ThreadDecoder | None = None
        self._fetches: ThreadPoolExecutor | None = None
        self._lookup = Lookup(settings, sources or {})

    def load(
        self,
        path: str,
        *,
        offset: float = 0.0,
        duration: float | None = None,
        channel: OneChannel | None = None,
        sample_rate: int = SAMPLE_RATE,
    ) -> Clip:
        """The samples alone of what `read` returns."""
        return self.read(
            path, offset=offset, duration=duration, channel=channel, sample_rate=sample_rate
        ).clip

    def read(
        self,
        path: str,
        *,
        offset: float = 0.0,
        duration: float | None = None,
        channel: OneChannel | None = None,
        sample_rate: int = SAMPLE_RATE,
        ahead: Ahead | None = None,
    ) -> Recording:
        """The audio of one record: mono float32 in [-1, 1], shape [samples], at `sample_rate` Hz.

        Blocks while it reads and decodes; call it from a pool of threads. A file is whole or it is
        refused, but of a damaged one any segment that is still there can be read.

        Args:
            path: as in the record: absolute, relative to a root, or a URL of a known scheme.
            offset: start of the segment in seconds, 0 or more.
            duration: length of the segment in seconds, more than 0; None means to the end. It may
                reach beyond the end by 5 % (0.1 s at least, 0.5 s at most).
            channel: which one, from 0, or "mean"; None for the mean, or one of them where they
                cancel each other.
            sample_rate: hertz of the result.
            ahead: what `fetch_ahead` returned for the same segment; it can be used once.

        Raises:
            AudioError: the message names the file as `path` does and says what to do. Codes:

                - `AUDIO_MISSING`: no such file under any root.
                - `AUDIO_OUTSIDE_ROOTS`: outside the roots, links resolved; or a URL of a scheme
                  without a source.
                - `AUDIO_UNREADABLE`: no permission; or a folder, FIFO, device or socket.
                - `AUDIO_TOO_LARGE`: more bytes than `max_bytes`.
                - `AUDIO_UNSUPPORTED`: audio of another format or codec, too many channels, a
                  sample rate beyond the limits, or float samples of another scale.
                - `AUDIO_CHANNEL`: it has no such channel.
                - `AUDIO_UNDECODABLE`: not audio, damaged, cut short, NaN or infinite samples, or
                  a segment that reaches beyond the end.
                - `AUDIO_EMPTY`: under 10 ms of audio there, also for an offset past the end.
                - `AUDIO_TOO_LONG`: a segment of more than `max_seconds`.
                - `AUDIO_IO`: the storage or the system failed for now; worth another try.
        """
        try:
            segment = Segment(offset, duration)
            fd = self._lookup.open(path, segment) if ahead is None else ahead.take()
            try:
                self._check_size(fd)
                header = read_header(fd)
                if header.container in MEDIA:
                    return self._decoder_apart().decode(
                        fd,
                        offset=offset,
                        duration=duration,
                        channel=channel,
                        sample_rate=sample_rate,
                    )
                return decode_segment(
                    fd,
                    header,
                    offset=offset,
                    duration=duration,
                    channel=channel,
                    sample_rate=sample_rate,
                    limits=self._limits,
                )
            finally:
                os.close(fd)
        except AudioError as error:
            reason = error
        except OSError as error:
            reason = from_os_error(error)
        except MemoryError:
            reason = AudioError(ErrorCode.AUDIO_IO, "found no memory just now; it is tried again")
        raise AudioError(reason.code, f"{without_secrets(path)}: {reason.message}")

    def fetch_ahead(
        self, path: str, *, offset: float = 0.0, duration: float | None = None
    ) -> Ahead | None:
        """Begin to fetch what `read` will need, if it is not on this machine.

        Args:
            path: as for `read`.
            offset: as for `read`.
            duration: as for `read`.
        """
        if not self._lookup.is_remote(path):
            return None
        with self._lock:
            if self._fetches is None:
                self._fetches = ThreadPoolExecutor(self._limits.fetches, "fetch")
        return Ahead(self._fetches, partial(self._lookup.open, path, Segment(offset, duration)))

    def _decoder_apart(self) -> ThreadDecoder:
        from serve_app.audio.sandbox.threads import ThreadDecoder  # a worker imports this module

        with self._lock:
            if self._apart is None:
                self._apart = ThreadDecoder(self._limits)
            return self._apart

    def _check_size(self, fd: int) -> None:
        size = os.fstat(fd).st_size
        if size > self._limits.max_bytes:
            raise AudioError(
                ErrorCode.AUDIO_TOO_LARGE,
                f"has {size} bytes, `audio.max_bytes` is {self._limits.max_bytes}; split it",
            )
