from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from schemas.settings import AudioSettings, Condition, ModelSettings, Routing, Rule, Settings
from tests.workers.evaluation.scripted import write_set
from workers.manifests.explanation import explain_file


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    write_set(tmp_path)
    rules = [
        Rule(name="call", model="call", all=[Condition(field="audio.bandwidth_hz", below=4000)]),
        Rule(
            name="short",
            model="short",
            all=[
                Condition(field="audio.seconds", below=2.0),
                Condition(field="audio.snr_db", at_least=10),
            ],
        ),
        Rule(name="legal", model="legal", all=[Condition(field="domain", equals="legal")]),
    ]
    names = ("general", "call", "short", "legal")
    return Settings(
        models={name: ModelSettings(path=f"{name}.nemo") for name in names},
        routing=Routing(default="general", rules=rules),
        audio=AudioSettings(roots=[str(tmp_path)]),
    )


def test_a_record_over_several_lines(tmp_path: Path, settings: Settings) -> None:
    path = tmp_path / "record.json"
    path.write_text(json.dumps({"id": "a", "audio_filepath": "0.wav"}, indent=2))
    (found,) = explain_file(path, settings)
    assert found.choice is not None
    assert (found.choice.target, found.choice.rule) == ("short", "short")
    assert found.choice.values["audio.seconds"] == found.measures["audio.seconds"] == 0.8
    assert [(each.rule, each.holds) for each in found.tried] == [
        ("call", False),
        ("short", True),
        ("short", True),
    ]


def test_each_channel_is_explained_by_itself(tmp_path: Path, settings: Settings) -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, (48_000, 2))
    noise[:, 1] *= 0.001
    soundfile.write(tmp_path / "two.wav", noise, 16_000)
    soundfile.write(tmp_path / "same.wav", noise[:, [0, 0]], 16_000)
    rule = Rule(name="second", model="call", all=[Condition(field="channel", equals=1)])
    settings.routing.rules.insert(0, rule)
    settings.audio.channel = "each"
    path = tmp_path / "manifest.jsonl"
    records: list[dict[str, object]] = [
        {"audio_filepath": "two.wav"},
        {"audio_filepath": "two.wav", "channel": 1},
    ]
    records.append({"audio_filepath": "same.wav"})
    path.write_text("".join(json.dumps(each) + "\n" for each in records))
    found = [
        (each.channel, each.choice and each.choice.rule, each.measures["audio.level_dbfs"] < -40)
        for each in explain_file(path, settings)
    ]
    assert found == [
        (0, "default", False),
        (1, "second", True),
        (1, "second", True),
        (0, "default", False),
    ]


def test_every_line_of_a_manifest_and_what_is_wrong_with_it(
    tmp_path: Path, settings: Settings
) -> None:
    path = tmp_path / "records.jsonl"
    lines = [
        {"id": "a", "audio_filepath": "9.wav", "domain": "legal"},
        {"id": "b", "audio_filepath": "9.wav"},
        {"id": "c", "audio_filepath": "gone.wav"},
        {"id": "d"},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = list(explain_file(path, settings))
    assert [each.choice and each.choice.rule for each in found] == ["legal", "default", None, None]
    assert len(found[1].tried) == 4
    assert "gone.wav: no such file" in str(found[2].error)
    assert "audio_filepath" in str(found[3].error)


def test_what_a_model_computes_and_which_is_asked_for_the_language(
    tmp_path: Path, settings: Settings
) -> None:
    settings.models["whisper"] = ModelSettings(engine="faster-whisper", path="whisper")
    german = [Condition(field="audio.lang", equals="de")]
    settings.routing = Routing(
        default="general",
        language_model="whisper",
        rules=[
            Rule(name="legal", model="whisper", all=[Condition(field="domain", equals="legal")]),
            Rule(name="german", model="call", all=german),
        ],
    )
    path = tmp_path / "records.jsonl"
    lines = [
        {"id": "a", "audio_filepath": "0.wav", "domain": "legal"},
        {"id": "b", "audio_filepath": "0.wav"},
        {"id": "c", "audio_filepath": "0.wav", "lang": "de"},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = list(explain_file(path, settings))
    assert [each.choice and each.choice.rule for each in found] == ["legal", "default", "german"]
    assert [each.asks for each in found] == [None, "whisper", None]
    assert [each.costs for each in found] == [
        {"whisper": 30.0},
        {"general": 0.8, "whisper": 30.0},
        {"call": 0.8},
    ]
