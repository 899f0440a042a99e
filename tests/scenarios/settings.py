"""Settings files of the fault scenarios: a model served twice, or two that vote, and a Router."""

from __future__ import annotations

from typing import Any, Literal

from deploy.demo import SPEECH
from workers.broker.ports import free_ports

EngineName = Literal["nemo", "stand-in"]
#: Paths in the settings are relative to it.
BASE = SPEECH.parent
#: Seconds that the stand-in takes for a second of speech: as much as a small model on one core.
_STAND_IN_DELAY = 0.01


def fault_settings(engine: EngineName, replicas: int = 2) -> dict[str, Any]:
    """A settings file as a mapping; everything that it does not name has its default."""
    return {
        "models": {"general": {**_model(engine), "num_cpus": 0.1, "replicas": replicas}},
        "routing": {"default": "general"},
        "audio": {"roots": [SPEECH.name]},
        "serve": {"router_num_cpus": 0.1},
    }


def ensemble_settings(engine: EngineName) -> dict[str, Any]:
    """The same with two models, each served once, that are asked together."""
    settings = fault_settings(engine, replicas=1)
    settings["models"]["medical"] = {**_model(engine, "medical"), "num_cpus": 0.1}
    settings["plans"] = {"both": {"ensemble": ["general", "medical"], "patience_s": 2.0}}
    settings["routing"] = {"default": "both"}
    return settings


def over_http(settings: dict[str, Any]) -> dict[str, Any]:
    """The same for workers that reach the Router through the HTTP API, on a free port."""
    [port] = free_ports(1)
    return {
        **settings,
        "http": {"port": port, "num_cpus": 0.1, "replicas": 2},
        "stream": {"backend": f"http://127.0.0.1:{port}"},
    }


def _model(engine: EngineName, name: str = "general") -> dict[str, Any]:
    if engine == "nemo":
        return {"path": f"models/{name}.nemo", "threads": 1}
    options = {"delay_per_second": _STAND_IN_DELAY}
    return {"engine": "tests.standin:StandInEngine", "options": options}
