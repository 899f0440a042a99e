"""Decoding of untrusted files, in worker processes that may crash without harm to this one.

A decoder is a large parser in C. A malicious file can crash it, or make it use time or memory
without end. So it runs in a worker process with limits on memory, time and files, and a crash
affects one request only. A worker starts with the decoders imported, which takes half a second, and
serves many requests, one at a time.

A worker gets the upload as an open descriptor, and neither its name nor the environment of the
parent. The clip comes back in memory that the parent has allocated and sized, and is checked
there. This is no complete isolation: a file that takes over the decoder can do whatever this user
may do on this machine.

`pool` is the interface, `threads` the one for threads, `process` starts and limits one worker,
`child` is what runs in it, and `messages` has the messages between the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serve_app.audio.sandbox.pool import MediaDecoder

__all__ = ["MediaDecoder"]


def __getattr__(name: str) -> Any:
    """Import the pool on first use: a worker imports this package too, and needs no asyncio."""
    if name in __all__:
        from serve_app.audio.sandbox import pool

        return getattr(pool, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
