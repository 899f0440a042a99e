"""What is gone is noticed, on a real Serve."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from deploy.local import ROOT
from serve_app.router.client import RouterClient
from tests.serve_app.router.test_replica import replica, whole_again
from tests.waiting import until

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

#: Only where the test fails is it waited for so long.
WAIT_S = 60.0

OTHER_PROCESS = """
import sys
from serve_app.cluster import ray_cluster
from serve_app.system.ray_adapter import claim

ray_cluster.connect(sys.argv[1])
print(claim(sys.argv[2]), claim("of-another"), flush=True)
"""


def extra() -> Any:
    from serve_app.system.ray_adapter import serve

    class Nothing:
        def __init__(self, fails: bool) -> None:
            if fails:
                raise RuntimeError("told to fail")

    return serve.deployment(Nothing).options(name="Nothing", ray_actor_options={"num_cpus": 0})


async def test_an_application_that_is_deleted_or_updated(application: Any) -> None:
    from serve_app.cluster.application import add_application, delete_application
    from serve_app.cluster.readiness import StartError
    from serve_app.cluster.watch import Watch
    from serve_app.system.ray_environment import worker_notes
    from serve_app.system.ray_notes import delete_note, put_note

    running = msgspec.structs.replace(application, apps=[], owned=[])
    add_application(running, extra().bind(False), "extra")
    assert running.owned == running.apps == ["extra"]
    watch = Watch([application.app, "extra"], application.app)
    try:
        await until(lambda: watch.asked > 0, WAIT_S)
        assert watch.lost() is None
        assert list(watch.news()) == []
        broken = extra().options(max_constructor_retry_count=1).bind(True)
        with pytest.raises(StartError, match="told to fail"):
            add_application(running, broken, "extra")
        said: list[str] = []
        while len(said) < 2:
            await asyncio.sleep(0.1)
            said += watch.news()
        updated, fails = sorted(said)  # a look may see either of them first
        assert updated == "extra is updated by another `chorus serve`"
        assert fails.startswith("extra: Nothing fails: ")
        put_note(worker_notes(application.app), "serve-0", "told to fail")
        await until(
            lambda: "stream worker serve-0 does not run: told to fail" in watch.news(), WAIT_S
        )
        delete_note(worker_notes(application.app), "serve-0")
        await until(lambda: "stream worker serve-0 runs" in watch.news(), WAIT_S)
        delete_application("extra")
        await until(lambda: watch.lost() is not None, WAIT_S)
        assert watch.lost() == "the application extra has been deleted"
    finally:
        watch.close()


async def test_a_replica_that_dies(application: Any) -> None:
    from serve_app.cluster.watch import Watch
    from serve_app.system.ray_adapter import deaths, ended, own_name

    watch = Watch([application.app], application.app)
    try:
        await until(lambda: watch.asked > 0, WAIT_S)
        assert list(watch.news()) == []
        replica("medical").kill()
        begin = "tests: a replica of medical ended unexpectedly: crashed, or "
        await until(lambda: any(line.startswith(begin) for line in watch.news()), WAIT_S)
        assert not any(line.startswith(begin) for line in watch.news()), "told once"
        dead = {f"actor {actor}" for actor in deaths()}
        assert dead
        assert ended([*dead, own_name() or ""]) == dead
    finally:
        watch.close()
    await whole_again(RouterClient(application.app))


async def test_an_application_belongs_to_who_came_first_and_lives(application: Any) -> None:
    from serve_app.system.ray_adapter import claim

    assert claim(application.app)
    command = [sys.executable, "-c", OTHER_PROCESS, application.address, application.app]
    for _ in range(2):  # the first one that claims `of-another` has ended by the second time
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["False", "True"]
    assert claim(application.app)
