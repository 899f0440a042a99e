"""What deploying a Serve config changes on a cluster, application by application."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from serve_app.model.application import http_app, is_model_app, worker_app

#: What becomes of an application; "scale" changes the number of its replicas in place.
Kind = Literal["start", "restart", "scale", "keep", "remove"]
#: As Ray Serve calls it.
_FAILED = "DEPLOY_FAILED"
#: The argument that tells one attempt from the next, see `serve_app.deploy`.
_ATTEMPT = "attempt"


class Change(msgspec.Struct, frozen=True):
    """What becomes of an application.

    Attributes:
        name: of the application.
        kind: what becomes of it.
        state: its state now, as Ray Serve calls it; empty if it is not there.
    """

    name: str
    kind: Kind
    state: str


def changes(config: Mapping[str, Any], details: Mapping[str, Any], app: str) -> list[Change]:
    """What deploying would change.

    Args:
        config: the Serve config.
        details: what Serve says of the cluster.
        app: `serve.app` of the settings.
    """
    there = details.get("applications", {})
    found = [_change(each, there.get(each["name"])) for each in config["applications"]]
    wanted = {each["name"] for each in config["applications"]}
    gone = [
        Change(name, "remove", there[name]["status"])
        for name in there
        if name not in wanted and _is_ours(name, app)
    ]
    return found + gone


def to_deploy(config: Mapping[str, Any], details: Mapping[str, Any], app: str) -> dict[str, Any]:
    """The config as it is to be deployed on a cluster.

    An application that failed is tried again. Those of others that were deployed in the same way
    are kept: Serve deletes what a config does not name.

    Args:
        config: the Serve config.
        details: what Serve says of the cluster.
        app: `serve.app` of the settings.
    """
    there = details.get("applications", {})
    ours = [_again(each, there.get(each["name"])) for each in config["applications"]]
    wanted = {each["name"] for each in ours}
    others = [
        each["deployed_app_config"]
        for name, each in there.items()
        if each.get("deployed_app_config") and name not in wanted and not _is_ours(name, app)
    ]
    return {**config, "applications": ours + others}


def _again(wanted: Mapping[str, Any], there: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if there is None:
        return wanted
    attempt = _args(there).get(_ATTEMPT, 0) + (there["status"] == _FAILED)
    return {**wanted, "args": {**wanted["args"], _ATTEMPT: attempt}} if attempt else wanted


def _args(there: Mapping[str, Any]) -> Mapping[str, Any]:
    return (there.get("deployed_app_config") or {}).get("args") or {}


def _change(wanted: Mapping[str, Any], there: Mapping[str, Any] | None) -> Change:
    name = wanted["name"]
    if there is None:
        return Change(name, "start", "")
    deployed, state = there.get("deployed_app_config") or {}, there["status"]
    args = {key: value for key, value in _args(there).items() if key != _ATTEMPT}
    as_deployed = {**deployed, "args": args}
    if state == _FAILED or _version(as_deployed) != _version(wanted):
        return Change(name, "restart", state)
    same = _deployments(deployed) == _deployments(wanted)
    return Change(name, "keep" if same else "scale", state)


def _version(application: Mapping[str, Any]) -> tuple[Any, ...]:
    """What Serve restarts an application over where it changes."""
    policies = [
        (each.get("autoscaling_config") or {}).get("policy")
        for each in application.get("deployments") or []
    ]
    return application.get("import_path"), application["args"], policies


def _deployments(application: Mapping[str, Any]) -> list[Any]:
    return list(application.get("deployments") or [])


def _is_ours(name: str, app: str) -> bool:
    return name in (app, http_app(app), worker_app(app)) or is_model_app(name, app)
