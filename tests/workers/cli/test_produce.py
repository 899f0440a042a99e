"""`chorus produce` without a broker: what it says of what it sends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kafka.future import Future

from tests.workers.cli.shell import chorus


class _Producer:
    def send(self, topic: str, **_: object) -> Any:
        return Future().success(None)

    def flush(self) -> None: ...

    def close(self) -> None: ...


def test_archives_that_are_missing_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "chorus.yaml"
    settings.write_text(
        "models: {general: {path: general.nemo}}\nrouting: {default: general}\n"
        "audio: {roots: [.]}\n"
    )
    monkeypatch.setattr("workers.kafka.clients.make_producer", lambda *_, **__: _Producer())
    monkeypatch.setattr(
        "workers.kafka.topic_state.topic_states", lambda _, names: dict.fromkeys(names, True)
    )
    records = [{"audio_filepath": f"{number}.wav", "shard_id": 3} for number in range(2)]
    manifest = tmp_path / "tarred_audio_manifest.json"
    manifest.write_text("".join(json.dumps(each) + "\n" for each in records))
    done = chorus("produce", manifest, "-s", settings)
    assert done.returncode == 0, done.stderr
    assert "sent 2 records" in done.stdout
    assert (
        "warning: tarred_audio_manifest.json: there is no audio_3.tar in its folder or the one "
        "above; its 2 records were sent as they are" in done.stderr
    )
    (tmp_path / "audio_3.tar").touch()
    assert "warning" not in chorus("produce", manifest, "-s", settings).stderr
