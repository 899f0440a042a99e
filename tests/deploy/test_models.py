"""The shipped models and their cards."""

from __future__ import annotations

import pytest
import yaml

from deploy.demo import MODELS
from deploy.demo.train.recipes import SHIPPED
from serve_app.engines.archive import check_archive
from workers.finetune.versions import read_card

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
    archive = check_archive(MODELS / f"{name}.nemo", sha256=card.sha256)
    assert archive.path.stat().st_size == card.bytes <= MAX_BYTES
    assert (card.name, card.domain, card.model_class) == (name, name, archive.model_class)
    assert sum(data.share or 0 for data in card.training) == pytest.approx(1)
    assert [next(iter(test.data.manifests)) for test in card.tests] == [
        f"{test}.jsonl" for test in SHIPPED
    ]
    own = card.tests[SHIPPED.index(name)]
    assert own.data.utterances >= 200
    assert own.after == min(model_wer(other, SHIPPED.index(name)) for other in SHIPPED)


def model_wer(name: str, test: int) -> float | None:
    """WER of a model on the test set of that number, by its card."""
    return read_card(MODELS / f"{name}.json").tests[test].after
