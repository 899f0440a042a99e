"""The Serve config of an installation: what `serve deploy`, Ray's REST API and KubeRay take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import FieldInfo

from schemas.settings import Part, Settings, part_digest, part_of
from serve_app.model.application import HTTP, ROUTER, WORKER, http_app, model_apps, worker_app
from serve_app.scaling.options import model_replicas, worker_replicas
from serve_app.system.log_format import serve_logging


def serve_config(settings: Settings, *, file: str | None, worker: bool) -> dict[str, Any]:
    """The Serve config of the models, the Router, the HTTP API if set, and the stream worker.

    Args:
        settings: checked settings.
        file: path of the settings file on the nodes of the cluster; None puts the settings
            themselves into the config.
        worker: whether the stream worker is to run there.
    """
    app = settings.serve.app

    def application(
        name: str, path: str, part: Part, deployment: dict[str, Any], model: str = ""
    ) -> dict[str, Any]:
        args: dict[str, Any] = {"sha256": part_digest(settings, part, model)}
        if model:
            args["model"] = model
        args["settings"] = file or _written(part_of(settings, part, model))
        return {
            "name": name,
            "route_prefix": None,
            "import_path": path,
            "args": args,
            "deployments": [deployment],
        }

    applications = [
        application(
            name,
            "serve_app.deploy:model",
            "model",
            {"name": model, **model_replicas(app, model, settings.models[model])},
            model,
        )
        for model, name in model_apps(app, settings.models).items()
    ]
    routers = {"name": ROUTER, "num_replicas": settings.serve.routers}
    applications.append(application(app, "serve_app.deploy:router", "router", routers))
    config: dict[str, Any] = {
        "proxy_location": "Disabled",
        "logging_config": serve_logging("WARNING"),
    }
    if settings.http is not None:
        config["proxy_location"] = "EveryNode"
        config["http_options"] = {"host": settings.http.host, "port": settings.http.port}
        replicas = {"name": HTTP, "num_replicas": settings.http.replicas}
        api = application(http_app(app), "serve_app.deploy:http", "http", replicas)
        applications.append({**api, "route_prefix": "/"})
    if worker:
        path = "workers.stream.serve_application:worker"
        replicas = {"name": WORKER, **worker_replicas(settings)}
        applications.append(application(worker_app(app), path, "worker", replicas))
    return {**config, "applications": applications}


def _written(value: Any) -> Any:
    """`value` as a settings file has it, without what is the default."""
    if isinstance(value, msgspec.Struct):
        fields = msgspec.structs.fields(value)
        pairs = ((field, getattr(value, field.name)) for field in fields)
        return {
            field.encode_name: _written(each) for field, each in pairs if each != _default(field)
        }
    if isinstance(value, Mapping):
        return {key: _written(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_written(each) for each in value]
    return msgspec.to_builtins(value)


def _default(field: FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default
