"""The section `console`: the web pages of `chorus console`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from schemas.settings.keys import key_faults
from schemas.settings.types import Fault, Name, PositiveFloat, PositiveInt, Strict

#: What a client may, each more than the one before it: see figures, also read and hear speech, also
#: act.
Role = Literal["figures", "speech", "act"]


class ConsoleKey(Strict):
    """One person or group that uses the console; exactly one of `sha256` and `env` is given.

    Attributes:
        sha256: SHA-256 digest of the key, in hexadecimal; `chorus key` makes a key and its
            digest.
        env: name of the environment variable that holds the key, where `chorus console` starts.
        role: "figures" shows rates, models and counts, and no speech; "speech" transcripts and
            audio as well; "act" also lets its owner transcribe, promote, roll back and replay.
    """

    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")] | None = None
    env: str | None = None
    role: Role = "speech"


class ConsoleSettings(Strict):
    """The web pages of `chorus console`.

    Attributes:
        host: address that the console listens on.
        port: port that the console listens on.
        keys: who may use the console, by name; audit lines name them. Without keys, everybody who
            reaches it may do everything, and `host` must be a loopback address.
        hosts: names that browsers call the console by, beside `host`, such as that of a proxy in
            front of it; a request for another name is refused where there are no keys.
        session_hours: how long a browser stays signed in, in hours, after its last request.
        wrong_keys_per_minute: wrong keys that one address may send; then it is refused, whatever
            key it sends, until a minute's share of them is over.
        max_upload_bytes: largest file that may be tried, in bytes.
        reports: folder, relative to the settings file, whose reports the console lists: what
            `--report` and `--output` of `chorus compare`, `validate` and `benchmark` write.
        recent: transcripts that are kept in memory, for those who open the page; about 2 KB each.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8010
    keys: dict[Name, ConsoleKey] = {}
    hosts: list[str] = []
    session_hours: PositiveFloat = 12.0
    wrong_keys_per_minute: PositiveInt = 30
    max_upload_bytes: PositiveInt = 50 << 20
    reports: str | None = None
    recent: PositiveInt = 500


def console_faults(console: ConsoleSettings) -> Iterator[Fault]:
    """What contradicts itself in the section."""
    yield from key_faults("console.keys", console.keys)
