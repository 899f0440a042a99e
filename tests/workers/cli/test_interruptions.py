"""What a command says after a Ctrl-C: whether the same command goes on, or begins anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Never

import pytest
from kafka.future import Future

from tests.workers.cli.shell import chorus
from workers import exit_codes


def ctrl_c(*_: object, **__: object) -> Never:
    raise KeyboardInterrupt


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "chorus.yaml"
    path.write_text(
        "models: {general: {engine: 'tests.standin:StandInEngine'}}\n"
        "routing: {default: general}\n"
        "audio: {roots: ['.']}\n"
    )
    return path


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--work", "work"], "interrupted; the same command resumes\n"),
        ([], "interrupted; nothing is kept, which --work FOLDER would change\n"),
    ],
)
def test_a_comparison(
    settings: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.setattr("workers.cli.compare.read_sets", ctrl_c)
    done = chorus("compare", "general", "-m", "in.jsonl", "-s", settings, *options)
    assert (done.returncode, done.stderr) == (exit_codes.INTERRUPTED, said)


def test_a_command_that_keeps_nothing(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.doctor.model.examine_model", ctrl_c)
    done = chorus("doctor", "general", "-s", settings)
    assert done.returncode == exit_codes.INTERRUPTED
    assert done.stderr.splitlines()[-1] == "interrupted"


class _Producer:
    """Acknowledges the first record; a Ctrl-C comes while it waits for the others."""

    flush = ctrl_c

    def __init__(self) -> None:
        self._sent: list[Any] = []

    def send(self, topic: str, **_: object) -> Any:
        future = Future()
        if not self._sent:
            future.success(None)
        self._sent.append(future)
        return future


def test_producing(settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = tmp_path / "in.jsonl"
    manifest.write_text('{"audio_filepath": "a.wav"}\n{"audio_filepath": "b.wav"}\n')
    monkeypatch.setattr("workers.kafka.clients.make_producer", lambda *_, **__: _Producer())
    monkeypatch.setattr(
        "workers.kafka.topic_state.topic_states", lambda _, names: dict.fromkeys(names, True)
    )
    done = chorus("produce", manifest, "-s", settings)
    assert done.returncode == exit_codes.INTERRUPTED
    assert "the broker has 1 records or a few more, and the same command sends all" in done.stderr


@pytest.mark.nemo
@pytest.mark.parametrize("begun", [False, True])
def test_a_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: bool) -> None:
    monkeypatch.setattr("workers.finetune.job.finetune", ctrl_c)
    (tmp_path / "base.nemo").touch()
    (tmp_path / "recipe.yaml").write_text(
        "{base: base.nemo, train: [t.jsonl], validation: v.jsonl, name: n, domain: d, epochs: 1,"
        " output: models}"
    )
    if begun:
        folder = tmp_path / "models" / "n" / "1.unfinished"
        folder.mkdir(parents=True)
        (folder / "last.ckpt").touch()
    done = chorus("finetune", "--recipe", tmp_path / "recipe.yaml")
    assert done.returncode == exit_codes.INTERRUPTED, done.stderr
    told = "resumes from the last checkpoint" if begun else "begins anew: there is no checkpoint"
    assert f"interrupted; the same command {told}" in done.stderr
