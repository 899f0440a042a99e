"""What the handlers of all pages share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from litestar import Request

from schemas.settings import Settings
from serve_app.router.protocol import Backend
from workers.console.access import Access, User
from workers.console.audio import AudioReader
from workers.console.topics import Topics

AnyRequest = Request[Any, Any, Any]


@dataclass
class Console:
    """The console of one process. Belongs to one event loop.

    Attributes:
        settings: the whole file.
        access: who may see and do what.
        topics: what is read of Kafka.
        audio: reads the audio of transcripts.
        connect: connects to the Router; blocks.
    """

    settings: Settings
    access: Access
    topics: Topics
    audio: AudioReader
    connect: Callable[[], Backend]

    def user(self, request: AnyRequest) -> User:
        """The user of a request that a guard has let pass."""
        user = self.access.user(request)
        if user is None:
            raise RuntimeError("this handler has no guard")
        return user
