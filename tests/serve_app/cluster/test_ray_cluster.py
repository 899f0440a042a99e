from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from serve_app.cluster import access, ray_cluster


def test_a_failure_without_a_message_is_named_by_its_type(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def init(**_: Any) -> None:
        raise TimeoutError

    fake = SimpleNamespace(is_initialized=lambda: False, init=init, shutdown=lambda: None)
    monkeypatch.setattr(ray_cluster, "ray", fake)
    monkeypatch.setattr(access, "make_token", lambda: None)
    monkeypatch.setattr(access, "temp_folder", lambda: tmp_path)
    with pytest.raises(ray_cluster.ClusterError, match=r"does not start .*: TimeoutError"):
        ray_cluster.start_ray(1)
