"""What the routes share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

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
    kinds = {
        AUTO: "rules",
        **dict.fromkeys(settings.plans, "plan"),
        **dict.fromkeys(settings.models, "model"),
    }
    return {
        name: ApiModel(
            id=name,
            object="model",
            created=0,
            owned_by="chorus",
            kind=kind,
            models=list(settings.models if name == AUTO else planner.members(name)),
        )
        for name, kind in kinds.items()
    }
