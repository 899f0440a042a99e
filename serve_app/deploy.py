"""Builders of the Serve applications, by which Ray deploys them from a Serve config.

`chorus deploy` writes such a config. Each application has one of these functions as its
`import_path`, and the same arguments:

- `settings`: the path of a settings file on the nodes, or what `part_of` gives of its content.
- `sha256`: `part_digest` of the part of the settings that concerns the application. Serve restarts
  an application when its arguments change, so a change in the file restarts those whose part it is
  in, and no other.
- `model`: its name, for `model`.
- `attempt`: which of those it is, where one has failed: Serve tries an application that failed
  again only with other arguments.

The stream worker's is `workers.stream.serve_application:worker`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from schemas.settings import (
    Part,
    Settings,
    SettingsError,
    load_settings,
    part_digest,
    part_of,
    settings_from,
)
from serve_app.cluster import deployments
from serve_app.cluster.ray_cluster import has_gpu
from serve_app.http import deployment
from serve_app.system.ray_adapter import serve

#: How long a file may differ from what was deployed: Kubernetes brings a changed ConfigMap to the
#: nodes within a minute and some seconds.
PATIENCE_S = 150.0
_POLL_S = 2.0
_KEYS = {"settings", "sha256", "model", "attempt"}


def model(args: Mapping[str, Any]) -> serve.Application:
    """Build the application of the model `args["model"]`."""
    return deployments.build_model(settings_of(args, "model"), args["model"], gpu=has_gpu())


def router(args: Mapping[str, Any]) -> serve.Application:
    """Build the application of the Router."""
    return deployments.build_router(settings_of(args, "router"))


def http(args: Mapping[str, Any]) -> serve.Application:
    """Build the application of the HTTP API."""
    return deployment.build(settings_of(args, "http"))


def settings_of(args: Mapping[str, Any], part: Part, *, patience_s: float = PATIENCE_S) -> Settings:
    """The part of the settings that an application is deployed with.

    Args:
        args: of its builder, see above.
        part: which application it is.
        patience_s: how long to wait for a file that differs from what was deployed.

    Raises:
        SettingsError: they cannot be read, are not valid, or are others than were deployed.
    """
    needed = {"settings", "model"} if part == "model" else {"settings"}
    for name in sorted(args.keys() - _KEYS):
        raise SettingsError(f"unknown argument `{name}`; known are {', '.join(sorted(_KEYS))}")
    for name in sorted(needed - args.keys()):
        raise SettingsError(f"the argument `{name}` is missing")
    source, wanted = args["settings"], args.get("sha256")
    deadline = time.monotonic() + patience_s
    while True:
        settings = load_settings(source) if isinstance(source, str) else settings_from(source)
        name = args.get("model", "")
        if part == "model" and name not in settings.models:
            problem = f"the settings have no model `{name}`"
        elif wanted not in (None, part_digest(settings, part, name)):
            problem = "the settings are not those that were deployed (another sha256)"
        else:
            return part_of(settings, part, name)
        if not isinstance(source, str) or time.monotonic() > deadline:
            where = f"{source}: " if isinstance(source, str) else ""
            raise SettingsError(f"{where}{problem}; deploy them again with `chorus deploy`")
        time.sleep(_POLL_S)
