"""Names of the Serve applications. Each model has its own: a change of it restarts no other.

That of the Router is `serve.app` of the settings itself. Each has one deployment; that of a model
has the model's name.
"""

from __future__ import annotations

from collections.abc import Iterable

#: Names of the other deployments.
ROUTER = "Router"
HTTP = "Http"
WORKER = "StreamWorker"


def model_app(app: str, model: str) -> str:
    """Name of the Serve application that a model runs in.

    Args:
        app: `serve.app` of the settings.
        model: its name in the settings.
    """
    return f"{app}-model-{model}"


def http_app(app: str) -> str:
    """Name of the Serve application of the HTTP API.

    Args:
        app: `serve.app` of the settings.
    """
    return f"{app}-http"


def worker_app(app: str) -> str:
    """Name of the Serve application of the stream workers.

    Args:
        app: `serve.app` of the settings.
    """
    return f"{app}-worker"


def model_apps(app: str, models: Iterable[str]) -> dict[str, str]:
    """Names of the Serve applications of models, by the names of these.

    Args:
        app: `serve.app` of the settings.
        models: their names in the settings.
    """
    return {name: model_app(app, name) for name in models}


def is_model_app(name: str, app: str) -> bool:
    """Whether a Serve application runs a model of another one.

    Args:
        name: of the former.
        app: name of the latter.
    """
    return name.startswith(model_app(app, ""))
