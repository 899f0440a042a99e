"""What the routes share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from litestar.response import Stream
from litestar.types import ASGIApp, Receive, Scope, Send

from schemas.settings import AUTO, HttpSettings, Settings
from schemas.transcription_api import ApiModel
from serve_app.engines.base import Clip
from serve_app.http.errors import ApiError
from serve_app.http.gate import Client, Gate
from serve_app.http.metrics import Metrics
from serve_app.http.speech import Backend
from serve_app.plans import Planner


class Decoder(Protocol):
    """See `serve_app.audio.untrusted.MediaDecoder`."""

    async def decode(self, source: int, *, name: str = "the file") -> Clip: ...

    async def close(self) -> None: ...


class HeldStream(Stream):
    """An answer bit by bit; `held` is closed when it has ended, however that is.

    The bits' own generator could not see to that: it has not even begun where a client goes away
    before the first of them.
    """

    def __init__(
        self, bits: AsyncGenerator[bytes, None], held: AsyncExitStack, **options: Any
    ) -> None:
        held.push_async_callback(bits.aclose)
        super().__init__(_all_of(bits, held), **options)
        self._held = held

    def to_asgi_response(self, *args: Any, **options: Any) -> ASGIApp:  # type: ignore[override]
        answer = super().to_asgi_response(*args, **options)

        async def send_all(scope: Scope, receive: Receive, send: Send) -> None:
            async with self._held:
                await answer(scope, receive, send)

        return send_all


async def _all_of(
    bits: AsyncGenerator[bytes, None], held: AsyncExitStack
) -> AsyncGenerator[bytes, None]:
    """The bits. After the last, `held` is closed at once: who has the whole answer may come again,
    while the server takes a moment to say that it has been sent."""
    async with held:
        async for bit in bits:
            yield bit


@dataclass
class Service:
    """What the routes share. Belongs to one event loop.

    Attributes:
        models: what `model` of a request may be, by name.
        places: requests that may come in yet.
    """

    settings: HttpSettings
    backend: Backend
    decoder: Decoder
    gate: Gate
    metrics: Metrics
    models: dict[str, ApiModel]
    places: int

    @contextmanager
    def admitted(self, client: Client) -> Iterator[None]:
        """While a request of `client` is worked on.

        Raises:
            ApiError: 429 or 503, too many at once.
        """
        if self.places <= 0:
            raise ApiError(503, "too many requests at once", code="overloaded", retry_after_s=1)
        self.places -= 1
        try:
            with client.request():
                yield
        finally:
            self.places += 1


def make_service(settings: Settings, backend: Backend, decoder: Decoder) -> Service:
    """For the settings' models and plans.

    Raises:
        serve_app.http.gate.MissingKeyError: a key is not in the environment.
    """
    http = settings.http or HttpSettings()
    return Service(
        settings=http,
        backend=backend,
        decoder=decoder,
        gate=Gate(http),
        metrics=Metrics(),
        models=_models(settings),
        places=http.max_requests,
    )


def _models(settings: Settings) -> dict[str, ApiModel]:
    planner = Planner(settings)
    members = {AUTO: tuple(settings.models)}
    members |= {name: planner.members(name) for name in (*settings.plans, *settings.models)}
    kinds = {
        AUTO: "rules",
        **dict.fromkeys(settings.plans, "plan"),
        **dict.fromkeys(settings.models, "model"),
    }
    for name, model in settings.models.items():
        version = Path(model.path).parent.name if model.path is not None else ""
        if version.isdigit():  # a folder that `chorus finetune` made: .../NAME/2/model.nemo
            kinds[f"{name}:{version}"] = "version"
            members[f"{name}:{version}"] = (name,)
    return {
        name: ApiModel(
            id=name,
            object="model",
            created=0,
            owned_by="chorus",
            kind=kind,
            models=list(members[name]),
        )
        for name, kind in kinds.items()
    }
