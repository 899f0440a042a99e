"""Decoding a segment of a file: by libsndfile, or by FFmpeg where libsndfile reads too little."""

from __future__ import annotations

from schemas.channels import OneChannel
from schemas.settings import AudioSettings
from serve_app.audio.clip import Clip, Recording
from serve_app.audio.decode import MoreToReadError, decode
from serve_app.audio.downmix import Downmix, mixed
from serve_app.audio.header import Header


def decode_segment(
    fd: int,
    header: Header,
    *,
    offset: float = 0.0,
    duration: float | None = None,
    channel: OneChannel | None = None,
    sample_rate: int,
    limits: AudioSettings,
) -> Recording:
    """Decode the segment [offset, offset + duration) of the file open at `fd`.

    Args:
        fd: descriptor of a regular file; moved, not closed.
        header: what `read_header` found in it.
        offset: in seconds.
        duration: in seconds; None means to the end.
        channel: see `serve_app.audio.downmix.mixed`.
        sample_rate: hertz of the result.
        limits: on seconds (of the segment), channels and sample rate (of the file).

    Raises:
        AudioError: see `AudioLoader.read`; the message does not name the file.
    """
    whole = header

    def decode_once(downmix: Downmix) -> Clip:
        nonlocal whole
        if not whole.irregular:
            try:
                return decode(
                    fd,
                    whole,
                    downmix,
                    offset=offset,
                    duration=duration,
                    sample_rate=sample_rate,
                    limits=limits,
                )
            except MoreToReadError:
                whole = whole._replace(irregular=True)
                downmix.reset()
        # FFmpeg is needed for few files, and its import takes longer than most of them
        from serve_app.audio.ffmpeg import decode_by_ffmpeg

        return decode_by_ffmpeg(
            fd,
            whole,
            downmix,
            offset=offset,
            duration=duration,
            sample_rate=sample_rate,
            limits=limits,
        )

    return mixed(decode_once, channel)
