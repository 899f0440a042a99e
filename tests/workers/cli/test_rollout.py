"""`chorus rollout` as far as it needs no cluster: what is refused, recorded and shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.demo import SPEECH
from schemas.rollout import RolloutPlan
from schemas.settings import load_settings
from serve_app.registry.local_store import LocalStore
from serve_app.rollout.evidence import Evidence, Heard, Observation
from serve_app.rollout.records import Rollouts
from tests.versioned import ENGINE, promote, register
from tests.workers.cli.shell import chorus
from workers import exit_codes

SAID = "one two three four"


class Desk:
    """Somebody at a terminal, with three versions of `m` and settings that serve it."""

    def __init__(self, folder: Path) -> None:
        self.registry = folder / "registry"
        for text in ("one", "two", "three"):
            register(self.registry, "m", text)
        promote(self.registry, "m", "1")
        self._file = folder / "chorus.yaml"
        content: dict[str, Any] = {
            "models": {
                "general": {"engine": ENGINE, "model": "m@production"},
                "pinned": {"engine": ENGINE, "model": "m:1"},
            },
            "routing": {"default": "general"},
            "registry": {"url": str(self.registry)},
            "audio": {"roots": [str(SPEECH)]},
            "serve": {"app": "nobody-s"},
        }
        self._file.write_text(yaml.safe_dump(content))
        self.rollouts = Rollouts(LocalStore(self.registry))

    def begin(self, **more: Any) -> RolloutPlan:
        settings = load_settings(self._file, files=False)
        return self.rollouts.begin(
            RolloutPlan(
                name="m",
                alias="production",
                number=0,
                app="nobody-s",
                model="general",
                incumbent="1",
                candidate="2",
                rules=settings.rollout,
                by="ann",
                at="",
                **more,
            )
        )

    def run(self, *arguments: str, code: int = 0) -> str:
        """What is printed, on standard error where the command is to fail."""
        done = chorus("rollout", *arguments, "-s", self._file)
        assert done.returncode == code, done.stderr
        return done.stderr if code else done.stdout

    @property
    def serves(self) -> str:
        move = json.loads(
            sorted((self.registry / "aliases/m/production").iterdir())[-1].read_text()
        )
        return str(move["version"])


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["genera", "--candidate", "2"], "no model `genera`; did you mean `general`?"),
        (["pinned", "--candidate", "2"], "models.pinned is m:1, which no rollout can change"),
        (["general", "--candidate", "1"], "m@production names version 1 already"),
        (["general", "--candidate", "9"], "m has no version 9; it has 1, 2, 3"),
        (["general", "--candidate", "other:1"], "can only name versions of m"),
        (["general", "--candidate", "2", "--canary", "90%"], "0.9 is more than `shadow` (0.2)"),
        (["general", "--candidate", "2", "--shadow", "0"], "give the candidate a share"),
        (["general", "--candidate", "2", "--promote", "always"], "Invalid enum value 'always'"),
    ],
)
def test_what_cannot_be_compared_is_refused(desk: Desk, arguments: list[str], reason: str) -> None:
    assert reason in desk.run("start", *arguments, code=exit_codes.SETTINGS)
    assert desk.rollouts.all() == []


@pytest.mark.parametrize("share", ["a fifth", "20%%", "-1", "nan", "20", "150%"])
def test_a_share_is_a_number_or_percent(desk: Desk, share: str) -> None:
    error = desk.run("start", "general", "--candidate", "2", "--shadow", share, code=2)
    said = " ".join(error.replace("│", " ").split())  # it is in a box
    assert "such as 20% or 0.2" in said


def test_without_a_cluster_nothing_is_begun(desk: Desk) -> None:
    error = desk.run("start", "general", "--candidate", "2", code=exit_codes.UNREACHABLE)
    assert "no `chorus serve` with the application `nobody-s` runs on this machine" in error
    assert desk.rollouts.all() == []


def test_a_person_pauses_and_aborts(desk: Desk) -> None:
    desk.begin()
    said = desk.run("pause", "general", "--by", "bob", "--why", "lunch")
    assert said == "rollout 1 of general pauses; what runs follows within 5 s\n"
    assert "paused already by bob at" in desk.run("pause", "general")
    assert "paused by bob at" in desk.run("status")
    assert "is aborted" in desk.run("abort", "general")
    error = desk.run("abort", "general", code=exit_codes.FAILURE)
    assert "the last rollout of general has ended: aborted by" in error
    assert desk.serves == "1"


def test_a_person_promotes(desk: Desk) -> None:
    plan = desk.begin()
    said = desk.run("promote", "general", "--by", "bob")
    assert "the verdict was hold: nothing has been compared\nm@production is m:2 now" in said
    assert desk.serves == "2"
    rollout = desk.rollouts.last("m", "production")
    assert rollout is not None
    assert rollout.end is not None
    assert (rollout.end.kind, rollout.end.by) == ("promoted", "bob")
    assert rollout.end.why == "the verdict was hold: nothing has been compared"
    assert plan.number == 1


def test_who_moved_the_alias_meanwhile_is_not_overruled(desk: Desk) -> None:
    desk.begin()
    promote(desk.registry, "m", "3")
    error = desk.run("promote", "general", code=exit_codes.FAILURE)
    assert "m@production does not name version 1 any more, but 3" in error
    assert desk.serves == "3"


def test_a_candidate_is_not_garbage(desk: Desk) -> None:
    def garbage() -> list[str]:
        done = chorus("models", "gc", "--days", "0", "--registry", desk.registry)
        return [line.split()[0] for line in done.stdout.splitlines()[:-1]]

    assert garbage() == ["m:2"]
    plan = desk.begin()
    assert garbage() == []
    desk.rollouts.add(plan, "aborted", by="ann")
    assert garbage() == ["m:2"]


def test_what_was_never_begun(desk: Desk) -> None:
    error = desk.run("abort", "general", code=exit_codes.FAILURE)
    assert "`chorus rollout start general --candidate VERSION` begins one" in error
    assert "no rollout was ever begun" in desk.run("status", code=exit_codes.FAILURE)
    assert desk.run("status", "--json") == "[]\n"


def test_status_shows_what_was_observed(desk: Desk) -> None:
    plan = desk.begin()
    evidence = Evidence()
    for number in range(40):
        evidence.add(
            Observation(
                record=f"r{number}",
                block=f"b{number}",
                reference=SAID,
                incumbent=Heard(text="one two three", confidence=0.5),
                candidate=Heard(text=SAID if number % 2 else "one two", confidence=0.75),
            ),
            plan.rules,
        )
    desk.rollouts.store_evidence(plan, 1, evidence)
    heading, *table = desk.run("status", "general").splitlines()
    assert heading == (
        "general: rollout 1 of m:2 against m:1, under way; hold: 40 of at least 100 blocks with "
        "references"
    )
    rows = [line.split() for line in table]
    assert rows[0] == ["version", "1", "version", "2", "difference"]
    assert rows[1][:8] == ["WER", "%", "on", "160", "words", "25.00", "25.00", rows[1][7]]
    assert rows[2] == ["no", "answer,", "%", "0.00", "0.00"]
    assert rows[5] == ["confidence", "+0.250"]
    assert rows[6] == ["records,", "blocks", "40,", "40"]
    [found] = json.loads(desk.run("status", "--json"))
    assert (found["state"], found["findings"]["verdict"]) == ("under way", "hold")
    assert found["plan"]["candidate"] == "2"
