"""Phrases that a model listens for, on the shipped models and on tiny ones of every kind."""

from __future__ import annotations

import pytest

from deploy.demo import MODELS, SPEECH
from schemas.requests import ClipRequest
from schemas.settings import ModelSettings
from serve_app.engines.base import Hypothesis
from serve_app.engines.errors import EngineError
from serve_app.engines.nemo.engine import NemoEngine
from serve_app.scoring.wer import ErrorCounts, count_errors
from tests.asking import alike
from tests.serve_app.engines.conftest import EngineOf
from tests.serve_app.engines.nemo.results import KINDS, heard, texts
from tests.serve_app.engines.nemo.tiny_models import babble
from workers.manifests.speech import check_manifest, read_audio

pytestmark = pytest.mark.nemo

SPOKEN, _ = check_manifest(SPEECH / "medical.jsonl", 60.0, limit=20)


def listen(phrases: list[str], weight: float = 0.5) -> list[Hypothesis]:
    path = str(MODELS / "general.nemo")
    engine = NemoEngine(ModelSettings(path=path, phrases=phrases, phrase_weight=weight))
    clips = [read_audio(each, engine.sample_rate) for each in SPOKEN]
    results = engine.transcribe(clips, alike(clips, words=True))
    return [each for each in results if isinstance(each, Hypothesis)]


def wer(heard: list[Hypothesis]) -> float:
    pairs = zip(SPOKEN, heard, strict=True)
    counts = (count_errors(each.text, found.text) for each, found in pairs)
    return sum(counts, start=ErrorCounts()).percent or 0.0


def test_a_model_hears_the_terms_that_it_listens_for() -> None:
    terms = sorted({word for each in SPOKEN for word in each.text.split() if len(word) > 6})
    plain, boosted = listen([]), listen(terms)
    assert wer(boosted) < 0.9 * wer(plain)
    for found in boosted:
        assert found.words is not None
        assert [word.word for word in found.words] == found.text.split()
        # as the model itself has it, not as it was pushed to
        assert all(0 <= (word.confidence or 0) <= 1 for word in found.words)


def test_the_weight_says_how_hard() -> None:
    phrase = ["penicillin"]

    def count(heard: list[Hypothesis]) -> int:
        return sum(each.text.count("penicillin") for each in heard)

    assert count(listen([])) < count(listen(phrase, 1.0)) <= count(listen(phrase, 5.0))


def test_a_phrase_that_the_model_cannot_write_is_refused() -> None:
    with pytest.raises(EngineError, match="phrases: 'Ωmega 3': the model cannot write '3' 'Ω'"):
        listen(["fine", "Ωmega 3"])
    with pytest.raises(EngineError, match="phrases: one of the phrases is empty"):
        listen([" "])


CHARACTERS = ("ctc_char", "ctc_conv", "rnnt_char")


@pytest.mark.parametrize("kind", CHARACTERS)
def test_a_model_of_characters_says_that_it_cannot_listen(engine_of: EngineOf, kind: str) -> None:
    with pytest.raises(EngineError, match="not supported by a model that writes single characters"):
        engine_of(kind, phrases=["word"])


@pytest.mark.parametrize(("kind", "head"), [each for each in KINDS if each[0] not in CHARACTERS])
def test_every_other_kind_of_model_can(engine_of: EngineOf, kind: str, head: str) -> None:
    clips = [babble(2.0, seed) for seed in range(3)]
    word = next(t for t in texts(engine_of(kind, head=head).transcribe(clips)) if t).split()[0]
    boosted = engine_of(kind, head=head, phrases=[word], phrase_weight=2.0)
    results = boosted.transcribe(clips, alike(clips, words=True))
    assert all(isinstance(each, Hypothesis) for each in results), results


TRANSDUCERS = [each for each in KINDS if each[0] not in CHARACTERS and "ctc" not in "".join(each)]


@pytest.mark.parametrize(("kind", "head"), TRANSDUCERS)
def test_a_transducer_listens_for_the_phrases_of_each_clip(
    engine_of: EngineOf, kind: str, head: str
) -> None:
    engine = engine_of(kind, head=head, phrase_weight=8.0)
    assert engine.takes_phrases
    clips = [babble(2.0, seed) for seed in range(3)]
    plain = texts(engine.transcribe(clips))
    wish = "sphinx of black quartz"
    results = engine.transcribe(
        clips,
        [ClipRequest(phrases=each) for each in ((), (wish, "Ω"), (wish.upper(),))],
    )
    found = texts(results)
    assert found[0] == plain[0]
    assert found[1] != plain[1]
    assert found[2] != plain[2]
    assert [each.phrases for each in heard(results)] == [None, 1, 1]  # Ω is none that it can write
    # what one call asked for is gone with it
    assert texts(engine.transcribe(clips)) == plain


@pytest.mark.parametrize(("kind", "head"), [each for each in KINDS if each not in TRANSDUCERS])
def test_every_other_model_says_that_it_does_not(engine_of: EngineOf, kind: str, head: str) -> None:
    engine = engine_of(kind, head=head)
    assert not engine.takes_phrases
    clips = [babble(2.0, 0)]
    [result] = engine.transcribe(clips, [ClipRequest(phrases=("sphinx",))])
    assert isinstance(result, Hypothesis)
    assert result.phrases is None
    assert engine.transcribe(clips) == [result]
