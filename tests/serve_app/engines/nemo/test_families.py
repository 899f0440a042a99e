"""Models of the public families, in files as they are published: all that is safe still loads."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from schemas.settings import ModelSettings
from tests.serve_app.engines.nemo import families
from tests.serve_app.engines.nemo.results import reference, texts
from tests.serve_app.engines.nemo.tiny_models import babble, train_tokenizer

pytestmark = pytest.mark.nemo

CLIPS = [babble(seconds, seed) for seed, seconds in enumerate((1.5, 3.2, 1.05))]


@pytest.fixture(scope="module")
def family_file(nemo: None, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("families")
    tokenizer = train_tokenizer(folder / "tokenizer")
    return cache(lambda family: families.build(family, tokenizer, folder / f"{family}.nemo"))


@pytest.mark.parametrize("family", families.FAMILIES)
def test_says_what_it_says_in_nemo(family: str, family_file: Callable[[str], Path]) -> None:
    from serve_app.engines.nemo.engine import NemoEngine

    path = family_file(family)
    engine = NemoEngine(ModelSettings(path=str(path), threads=1))
    expected = reference(path, "auto").transcribe(CLIPS, batch_size=4, verbose=False)
    found = texts(engine.transcribe(CLIPS))
    assert found == [each.text for each in expected]
    assert len(set(found)) > 1


@pytest.mark.parametrize("family", families.FAMILIES)
def test_is_the_same_when_it_was_saved_again(
    family: str, family_file: Callable[[str], Path], tmp_path: Path
) -> None:
    """As a fine-tuning does: the file made is one for us, and one for NeMo's own tools."""
    from serve_app.engines.nemo.engine import NemoEngine
    from workers.finetune.models import open_model, save_model

    path = tmp_path / "again.nemo"
    save_model(open_model(family_file(family)), path)
    first = NemoEngine(ModelSettings(path=str(family_file(family)), threads=1))
    again = NemoEngine(ModelSettings(path=str(path), threads=1))
    expected = texts(first.transcribe(CLIPS))
    assert texts(again.transcribe(CLIPS)) == expected
    heard = reference(path, "auto").transcribe(CLIPS, batch_size=4, verbose=False)
    assert [each.text for each in heard] == expected
