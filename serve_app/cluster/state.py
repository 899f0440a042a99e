"""How an application is now: its deployments, its models, and its stream workers."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from schemas.settings import Settings
from serve_app.cluster import ray_cluster
from serve_app.model.protocol import ModelInfo
from serve_app.model.reports import reported
from serve_app.router.client import RouterClient
from serve_app.system.ray_adapter import notes, serve
from serve_app.system.ray_environment import missing_notes, worker_notes
from serve_app.system.tracebacks import message_of

_TIMEOUT_S = 10.0
#: A deployment that runs, as Ray Serve calls it.
_HEALTHY = "HEALTHY"


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
    """

    name: str
    source: str
    state: str
    replicas: int
    message: str
    info: ModelInfo | None
    served: list[ModelInfo] = []


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
    found = serve.status().applications.get(app)
    infos = asyncio.run(_infos(app)) if found is not None else {}
    served = reported(app)
    reasons = notes(missing_notes(app))
    models = []
    for name, model in settings.models.items():
        deployment = found.deployments.get(name) if found is not None else None
        message = reasons.get(name, "")
        if deployment is not None and deployment.message:
            message = message or message_of(deployment.message)
        models.append(
            ModelState(
                name=name,
                source=model.source,
                state=deployment.status.value if deployment is not None else "",
                replicas=deployment.replica_states.get("RUNNING", 0) if deployment else 0,
                message=message,
                info=infos.get(name),
                served=sorted(served.get(name, []), key=_by_version),
            )
        )
    missing = [each.name for each in models if each.name in reasons and each.state != _HEALTHY]
    return AppState(
        address=ray_cluster.connected_address(),
        app=app,
        state=_state_of(found, missing) if found is not None else "",
        models=models,
        missing=missing,
        workers=notes(worker_notes(app)),
    )


def _by_version(info: ModelInfo) -> tuple[int, str]:
    return int(info.version) if info.version.isdecimal() else 0, info.sha256


def _state_of(found: Any, missing: Collection[str]) -> str:
    others = [each for name, each in found.deployments.items() if name not in missing]
    if missing and all(each.status.value == _HEALTHY for each in others):
        return "RUNNING"
    return str(found.status.value)


async def _infos(app: str) -> Mapping[str, ModelInfo]:
    try:
        return await RouterClient(app).info(_TIMEOUT_S)
    except ConnectionError:
        return {}
