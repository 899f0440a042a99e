"""`chorus serve`: what it has started is stopped again, whatever happens."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from workers import exit_codes
from workers.cli import app
from workers.cli.starting import StartProgress

pytestmark = pytest.mark.slow  # imports Ray

SETTINGS = """
models: {general: {engine: "tests.standin:StandInEngine"}}
routing: {default: general}
audio: {roots: ["."]}
"""


def test_a_worker_that_does_not_start_is_told_and_ends_with_the_models(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from serve_app.cluster import application, readiness
    from workers.stream import serve_application

    (tmp_path / "chorus.yaml").write_text(SETTINGS)
    stopped: list[str] = []

    def deploy_worker(running: object, settings: object) -> str:
        raise readiness.StartError("the stream worker did not start: not ready within 60 s")

    def stop(running: object, give_up: object) -> bool:
        stopped.append("everything")
        return True

    running = application.Running("127.0.0.1:1", "chorus", own_cluster=False)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(application, "start", lambda settings, **_: running)
    monkeypatch.setattr(application, "stop", stop)
    monkeypatch.setattr(serve_application, "deploy_worker", deploy_worker)
    arguments = ["serve", "--worker", "--settings", str(tmp_path / "chorus.yaml")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == exit_codes.FAILURE
    assert "error: the stream worker did not start: not ready within 60 s" in result.stderr
    assert stopped == ["everything"]


def test_a_cluster_that_is_gone_is_told_and_ended_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from serve_app.cluster import application, watch

    (tmp_path / "chorus.yaml").write_text(SETTINGS)
    ready = tmp_path / "ready.json"

    class Lost:
        def __init__(self, apps: object, app: str, missing: object) -> None:
            assert ready.exists()

        def news(self) -> list[str]:
            return ["chorus: general fails: RuntimeError: told to fail"]

        def lost(self) -> str:
            return "Ray's gcs_server ended unexpectedly"

        def close(self) -> None:
            pass

    def stop(running: object, give_up: Callable[[], bool]) -> bool:
        assert give_up()
        assert not ready.exists()
        return True

    running = application.Running("127.0.0.1:1", "chorus", own_cluster=True)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(application, "start", lambda settings, **_: running)
    monkeypatch.setattr(application, "stop", stop)
    monkeypatch.setattr(watch, "Watch", Lost)
    arguments = ["serve", "--settings", str(tmp_path / "chorus.yaml"), "--ready-file", str(ready)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == exit_codes.RESTART, result.output
    assert "chorus: general fails: RuntimeError: told to fail" in result.stdout
    assert "error: Ray's gcs_server ended unexpectedly; start `chorus serve` again" in (
        result.stderr
    )


@pytest.mark.parametrize("command", [["serve"], ["transcribe", "a.jsonl", "-o", "b.jsonl"]])
def test_an_engine_that_cannot_be_imported_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: list[str]
) -> None:
    from serve_app.cluster import application

    started: list[object] = []
    monkeypatch.setattr(application, "start", lambda settings, **_: started.append(settings))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl").write_text('{"audio_filepath": "a.wav"}\n')
    (tmp_path / "chorus.yaml").write_text(SETTINGS.replace("tests.standin", "absent.standin"))
    result = CliRunner().invoke(app, command)
    assert result.exit_code == exit_codes.SETTINGS
    assert "error: chorus.yaml:2: models.general.engine: " in result.stderr
    assert "there is no module absent" in result.stderr
    assert started == []


@pytest.mark.parametrize(
    ("section", "options", "said"),
    [
        ("http: {keys: {ward: {env: NO_SUCH_KEY}}}", [], ":5: http.keys.ward.env: the environment"),
        ("http: {host: 0.0.0.0}", [], "the HTTP API would listen on 0.0.0.0 without `http.keys`"),
        (
            "kafka: {client: {sasl_plain_password: {env: NO_SUCH_KEY}}}",
            ["--worker"],
            "kafka.client.sasl_plain_password: environment variable NO_SUCH_KEY is not set",
        ),
    ],
)
def test_what_would_fail_later_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, section: str, options: list[str], said: str
) -> None:
    from serve_app.cluster import application

    started: list[object] = []
    monkeypatch.setattr(application, "start", lambda settings, **_: started.append(settings))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (tmp_path / "chorus.yaml").write_text(SETTINGS + section)
    command = ["serve", *options, "--settings", str(tmp_path / "chorus.yaml")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code != exit_codes.OK
    assert said in result.stderr + str(result.exception)
    assert started == []


def test_without_keys_an_open_proxy_of_a_running_cluster_gets_no_api(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from serve_app.cluster import application
    from serve_app.system import ray_adapter

    (tmp_path / "chorus.yaml").write_text(SETTINGS + "http: {}\n")
    running = application.Running("127.0.0.1:1", "chorus", own_cluster=False)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(application, "start", lambda settings, **_: running)
    monkeypatch.setattr(application, "stop", lambda running, give_up: True)
    monkeypatch.setattr(ray_adapter, "proxy_address", lambda: ("0.0.0.0", 8000))
    command = ["serve", "--address", "127.0.0.1:1", "--settings", str(tmp_path / "chorus.yaml")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == exit_codes.FAILURE
    assert "error: the HTTP API would listen on 0.0.0.0 without `http.keys`" in result.stderr


def test_each_model_is_told_as_it_comes_up(capsys: pytest.CaptureFixture[str]) -> None:
    progress = StartProgress()
    progress.deployment("general", "UPDATING")
    progress.deployment("general", "HEALTHY")
    progress.deployment("medical", "UNHEALTHY")
    told = capsys.readouterr().err.splitlines()
    assert [re.sub(r"^ +\d+\.\d s  ", "", line) for line in told] == [
        "general is ready",
        "medical does not start, and is tried again",
    ]
