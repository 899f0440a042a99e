"""The pages of models, over a registry in a folder."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from schemas.model_card import CARD_FILE, DataFacts, ModelCard, Wer
from schemas.settings import ModelSettings, RegistrySettings, Settings
from serve_app.registry.aliases import refuse
from serve_app.registry.local_store import LocalStore
from serve_app.registry.registry import Registry, pretty
from tests.versioned import promote, register
from tests.workers.console.browsing import HOSTILE, person, signed_in
from tests.workers.console.conftest import demo_settings


@pytest.fixture
def settings() -> Settings:
    return demo_settings()


@pytest.fixture
def registry(settings: Settings, tmp_path: Path) -> Path:
    """A registry with three versions of a model, which the settings serve."""
    folder = tmp_path / "registry"
    for text in ("one", "two", "three"):
        register(folder, "m", text)
    promote(folder, "m", "1")
    settings.registry = RegistrySettings(url=str(folder))
    settings.models["followed"] = ModelSettings(model="m@production")
    return folder


def names(folder: Path) -> str:
    return Registry(LocalStore(folder)).aliases("m")["production"]


def test_versions_are_promoted_and_rolled_back_with_a_reason(
    settings: Settings, registry: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "chorus.console.audit")
    with person(settings) as user:
        assert 'href="/models/m"' in user.see("/models")
        form = {"version": "2", "alias": "production", "why": "fewer errors on wards"}
        assert user.send("/models/m/promote", 303, **form).headers["location"] == "/models/m"
        seen = user.see("/models/m")
        assert "fewer errors on wards" in seen
        assert "Followed by <bdi>followed</bdi>" in seen
        assert names(registry) == "2"
        user.send("/models/m/rollback", alias="production", why="slower")
        assert names(registry) == "1"
        seen = user.see("/models/m")
        assert "taken back" in seen
        assert "Roll back" not in seen  # there is nothing before it
        assert "named no other version" in user.told(
            "/models/m/rollback", 404, alias="production", why="again"
        )
    lines = [each.getMessage() for each in caplog.records]
    assert '"act": "promote", "target": "m:2 @production"' in lines[0]
    assert '"outcome": "refused: UnknownModelError"' in lines[-1]


@pytest.mark.parametrize(
    ("form", "status", "reason"),
    [
        ({"why": " "}, 400, "give a reason"),
        ({"why": "x" * 2001}, 400, "at most 2000"),
        ({"version": "nine"}, 400, "choose a version"),
        ({"version": "9"}, 404, "m has no version 9; it has 1, 2, 3"),
        ({"alias": "../../x"}, 400, "no model or alias is called so"),
        ({"alias": HOSTILE}, 400, "no model or alias is called so"),
    ],
)
def test_what_cannot_be_promoted_is_refused_with_the_reason(
    settings: Settings, registry: Path, form: dict[str, str], status: int, reason: str
) -> None:
    given = {"version": "2", "alias": "production", "why": "because"} | form
    with person(settings) as user:
        assert reason in user.told("/models/m/promote", status, **given)
    assert names(registry) == "1"


def test_only_who_may_act_acts(
    settings: Settings, registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with signed_in(settings, "figures", monkeypatch) as user:
        assert "Promote" not in user.see("/models/m")
        form = {"version": "2", "alias": "production", "why": "because"}
        assert "nothing that acts" in user.told("/models/m/promote", 403, **form)
    assert names(registry) == "1"


def test_another_site_cannot_make_a_browser_promote(settings: Settings, registry: Path) -> None:
    with person(settings) as user:
        form = {"version": "2", "alias": "production", "why": "because"}
        assert user.client.post("/models/m/promote", data=form).status_code == 403
    assert names(registry) == "1"


def test_a_card_shows_its_figures_and_hostile_contents_as_text(
    settings: Settings, registry: Path
) -> None:
    data = DataFacts(manifests={HOSTILE[:200]: "ab"}, utterances=1200, hours=2.5, share=1.0)
    wer = Wer(data=data, before=34.94, after=2.61, normaliser="whisper")
    card = ModelCard(
        name="m",
        version="3",
        domain=HOSTILE,
        made=HOSTILE,
        training=[data],
        validation=wer,
        tests=[wer],
        hyperparameters={HOSTILE: HOSTILE},
        licence=HOSTILE,
        source=HOSTILE,
    )
    (registry / "m" / "3" / CARD_FILE).write_bytes(pretty(card))
    store = LocalStore(registry)
    Registry(store).promote("m", 3, "production", why=HOSTILE, by=HOSTILE)
    refuse(store, "m", "production", 2, why=HOSTILE, by=HOSTILE)
    with person(settings) as user:
        shown = user.see("/models/m/3")
        assert "34.94" in shown
        assert "1,200" in shown
        assert "Refused on" in user.see("/models/m")
        user.see("/models")


def test_what_is_not_there_says_what_to_do(settings: Settings, tmp_path: Path) -> None:
    settings.registry = RegistrySettings(url=str(tmp_path / "none"))
    with person(settings) as user:
        assert "chorus models register" in user.see("/models")
        assert "has no model `nobody`" in user.see("/models/nobody", 404)
        assert "no model or alias is called so" in user.see("/models/%3Cscript%3E", 400)


def test_a_registry_out_of_reach_and_a_damaged_card_are_named(
    settings: Settings, registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (registry / "m" / "2" / CARD_FILE).write_text("{")
    with person(settings) as user:
        assert "m:2" in user.see("/models/m", 400)

        def unreachable(self: LocalStore, folder: str) -> list[str]:
            raise OSError("bucket.example does not answer")

        monkeypatch.setattr(LocalStore, "keys", unreachable)
        assert "bucket.example does not answer" in user.see("/models", 503)
