"""How an application is now: its deployments, its models, and its stream workers."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from schemas.settings import Settings
from serve_app.cluster import ray_cluster
from serve_app.cluster.application import core_apps
from serve_app.model.application import model_app
from serve_app.model.protocol import ModelInfo
from serve_app.model.reports import reported
from serve_app.router.client import RouterClient
from serve_app.system.ray_adapter import failures_to_start, serve
from serve_app.system.ray_environment import worker_notes
from serve_app.system.ray_notes import notes
from serve_app.system.tracebacks import message_of

_TIMEOUT_S = 10.0
#: An application that runs, as Ray Serve calls it.
_RUNNING = "RUNNING"


class ModelState(msgspec.Struct, frozen=True, kw_only=True):
    """A model as it is served now.

    Attributes:
        name: of the model in the settings.
        source: where it comes from, as the settings say it.
        state: of its deployment, as Ray Serve calls it; empty if there is none.
        replicas: how many run.
        message: what Serve says of the deployment, or why the model is missing.
        info: what one of its replicas answers; None if none does.
        served: what each of its replicas that lives says of itself, in order of the versions.
        asleep: whether it has no replica because nobody uses it.
    """

    name: str
    source: str
    state: str
    replicas: int
    message: str
    info: ModelInfo | None
    served: list[ModelInfo] = []
    asleep: bool = False


class AppState(msgspec.Struct, frozen=True, kw_only=True):
    """An application as it is now.

    Attributes:
        address: of its Ray cluster.
        app: its name.
        state: of the application, as Ray Serve calls it; empty if it is not there. "RUNNING" also
            where it fails for the `missing` models alone.
        models: in the order of the settings.
        missing: names of the models that are not required and did not load.
        workers: why stream workers that `chorus serve --worker` runs do not run, by name.
    """

    address: str
    app: str
    state: str
    models: list[ModelState]
    missing: list[str]
    workers: Mapping[str, str]


def application_state(settings: Settings, address: str) -> AppState:
    """Ask a running application how it is. Blocks for at most about ten seconds.

    Args:
        settings: that it runs with.
        address: of its Ray cluster.

    Raises:
        ConnectionError: no cluster answers there.
    """
    ray_cluster.connect(address)
    app = settings.serve.app
    statuses = serve.status().applications
    infos = asyncio.run(_infos(app)) if app in statuses else {}
    served = reported(app)
    models = []
    for name, model in settings.models.items():
        status = statuses.get(model_app(app, name))
        deployment = status.deployments.get(name) if status is not None else None
        replicas = deployment.replica_states.get("RUNNING", 0) if deployment else 0
        told = sorted(served.get(name, []), key=_by_version)
        models.append(
            ModelState(
                name=name,
                source=model.source,
                state=deployment.status.value if deployment is not None else "",
                replicas=replicas,
                message=message_of(deployment.message) if deployment is not None else "",
                info=infos.get(name) or next(iter(told), None),
                served=told,
                asleep=model.may_sleep and deployment is not None and not replicas,
            )
        )
    optional = [name for name, model in settings.models.items() if not model.required]
    without = set(failures_to_start([model_app(app, name) for name in optional]))
    missing = [name for name in optional if model_app(app, name) in without]
    needed = [statuses[name] for name in core_apps(settings) if name in statuses.keys() - without]
    return AppState(
        address=ray_cluster.connected_address(),
        app=app,
        state=_worst(needed) if app in statuses else "",
        models=models,
        missing=missing,
        workers=notes(worker_notes(app)),
    )


def _by_version(info: ModelInfo) -> tuple[int, str]:
    return int(info.version) if info.version.isdecimal() else 0, info.sha256


def _worst(statuses: Collection[Any]) -> str:
    """The state of an application that consists of several."""
    states = [str(each.status.value) for each in statuses]
    return next((state for state in states if state != _RUNNING), _RUNNING)


async def _infos(app: str) -> Mapping[str, ModelInfo]:
    try:
        return await RouterClient(app).info(_TIMEOUT_S)
    except ConnectionError:
        return {}
