from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.settings import Settings
from tests.workers.evaluation import scripted
from tests.workers.evaluation.scripted import ScriptedEngine
from workers.evaluation import benchmark, compare
from workers.evaluation.systems.naming import as_systems

ENGINE = f"{ScriptedEngine.__module__}:{ScriptedEngine.__name__}"
#: What each model gets wrong: any two of them are right together about all but one utterance.
WRONG = {"first": [0, 1, 2, 12], "second": [3, 4, 12], "third": [5, 6, 7]}


def settings(**changes: Any) -> Settings:
    models = {
        name: {"engine": ENGINE, "options": {"name": name, "wrong": wrong}}
        for name, wrong in WRONG.items()
    }
    plans = {
        "vote": {"ensemble": list(WRONG)},
        "sure": {"ensemble": list(WRONG), "combine": {"method": "confidence"}},
        "tiers": {"tiers": {"screen": "second", "high_quality": "third", "min_confidence": 0.9}},
    }
    short = {"name": "short", "plan": "tiers", "all": [{"field": "audio.seconds", "below": 3}]}
    hint = {"name": "hint", "model": "first", "all": [{"field": "domain", "equals": "medical"}]}
    routing = {"default": "third", "rules": [hint, short]}
    raw = {"models": models, "plans": plans, "routing": routing, "audio": {"roots": ["/"]}}
    return msgspec.convert(raw | changes, Settings)


@pytest.fixture(autouse=True)
def _nobody_was_asked() -> None:
    ScriptedEngine.asked.clear()


def test_plans_stand_beside_their_models(manifest: Path) -> None:
    found = compare(
        ["first", "second", "third", "vote", "best=sure"], [manifest], settings=settings()
    )
    wer = found.frame().set_index("model_name")["wer"]
    # half of the words of an utterance, of thirteen
    assert wer["first"] == pytest.approx(100 * 4 / 13 / 2, abs=0.01)
    # two that are wrong outvote the one that is right only where they agree, on the last
    assert wer["vote"] <= wer["third"] / 3
    assert wer["best"] == 0
    kinds = found.frame().set_index("model_name")["model_type"]
    assert (kinds["first"], kinds["vote"]) == ("custom", "plan")


#: What the rules make of texts: the words of one utterance, and of a mistake.
RULES = {"ward": {"rules": [{"matches": r"\bw(\d+)x(\d+)\b", "replace": r"w\1-\2"}]}}


def ruled() -> Settings:
    raw = msgspec.to_builtins(settings())
    raw["text_rules"] = RULES
    raw["models"]["first"]["text_rules"] = raw["models"]["second"]["text_rules"] = "ward"
    return msgspec.convert(raw, Settings)


@pytest.mark.parametrize("name", ["first", "best=sure", "auto"])
def test_what_is_measured_is_written_by_the_rules_of_the_settings(
    manifest: Path, name: str
) -> None:
    found = compare([name], [manifest], settings=ruled())
    texts = [each.pred_text or "" for each in found.utterances]
    assert any(re.search(r"w\d+-\d+", text) for text in texts)
    assert found.systems[0].text_rules == ["ward"]
    heard = compare([name], [manifest], settings=settings())
    assert not any("-" in (each.pred_text or "") for each in heard.utterances)
    assert heard.systems[0].text_rules == []


def test_models_alone_are_measured_as_they_are_heard(manifest: Path) -> None:
    found = compare(["first"], [manifest], settings=ruled().models)
    assert not any("-" in (each.pred_text or "") for each in found.utterances)


def test_other_rules_are_another_system() -> None:
    (one,) = as_systems(["first"], ruled())
    changed = ruled()
    changed.text_rules["ward"].numbers = "en"
    for name in ("first", "vote"):
        (one,), (other,) = as_systems([name], ruled()), as_systems([name], changed)
        assert one.identity != other.identity


def test_the_normaliser_is_chosen_and_named(manifest: Path) -> None:
    usual = compare(["first"], [manifest], settings=settings())
    found = compare(["first"], [manifest], settings=settings(), normaliser="whisper-english")
    assert (usual.normaliser, found.normaliser) == ("nfkc-lower-words-v3", "whisper-english")


def test_tiers_ask_the_second_model_only_where_the_first_is_unsure(manifest: Path) -> None:
    found = compare(["tiers"], [manifest], settings=settings())
    # a second of noise for the check, eight to warm up, thirteen
    assert ScriptedEngine.asked["second"] == 1 + 8 + 13
    assert ScriptedEngine.asked["third"] < 13
    assert found.frame()["wer"].item() == 0


def test_auto_is_the_rules_on_what_can_be_measured(tmp_path: Path) -> None:
    hinted = scripted.write_set(tmp_path, domain="medical")
    found = compare(["auto"], [hinted], settings=settings())
    # utterances 0 to 5 are shorter than 3 s; 6 and 7 are the third model's own mistakes
    assert found.frame()["wer"].item() == pytest.approx(100 * 2 / 13 / 2, abs=0.01)
    # the reference is not shown to the tiers, the hint not to the rules
    assert "first" not in ScriptedEngine.asked


def test_auto_asks_which_language_is_spoken(manifest: Path) -> None:
    given = settings()
    given.models["second"].options["german"] = [6, 7]
    german = {"name": "german", "model": "first", "all": [{"field": "audio.lang", "equals": "de"}]}
    routing = {"default": "third", "language_model": "second", "rules": [german]}
    given.routing = msgspec.convert(routing, type(given.routing))
    found = compare(["auto"], [manifest], settings=given)
    # of the third model's mistakes, 5 to 7, the first one takes over 6 and 7
    assert found.frame()["wer"].item() == pytest.approx(100 / 13 / 2, abs=0.01)
    assert "second" not in ScriptedEngine.asked, "it identifies languages, and transcribes nothing"


def test_finished_work_is_of_this_plan_only() -> None:
    (ours,) = as_systems(["vote"], settings())
    (same,) = as_systems(["mine=vote"], settings())
    assert ours.identity == same.identity
    models = msgspec.to_builtins(settings().models)
    models["third"]["options"] = {"name": "third", "wrong": []}
    others = [
        as_systems(["sure"], settings()),
        as_systems(["auto"], settings()),
        as_systems(["vote"], settings(models=models)),
        as_systems(["vote"], settings(plans={"vote": {"ensemble": ["first", "second"]}})),
    ]
    assert all(other.identity != ours.identity for (other,) in others)


def test_what_a_settings_file_knows_is_told() -> None:
    with pytest.raises(ValueError, match=r"typo: .* the settings have .*, vote, sure, tiers, auto"):
        as_systems(["typo"], settings())


def test_a_plan_has_no_process_of_its_own_to_be_benchmarked_in(manifest: Path) -> None:
    with pytest.raises(ValueError, match="vote: only models"):
        benchmark(["vote"], manifest, settings=settings())
