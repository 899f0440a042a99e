"""Notice, within seconds, that a cluster or an application on it is gone, or fails."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Iterator

from serve_app.cluster import ray_cluster
from serve_app.cluster.announcements import check_answers
from serve_app.model.application import is_model_app, model_app
from serve_app.rollout.judge import is_candidate
from serve_app.system.app_status import AppStatus, DeploymentStatus
from serve_app.system.deaths import Death, sentences
from serve_app.system.ray_adapter import app_statuses, deaths
from serve_app.system.ray_environment import DEPLOYED_NOTES, worker_notes
from serve_app.system.ray_notes import notes
from serve_app.system.tracebacks import message_of

logger = logging.getLogger(__name__)

_PERIOD_S = 2.0
#: A cluster that has not said for so long how its applications are does not work any more. Ray
#: replaces Serve's controller in less, also on a busy machine.
_SILENCE_S = 120.0
#: A deployment that failed counts as up again only after so long.
_STEADY_S = 30.0
#: Looks in a row at which the address of a cluster does not answer, until it counts as gone.
_MISSES = 3


class Watch:
    """Looks after the applications of the cluster that this process is connected to.

    Ray's own answers can fail to come for ever, so they are awaited in a thread.

    Args:
        apps: names of the applications that must be there.
        app: `serve.app` of the settings.
        missing: names of its models that are known to fail.

    Attributes:
        asked: how often Serve has said how the applications are.
    """

    def __init__(self, apps: Collection[str], app: str, missing: Collection[str] = ()) -> None:
        self._apps = tuple(apps)
        self._app = app
        self._workers = worker_notes(app)
        self._faults: dict[str, str] = {}
        self._told: dict[str, str] = {}
        self._address = ray_cluster.connected_address()
        self.asked = 0
        self._misses = 0
        self._heard = time.monotonic()
        self._statuses: dict[str, AppStatus] | None = None
        # and when each last failed
        self._failing = dict.fromkeys(
            ((model_app(app, name), name) for name in missing), self._heard
        )
        self._deployed: dict[str, str] = {}  # what the last deployment was, by application
        self._known: dict[str, str] = {}
        self._dead: dict[str, Death] = {}  # by Ray's id of the replica
        self._known_dead: set[str] | None = None  # from the first look on
        self._ended = threading.Event()
        threading.Thread(target=self._ask, name="watch", daemon=True).start()

    def close(self) -> None:
        """Stop looking."""
        self._ended.set()

    def lost(self) -> str | None:
        """What is gone, as a sentence; None while everything is there. Does not block."""
        if dead := ray_cluster.dead_processes():
            return f"Ray's {' and '.join(dead)} ended unexpectedly"
        if self._misses >= _MISSES:
            return f"the Ray cluster at {self._address} is gone"
        if time.monotonic() - self._heard > _SILENCE_S:
            return f"the Ray cluster at {self._address} has not answered for {_SILENCE_S:g} s"
        if self._statuses is not None:
            gone = [app for app in self._apps if app not in self._statuses]
            if gone:
                return f"the application {gone[0]} has been deleted"
        return None

    def news(self) -> Iterator[str]:
        """What has changed since the last call: applications updated, deployments failing.

        A sentence each; also for replicas that died.
        """
        yield from self._news_of_deaths()
        for app in self._apps:
            status = (self._statuses or {}).get(app)
            if status is None:
                continue
            deployed = self._deployed.get(app, "")
            if self._known.setdefault(app, deployed) != deployed:
                self._known[app] = deployed
                if app == self._shown(app):  # once for the Router and the models
                    yield f"{app} is updated by another `chorus serve`"
            for name, deployment in status.deployments.items():
                yield from self._news_of(app, name, deployment)
        for worker, reason in self._faults.items():
            if self._told.get(worker) != reason:
                yield f"stream worker {worker} does not run: {reason}"
        for worker in self._told.keys() - self._faults.keys():
            yield f"stream worker {worker} runs"
        self._told = dict(self._faults)

    def _news_of_deaths(self) -> Iterator[str]:
        dead, known = self._dead, self._known_dead
        if known is None:
            return
        new = [death for actor, death in dead.items() if actor not in known]
        known.update(dead)
        yield from sentences(
            death._replace(app=self._shown(death.app))
            for death in new
            if self._shown(death.app) in self._apps or is_candidate(death.app, self._app)
        )

    def _shown(self, app: str) -> str:
        """What people know an application as: those of the models belong to that of the Router."""
        return self._app if is_model_app(app, self._app) else app

    def _news_of(self, app: str, name: str, deployment: DeploymentStatus) -> Iterator[str]:
        key, now = (app, name), time.monotonic()
        if deployment.failing:
            if key not in self._failing:
                yield f"{self._shown(app)}: {name} fails: {_reason(deployment)}"
            self._failing[key] = now
        elif now - self._failing.get(key, now) > _STEADY_S:  # not one that fails again and again
            del self._failing[key]
            yield f"{self._shown(app)}: {name} is up"

    def _ask(self) -> None:
        while not self._ended.wait(_PERIOD_S):
            try:
                check_answers(self._address)
                self._misses = 0
            except ConnectionError:
                self._misses += 1
                continue
            try:
                dead = deaths()
                if self._known_dead is None:
                    self._known_dead = set(dead)
                self._dead = dead
                self._statuses = app_statuses()
                self._faults = notes(self._workers)
                self._deployed = notes(DEPLOYED_NOTES)
                self._heard = time.monotonic()
                self.asked += 1
            except Exception as error:
                logger.warning("the state of the applications: %s", type(error).__name__)


def _reason(deployment: DeploymentStatus) -> str:
    return message_of(deployment.message) or "Serve gives no reason"
