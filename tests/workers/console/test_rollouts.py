"""The pages of rollouts, over a registry in a folder with stored evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from schemas.model_card import AliasMove
from schemas.rollout import RolloutPlan
from schemas.settings import ModelSettings, RegistrySettings, RolloutSettings, Settings
from serve_app.registry.local_store import LocalStore
from serve_app.registry.registry import Registry
from serve_app.rollout.arms import digest
from serve_app.rollout.evidence import Evidence, Heard, Observation
from serve_app.rollout.records import Rollouts
from tests.versioned import promote, register
from tests.workers.console.browsing import HOSTILE, person, signed_in
from tests.workers.console.conftest import demo_settings
from tests.workers.console.samples import transcript
from tests.workers.console.topics import MemoryTopics
from workers.console.rollouts.sequence import sequence_of

SAID = "one two three four"


@pytest.fixture
def settings() -> Settings:
    return demo_settings()


@pytest.fixture
def rollouts(settings: Settings, tmp_path: Path) -> Rollouts:
    folder = tmp_path / "registry"
    for text in ("one", "two"):
        register(folder, "m", text)
    promote(folder, "m", "1")
    settings.registry = RegistrySettings(url=str(folder))
    settings.models["served"] = ModelSettings(model="m@production")
    return Rollouts(LocalStore(folder))


def begin(rollouts: Rollouts, settings: Settings, **more: Any) -> RolloutPlan:
    given: dict[str, Any] = {
        "name": "m",
        "alias": "production",
        "number": 0,
        "app": settings.serve.app,
        "model": "served",
        "incumbent": "1",
        "candidate": "2",
        "rules": RolloutSettings(block_by="recording"),
        "by": "ann",
        "at": "",
    }
    return rollouts.begin(RolloutPlan(**(given | more)))


def observed(rules: RolloutSettings, blocks: int, better_in: int = 2) -> Evidence:
    """Blocks of a word error each, of which the candidate has none in every so many."""
    evidence = Evidence()
    for number in range(blocks):
        candidate = SAID if number % better_in == 0 else "one two three"
        evidence.add(
            Observation(
                record=f"r{number}",
                block=digest(f"recording calls/{number}.opus").hex(),
                reference=SAID,
                incumbent=Heard(text="one two three"),
                candidate=Heard(text=candidate),
            ),
            rules,
        )
    return evidence


def alias(settings: Settings) -> AliasMove:
    assert settings.registry is not None
    return Registry(LocalStore(Path(settings.registry.url))).history("m", "production")[-1].move


def test_the_sequence_ends_where_the_verdict_is(settings: Settings) -> None:
    rules = RolloutSettings()
    evidence = observed(rules, 1000)
    points = sequence_of(evidence, rules)
    change = evidence.findings(rules).wer_change
    assert change is not None
    assert (points[-1].low, points[-1].high) == pytest.approx(change, abs=0.01)
    assert points[-1].blocks == 1000
    assert len(points) <= 240
    assert points[0].high - points[0].low > points[-1].high - points[-1].low
    assert points[-1].mean == pytest.approx(-12.5)
    assert points[-1].margin == pytest.approx(1.25)  # 5% of the incumbent's 25%
    assert [each.blocks for each in sequence_of(observed(rules, 3), rules)] == [2, 3]
    assert sequence_of(Evidence(), rules) == []


def test_a_rollout_is_held_and_promoted_with_its_verdict(
    settings: Settings, rollouts: Rollouts
) -> None:
    plan = begin(rollouts, settings, why="fewer errors on wards")
    rollouts.store_evidence(plan, 1, observed(plan.rules, 400))
    with person(settings) as user:
        assert "its WER is below the incumbent" in user.see("/rollouts")
        seen = user.see("/rollouts/served")
        for part in ("Under way", '<b class="good">Promote</b>', "<polygon", "25.00", "12.50"):
            assert part in seen
        user.send("/rollouts/served/hold", number="1", why="the ward is closed")
        seen = user.see("/rollouts/served")
        assert "Paused" in seen
        assert "the ward is closed" in seen
        user.send("/rollouts/served/resume", number="1", why="it is open")
        assert user.see("/rollouts/served/state").startswith("<section")
        user.send("/rollouts/served/promote", number="1", why="better on wards")
        move = alias(settings)
        assert (move.version, move.why) == ("2", "better on wards")
        assert "Decide" not in user.see("/rollouts/served")
        told = user.told("/rollouts/served/abort", 409, number="1", why="late")
        assert "has ended: promoted" in told
    last = rollouts.last("m", "production")
    assert last is not None
    assert [each.kind for each in last.events] == ["paused", "resumed", "promoted"]
    assert "better on wards; the verdict was promote" in last.events[-1].why


def test_another_rollout_than_the_one_that_was_looked_at_is_left_alone(
    settings: Settings, rollouts: Rollouts
) -> None:
    first = begin(rollouts, settings)
    rollouts.add(first, "aborted", by="bob")
    begin(rollouts, settings)
    with person(settings) as user:
        told = user.told("/rollouts/served/promote", 400, number="1", why="better")
        assert "another rollout is under way" in told
        assert "a rollout can be given" in user.told("/rollouts/served/dance", 404, why="x")
        assert "give a reason" in user.told("/rollouts/served/abort", 400, number="2", why="")
    assert alias(settings).version == "1"


def test_the_utterances_that_differ_most_are_found_among_the_transcripts(
    settings: Settings, rollouts: Rollouts
) -> None:
    topics = MemoryTopics()
    plan = begin(rollouts, settings)
    rollouts.store_evidence(plan, 1, observed(plan.rules, 3, better_in=3))
    place = topics.say(transcript(id=HOSTILE[:300], audio_filepath="calls/0.opus"))
    topics.say(transcript(id="another", audio_filepath="calls/77.opus"))
    topics.add("asr.transcripts", b"no transcript")
    with person(settings, topics) as user:
        seen = user.see("/rollouts/served/differing")
        assert f'href="/utterances/{place}"' in seen
        assert "another" not in seen
        topics.down = ConnectionError("no Kafka broker answers at nowhere:9092")
        assert "no Kafka broker answers" in user.see("/rollouts/served/differing", 503)


def test_figures_are_open_to_who_may_not_read_speech(
    settings: Settings, rollouts: Rollouts, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(rollouts, settings)
    with signed_in(settings, "figures", monkeypatch) as user:
        seen = user.see("/rollouts/served")
        assert "Nothing to draw yet" in seen
        assert "Decide" not in seen
        user.see("/rollouts/served/differing", 403)
        user.told("/rollouts/served/abort", 403, number="1", why="x")
    last = rollouts.last("m", "production")
    assert last is not None
    assert last.events == []


def test_hostile_reasons_are_shown_as_text(settings: Settings, rollouts: Rollouts) -> None:
    plan = begin(rollouts, settings, why=HOSTILE, by=HOSTILE)
    rollouts.add(plan, "aborted", by=HOSTILE, why=HOSTILE)
    with person(settings) as user:
        user.see("/rollouts")
        assert "&lt;script&gt;" in user.see("/rollouts/served")


def test_what_is_not_there_says_what_to_do(settings: Settings, rollouts: Rollouts) -> None:
    with person(settings) as user:
        assert "chorus rollout start served --candidate" in user.see("/rollouts")
        assert "chorus rollout start served" in user.see("/rollouts/served", 404)
        assert "no model `serve`" in user.see("/rollouts/serve", 400)
        assert "which no rollout can change" in user.see("/rollouts/general", 400)
        settings.registry = None
        assert "No model of these settings follows" in user.see("/rollouts")
