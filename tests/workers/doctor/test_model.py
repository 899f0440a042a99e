"""`chorus doctor MODEL`, with engines that stand in for real ones; and one real model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deploy.demo import MODELS
from deploy.local import ROOT
from schemas.settings import ModelSettings, RegistrySettings, Settings
from serve_app.engines.trial import TrialReport
from tests.workers.cli.shell import Shell
from tests.workers.doctor.engines import Knowing
from workers.doctor import model as examinations
from workers.doctor.clips import SHIPPED, read_clips
from workers.doctor.finding import Finding

ENGINES = "tests.workers.doctor.engines"


def settings(**validation: float) -> Settings:
    knowing = {"engine": f"{ENGINES}:Knowing"}
    return msgspec.convert(
        {
            "models": {
                "knowing": knowing,
                "fair": {**knowing, "options": {"wrong": 2}},
                "poor": {**knowing, "options": {"wrong": 4}},
                "mute": {"engine": f"{ENGINES}:Mute"},
                "standin": {"engine": "tests.standin:StandInEngine"},
                "telephone": {
                    "engine": "tests.standin:StandInEngine",
                    "options": {"sample_rate": 8000},
                },
                "absent": {"engine": "no.such:Engine"},
                "broken": {
                    "engine": "tests.standin:StandInEngine",
                    "options": {"fail_to_load": True},
                },
            },
            "plans": {"both": {"ensemble": ["knowing", "fair"]}},
            "routing": {"default": "knowing"},
            "audio": {"roots": ["/"]},
            "validation": validation,
        },
        Settings,
    )


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(settings(), tmp_path)


def examined(shell: Shell, *arguments: str, code: int = 0) -> dict[str, dict[str, Any]]:
    """The findings by name."""
    shown = shell.output("doctor", *arguments, "--json", code=code)
    lines = [json.loads(line) for line in shown.splitlines()]
    return {each["name"]: each for each in lines}


def states(found: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: each["state"] for name, each in found.items()}


def test_the_shipped_clips_are_those_of_the_demo() -> None:
    clips = read_clips(None)
    assert tuple(each.text for each in clips) == Knowing.texts
    for each in clips:
        original = ROOT / "deploy/demo/speech/general" / Path(each.path).name
        assert Path(each.path).read_bytes() == original.read_bytes()


def test_a_model_that_works_is_well_in_every_way(shell: Shell) -> None:
    found = examined(shell, "knowing")
    assert set(states(found).values()) == {"ok"}
    assert {"load", "memory", "device", "sample rate", "speed", "speech", "silence"} == set(found)
    assert "WER 0.0% on 4 shipped clips" in found["speech"]["said"]


def test_people_see_a_line_for_each_and_then_what_to_do(shell: Shell) -> None:
    shown = shell.output("doctor", "mute", code=1)
    lines = shown.splitlines()
    assert lines[0].split()[:2] == ["ok", "load"]
    assert any(line.split()[:2] == ["FAILED", "speech"] for line in lines)
    assert "\nspeech: not a word in 4 shipped clips" in shown
    assert "\n  likely cause: weights" in shown
    assert "\n  next: transcribe one clip with NeMo itself" in shown
    assert shown.endswith("1 failed, 0 warnings\n")


@pytest.mark.parametrize(("model", "cause"), [("absent", "Python path"), ("broken", "constructor")])
def test_a_model_that_does_not_load_has_a_cause_and_a_next_step(
    shell: Shell, model: str, cause: str
) -> None:
    found = examined(shell, model, code=1)
    assert states(found) == {"load": "failure"}
    assert found["load"]["next"]
    assert cause in found["load"]["cause"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nobody"], "nobody: no such model file"),
        (["both"], "both is no single model"),
        (["knowing", "--baseline", "nobody"], "nobody: no such model file"),
        (["knowing", "--manifest", "gone.jsonl"], "gone.jsonl"),
        (["--baseline", "knowing"], "name one"),
    ],
)
def test_a_wrong_name_ends_with_2(shell: Shell, arguments: list[str], said: str) -> None:
    assert said in shell.run("doctor", *arguments, code=2)


def test_another_model_whose_alias_is_at_fault_does_not_matter(tmp_path: Path) -> None:
    chosen = settings()
    chosen.models["other"] = ModelSettings(engine=f"{ENGINES}:Knowing", model="other@production")
    chosen.registry = RegistrySettings(url=str(tmp_path / "registry"))
    shell = Shell(chosen, tmp_path)
    assert states(examined(shell, "knowing"))["load"] == "ok"
    assert "other" in shell.run("doctor", "other", code=2)


def test_a_model_for_telephones_and_one_that_hears_other_words_are_warned_of(shell: Shell) -> None:
    found = examined(shell, "telephone")
    assert states(found)["sample rate"] == states(found)["speech"] == "warning"
    assert "4000 Hz" in found["sample rate"]["said"]
    assert states(found)["silence"] == "warning"  # the stand-in hears three words in anything


@pytest.mark.parametrize(
    ("model", "state"),
    [("fair", "ok"), ("poor", "failure")],  # 2 of 37 words are 5.4 points
)
def test_more_errors_than_a_baseline_are_a_failure(tmp_path: Path, model: str, state: str) -> None:
    shell = Shell(settings(max_wer_increase=6.0), tmp_path)
    found = examined(shell, model, "--baseline", "knowing", code=int(state == "failure"))
    assert states(found)["validation.max_wer_increase"] == state
    assert "knowing: WER 0.0%" in found["baseline"]["said"]


def test_a_slower_model_than_a_baseline_is_a_failure(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter([2.0, 0.5])

    def tried(*_: Any, **__: Any) -> TrialReport:
        return TrialReport(
            model_class="C",
            parameters=1,
            device="cpu",
            sample_rate=16_000,
            import_seconds=1.0,
            load_seconds=1.0,
            peak_bytes=1,
            audio_seconds=11.0,
            seconds=next(seconds),
            texts=list(Knowing.texts),
            quiet_texts=["", ""],
        )

    monkeypatch.setattr(examinations, "try_model", tried)
    found = examined(shell, "knowing", "--baseline", "standin", code=1)
    assert states(found)["validation.min_speed_ratio"] == "failure"
    assert found["validation.min_speed_ratio"]["said"] == "0.25, and is to be at least 0.5"
    assert "0.25 times its speed" in found["baseline"]["said"]


def test_limits_of_words_count_for_a_manifest_alone(tmp_path: Path) -> None:
    shell = Shell(settings(max_wer=1.0), tmp_path)
    assert "validation.max_wer" not in examined(shell, "poor")
    found = examined(shell, "poor", "--manifest", str(SHIPPED), code=1)
    assert states(found)["validation.max_wer"] == "failure"
    assert "4 utterances of the manifest" in found["speech"]["said"]


def test_lines_of_a_manifest_that_are_at_fault_are_told_or_left_out(
    shell: Shell, tmp_path: Path
) -> None:
    manifest = tmp_path / "own.jsonl"
    gone = json.dumps({"audio_filepath": "gone.wav", "duration": 1.0, "text": "x"})
    lines = [
        json.dumps({"audio_filepath": each.path, "duration": each.duration, "text": each.text})
        for each in read_clips(None)
    ]
    manifest.write_text("\n".join([*lines, gone]))
    told = shell.run("doctor", "knowing", "--manifest", str(manifest), code=2)
    assert "own.jsonl:5: " in told
    assert "--skip-faults" in told
    found = examined(shell, "knowing", "--manifest", str(manifest), "--skip-faults")
    assert "WER 0.0% on 4 utterances" in found["speech"]["said"]


def report(**changes: Any) -> TrialReport:
    values = {
        "model_class": "C",
        "parameters": None,
        "device": "cpu",
        "sample_rate": 16_000,
        "import_seconds": 1.0,
        "load_seconds": 1.0,
        "peak_bytes": 1 << 30,
    }
    return TrialReport(**{**values, **changes})


@pytest.mark.parametrize(
    ("found", "state", "said"),
    [
        (examinations.memory(report(), 2, 3 << 30), "ok", "for 2 replicas"),
        (examinations.memory(report(), 4, 3 << 30), "warning", "but 3.0 GiB are free"),
        (examinations.memory(report(gpu_bytes=1 << 20), 1, 3 << 30), "ok", "1.0 MiB of the GPU's"),
        (examinations.device(report(), 0), "ok", "cpu"),
        (examinations.device(report(device="cuda"), 1), "ok", "cuda"),
        (examinations.device(report(), 1), "warning", "although this machine has a GPU"),
        (examinations.sample_rate(44_100), "warning", "decoded to 16000 Hz"),
    ],
)
def test_what_loading_showed_is_judged(found: Finding, state: str, said: str) -> None:
    assert found.state == state
    assert said in found.said
    assert bool(found.next) == (state != "ok")


@pytest.mark.nemo
@pytest.mark.slow
def test_a_real_model_is_examined(shell: Shell, tmp_path: Path) -> None:
    found = examined(shell, str(MODELS / "general.nemo"))
    assert "EncDecCTCModelBPE, 1.7 M parameters" in found["load"]["said"]
    assert states(found)["speech"] == "ok"
    damaged = tmp_path / "damaged.nemo"
    damaged.write_bytes((MODELS / "general.nemo").read_bytes()[:100_000])
    found = examined(shell, str(damaged), code=1)
    assert "broke off" in found["load"]["cause"]
