"""What Serve says of its applications and their deployments."""

from __future__ import annotations

from typing import NamedTuple

from serve_app.system.tracebacks import message_of

#: States in which a deployment does not answer because it failed.
_FAILING = ("DEPLOY_FAILED", "UNHEALTHY")


class DeploymentStatus(NamedTuple):
    """The status of a deployment.

    Attributes:
        state: as Serve calls it: HEALTHY, UPDATING, UNHEALTHY, DEPLOY_FAILED, ...
        message: what Serve says of it, with the traceback of what failed; may be empty.
    """

    state: str
    message: str

    @property
    def failing(self) -> bool:
        """Whether it does not answer because it failed."""
        return self.state in _FAILING


class AppStatus(NamedTuple):
    """The status of an application.

    Attributes:
        state: as Serve calls it: RUNNING, DEPLOYING, DEPLOY_FAILED, ...
        message: what Serve says of it; may be empty.
        deployments: by name; empty until the application is built.
    """

    state: str
    message: str
    deployments: dict[str, DeploymentStatus]

    @property
    def failure(self) -> str | None:
        """Why it could not be deployed; None if it could, or still may be."""
        if self.state != "DEPLOY_FAILED":
            return None
        said = (each.message for each in self.deployments.values())
        return message_of(next(filter(None, said), self.message))
