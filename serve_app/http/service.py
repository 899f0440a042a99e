"""The state that the routes share, and a streamed response that cleans up after itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from litestar.connection import ASGIConnection
from litestar.response import Stream
from litestar.types import ASGIApp, Receive, Scope, Send

from schemas.channels import OneChannel
from schemas.settings import AUTO, AudioSettings, HttpSettings, Settings, settings_digest
from schemas.transcription_api import ApiModel
from serve_app.audio.clip import Recording
from serve_app.http.errors import ApiError
from serve_app.http.gate import Client, Gate
from serve_app.http.retries import PatientRouter
from serve_app.registry.source import fixed_version
from serve_app.router.protocol import Backend
from serve_app.routing.plans import Planner
from serve_app.telemetry.instruments import Instruments
from serve_app.telemetry.registry import RegistryInstruments

WorkerFaults = Callable[[], Mapping[str, str]]


class Decoder(Protocol):
    """Decodes uploaded audio; `serve_app.audio.sandbox.MediaDecoder` is one."""

    async def decode(
        self, source: int, *, name: str = "the file", channel: OneChannel | None = None
    ) -> Recording:
        """Decode a file.

        Args:
            source: descriptor of the file, at its start.
            name: what error messages call the file.
            channel: of the file; see `serve_app.audio.downmix.mixed`.

        Raises:
            serve_app.audio.AudioError: it cannot be decoded.
        """
        ...

    async def close(self) -> None:
        """Free the decoder's processes."""
        ...


class CleanupStream(Stream):
    """A streamed response that frees its resources when it ends, whether it was sent or not.

    The generator of the chunks cannot do that itself: it has not even started if the client
    disconnects before the first chunk.

    Args:
        chunks: of the body; the generator is closed too.
        resources: closed when the response ends.
        options: of `litestar.response.Stream`.
    """

    def __init__(
        self, chunks: AsyncGenerator[bytes, None], resources: AsyncExitStack, **options: Any
    ) -> None:
        resources.push_async_callback(chunks.aclose)
        super().__init__(_with_cleanup(chunks, resources), **options)
        self._resources = resources

    def to_asgi_response(self, *args: Any, **options: Any) -> ASGIApp:  # type: ignore[override]
        """Wrap Litestar's ASGI response so that the resources are closed after it."""
        answer = super().to_asgi_response(*args, **options)

        async def send_all(scope: Scope, receive: Receive, send: Send) -> None:
            async with self._resources:
                await answer(scope, receive, send)

        return send_all


async def _with_cleanup(
    chunks: AsyncGenerator[bytes, None], resources: AsyncExitStack
) -> AsyncGenerator[bytes, None]:
    """Yield the chunks, then close `resources`.

    Not only when the response has been sent, which the server notices a moment later: a client
    with the complete response may already send its next request, which needs the place to be free.
    """
    async with resources:
        async for chunk in chunks:
            yield chunk


@dataclass
class Service:
    """The state that the routes share. Belongs to one event loop.

    Attributes:
        settings: the section `http` of the settings.
        audio: the section `audio`.
        backend: the Router.
        router: the same, asked again where it fails.
        decoder: decodes uploads.
        gate: checks API keys and limits.
        instruments: of this API process.
        models: what `model` of a request may name, by name.
        free_places: how many more requests are admitted at the moment.
        worker_faults: asks why stream workers beside the models do not run, by instance; blocks.
        settings_digest: `settings_digest` of the whole file.
    """

    settings: HttpSettings
    audio: AudioSettings
    backend: Backend
    router: PatientRouter
    decoder: Decoder
    gate: Gate
    instruments: Instruments
    models: dict[str, ApiModel]
    free_places: int
    worker_faults: WorkerFaults = dict
    settings_digest: str = ""

    def target(self, model: str) -> str | None:
        """The model or plan that a name of `models` stands for; None for the routing rules."""
        name = self.settings.models.get(model, model)
        return None if name == AUTO else name.partition(":")[0]

    def client(self, request: ASGIConnection[Any, Any, Any, Any]) -> Client:
        """The client that `request` belongs to; see `Gate.client`."""
        address = request.client.host if request.client is not None else ""
        return self.gate.client(request.headers.get("authorization"), address)

    @contextmanager
    def admitted(self, client: Client) -> Iterator[None]:
        """Hold a place for a request of `client` within the block.

        Raises:
            ApiError: 429 or 503, too many concurrent requests.
        """
        if self.free_places <= 0:
            reason = "the service has reached its limit of concurrent requests; try again"
            raise ApiError(503, reason, code="overloaded", retry_after_s=1)
        self.free_places -= 1
        try:
            with client.request():
                yield
        finally:
            self.free_places += 1


def make_service(
    settings: Settings,
    backend: Backend,
    decoder: Decoder,
    worker_faults: WorkerFaults = dict,
    instruments: Instruments | None = None,
) -> Service:
    """Make the service for the settings' models and plans; see `Service`.

    Raises:
        schemas.settings.SettingsError: a key is not in the environment, or is there twice.
    """
    http = settings.http or HttpSettings()
    return Service(
        settings=http,
        audio=settings.audio,
        backend=backend,
        router=PatientRouter(backend),
        decoder=decoder,
        gate=Gate(http),
        instruments=instruments or RegistryInstruments(),
        models=_models(settings),
        free_places=http.max_requests,
        worker_faults=worker_faults,
        settings_digest=settings_digest(settings),
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
        version = fixed_version(model)
        if version is not None:
            kinds[f"{name}:{version}"] = "version"
            members[f"{name}:{version}"] = (name,)
    for alias, target in (settings.http or HttpSettings()).models.items():
        kinds[alias] = "alias"
        members[alias] = members[target]
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
