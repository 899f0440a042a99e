"""The section `audio`: what audio may be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit

import msgspec

from schemas.channels import Channel, channel_of
from schemas.settings.types import Fault, NonNegativeInt, PositiveFloat, PositiveInt, Strict
from schemas.settings.values import read_by

#: Schemes of URLs that audio is read from, beside folders.
URL_SCHEMES = ("s3", "gs", "az", "https")


def is_url(root: str) -> bool:
    """Whether one of `audio.roots` is a URL, and no folder."""
    return "://" in root


class AudioSettings(Strict):
    """What audio may be read.

    Attributes:
        roots: folders that audio must lie in, checked after symbolic links are resolved;
            relative ones are relative to the settings file. Also object stores and web servers:
            `s3://bucket/prefix`, `gs://`, `az://`, `https://host/prefix`, whose credentials are
            found as those stores' own tools find them.
        max_seconds: longest segment in seconds.
        max_bytes: largest file in bytes.
        max_channels: most channels of a file.
        channel: of records and requests that do not say which channel they mean: the one of this
            number, from 0, `mean` of all, or `each` by itself. Unless given it is the mean, or one
            channel where they cancel each other.
        max_each_seconds: most seconds of audio that the channels of a recording hold together,
            where each is transcribed by itself; an hour of two channels unless given.
        min_sample_rate: lowest sample rate of a file in hertz.
        max_sample_rate: highest sample rate of a file in hertz.
        threads: files that each Router replica reads at once.
        fetches: recordings that each Router replica fetches from URLs at once, ahead of the threads
            that read them.
        cache_bytes: disk space for recordings from URLs of more than a megabyte of which a segment
            was asked and which have to be fetched whole; 0 for none.
        allow_private_addresses: whether hosts of roots with `https` may have addresses that are not
            public, such as those of a private network.
    """

    roots: Annotated[list[str], msgspec.Meta(min_length=1)]
    max_seconds: PositiveFloat = 3600.0
    max_bytes: PositiveInt = 1 << 30
    max_channels: PositiveInt = 8
    channel: Annotated[Channel | None, read_by(channel_of)] = None
    max_each_seconds: PositiveFloat = 7200.0
    min_sample_rate: PositiveInt = 4_000
    max_sample_rate: PositiveInt = 192_000
    threads: PositiveInt = 4
    fetches: PositiveInt = 32
    cache_bytes: NonNegativeInt = 1 << 28
    allow_private_addresses: bool = False


def audio_faults(audio: AudioSettings, base: Path | None) -> Iterator[Fault]:
    """What contradicts itself in the section.

    Args:
        audio: the section.
        base: folder that relative folders are relative to; None if folders are not looked for.
    """
    for index, root in enumerate(audio.roots):
        if is_url(root):
            reason = _url_fault(root)
        elif base is not None and not (base / root).is_dir():
            reason = f"no such folder: {root}"
        else:
            continue
        if reason is not None:
            yield f"audio.roots[{index}]", reason
    if audio.min_sample_rate > audio.max_sample_rate:
        yield "audio.min_sample_rate", "is greater than `max_sample_rate`"


def _url_fault(url: str) -> str | None:
    """What is wrong with a URL of `audio.roots`; credentials in it are not repeated."""
    try:
        parts = urlsplit(url)
        named = parts.hostname
    except ValueError:
        named = None
    if url.partition("://")[0] not in URL_SCHEMES:
        return f"is neither a folder nor a URL with {', '.join(URL_SCHEMES)}"
    if named is None:
        return "names no bucket or host: write SCHEME://BUCKET/PREFIX"
    if parts.username is not None or parts.password is not None:
        return "has credentials in it; give them in the environment, as the store's own tools do"
    if parts.query or parts.fragment:
        return "has a query or a fragment; write SCHEME://BUCKET/PREFIX"
    if any(each in (".", "..") for each in unquote(parts.path).split("/")):
        return "has `.` or `..` in it; write the prefix itself"
    if "//" in parts.path or "\\" in url:
        return "has a backslash or two slashes in a row; no store is read below such a prefix"
    return None
