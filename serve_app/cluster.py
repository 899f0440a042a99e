"""A Ray cluster: one of our own on this machine, or one that runs already.

Import this module before `ray.serve`: it sets the environment that Ray reads when imported.
"""

from __future__ import annotations

import logging
import math
import os

#: What Ray is told through the environment; variables that are set already win. On a cluster that
#: runs already, set them where its nodes are started.
ENVIRONMENT = {
    # A call costs half the CPU: no thread and no loop of its own for user code and routing.
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # Part of the above that we have no use for: it opens an HTTP port for each replica.
    "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0",
    # A replica that failed its health check is not asked to finish its calls: it cannot.
    "RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS": "1",
    # Only who has the token may connect (~/.ray/auth_token, made at the first start). A cluster of
    # our own asks for it in any case; a process that is given an address sends it only if told to.
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
for _name, _value in ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)

import ray  # noqa: E402

logger = logging.getLogger(__name__)

_START_ATTEMPTS = 3

#: Shared memory for audio on its way from Router to models.
OBJECT_STORE_BYTES = 512 << 20


class StartError(RuntimeError):
    """Ray or the application did not start; the message says what and why."""


def start_ray(num_cpus: float) -> str:
    """Start a Ray cluster on this machine, reachable from this machine only, and connect to it.

    It ends with `ray.shutdown` or with this process, however that ends. Several can run side by
    side: every port is a free one.

    Args:
        num_cpus: CPU cores that the deployments reserve together. Where the machine has fewer,
            Ray is told of as many: small models may share a core.

    Returns:
        its address, for `connect` in another process.

    Raises:
        StartError: it does not start.
    """
    for attempt in range(_START_ATTEMPTS):
        try:
            context = ray.init(
                address="local",
                num_cpus=max(math.ceil(num_cpus), os.cpu_count() or 1),
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
            return str(context.address_info["address"])
        except Exception as error:
            # Ray gives its processes half a minute to come up, which a busy machine exceeds.
            ray.shutdown()
            reason = str(error).splitlines()[0]
            logger.warning("attempt %d at starting Ray failed: %s", attempt + 1, reason)
    raise StartError(f"Ray does not start on this machine: {reason}")


def connect(address: str) -> None:
    """Connect this process to the Ray cluster at `address`; nothing to do if it is connected.

    Raises:
        ConnectionError: there is none.
    """
    if not ray.is_initialized():
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)


def has_gpu() -> bool:
    """Whether any node of the connected cluster has a GPU."""
    return bool(ray.cluster_resources().get("GPU"))
