"""What there is to decide on: a registry with a rollout under way, and reports."""

from __future__ import annotations

from pathlib import Path

from schemas.rollout import RolloutPlan
from schemas.settings import RolloutSettings
from serve_app.registry.local_store import LocalStore
from serve_app.registry.registry import Registry
from serve_app.rollout.records import Rollouts
from tests.versioned import register
from tests.workers.console.test_evaluation import measured, validation
from tests.workers.console.test_rollouts import observed
from tests.workers.evaluation.report.samples import comparison, worst
from workers.evaluation.report import write_report


def fill_registry(folder: Path, app: str, model: str) -> None:
    """Two versions of `medical`, of which the second is a candidate for the first.

    Args:
        folder: of the registry.
        app: `serve.app` of the settings.
        model: of the settings, which serves the alias.
    """
    for text in ("one", "two"):
        register(folder, "medical", text)
    store = LocalStore(folder)
    Registry(store).promote("medical", 1, "production", why="the first", by="ann")
    rules = RolloutSettings()
    plan = RolloutPlan(
        name="medical",
        alias="production",
        number=0,
        app=app,
        model=model,
        incumbent="1",
        candidate="2",
        rules=rules,
        by="ann",
        at="",
        why="fewer errors on wards",
    )
    rollouts = Rollouts(store)
    rollouts.store_evidence(rollouts.begin(plan), 1, observed(rules, 400))


def fill_reports(folder: Path) -> None:
    """A report of each kind, and a page that would like to run a script."""
    folder.mkdir()
    compared = comparison({"calls": {"general": 20, "medical": 10}}, bad=[worst("call-17")])
    write_report(compared, folder / "compared.html")
    validation("medical:2").save(folder / "validated.json")
    measured("medical:2").save(folder / "speed.json")
    (folder / "hostile.html").write_text("<title>t</title><script>parent.document.title=1</script>")
