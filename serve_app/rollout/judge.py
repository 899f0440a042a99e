"""The replica class of the judge, which runs beside a candidate in an application of their own.

It does not depend on Ray; `serve_app.cluster.deployments` makes it a deployment.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import msgspec

from schemas.rollout import RolloutPlan
from schemas.settings import RegistrySettings
from serve_app.registry.registry import Registry
from serve_app.registry.store import open_store
from serve_app.rollout.evidence import Findings, Observation
from serve_app.rollout.judging import CandidateFailedError, Judging
from serve_app.rollout.meter import RolloutMeter
from serve_app.system.tracebacks import message_of

logger = logging.getLogger(__name__)

#: Name of the candidate's deployment.
CANDIDATE = "Candidate"
_ANSWER_S = 5.0


def app_of(plan: RolloutPlan) -> str:
    """Name of the application that the candidate of a rollout runs in.

    Another one for each rollout: a Router that has not heard of the end of the last one must not
    reach the candidate of the next.
    """
    return f"{_prefix(plan.app)}{plan.model}-{plan.number}"


def is_candidate(name: str, app: str) -> bool:
    """Whether a Serve application runs a candidate of another one.

    Args:
        name: of the former.
        app: name of the latter.
    """
    return name.startswith(_prefix(app))


def _prefix(app: str) -> str:
    return f"{app}-rollout-"


class Judge:
    """Runs a rollout to its end.

    Args:
        plan: of the rollout.
        registry: that has it.
        candidate: Serve handle of the candidate's deployment.
    """

    async def __init__(  # type: ignore[misc]
        self, plan: RolloutPlan, registry: RegistrySettings, candidate: Any
    ) -> None:
        from serve_app.system.ray_adapter import use_replica_log  # with Ray
        from serve_app.telemetry.replica import replica_instruments

        self._looking: asyncio.Task[None] | None = None
        use_replica_log()
        self._meter = RolloutMeter(plan.model, replica_instruments())
        self._judging = Judging(plan, Registry(open_store(registry.url)), _OnServe(plan, candidate))
        await self._judging.load()
        self._looking = asyncio.create_task(self._look(registry.poll_s))

    async def observe(self, observations: Sequence[Observation]) -> None:
        """Take what the Routers have observed."""
        self._judging.observe(observations)

    async def findings(self) -> Findings:
        """Say what the evidence says now."""
        return self._judging.findings()

    async def _look(self, poll_s: float) -> None:
        while not self._judging.ended:
            try:
                await self._judging.look()
                self._meter.tell(self._judging.findings())
            except Exception as error:  # it is looked at again, whatever it was
                logger.exception("a rollout: %s", error)
            await asyncio.sleep(poll_s)

    def __del__(self) -> None:
        """End the looking; Serve calls this when the replica is removed."""
        if self._looking is not None:
            self._looking.cancel()


class _OnServe:
    """The surroundings of a candidate on Ray Serve."""

    def __init__(self, plan: RolloutPlan, candidate: Any) -> None:
        from serve_app.system.ray_environment import rollout_notes

        self._plan = plan
        self._candidate = candidate
        self._group = rollout_notes(plan.app)

    async def answers(self) -> bool:
        try:
            async with asyncio.timeout(_ANSWER_S):
                await self._candidate.info.remote()
        except Exception:
            if reason := await asyncio.to_thread(self._failure):
                raise CandidateFailedError(reason) from None
            return False
        return True

    def _failure(self) -> str:
        """Why the candidate's deployment failed; empty while it may still come up."""
        from serve_app.system.ray_adapter import app_statuses

        app = app_statuses().get(app_of(self._plan))
        found = app.deployments.get(CANDIDATE) if app is not None else None
        if found is None or found.state != "DEPLOY_FAILED":
            return ""
        return f"it did not load: {message_of(found.message)}"

    async def admit(self) -> None:
        from serve_app.system.ray_notes import put_note

        text = msgspec.json.encode(self._plan).decode()
        await asyncio.to_thread(put_note, self._group, self._plan.model, text)

    async def shut(self) -> None:
        from serve_app.system.ray_notes import delete_note

        await asyncio.to_thread(delete_note, self._group, self._plan.model)

    async def end(self) -> None:
        from serve_app.system.ray_adapter import delete_soon

        await asyncio.to_thread(delete_soon, app_of(self._plan))
