"""The replica class of a model's deployment: the version that serves, and the change to the next.

It does not depend on Ray; `serve_app.cluster.deployments` makes it a deployment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from schemas.requests import ClipRequest
from schemas.settings import ModelSettings, RegistrySettings
from serve_app.audio.clip import Clip
from serve_app.model.callers import Callers
from serve_app.model.meter import ModelMeter
from serve_app.model.protocol import ModelInfo, Reply
from serve_app.model.recent import RecentWork
from serve_app.model.swap import Swapper
from serve_app.registry.source import VersionSource
from serve_app.scaling.figures import RTFX, STREAMED


class DomainModel:
    """Transcribes clips. Concurrent calls share batches.

    Args:
        name: of the model in the settings.
        settings: of this model.
        health_timeout_s: longest time without a finished batch, while there is work, before the
            replica counts as unhealthy.
        registry: where versions are, for a model that is named by `model`.
        app: the Serve application of the replica; empty outside of Serve.
        identifies: whether it is the model that identifies languages.
    """

    # Serve awaits it, so that the replica can answer Serve while the engine loads.
    async def __init__(  # type: ignore[misc]
        self,
        name: str,
        settings: ModelSettings,
        health_timeout_s: float,
        registry: RegistrySettings | None = None,
        app: str = "",
        *,
        identifies: bool = False,
    ) -> None:
        from serve_app.model.reports import report  # with Ray
        from serve_app.system.ray_adapter import ended, use_replica_log
        from serve_app.system.ray_turns import Turn
        from serve_app.telemetry.replica import replica_instruments, trace_replica

        source = VersionSource(settings, registry)
        turn = Turn(f"{app}:{name}") if app else None
        self._tasks: list[asyncio.Task[None]] = []
        self._recent = RecentWork()
        self._streamed = 0  # calls of streams that are under way
        self._meter = ModelMeter(name, replica_instruments())
        self._swapper = Swapper(name, source, turn, meter=self._meter, identifies=identifies)
        use_replica_log()
        trace_replica()
        self._callers = Callers(ended)
        self._health_timeout_s = health_timeout_s
        await self._swapper.start()
        if source.registered:
            poll_s = (registry or RegistrySettings()).poll_s
            self._tasks.append(asyncio.create_task(self._swapper.follow(poll_s)))
        if app:
            self._tasks.append(asyncio.create_task(report(app, self.info)))

    async def transcribe(
        self,
        clips: Sequence[Clip],
        sample_rate: int,
        requests: Sequence[ClipRequest] = (),
        caller: str | None = None,
    ) -> Reply:
        """One outcome per clip, in order, all of one version.

        Args:
            clips: mono float32 audio; may be read-only.
            sample_rate: of the clips, in hertz.
            requests: one per clip; empty for the defaults.
            caller: the process that calls, see `Callers`.

        Raises:
            QueueFullError: too many clips are waiting.
            EngineBrokenError: the engine broke; this replica will be replaced.
        """
        serving = await self._swapper.serving()
        with self._callers.call_of(caller), self._counted(requests):
            reply = await serving.transcribe(clips, sample_rate, requests)
        heard = 0 if requests and requests[0].identify else sum(map(len, clips))
        self._recent.add(heard / sample_rate, reply.outcomes)
        return reply

    async def info(self) -> ModelInfo:
        """Describe what the replica serves."""
        swapper, current = self._swapper, self._swapper.current
        info = msgspec.structs.replace(
            current.info,
            refused=swapper.refused,
            waiting=current.waiting,
        )
        self._meter.serves(info)
        return self._recent.described(info)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """What Serve asks for on behalf of `ModelPolicy`."""
        rtfx = self._recent.rtfx
        return {STREAMED: float(self._streamed)} | ({} if rtfx is None else {RTFX: rtfx})

    @contextmanager
    def _counted(self, requests: Sequence[ClipRequest]) -> Iterator[None]:
        streamed = bool(requests) and requests[0].streamed
        self._streamed += streamed
        try:
            yield
        finally:
            self._streamed -= streamed

    def check_health(self) -> None:
        """Check the engine; Serve replaces the replica after three failures in a row.

        Raises:
            EngineBrokenError: the engine's thread has ended, the engine failed on the built-in
                clip, or no batch finishes although there is work.
        """
        self._swapper.current.check(self._health_timeout_s)

    def __del__(self) -> None:
        """Close the batcher; Serve calls this when the replica's calls are done."""
        for task in self._tasks:
            task.cancel()
        self._swapper.close()
