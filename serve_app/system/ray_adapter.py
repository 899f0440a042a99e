"""Ray, imported with the right environment; all uses of its private interfaces are here.

Ray reads environment variables when it is imported, so every module must import it from here.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from serve_app.system import ray_environment
from serve_app.system.app_status import AppStatus, DeploymentStatus
from serve_app.system.deaths import DIED, OUT_OF_MEMORY, Death
from serve_app.system.logs import PACKAGES
from serve_app.system.processes import block_sigterm

ray_environment.apply()

# isort: split

import ray
import ray._private.node
import ray._private.services
import ray._private.state
import ray._private.utils
import ray._private.worker
import ray.exceptions
import ray.experimental.internal_kv as internal_kv
import ray.serve.context
import ray.serve.exceptions
from ray import serve
from ray._private.authentication import authentication_token_setup
from ray.serve import metrics as serve_metrics

# What they say of themselves is not for the users of our commands: the one that the token is used,
# which is what is asked of it here; Serve that a client of it has started.
logging.getLogger(authentication_token_setup.__name__).setLevel(logging.ERROR)
logging.getLogger("ray.serve").setLevel(logging.WARNING)
# Prints what Ray publishes of dead workers, which names none of our parts; see `deaths`.
ray._private.worker.listen_error_messages = lambda worker, threads_stopped: None

__all__ = [
    "FIRST_CALL_IMPORTS",
    "FOLDER",
    "Node",
    "app_statuses",
    "claim",
    "dead_processes",
    "death_of",
    "deaths",
    "delete_soon",
    "ended",
    "failures_to_start",
    "handle_of",
    "head_node",
    "internal_kv",
    "log_folder",
    "method_by_reference",
    "metrics_folder",
    "object_ref",
    "own_name",
    "own_replica",
    "own_sigterm",
    "proxy_address",
    "ray",
    "replicas_known",
    "send_token",
    "serve",
    "serve_client",
    "serve_metrics",
    "shortage_of",
    "use_replica_log",
    "use_separate_loop",
]

if TYPE_CHECKING:

    class Node:
        """A node of a cluster, as `ray.init` starts it: the methods that subclasses override."""

        def __init__(self, ray_params: Any, **options: Any) -> None:
            """Start the processes of the node."""

        def start_api_server(self, **options: Any) -> None:
            """Start the API server and the dashboard."""

        def start_monitor(self) -> None:
            """Start the autoscaler."""

        def start_log_monitor(self) -> None:
            """Start the log tailer."""

else:
    Node = ray._private.node.Node


@contextmanager
def head_node(node: type) -> Iterator[None]:
    """Within the block, `ray.init` uses the class `node`, a subclass of `Node`, for the head.

    Its processes get a session of their own, and SIGTERM does not reach them: a signal to the
    process group of this process, or to every process of its service, as from a terminal or a
    supervisor, must not end them before their applications.
    """
    start = ray._private.services.ConsolePopen

    def protected(*arguments: Any, preexec_fn: Callable[[], None], **options: Any) -> Any:
        def prepare() -> None:
            block_sigterm()
            preexec_fn()

        process = start(*arguments, preexec_fn=prepare, start_new_session=True, **options)
        process.terminate = process.kill  # at the end; Ray would wait a second for each
        return process

    ray._private.node.Node = node
    ray._private.services.ConsolePopen = protected
    try:
        yield
    finally:
        ray._private.node.Node = Node
        ray._private.services.ConsolePopen = start


#: What Ray imports with a process's first call of Serve.
FIRST_CALL_IMPORTS = ("pydantic.v1", "ray.serve._private.controller")
#: Where Ray's programs are.
FOLDER = os.path.dirname(ray.__file__)


def dead_processes() -> list[str]:
    """Ray's processes of the cluster that this process started which have ended by themselves.

    Empty if it started none. Cheap.
    """
    node = ray._private.worker._global_node
    return [kind for kind, _ in node.dead_processes()] if node is not None else []


def death_of(error: BaseException) -> str | None:
    """How the replica of a call died, where `error` is what the call raised because of that.

    None for other errors. Ray has an error of its own for what its memory monitor kills, which is
    not always what took the memory.
    """
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return OUT_OF_MEMORY
    if isinstance(error, ray.exceptions.ActorDiedError):
        return DIED
    return None


def shortage_of(error: BaseException) -> str | None:
    """What ran out, where `error` means that Ray cannot pass arguments or results on."""
    if isinstance(error, ray.exceptions.OutOfDiskError):
        return "the shared memory of Ray and the disk of its folder are full"
    if isinstance(error, ray.exceptions.ObjectStoreFullError):
        return "the shared memory of Ray is full"
    return None


def deaths() -> dict[str, Death]:
    """The replicas on the cluster that ended and were not told to, by Ray's ids of them. Blocks."""
    found = {}
    for actor, info in ray._private.state.actors(actor_state_name="DEAD").items():
        cause, context = info["DeathCause"], info["DeathCause"].actor_died_error_context
        out_of_memory = cause.HasField("oom_context")
        unexpected = out_of_memory or context.reason == context.WORKER_DIED
        if unexpected and info["Name"].startswith(_REPLICA):
            *app, deployment, _ = info["Name"].removeprefix(_REPLICA).split("#")
            found[actor] = Death("".join(app), deployment, out_of_memory)
    return found


