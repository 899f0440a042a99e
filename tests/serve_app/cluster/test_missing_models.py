"""A model that is not required and does not load, on a real Serve."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from schemas.failures import FailureClass
from schemas.manifest import ManifestRecord
from schemas.settings import Settings
from schemas.transcript import Transcript
from serve_app.router.client import RouterClient
from serve_app.router.protocol import Probe
from tests.serve_app.conftest import rule, stand_in
from tests.serve_app.router.test_replica import codes
from tests.waiting import until

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


def settings_with(settings: Settings, address: str, **broken: Any) -> Settings:
    """Models "general" and "broken", and a plan "careful" that has a fallback."""
    return msgspec.convert(
        {
            "models": {
                "general": stand_in(),
                "broken": {**stand_in(fail_to_load=True), **broken},
            },
            "plans": {"careful": {"model": "broken", "fallback": ["general"]}},
            "routing": {
                "default": "general",
                "rules": [rule("broken"), {**rule("careful"), "model": None, "plan": "careful"}],
            },
            "audio": {"roots": settings.audio.roots},
            "serve": {"app": "partly", "router_num_cpus": 0, "address": address},
        },
        Settings,
    )


async def test_the_others_start_without_it(
    application: Any, settings: Settings, make_record: Callable[..., ManifestRecord]
) -> None:
    from serve_app.cluster.application import delete_application, start
    from serve_app.cluster.state import application_state
    from serve_app.cluster.watch import Watch

    partly = settings_with(settings, application.address, required=False)
    running = start(partly, timeout_s=120)
    assert list(running.missing) == ["broken"]
    assert "told to fail" in running.missing["broken"]
    try:
        router = RouterClient("partly")
        results = await router.transcribe(
            [
                make_record("a"),
                make_record("b", domain="careful"),
                make_record("c", domain="broken"),
            ]
        )
        assert codes(results) == ["", "", "model_missing"]
        assert isinstance(results[1], Transcript)
        assert results[1].selected_model == "general"
        assert results[1].failed_models == {"broken": "model_missing"}
        assert not isinstance(results[2], Transcript)
        assert results[2].message.startswith("model broken: did not load: ")
        assert results[2].failure is FailureClass.POISON
        probe = await router.probe(timeout_s=20)
        assert probe == Probe(router=True, missing=("broken",))
        assert probe.alive
        assert set(await router.info()) == {"general"}
        identity = await router.identity()
        assert (identity.models, identity.missing) == (("general",), ("broken",))
        found = await asyncio.to_thread(application_state, partly, application.address)
        assert (found.state, found.missing) == ("RUNNING", ["broken"])
        watch = Watch(running.apps, "partly", running.missing)
        await until(lambda: watch.asked > 0, 60.0)
        watch.close()
        assert list(watch.news()) == [], "it is known already"
    finally:
        for app in running.apps:
            delete_application(app)


async def test_nothing_starts_without_one_that_is_required(
    application: Any, settings: Settings
) -> None:
    from serve_app.cluster import application as module
    from serve_app.cluster import readiness

    partly = settings_with(settings, application.address)
    stopped: list[object] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "stop", stopped.append)  # it would disconnect this process
        with pytest.raises(readiness.StartError, match=r"broken: .*told to fail"):
            module.start(partly, timeout_s=120)
    assert len(stopped) == 1
    for app in module.core_apps(partly):
        module.delete_application(app)
