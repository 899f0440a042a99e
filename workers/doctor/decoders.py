"""The decoders of audio: libsndfile and FFmpeg, on a clip that is shipped."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from schemas.settings import AudioSettings
from serve_app.audio import AudioLoader
from workers.doctor.clips import read_clips
from workers.doctor.finding import Finding, failure, ok

#: FFmpeg's decoders of what telephones, browsers and archives record.
COMPRESSED = ("aac", "flac", "mp3", "opus", "vorbis")


def examine_decoders(available: Collection[str]) -> Finding:
    """Whether FFmpeg, inside the package av, has the usual decoders.

    Args:
        available: names of all that it has.
    """
    missing = [name for name in COMPRESSED if name not in available]
    if not missing:
        return ok("decoders", f"FFmpeg decodes {', '.join(COMPRESSED)}")
    return failure(
        "decoders",
        f"FFmpeg has no decoder for {', '.join(missing)}",
        cause="a package av that was built against an FFmpeg of the system",
        next="install the wheel: `pip install --force-reinstall --only-binary av av`",
    )


def examine_audio() -> Iterator[Finding]:
    """Decode a shipped clip, and look which decoders there are."""
    import av

    clip = AudioLoader(AudioSettings(roots=["/"])).load(read_clips(None)[0].path)
    yield ok("audio", f"{len(clip) / 16_000:.1f} s of FLAC are read")
    yield examine_decoders(av.codecs_available)
