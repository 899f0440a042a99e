"""Transducers that are told the language of each clip: what the engine hears, beside NeMo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.failures import ErrorCode
from schemas.requests import ClipRequest
from schemas.settings import ModelSettings
from serve_app.audio.clip import Clip
from serve_app.engines.errors import EngineError
from serve_app.engines.nemo.engine import NemoEngine
from tests.serve_app.engines.conftest import EngineOf
from tests.serve_app.engines.nemo.archives import plain_tar, read_members, with_config
from tests.serve_app.engines.nemo.results import codes, heard, reference, texts
from tests.serve_app.engines.nemo.tiny_models import PROMPTS

pytestmark = pytest.mark.nemo

KINDS = [("prompted_rnnt", "auto"), ("prompted_hybrid", "rnnt"), ("prompted_hybrid", "ctc")]
#: Of each clip of `babbles`, as records have it, and by the model's name.
TAGS = ["en", "de-AT", "no", None, "en_gb", "DE"]
TOLD = ["en", "de-DE", "no", "auto", "en-GB", "de-DE"]
REQUESTS = [ClipRequest(language=tag) for tag in TAGS]


@pytest.mark.parametrize(("kind", "head"), KINDS)
def test_text_equals_that_of_transcribe_in_any_batch(
    kind: str,
    head: str,
    babbles: list[Clip],
    engine_of: EngineOf,
    model_file: Callable[[str], Path],
) -> None:
    model = reference(model_file(kind), head)
    expected = [""] * len(babbles)
    for name in set(TOLD):
        rows = [row for row, told in enumerate(TOLD) if told == name]
        some = [babbles[row] for row in rows]
        found = model.transcribe(some, batch_size=4, verbose=False, target_lang=name)
        for row, each in zip(rows, found, strict=True):
            expected[row] = each.text
    together = engine_of(kind, head=head).transcribe(babbles, REQUESTS)
    assert texts(together) == expected
    assert len(set(expected)) > 3
    alone = engine_of(kind, head=head, batch_seconds=0.1).transcribe(babbles, REQUESTS)
    assert texts(alone) == expected
    assert texts(engine_of(kind, head=head).transcribe(babbles)) != expected


def test_words_and_phrases_are_those_of_the_language(
    babbles: list[Clip], engine_of: EngineOf
) -> None:
    engine = engine_of("prompted_rnnt")
    plain = engine.transcribe(babbles, REQUESTS)
    wanted = [ClipRequest(language=tag, words=True, phrases=("fox",)) for tag in TAGS[:3]]
    wanted += [ClipRequest(language=tag, words=True) for tag in TAGS[3:]]
    found = heard(engine.transcribe(babbles, wanted))
    assert [each.phrases for each in found] == [1, 1, 1, None, None, None]
    assert texts(found)[3:] == texts(plain)[3:]
    for each in found:
        assert each.words is not None
        assert [word.word for word in each.words] == each.text.split()
    assert all(each.words is None for each in heard(plain))


def test_a_language_that_the_model_does_not_know_rejects_that_clip_only(
    babbles: list[Clip], engine_of: EngineOf
) -> None:
    engine = engine_of("prompted_hybrid")
    requests = [REQUESTS[0], ClipRequest(language="it-IT"), REQUESTS[2]]
    results = engine.transcribe(babbles[:3], requests)
    assert codes(results) == [None, ErrorCode.MODEL_REJECTED, None]
    assert "does not know the language 'it-IT' (`lang`)" in str(results[1])
    assert results[::2] == engine.transcribe(babbles[:3:2], requests[::2])


def test_a_clip_without_a_language_has_that_of_the_options(
    babbles: list[Clip], engine_of: EngineOf
) -> None:
    german = engine_of("prompted_rnnt", options={"language": "de", "languages": ["de", "en"]})
    told = [ClipRequest(language="de")] * len(babbles)
    assert german.transcribe(babbles) == engine_of("prompted_rnnt").transcribe(babbles, told)
    assert codes(german.transcribe(babbles[:1], [ClipRequest(language="auto")])) == [
        ErrorCode.MODEL_REJECTED
    ]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"language": "it"}, "options.language: the model has no language 'it'"),
        ({"languages": ["de", "fr"]}, "options.languages: the model has no language 'fr'"),
        ({"languages": ["de", "no"]}, "options.language: say which language .* de-DE, no"),
        ({"pnc": True}, "options.pnc: a model of class EncDecRNNTBPEModelWithPrompt has no"),
    ],
)
def test_with_what_it_cannot_do_is_refused(
    options: dict[str, Any], reason: str, engine_of: EngineOf
) -> None:
    with pytest.raises(EngineError, match=reason):
        engine_of("prompted_rnnt", options=options)


@pytest.mark.parametrize(
    ("dictionary", "reason"),
    [
        ({}, "prompt_dictionary is empty"),
        (None, "prompt_dictionary is empty"),
        ({"en": 8}, "prompt_dictionary.en is no prompt of 8"),
        ({"en": "0"}, "prompt_dictionary.en is no prompt of 8"),
        (PROMPTS | {"xx": -1}, "prompt_dictionary.xx is no prompt of 8"),
    ],
)
def test_with_prompts_that_it_does_not_have_is_refused(
    dictionary: Any, reason: str, model_file: Callable[[str], Path], tmp_path: Path
) -> None:
    path = tmp_path / "model.nemo"
    members = with_config(
        read_members(model_file("prompted_rnnt")),
        lambda config: config["model_defaults"].update(prompt_dictionary=dictionary),
    )
    path.write_bytes(plain_tar(members))
    with pytest.raises(EngineError, match=reason):
        NemoEngine(ModelSettings(path=str(path), threads=1))


def test_stays_in_evaluation_mode(babbles: list[Clip], engine_of: EngineOf) -> None:
    engine = engine_of("prompted_hybrid")
    engine.transcribe(babbles[:2])
    head: Any = engine._head
    assert [name for name, part in head._model.named_modules() if part.training] == []
