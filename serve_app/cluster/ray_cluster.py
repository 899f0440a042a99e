"""Start a Ray cluster on this machine, or connect to an existing one."""

from __future__ import annotations

import logging
import math
import os

import psutil

from serve_app.cluster import access
from serve_app.cluster.announcements import check_answers
from serve_app.cluster.closed_head import ClosedHead
from serve_app.cluster.quick_start.bare_head import BareHead
from serve_app.cluster.quick_start.fork_server import SOCKET_VARIABLE, ForkServer
from serve_app.cluster.sessions import remove_ended
from serve_app.system.processes import adopt_orphans, kill_tree
from serve_app.system.ray_adapter import (
    FOLDER,
    dead_processes,
    head_node,
    log_folder,
    own_sigterm,
    ray,
    send_token,
)

logger = logging.getLogger(__name__)

_START_ATTEMPTS = 3
#: Longest wait for killed processes to be gone.
_END_S = 5.0

#: Shared memory for audio that is passed from the Router to the models, in bytes.
OBJECT_STORE_BYTES = 512 << 20

#: The argument of a raylet that has the address of its cluster.
_GCS_ADDRESS = "--gcs-address="


__all__ = [
    "ClusterError",
    "connect",
    "connected_address",
    "dead_processes",
    "has_gpu",
    "kill_cluster",
    "log_folder",
    "start_ray",
]


class ClusterError(RuntimeError):
    """Ray could not be started; the message says why."""


def start_ray(num_cpus: float, fork_server: ForkServer | None = None) -> str:
    """Start a Ray cluster on this machine and connect to it.

    The cluster can be used only with the token in ~/.ray/auth_token (created at the first start);
    no other user of the machine can read the token, or reach the cluster's sockets and logs
    (`access`). It ends with `ray.shutdown` or with this process, however that ends. Several
    clusters can run at the same time: every port is a free one. What ended clusters have left is
    removed, but for the newest ones (`sessions`).

    Args:
        num_cpus: CPU cores that the deployments reserve together. If the machine has fewer, Ray
            is told that it has as many: small models may share a core.
        fork_server: starts the workers, for a quick start; None for Ray's usual way.

    Returns:
        The address of the cluster, for `connect` in another process.

    Raises:
        ClusterError: it does not start, this process is connected to a cluster already, or other
            users could use it.
    """
    if ray.is_initialized():
        raise ClusterError("this process is connected to a Ray cluster already")
    try:
        access.make_token()
        temp_folder = access.temp_folder()
    except OSError as error:
        raise ClusterError(str(error)) from error
    remove_ended(temp_folder)
    if fork_server is not None:
        os.environ[SOCKET_VARIABLE] = fork_server.address
    adopt_orphans()
    for attempt in range(_START_ATTEMPTS):
        older = set(psutil.Process().children())
        try:
            with own_sigterm(), head_node(BareHead if fork_server else ClosedHead):
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
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            logger.warning("attempt %d at starting Ray failed: %s", attempt + 1, reason)
        except BaseException:
            _end_children_except(older)
            raise
    raise ClusterError(f"Ray does not start on this machine: {reason}")


def _end_children_except(older: set[psutil.Process]) -> None:
    """Kill the processes of a failed start; `ray.shutdown` ends only those of a finished one."""
    for process in set(psutil.Process().children()) - older:
        kill_tree(process.pid)
    ray.shutdown()


def kill_cluster() -> None:
    """Kill what is left of the cluster that this process started. Idempotent."""
    killed = [process for process in psutil.Process().children() if _is_rays(process)]
    for process in killed:
        kill_tree(process.pid)
    psutil.wait_procs(killed, _END_S)


def _is_rays(process: psutil.Process) -> bool:
    try:
        command = process.cmdline()
    except psutil.Error:
        return False
    return any(word.startswith(("ray::", FOLDER)) for word in command[:4])


def connect(address: str) -> None:
    """Connect this process to a Ray cluster; does nothing if it is connected already.

    The token in ~/.ray/auth_token is used, if there is one (`start_ray` creates it).

    Args:
        address: of the cluster; "auto" for the newest one of this user on this machine.

    Raises:
        ConnectionError: there is no cluster, or other users could have read the token.
    """
    if ray.is_initialized():
        return
    try:
        access.check_token()
    except OSError as error:
        raise ConnectionError(str(error)) from error
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "auto")
    if address in ("", "auto"):
        address = _newest_cluster()
    check_answers(address)
    logging.getLogger("ray").setLevel(logging.ERROR)  # it warns that the token is used
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    send_token()
    with own_sigterm():
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)


def connected_address() -> str:
    """Address of the cluster that this process is connected to."""
    return str(ray.get_runtime_context().gcs_address)


def _newest_cluster() -> str:
    """Address of this user's Ray cluster on this machine that was started last.

    Ray's own search trusts the processes of every user, and would send them the token.

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
                    return str(argument.removeprefix(_GCS_ADDRESS))
    raise ConnectionError("this user has no running Ray cluster on this machine")


def has_gpu() -> bool:
    """Whether any node of the connected cluster has a GPU."""
    return bool(ray.cluster_resources().get("GPU"))
