"""The private calls into Ray: each is here because the installed version has no public way.

A test that fails says that its work-around can go.
"""

from __future__ import annotations

import inspect
import os
import signal
import subprocess
import sys

import pytest
from ray.serve.handle import DeploymentHandle, DeploymentResponse

from deploy.local import ROOT
from serve_app.system import ray_environment
from serve_app.system.ray_adapter import Node, head_node, own_sigterm, ray, serve

pytestmark = pytest.mark.ray


def public(signature: inspect.Signature) -> set[str]:
    return {name for name in signature.parameters if not name.startswith("_")}


def test_a_handle_has_no_public_option_for_the_object_store() -> None:
    options = public(inspect.signature(DeploymentHandle.options)) - {"self"}
    assert options == {
        "method_name",
        "multiplexed_model_id",
        "session_id",
        "stream",
        "request_serialization",
        "response_serialization",
    }


def test_a_response_has_no_public_reference() -> None:
    members = {name for name in dir(DeploymentResponse) if not name.startswith("_")}
    assert members == {"by_reference", "cancel", "cancelled", "request_id", "result"}


def test_a_handle_has_no_public_choice_of_its_event_loop() -> None:
    assert public(inspect.signature(serve.get_app_handle)) == {"name"}
    assert not hasattr(DeploymentHandle, "init")


def test_the_class_of_the_head_is_no_option() -> None:
    class Other(Node):
        pass

    with head_node(Other):
        assert ray._private.node.Node is Other
    assert ray._private.node.Node is Node
    assert not {"node_class", "include_autoscaler", "include_monitor", "include_log_monitor"} & set(
        inspect.signature(ray.init).parameters
    )


#: Starts a cluster as Ray does, and says which of its processes are Python.
PLAIN = """
from serve_app.system.ray_adapter import ray
import psutil
ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
for process in psutil.Process().children(recursive=True):
    print(*process.cmdline())
"""


@pytest.mark.slow
def test_without_a_dashboard_ray_still_starts_what_serves_it() -> None:
    """`serve_app.cluster.closed_head` leaves them out: both answer without a token."""
    done = subprocess.run(
        [sys.executable, "-c", PLAIN],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=120,
    )
    assert "dashboard/dashboard.py" in done.stdout
    assert "autoscaler/_private/monitor.py" in done.stdout


def test_a_handler_of_sigterm_stays_in_its_place() -> None:
    def ours(*_: object) -> None: ...

    def rays(*_: object) -> None: ...

    of_ray = ray._private.utils.set_sigterm_handler
    before = signal.signal(signal.SIGTERM, ours)
    try:
        with own_sigterm():
            ray._private.utils.set_sigterm_handler(rays)  # as `ray.init` does
            assert signal.getsignal(signal.SIGTERM) is ours
            signal.signal(signal.SIGTERM, rays)  # as its C++ part does
        assert signal.getsignal(signal.SIGTERM) is ours
        assert ray._private.utils.set_sigterm_handler is of_ray
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with own_sigterm():
            ray._private.utils.set_sigterm_handler(rays)
        assert signal.getsignal(signal.SIGTERM) is rays
    finally:
        signal.signal(signal.SIGTERM, before)


def test_ray_takes_the_handler_of_sigterm_and_has_no_option_for_it() -> None:
    assert "set_sigterm_handler" in inspect.getsource(ray.init)
    assert not [name for name in inspect.signature(ray.init).parameters if "sig" in name]


def test_importing_the_project_sets_no_environment() -> None:
    script = (
        "import os; before = dict(os.environ); import serve_app, serve_app.http.proxy, "
        "serve_app.router.transcriber, serve_app.model.replica, workers.cli; "
        "assert dict(os.environ) == before, set(os.environ) - set(before)"
    )
    kept = {k: v for k, v in os.environ.items() if k not in ray_environment.ENVIRONMENT}
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=kept, check=True, timeout=60)


def test_ray_reads_its_environment_when_it_is_imported() -> None:
    """So the adapter sets it before: afterwards is too late."""
    script = (
        "import os; import ray.serve._private.constants as c; early = c.CONTROL_LOOP_INTERVAL_S; "
        "os.environ['RAY_SERVE_CONTROL_LOOP_INTERVAL_S'] = '0.3'; "
        "import ray.serve._private.constants as c; assert c.CONTROL_LOOP_INTERVAL_S == early != 0.3"
    )
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_SERVE")}
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=kept, check=True, timeout=60)


def test_ray_says_nothing_of_itself_where_a_command_logs() -> None:
    """Importing Ray sets the level of its loggers, whatever a command has set before."""
    program = (
        "from workers.cli.common import set_up_logging\n"
        "set_up_logging()\n"
        "from serve_app.system.ray_adapter import authentication_token_setup, serve\n"
        "import logging\n"
        "logging.getLogger(authentication_token_setup.__name__).warning('the token is used')\n"
        "logging.getLogger('ray.serve').info('started a client')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stderr == ""
    assert done.stdout == ""
