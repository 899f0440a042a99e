"""The section `serve`: Ray and the Router."""

from __future__ import annotations

from typing import Literal

from schemas.settings.types import Name, NonNegativeFloat, PositiveFloat, PositiveInt, Strict


class ServeSettings(Strict):
    """Ray and the Router.

    Attributes:
        address: address of a running Ray cluster; unless given, one is started on this machine,
            or the one in the environment variable RAY_ADDRESS is used.
        app: name of the Serve application.
        routers: Router replicas.
        router_num_cpus: CPU cores reserved per Router replica.
        max_ongoing_requests: lists of records that one Router replica works on at once.
        health_timeout_s: a model that has work and finishes no batch for this many seconds is
            unhealthy.
        quick_start: "auto" forks the workers of a cluster that Chorus starts from one process,
            on a machine without a GPU; "off" starts each as Ray does.
    """

    address: str | None = None
    app: Name = "chorus"
    routers: PositiveInt = 1
    router_num_cpus: NonNegativeFloat = 1.0
    max_ongoing_requests: PositiveInt = 64
    health_timeout_s: PositiveFloat = 60.0
    quick_start: Literal["auto", "off"] = "auto"
