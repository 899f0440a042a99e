"""A Ray cluster: one of our own on this machine, or one that runs already."""

from __future__ import annotations

import contextlib
import logging
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import ray
from ray._private.authentication.authentication_token_setup import (
    maybe_enable_token_auth_if_token_available,
)
from ray._private.node import Node

from serve_app import ray_private
from serve_app.forkserver import SOCKET_VARIABLE, ForkServer
from serve_app.processes import kill_tree

logger = logging.getLogger(__name__)

_START_ATTEMPTS = 3

#: Shared memory for audio on its way from Router to models.
OBJECT_STORE_BYTES = 512 << 20

#: The argument of a raylet that names its cluster.
_GCS_ADDRESS = "--gcs-address="


class ClusterError(RuntimeError):
    """Ray does not start; the message says why."""


def start_ray(num_cpus: float, fork_server: ForkServer | None = None) -> str:
    """Start a Ray cluster on this machine and connect to it.

    Only who has the token in ~/.ray/auth_token (made at the first start) may use it, and no other
    user of the machine can read that, or reach its sockets and logs (`ray_private`). It ends with
    `ray.shutdown` or with this process, however that ends. Several can run side by side: every
    port is a free one.

    Args:
        num_cpus: CPU cores that the deployments reserve together. Where the machine has fewer,
            Ray is told of as many: small models may share a core.
        fork_server: where its workers come from; without one each starts from nothing.

    Returns:
        its address, for `connect` in another process.

    Raises:
        ClusterError: it does not start, this process uses a cluster already, or other users could
            use it.
    """
    if ray.is_initialized():
        raise ClusterError("this process is connected to a Ray cluster already")
    try:
        ray_private.make_token()
        temp_folder = ray_private.temp_folder()
    except OSError as error:
        raise ClusterError(str(error)) from error
    if fork_server is not None:
        os.environ[SOCKET_VARIABLE] = fork_server.address
    for attempt in range(_START_ATTEMPTS):
        older = set(psutil.Process().children())
        try:
            with _bare_head():
                context = ray.init(
                    address="local",
                    num_cpus=max(math.ceil(num_cpus), os.cpu_count() or 1),
                    include_dashboard=False,
                    object_store_memory=OBJECT_STORE_BYTES,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    _temp_dir=str(temp_folder),
                )
            return str(context.address_info["address"])
        except Exception as error:
            # Ray gives its processes 15 seconds to come up, which a busy machine exceeds.
            _end_children_except(older)
            reason = str(error).splitlines()[0]
            logger.warning("attempt %d at starting Ray failed: %s", attempt + 1, reason)
        except BaseException:
            _end_children_except(older)
            raise
    raise ClusterError(f"Ray does not start on this machine: {reason}")


def _end_children_except(older: set[psutil.Process]) -> None:
    """Kill what an unfinished start has begun; `ray.shutdown` knows only of a finished one."""
    for process in set(psutil.Process().children()) - older:
        kill_tree(process.pid)
    ray.shutdown()


class _BareHead(Node):
    """Ray's head node without dashboard, autoscaler and log tailer, with our worker launcher.

    No setting leaves all of these out. Each is a Python process; together they cost more CPU than
    the rest of the start (6 of 11 seconds), and on a cluster that lives with one process nobody
    looks at them.
    """

    def __init__(self, ray_params: Any, **options: Any) -> None:
        launcher = Path(__file__).with_name("fork_launcher.py")
        ray_params.update_if_absent(setup_worker_path=str(launcher))
        super().__init__(ray_params, **options)

    def start_api_server(self, **_: Any) -> None:
        pass

    def start_monitor(self) -> None:
        pass

    def start_log_monitor(self) -> None:
        pass


@contextlib.contextmanager
def _bare_head() -> Iterator[None]:
    """Within the block, `ray.init` starts a `_BareHead`: it takes the class from this module."""
    ray._private.node.Node = _BareHead
    try:
        yield
    finally:
        ray._private.node.Node = Node


def connect(address: str) -> None:
    """Connect this process to the Ray cluster at `address`; nothing to do if it is connected.

    A token in ~/.ray/auth_token (a cluster of our own makes one) is sent along. "auto" stands for
    the newest cluster that this user runs on this machine.

    Raises:
        ConnectionError: there is none, or other users could have read the token.
    """
    if ray.is_initialized():
        return
    try:
        ray_private.check_token()
    except OSError as error:
        raise ConnectionError(str(error)) from error
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "auto")
    if address in ("", "auto"):
        address = _newest_cluster()
    # Ray itself does this only for the address "auto".
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)


def _newest_cluster() -> str:
    """Address of the Ray cluster of this user that was started last on this machine.

    Ray's own search believes every user's processes, and would send them the token.

    Raises:
        ConnectionError: there is none.
    """
    mine = [
        process.info
        for process in psutil.process_iter(["uids", "exe", "cmdline", "create_time"])
        if process.info["uids"] is not None and process.info["uids"].real == os.getuid()
    ]
    for process in sorted(mine, key=lambda info: info["create_time"], reverse=True):
        if os.path.basename(process["exe"] or "") == "raylet":
            for argument in process["cmdline"] or ():
                if argument.startswith(_GCS_ADDRESS):
                    return argument.removeprefix(_GCS_ADDRESS)
    raise ConnectionError("no Ray cluster of this user runs on this machine")


def has_gpu() -> bool:
    """Whether any node of the connected cluster has a GPU."""
    return bool(ray.cluster_resources().get("GPU"))
