from __future__ import annotations

import pytest

from serve_app.system.app_status import AppStatus, DeploymentStatus

TRACEBACK = "Traceback (most recent call last):\n  ...\nValueError: no such file"


def test_an_application_that_failed_says_why() -> None:
    failed = {"a": DeploymentStatus("UPDATING", ""), "b": DeploymentStatus("X", TRACEBACK)}
    assert AppStatus("DEPLOY_FAILED", "", failed).failure == "ValueError: no such file"
    assert AppStatus("DEPLOY_FAILED", "cannot be built", {}).failure == "cannot be built"


@pytest.mark.parametrize("state", ["RUNNING", "DEPLOYING", "UNHEALTHY"])
def test_one_that_may_come_up_has_not_failed(state: str) -> None:
    status = AppStatus(state, "", {"a": DeploymentStatus("UNHEALTHY", TRACEBACK)})
    assert status.failure is None
    assert status.deployments["a"].failing
