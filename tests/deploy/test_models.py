"""The shipped models and their cards."""

from __future__ import annotations

import pytest
import yaml

from deploy.demo import MODELS
from research.models.recipes import SHIPPED
from serve_app.engines.nemo.archive import open_archive
from serve_app.registry.versions import read_card

MAX_BYTES = 4_000_000


def test_those_and_no_others_are_shipped_and_served_by_the_demo() -> None:
    assert {path.stem for path in MODELS.glob("*.nemo")} == set(SHIPPED)
    settings = yaml.safe_load((MODELS.parent / "chorus.yaml").read_text())
    assert {model["path"] for model in settings["models"].values()} == {
        f"models/{name}.nemo" for name in SHIPPED
    }


@pytest.mark.parametrize("name", SHIPPED)
def test_a_card_tells_what_the_model_beside_it_is(name: str) -> None:
    card = read_card(MODELS / f"{name}.json")
    with open_archive(MODELS / f"{name}.nemo", sha256=card.sha256) as archive:
        pass
    assert archive.path.stat().st_size == card.bytes <= MAX_BYTES
    assert (card.name, card.domain, card.model_class) == (name, name, archive.model_class)
    assert sum(data.share or 0 for data in card.training) == pytest.approx(1)
    assert [next(iter(test.data.manifests)) for test in card.tests] == [
        f"{test}.jsonl" for test in SHIPPED
    ]
    assert all(test.data.utterances >= 200 for test in card.tests)


@pytest.mark.parametrize("name", SHIPPED[1:])
def test_a_domain_model_is_the_one_to_ask_in_its_domain(name: str) -> None:
    own = SHIPPED.index(name)
    wers = {model: model_wer(model, own) for model in SHIPPED}
    assert wers[name] == min(wers.values())
    assert wers[name] < 0.8 * wers["general"]


def model_wer(name: str, test: int) -> float:
    """WER of a model on the test set of that number, by its card."""
    wer = read_card(MODELS / f"{name}.json").tests[test].after
    assert wer is not None
    return wer
