from __future__ import annotations

import subprocess
import sys

import pytest

from serve_app.system.tracebacks import message_of

#: What Ray Serve says of a replica whose constructor raised.
SERVE = (
    "The deployment failed to start 3 times in a row. Error:\n"
    "\x1b[36mray::ServeReplica:app:general.initialize_and_get_metadata()\x1b[39m (pid=7)\n"
    '  File "replica.py", line 1300, in initialize\n'
    "    raise RuntimeError(traceback.format_exc()) from None\n"
    "RuntimeError: Traceback (most recent call last):\n"
    '  File "replica.py", line 1270, in initialize\n'
    "    await self._user_callable_wrapper.initialize_callable()\n"
    "           ^^^^^^^^^^^^^^^^^^^^^^^^^^\n"
)


def uncaught(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False).stderr


def test_the_whole_message_of_several_lines() -> None:
    said = uncaught("raise ValueError('no such model: x\\n\\n  see the list\\nof all models.')")
    assert message_of(said) == "ValueError: no such model: x\n\n  see the list\nof all models."


def test_of_a_chain_the_last_is_told() -> None:
    said = uncaught(
        "try:\n  1 / 0\nexcept ZeroDivisionError as error:\n"
        "  raise RuntimeError('cannot') from error"
    )
    assert message_of(said) == "RuntimeError: cannot"


def test_an_exception_without_a_message() -> None:
    assert message_of(uncaught("raise KeyboardInterrupt")) == "KeyboardInterrupt"


def test_our_own_errors_need_no_class_name() -> None:
    said = SERVE + "serve_app.engines.errors.EngineError: general.nemo: cannot be read\nor so\n"
    assert message_of(said) == "general.nemo: cannot be read\nor so"


def test_of_a_cause_that_ray_tells_first_nothing_is_told() -> None:
    cause = uncaught("raise OSError('not gzip')")
    said = f"{cause}\nThe above exception was the direct cause of the following exception:\n\n"
    said += SERVE.partition("RuntimeError: ")[0].partition("Error:\n")[2]
    said += "serve_app.engines.errors.EngineError: general.nemo: cannot be read\n"
    assert message_of(said) == "general.nemo: cannot be read"


@pytest.mark.parametrize(
    ("error", "why"),
    [
        ("ActorDiedError()", "its process ended while it loaded: it crashed, or was killed, most"),
        (
            "OutOfMemoryError('Task was killed due to the node running low on memory.\\nMemory')",
            "its process was killed because the memory of its machine ran out while it loaded",
        ),
    ],
)
def test_a_death_while_it_loads_is_told_in_a_sentence(error: str, why: str) -> None:
    said = message_of(f"The deployment failed to start 3 times in a row. Error:\n{error}")
    assert said.startswith(why)
    assert "\n" not in said


def test_a_second_death_is_told_in_a_sentence() -> None:
    """Serve's messages after a replica that ran has died, and the next one as it started."""
    ray_s = "The actor died unexpectedly before finishing this task.\n\tclass_name: ServeReplica:a"
    traceback = 'Traceback (most recent call last):\n  File "a.py"\nray.exceptions.ActorDiedError: '
    for error in (ray_s, f"ActorDiedError({ray_s!r})", traceback + ray_s):
        said = message_of(f"A replica failed to start with exception. Retrying. Error:\n{error}")
        assert said.startswith("its process ended while it loaded: it crashed, or was killed")
        assert "\n" not in said
    said = message_of(
        "A replica's health check failed. This deployment will be UNHEALTHY until the replica "
        "recovers or a new deploy happens."
    )
    assert said.startswith("a replica ended, or did not answer")


def test_another_s_errors_keep_theirs() -> None:
    said = SERVE + "torch.OutOfMemoryError: CUDA out of memory.\n"
    assert message_of(said) == "torch.OutOfMemoryError: CUDA out of memory."


def test_what_is_no_traceback_is_told_as_it_is() -> None:
    assert message_of("no resources\n") == "no resources"
    assert message_of("") == ""
