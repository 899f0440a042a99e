"""What a builder takes for its settings; deploying itself is in `tests/workers/cli/test_deploy`."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas.settings import SettingsError, load_settings, part_digest, part_of
from serve_app import deploy

pytestmark = pytest.mark.slow  # imports Ray

RAW: dict[str, Any] = {
    "models": {"general": {"engine": "a.b:C"}, "medical": {"engine": "a.b:C"}},
    "routing": {"default": "general"},
    "audio": {"roots": ["/"]},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "chorus.yaml"
    path.write_text(yaml.safe_dump(RAW))
    return path


def test_a_file_or_what_is_in_it(file: Path) -> None:
    settings = load_settings(file)
    wanted = part_of(settings, "model", "medical")
    digest = part_digest(settings, "model", "medical")
    for source in (str(file), RAW):
        args = {"settings": source, "model": "medical", "sha256": digest, "attempt": 2}
        assert deploy.settings_of(args, "model") == wanted
        assert deploy.settings_of({"settings": source}, "router") == part_of(settings, "router")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"sources": RAW}, "unknown argument `sources`; known are"),
        ({"model": "medical"}, "the argument `settings` is missing"),
        ({"settings": RAW}, "the argument `model` is missing"),
        ({"settings": RAW, "model": "legal"}, "the settings have no model `legal`"),
        ({"settings": RAW, "model": "medical", "sha256": "0"}, "not those that were deployed"),
        ({"settings": {**RAW, "module": 1}, "model": "medical"}, "module"),
        ({"settings": "/nowhere/chorus.yaml", "model": "medical"}, "cannot be read"),
    ],
)
def test_what_cannot_be_built_is_said(args: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        deploy.settings_of(args, "model")


def test_a_file_that_comes_late_is_waited_for(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later = {**RAW, "routing": {"default": "medical"}}
    file.write_text(yaml.safe_dump(later))
    settings = load_settings(file)
    args = {"settings": str(file), "sha256": part_digest(settings, "router")}
    file.write_text(yaml.safe_dump(RAW))
    with pytest.raises(SettingsError, match=r"chorus\.yaml: the settings are not those"):
        deploy.settings_of(args, "router", patience_s=0)
    looked = threading.Event()

    def sleep(seconds: float) -> None:
        looked.set()
        file.write_text(yaml.safe_dump(later))

    monkeypatch.setattr(time, "sleep", sleep)
    assert deploy.settings_of(args, "router") == part_of(settings, "router")
    assert looked.is_set()
