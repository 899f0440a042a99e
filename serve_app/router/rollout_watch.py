"""Learn of rollouts from their judges, and tell these what was observed."""

from __future__ import annotations

import asyncio
import logging

import msgspec

from schemas.model_reference import followed_alias
from schemas.rollout import RolloutPlan
from schemas.settings import Settings
from serve_app.model.client import ModelClient
from serve_app.model.protocol import Model
from serve_app.rollout.evidence import Observation
from serve_app.rollout.judge import CANDIDATE, app_of
from serve_app.router.candidates import Candidates, Report
from serve_app.system.ray_adapter import serve
from serve_app.system.ray_environment import rollout_notes
from serve_app.system.ray_notes import notes

logger = logging.getLogger(__name__)

#: Seconds between two looks.
LOOK_S = 2.0


class RolloutWatch:
    """Keeps the candidates of a Router up to date.

    Args:
        settings: the whole file.
        candidates: of the Router.
    """

    def __init__(self, settings: Settings, candidates: Candidates) -> None:
        self._app = settings.serve.app
        self._candidates = candidates
        self._moving = {
            name for name, model in settings.models.items() if followed_alias(model.model)
        }
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look, and begin to watch; does so once, if there is a model that may have a rollout."""
        if self._moving and self._watching is None:
            self._watching = asyncio.create_task(self._watch())
            await self._look()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            await self._look()

    async def _look(self) -> None:
        try:
            found = await asyncio.to_thread(notes, rollout_notes(self._app))
            plans = {
                model: msgspec.json.decode(text, type=RolloutPlan)
                for model, text in found.items()
                if model in self._moving
            }
            self._candidates.update(plans, _connect)
            await self._candidates.report()
        except Exception as error:  # the records must not suffer, whatever it was
            logger.exception("watching for rollouts: %s", error)


def _connect(plan: RolloutPlan) -> tuple[Model, Report]:
    app = app_of(plan)
    name = f"{plan.model}, candidate {plan.candidate}"
    candidate = serve.get_deployment_handle(CANDIDATE, app)
    judge = serve.get_app_handle(app)

    async def report(observed: list[Observation]) -> None:
        await judge.observe.remote(observed)

    return ModelClient(name, candidate, plan.rules.timeout_s), report
