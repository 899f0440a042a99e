"""The section `http`: the HTTP API and its clients."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterator
from typing import Annotated, Literal

import msgspec

from schemas.settings.keys import key_faults
from schemas.settings.routing import AUTO
from schemas.settings.types import (
    Fault,
    Name,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Probability,
    Strict,
)

#: A model's name as other services write it.
Alias = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\s\x00-\x1f\x7f]+$")]

#: Who may see a page.
Access = Literal["open", "key", "off"]

#: An origin as browsers send it, or all of them.
_ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^/\sA-Z]+")


class ApiKey(Strict):
    """One client of the HTTP API; exactly one of `sha256` and `env` is given.

    Attributes:
        sha256: SHA-256 digest of the key, in hexadecimal; `chorus key` makes a key and its
            digest.
        env: name of the environment variable that holds the key, where `chorus serve` starts; on
            a running cluster, on its nodes.
        max_concurrent: requests at once; more are answered with 429.
        audio_seconds_per_minute: seconds of audio accepted per minute; more is answered with
            429. No limit unless given.
    """

    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")] | None = None
    env: str | None = None
    max_concurrent: PositiveInt = 16
    audio_seconds_per_minute: PositiveFloat | None = None


class HttpSettings(Strict):
    """The HTTP API of `chorus serve`. All limits are those of one replica.

    Attributes:
        host: address that Serve's proxy listens on.
        port: port that Serve's proxy listens on.
        models: other names, as clients send them in `model`, for models, plans or `auto`:
            `{whisper-1: auto, "Systran/faster-whisper-large-v3": vote}`.
        keys: API keys by client; metrics name the client, never the key. Without keys, requests
            need none, and `host` must be a loopback address, unless `chorus serve --open`.
        wrong_keys_per_minute: wrong keys that one address may send; then it is answered with 429,
            whatever key it sends, until a minute's share of them is over.
        docs: who may read `/docs`, where there are keys: everybody ("open"), clients with a key
            ("key"), or nobody ("off").
        metrics: who may read `/metrics`, which name the clients, in the same way.
        allowed_origins: origins of the web pages that may call from a browser; "*" for all.
        replicas: replicas of the API.
        num_cpus: CPU cores reserved per replica of the API.
        max_requests: requests at once; more are answered with 503 before their bodies are read.
        max_upload_bytes: largest body of a request in bytes.
        upload_timeout_s: longest time for a request's body to arrive, in seconds.
        timeout_s: longest time for an answer, in seconds.
        decoders: processes that decode uploaded media, in each replica.
        decode_timeout_s: longest time for decoding one upload, in seconds.
        piece_seconds: longer audio is split at silences into pieces of at most this many
            seconds, which the replicas of a model share.
        max_no_speech_prob: words of uploads are left out where the probability that nobody
            speaks stays above this within half a second of them; the response has them as
            `suppressed`. null leaves all words. Takes 2 ms of CPU per second of audio.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8000
    models: dict[Alias, str] = {}
    keys: dict[Name, ApiKey] = {}
    wrong_keys_per_minute: PositiveInt = 30
    docs: Access = "open"
    metrics: Access = "key"
    allowed_origins: list[str] = []
    replicas: PositiveInt = 1
    num_cpus: NonNegativeFloat = 0.5
    max_requests: PositiveInt = 256
    max_upload_bytes: PositiveInt = 200 << 20
    upload_timeout_s: PositiveFloat = 120.0
    timeout_s: PositiveFloat = 300.0
    decoders: PositiveInt = 2
    decode_timeout_s: PositiveFloat = 60.0
    piece_seconds: Annotated[float, msgspec.Meta(ge=2, le=300)] = 30.0
    max_no_speech_prob: Probability | None = 0.9


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def http_faults(http: HttpSettings | None, targets: Collection[str]) -> Iterator[Fault]:
    """What contradicts itself in the section, where it is given, or names what does not exist.

    Args:
        http: the section.
        targets: the models and plans that the settings define.
    """
    if http is None:
        return
    names = [AUTO, *targets]
    for alias, target in http.models.items():
        model, _, version = alias.partition(":")
        if alias in names or (model in names and version.isdigit()):
            yield f"http.models.{alias}", "this name is taken; an alias needs a name of its own"
        if target not in names:
            reason = f"no plan or model `{target}`; defined are: {', '.join(names)}"
            yield f"http.models.{alias}", reason
    for index, origin in enumerate(http.allowed_origins):
        if not _ORIGIN.fullmatch(origin):
            reason = f"`{origin}` is no origin: write `https://example.org`, without a path, or `*`"
            yield f"http.allowed_origins[{index}]", reason
    yield from key_faults("http.keys", http.keys)
