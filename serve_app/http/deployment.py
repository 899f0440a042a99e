"""The API as a Serve application of its own, next to the models'.

Apart from it, so that it can be scaled, changed and lost without them.
"""

from __future__ import annotations

from typing import Any

import serve_app.cluster  # noqa: F401  sets Ray's environment, so before ray.serve

# isort: split

from ray import serve

from schemas.settings import HttpSettings, Settings
from serve_app.app import wait_until_running
from serve_app.audio.untrusted import MediaDecoder
from serve_app.http.api import make_api
from serve_app.http.gathering import Gatherer
from serve_app.reading import SAMPLE_RATE
from serve_app.router_client import RouterClient

_HEALTH_PERIOD_S = 2.0
#: Requests that Serve hands to a replica beyond its own limit, which then refuses them in words.
_SPARE_REQUESTS = 64


def app_name(settings: Settings) -> str:
    """Name of the API's Serve application."""
    return f"{settings.serve.app}-http"


def build(settings: Settings) -> serve.Application:
    """The application: `http.replicas` replicas of the API."""
    http = settings.http or HttpSettings()

    def make() -> Any:  # Serve calls it in the replica; it knows a factory by its being a function
        return _make(settings)

    ingress: Any = serve.ingress(make)()
    deployment = serve.deployment(ingress).options(
        name="Http",
        num_replicas=http.replicas,
        ray_actor_options={"num_cpus": http.num_cpus},
        max_ongoing_requests=http.max_requests + _SPARE_REQUESTS,
        health_check_period_s=_HEALTH_PERIOD_S,
        graceful_shutdown_timeout_s=http.timeout_s,
    )
    return deployment.bind()


def deploy_http(settings: Settings, *, timeout_s: float = 120.0) -> str:
    """Start the API on the connected Ray cluster; returns its address.

    Blocks until it can be asked. The models' application must have been started with the same
    settings: Serve's proxy belongs to it.

    Raises:
        serve_app.app.StartError: it did not start in time.
    """
    http = settings.http or HttpSettings()
    target = serve.RunTarget(build(settings), name=app_name(settings), route_prefix="/")
    serve.run_many([target], wait_for_applications_running=False)
    wait_until_running(app_name(settings), timeout_s)
    return f"http://{http.host}:{http.port}"


def stop_http(settings: Settings) -> None:
    """Take the API down; requests under way are answered first."""
    serve.delete(app_name(settings))


def _make(settings: Settings) -> Any:
    http = settings.http or HttpSettings()
    decoder = MediaDecoder(
        settings.audio,
        workers=http.decoders,
        sample_rate=SAMPLE_RATE,
        timeout_s=http.decode_timeout_s,
    )
    router = RouterClient(settings.serve.app, http.timeout_s)
    return make_api(settings, Gatherer(router), decoder)