#: Before the application, the deployment and an id of its own in the name of a replica's actor.
_REPLICA = "SERVE_REPLICA::"


def proxy_address() -> tuple[str, int]:
    """Where Serve's proxy of the connected cluster listens. Blocks."""
    config = serve.context._get_global_client().http_config
    return config.host, config.port


def log_folder() -> str:
    """Where the replicas on this machine write their logs, on the connected cluster."""
    return os.path.join(ray._private.worker._global_node.get_logs_dir_path(), "serve")


def metrics_folder() -> str:
    """Where the replicas on this machine leave their metrics, on the connected cluster."""
    return os.path.join(ray._private.worker._global_node.get_session_dir_path(), "metrics")


def own_replica() -> tuple[str, str, str] | None:
    """Application, deployment and id of the Serve replica that this process is; None elsewhere."""
    try:
        context = serve.get_replica_context()
    except ray.serve.exceptions.RayServeException:
        return None
    return context.app_name, context.deployment, context.replica_tag


def own_name() -> str | None:
    """What `ended` knows this process by: the actor that it is, or else its connection to Ray.

    None without a connection.
    """
    if not ray.is_initialized():
        return None
    context = ray.get_runtime_context()
    actor = context.get_actor_id()
    return f"actor {actor}" if actor is not None else f"job {context.get_job_id()}"


def ended(names: Collection[str]) -> set[str]:
    """Those of the processes that have ended, by their `own_name`, however they did. Blocks."""
    jobs = {f"job {job['JobID']}" for job in ray._private.state.jobs() if job["IsDead"]}
    return {name for name in names if name in jobs or _is_dead_actor(name)}


def _is_dead_actor(name: str) -> bool:
    kind, _, actor = name.partition(" ")
    return kind == "actor" and ray._private.state.actors(actor).get("State") == "DEAD"


def app_statuses() -> dict[str, AppStatus]:
    """The status of each Serve application, by name. Blocks for milliseconds.

    `serve.status`, which also counts replicas, takes 100 ms of CPU for six applications: it builds
    and pickles their configurations, only to leave them out.
    """
    client = ray.serve.context._get_global_client(raise_if_no_controller_running=False)
    if client is None:
        return {}
    return {
        each.name: AppStatus(
            each.app_status.status.value,
            each.app_status.message,
            {
                one.name: DeploymentStatus(one.status.value, one.message)
                for one in each.deployment_statuses
            },
        )
        for each in client.list_serve_statuses()
    }


def failures_to_start(apps: Collection[str]) -> dict[str, str]:
    """Why Serve applications are not there, by name, of those that have not started. Blocks.

    One that is on its way up, or that fails after it has been up, is not among them.
    """
    statuses = app_statuses()
    found = {}
    for app in apps:
        if (status := statuses.get(app)) is None:
            found[app] = "it is not deployed"
        elif (failure := status.failure) is not None:
            found[app] = failure
    return found


