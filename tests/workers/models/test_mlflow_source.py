"""Versions of an MLflow registry: MLflow's own client and file store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.demo import MODELS
from serve_app.engines.errors import EngineError
from tests.versioned import ENGINE
from tests.workers.cli.shell import chorus
from workers.models.mlflow_source import MlflowVersion


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which MLflow's tools find a store with models."""
    folder = tmp_path_factory.mktemp("mlflow")
    environment = {
        "MLFLOW_TRACKING_URI": (folder / "store").as_uri(),
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        _fill(folder)
    return environment


def _fill(folder: Path) -> None:
    import mlflow

    client = mlflow.MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    client.create_registered_model("ward")
    run = client.create_run("0").info
    client.log_metric(run.run_id, "wer", 4.5, step=1)
    client.log_metric(run.run_id, "wer", 3.25, step=2)
    client.log_artifact(run.run_id, str(MODELS / "medical.nemo"), "one/deep")
    for name in ("general", "legal"):
        client.log_artifact(run.run_id, str(MODELS / f"{name}.nemo"), "two")
    (folder / "text").write_text("hello")
    client.log_artifact(run.run_id, str(folder / "text"), "own")
    for source, tags in (
        ("one", {"lang": "en"}),
        ("one/deep/medical.nemo", {}),
        ("two", {}),
        ("own", {}),
    ):
        where = f"{run.artifact_uri}/{source}"
        client.create_model_version("ward", source=where, run_id=run.run_id, tags=tags)
    for alias in ("champion", "Prod"):
        client.set_registered_model_alias("ward", alias, "1")


def models(folder: Path, environment: dict[str, str], *arguments: str) -> Any:
    command = [sys.executable, "-m", "workers.cli", "models", *arguments]
    command += ["--registry", str(folder / "models")]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_a_version_comes_with_what_is_known_of_it(server: dict[str, str], tmp_path: Path) -> None:
    done = models(
        tmp_path, server, "import", "ward", "mlflow:/models/ward@champion", "--json", "--no-trial"
    )
    assert done.returncode == 0, done.stderr
    card = json.loads(done.stdout)
    assert card["source"] == "mlflow:/models/ward/1"
    assert card["model_class"] == "EncDecCTCModelBPE"
    imported = card["imported"]
    assert len(imported.pop("run")) == 32
    assert imported == {
        "server": server["MLFLOW_TRACKING_URI"],
        "aliases": ["Prod", "champion"],
        "tags": {"lang": "en"},
        "metrics": {"wer": 3.25},
    }
    shown = models(tmp_path, server, "show", "ward:1").stdout
    assert "metrics:               wer 3.25\n" in shown
    again = models(tmp_path, server, "import", "ward", "mlflow:/models/ward/2", "--no-trial")
    assert "ward:1 has these files already" in again.stdout  # that version is the file itself


@pytest.mark.slow
def test_aliases_are_set_only_if_asked_for(server: dict[str, str], tmp_path: Path) -> None:
    import_it = ("import", "ward", "mlflow:/models/ward/1", "--no-trial")
    done = models(tmp_path, server, *import_it)
    assert "there it has the aliases Prod, champion; --aliases sets them here, too" in done.stdout
    assert not (tmp_path / "models/aliases").exists()
    done = models(tmp_path, server, *import_it, "--aliases")
    assert "ward@champion is ward:1 now" in done.stdout
    assert "no alias here can be called Prod" in done.stderr
    history = models(tmp_path, server, "history", "ward", "--alias", "champion", "--json")
    assert json.loads(history.stdout)["why"] == f"as in {server['MLFLOW_TRACKING_URI']}"


@pytest.mark.slow
def test_files_of_another_engine_are_registered_as_they_are(
    server: dict[str, str], tmp_path: Path
) -> None:
    done = models(
        tmp_path, server, "import", "own", "mlflow:/models/ward/4", "--engine", ENGINE, "--json"
    )
    assert done.returncode == 0, done.stderr
    card = json.loads(done.stdout)
    assert (card["engine"], list(card["files"])) == (ENGINE, ["text"])
    assert (tmp_path / "models/own/1/text").read_text() == "hello"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ("ward/9", [], "there is none; ward has 1, 2, 3, 4, and the aliases Prod, champion"),
        ("ward@stable", [], "there is none; ward has 1, 2, 3, 4, and the aliases"),
        ("wrd/1", [], "there is no such model; did you mean `ward`?"),
        ("ward/3", [], "has the files general.nemo, legal.nemo; choose one with --file"),
        ("ward/3", ["--file", "x.nemo"], "has no file x.nemo, but general.nemo, legal.nemo"),
        ("ward/4", [], "has no .nemo file, but text"),
    ],
)
def test_what_there_is_not_is_told_in_a_sentence(
    server: dict[str, str], tmp_path: Path, source: str, options: list[str], said: str
) -> None:
    done = models(tmp_path, server, "import", "ward", f"mlflow:/models/{source}", *options)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "models").exists()


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_named_without_secrets(tmp_path: Path) -> None:
    environment = {
        "MLFLOW_TRACKING_URI": "http://ann:secret@127.0.0.1:1",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    }
    done = models(tmp_path, environment, "import", "ward", "mlflow:/models/ward/1")
    assert done.returncode == 4, done.stderr
    assert "error: http://127.0.0.1:1: " in done.stderr
    assert "refused" in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "source", ["ward", "ward/", "/1", "ward@", "ward/latest", "ward/1/x", "ward/-1", ""]
)
def test_a_source_that_names_no_version_is_refused(source: str) -> None:
    with pytest.raises(EngineError, match="not a version of an MLflow model: write mlflow:/models"):
        MlflowVersion(f"mlflow:/models/{source}")


def test_the_server_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(EngineError, match="MLFLOW_TRACKING_URI must say where"):
        MlflowVersion("mlflow:/models/ward/1")


def test_without_the_extra_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "mlflow", None)  # as where it is not installed
    done = chorus("models", "import", "ward", "mlflow:/models/ward/1", cwd=tmp_path)
    assert done.returncode == 1
    assert "pip install 'chorus-asr[mlflow]'" in done.stderr
