"""The policies by which Ray Serve scales models and stream workers.

Serve calls them in its controller, where an exception would stop the updates of every application,
and a wait would hold them up. So they catch what happens, and read in a thread.

What they go by comes with the demand and with Serve's own settings: it may change without a
restart of the replicas. Ray copies this module by value, so what is shared is kept elsewhere.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from serve_app.scaling.demand import Demand
from serve_app.scaling.demand_reader import reader_of
from serve_app.scaling.figures import BUSY, RTFX, STREAMED
from serve_app.scaling.policy import (
    replicas_for_audio,
    replicas_for_records,
    replicas_for_requests,
    settled,
)
from serve_app.system.logs import Told

logger = logging.getLogger(__name__)

_Decision = tuple[int, dict[str, Any]]


class _Policy:
    """What the policies have in common.

    Args:
        app: `serve.app` of the settings.
    """

    def __init__(self, app: str) -> None:
        self._reader = reader_of(app)
        self._told = Told()

    def __call__(self, context: Any) -> _Decision:
        """The number of replicas that there should be, for Serve; never raises."""
        current = int(context.target_num_replicas)
        try:
            wanted = self._wanted(context, current, self._reader.latest())
            self._told.over()
            return wanted, {}
        except Exception as error:
            if self._told.is_new(type(error).__name__):
                logger.exception("the number of replicas stays as it is")
            return current, {}

    def _wanted(self, context: Any, current: int, found: Mapping[str, Demand]) -> int:
        raise NotImplementedError


class ModelPolicy(_Policy):
    """Scales a model by the audio that waits and arrives for it, and by other requests.

    Args:
        app: `serve.app` of the settings.
        model: its name in the settings.
    """

    def __init__(self, app: str, model: str) -> None:
        super().__init__(app)
        self._model = model

    def _wanted(self, context: Any, current: int, found: Mapping[str, Demand]) -> int:
        told: Mapping[str, Mapping[Any, float]] = context.aggregated_metrics or {}
        streamed = sum(told.get(STREAMED, {}).values())
        needed = replicas_for_requests(
            requests=context.total_num_requests - streamed,
            target=context.config.target_ongoing_requests,
        )
        speeds = [speed for speed in told.get(RTFX, {}).values() if speed > 0]
        for each in found.values():
            audio_s = each.audio_s.get(self._model, 0.0)
            arriving = each.backlog.arriving * audio_s
            waiting = each.backlog.records * audio_s
            if arriving + waiting <= 0:
                continue
            if not speeds:
                return current  # none has worked lately; what one can do shows soon
            needed += replicas_for_audio(
                arriving=arriving,
                waiting=waiting,
                rtfx=sum(speeds) / len(speeds),
                catch_up_s=each.backlog.catch_up_s,
            )
        return settled(current, needed)


class WorkerPolicy(_Policy):
    """Scales the stream workers by the records that wait, up to the partitions.

    None goes while fewer could not have as many calls under way: it would come back for the lag.

    Args:
        app: `serve.app` of the settings.
        group: their consumer group.
    """

    def __init__(self, app: str, group: str) -> None:
        super().__init__(app)
        self._group = group

    def _wanted(self, context: Any, current: int, found: Mapping[str, Demand]) -> int:
        if (demand := found.get(self._group)) is None:
            return 0  # Serve keeps the least number
        backlog = demand.backlog
        share = backlog.records_per_worker
        needed = replicas_for_records(waiting=backlog.records, per_worker=share)
        told: Mapping[str, Mapping[Any, float]] = context.aggregated_metrics or {}
        needed = max(needed, min(float(current), sum(told.get(BUSY, {}).values())))
        return min(settled(current, needed), backlog.partitions)