def serve_client(address: str) -> Any:
    """Ray's client of Serve's REST API, with this user's token.

    Its methods raise RuntimeError where Ray refuses, and `requests.RequestException`.

    Args:
        address: of the dashboard, ``http://HOST:8265``.

    Raises:
        ConnectionError: nobody answers there.
        PermissionError: the cluster does not know the token, or wants one and there is none.
        ValueError: the address is no URL.
    """
    from ray.dashboard.modules.serve.sdk import ServeSubmissionClient

    send_token()
    try:
        return ServeSubmissionClient(address)
    except ray.exceptions.AuthenticationError as error:
        raise PermissionError(str(error).partition("\n")[0]) from None


def claim(app: str) -> bool:
    """Become the owner of a Serve application, unless another process that lives is.

    Ray knows of every process that is connected to a cluster whether it lives, also where it was
    killed or runs on another machine.

    Args:
        app: name of the application.

    Returns:
        Whether this process is the owner.
    """
    key, me = f"chorus-owner:{app}", ray.get_runtime_context().get_job_id()
    owner = (internal_kv._internal_kv_get(key) or b"").decode()
    jobs = {job["JobID"] for job in ray._private.state.jobs() if not job["IsDead"]}
    if owner != me and owner in jobs:
        return False
    internal_kv._internal_kv_put(key, me)
    return True


def delete_soon(app: str) -> None:
    """Have a Serve application deleted, also that of this replica; does not wait for its end."""
    serve.delete(app, _blocking=False)


@contextmanager
def own_sigterm() -> Iterator[None]:
    """Within the block and after it, `ray.init` leaves a handler of SIGTERM in its place.

    Ray's own exits with 15, and its C++ part prints the stacks of the process before. Where the
    process has no handler, Ray's is set: it ends the cluster.
    """
    handler = signal.getsignal(signal.SIGTERM)
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield
        return
    of_ray = ray._private.utils.set_sigterm_handler
    ray._private.utils.set_sigterm_handler = lambda handler: None
    try:
        yield
    finally:
        ray._private.utils.set_sigterm_handler = of_ray
        signal.signal(signal.SIGTERM, handler)  # in place of that of the C++ part


def handle_of(deployment: str, app: str) -> Any:
    """A handle of a deployment that may come later, and go and come again.

    Args:
        deployment: its name.
        app: name of its Serve application.
    """
    return serve.get_deployment_handle(deployment, app, _check_exists=False)


def method_by_reference(handle: Any, method: str) -> Any:
    """A method of a deployment whose arguments and results pass through the shared object store.

    The alternative, gRPC, limits the size of messages and does not distinguish a dead replica from
    an unreachable one.

    Args:
        handle: of the deployment.
        method: its name.
    """
    return handle.options(method_name=method, _by_reference=True)


def replicas_known(method: Any) -> int:
    """How many replicas a handle, or a method of one, knows of; 0 before its first call."""
    router = getattr(method._router, "_asyncio_router", None)
    known = router._request_router if router is not None else None
    return len(known.curr_replicas) if known is not None else 0


async def object_ref(response: Any) -> Any:
    """The object reference of a response, as soon as a replica has accepted the call.

    Awaiting the response itself does not distinguish waiting for a replica from waiting for its
    answer.
    """
    return await response._to_object_ref()


def use_separate_loop(handle: Any) -> None:
    """Bind a new handle to an event loop of its own instead of the caller's.

    Serve caches handles per process: one that is bound to the caller's event loop could not be used
    on another loop, and its late callbacks would find a closed one.
    """
    if not handle.is_initialized:
        handle._init(_run_router_in_separate_loop=True)


def send_token() -> None:
    """Authenticate with ~/.ray/auth_token; Ray itself does so for the address "auto" only."""
    authentication_token_setup.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


def use_replica_log() -> None:
    """Send this project's messages to the log file of the Serve replica that this process is.

    Elsewhere it does nothing. Without it they go to standard error, from where Serve takes them at
    a level that is not logged.
    """
    if own_replica() is None:
        return
    for package in PACKAGES:
        logging.getLogger(package).parent = logging.getLogger("ray.serve")
