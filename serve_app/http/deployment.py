"""The HTTP API as a Ray Serve application, separate from the models' application.

It can be scaled, updated and restarted without them.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from schemas.settings import HttpSettings, Settings
from serve_app.audio.clip import SAMPLE_RATE
from serve_app.audio.sandbox import MediaDecoder
from serve_app.http.api import make_api
from serve_app.http.coalescing import RequestCoalescer
from serve_app.model.application import HTTP, http_app
from serve_app.router.client import RouterClient
from serve_app.system.log_format import serve_logging
from serve_app.system.memory import return_large_blocks
from serve_app.system.ray_adapter import serve, use_replica_log
from serve_app.system.ray_environment import worker_notes
from serve_app.system.ray_notes import notes
from serve_app.telemetry.replica import replica_instruments, trace_replica

_HEALTH_PERIOD_S = 2.0
#: Requests that Serve passes to a replica beyond its limit, so that the API itself refuses them.
_SPARE_REQUESTS = 64


def app_name(settings: Settings) -> str:
    """Name of the API's Serve application."""
    return http_app(settings.serve.app)


def build(settings: Settings) -> serve.Application:
    """Build the Serve application: `http.replicas` replicas of the API."""
    http = settings.http or HttpSettings()

    def make() -> Any:  # a function, so that Serve takes it for a factory, to call in the replica
        return _make(settings)

    ingress: Any = serve.ingress(make)()
    deployment = serve.deployment(ingress).options(
        name=HTTP,
        num_replicas=http.replicas,
        ray_actor_options={"num_cpus": http.num_cpus},
        max_ongoing_requests=http.max_requests + _SPARE_REQUESTS,
        health_check_period_s=_HEALTH_PERIOD_S,
        graceful_shutdown_timeout_s=http.timeout_s,
        logging_config=serve_logging("WARNING"),
    )
    return deployment.bind()


def address(settings: Settings) -> str:
    """URL of the API."""
    http = settings.http or HttpSettings()
    return f"http://{http.host}:{http.port}"


def _make(settings: Settings) -> Any:
    use_replica_log()
    trace_replica()
    return_large_blocks()
    http = settings.http or HttpSettings()
    decoder = MediaDecoder(
        settings.audio,
        workers=http.decoders,
        sample_rate=SAMPLE_RATE,
        timeout_s=http.decode_timeout_s,
    )
    router = RouterClient(settings.serve.app, http.timeout_s)
    faults = partial(notes, worker_notes(settings.serve.app))
    backend = RequestCoalescer(router)
    return make_api(settings, backend, decoder, faults, replica_instruments())
