"""What each replica of a model says of itself, for `chorus status`.

A call through Serve reaches one replica, whichever is free. So each leaves a note on the cluster
and renews it; the note of one that has died, or can leave none, counts no more.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

import msgspec

from serve_app.model.protocol import ModelInfo
from serve_app.system.ray_adapter import ended, own_name
from serve_app.system.ray_environment import replica_notes
from serve_app.system.ray_notes import delete_note, notes, put_note

logger = logging.getLogger(__name__)

#: Seconds between two looks at what has changed.
_LOOK_S = 1.0
#: Seconds after which a note is renewed although nothing has.
_RENEW_S = 5.0
#: Seconds after which a note that was not renewed counts no more.
_LONGEST_S = 30.0


class _Note(msgspec.Struct, frozen=True):
    """A note.

    Attributes:
        replica: the process that left it, as `ray_adapter.own_name`.
        at: when, in seconds since 1970.
        info: what it serves.
    """

    replica: str
    at: float
    info: ModelInfo


async def report(app: str, describe: Callable[[], Awaitable[ModelInfo]]) -> None:
    """Leave a note of this replica and keep it up to date; never returns.

    Args:
        app: the Serve application.
        describe: says what the replica serves.
    """
    me = own_name() or ""
    said: ModelInfo | None = None
    renewed = 0.0
    while True:
        info = await describe()
        changed = said is None or _lasting(info) != _lasting(said)
        if changed or time.monotonic() - renewed > _RENEW_S:
            if said is None:
                await asyncio.to_thread(_try, _tidy, app)
            await asyncio.to_thread(_try, _put, app, _Note(me, time.time(), info))
            said, renewed = info, time.monotonic()
        await asyncio.sleep(_LOOK_S)


def _lasting(info: ModelInfo) -> ModelInfo:
    """`info` without what changes with every call, which a note need not say at once."""
    return msgspec.structs.replace(info, waiting=0, audio_per_s=0.0, failed=0, last_failure="")


def reported(app: str) -> dict[str, list[ModelInfo]]:
    """What the replicas that live say they serve, by the model's name. Blocks for a moment."""
    found: dict[str, list[ModelInfo]] = {}
    there = _notes(app)
    dead = ended({each.replica for each in there.values()})
    for note in there.values():
        if note.replica not in dead and abs(time.time() - note.at) < _LONGEST_S:
            found.setdefault(note.info.name, []).append(note.info)
    return found


def _notes(app: str) -> dict[str, _Note]:
    return {
        key: msgspec.json.decode(text, type=_Note)
        for key, text in notes(replica_notes(app)).items()
    }


def _put(app: str, note: _Note) -> None:
    text = msgspec.json.encode(note).decode()
    put_note(replica_notes(app), f"{note.info.name} {note.replica}", text)


def _tidy(app: str) -> None:
    """Take away the notes of replicas that have ended."""
    there = _notes(app)
    dead = ended({each.replica for each in there.values()})
    for key, note in there.items():
        if note.replica in dead:
            delete_note(replica_notes(app), key)


def _try(do: Callable[..., None], *arguments: object) -> None:
    """Do what must not disturb the replica if it fails, as while Ray's head is started again."""
    try:
        do(*arguments)
    except Exception as error:
        logger.info("what this replica serves could not be noted: %s", error)
