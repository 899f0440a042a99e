"""Multitask models (Canary): what the engine writes, beside what NeMo writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from schemas.failures import ErrorCode
from schemas.requests import ClipRequest
from schemas.settings import ModelSettings
from serve_app.audio.clip import Clip
from serve_app.engines.base import Hypothesis, Rejection
from serve_app.engines.errors import EngineError
from serve_app.engines.load import check_engine
from serve_app.engines.nemo import multitask
from serve_app.engines.nemo.engine import NemoEngine
from tests.serve_app.engines.nemo import tiny_models, tiny_multitask
from tests.serve_app.engines.nemo.results import codes, heard, reference
from tests.serve_app.engines.nemo.tiny_models import SAMPLE_RATE, babble

pytestmark = pytest.mark.nemo

#: Without guards: these models repeat themselves.
UNGUARDED: dict[str, Any] = {"compression_ratio_threshold": None}
LENGTHS = (1.5, 4.2, 1.05, 2.2, 3.1, 1.5, 2.8, 1.9)
CLIPS: list[Clip] = [babble(seconds, seed) for seed, seconds in enumerate(LENGTHS)]
#: Of each clip, as records have it, and by the model's name.
TAGS = ["en", "de-AT", None, "DE", "en_US", "de", "en", "de"]
SPOKEN = ["en", "de", "en", "de", "en", "de", "en", "de"]
REQUESTS = [ClipRequest(language=tag) for tag in TAGS]

#: The kinds of models, and what NeMo must be told so that it writes what the engine writes.
TOLD: dict[str, dict[str, str]] = {
    "aggregate": {
        "decodercontext": "",
        "emotion": "<|emo:undefined|>",
        "itn": "no",
        "timestamp": "no",
        "diarize": "no",
    },
    "unified": {"task": "asr"},
}


@pytest.fixture(scope="module")
def files(nemo: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model of each kind; "timed" is the first one with a second model inside."""
    folder = tmp_path_factory.mktemp("multitask")
    pieces = tiny_models.train_tokenizer(folder / "pieces")
    special = tiny_multitask.special_tokenizer(folder / "special")
    unified = tiny_multitask.unified_tokenizer(folder / "unified")
    made = {
        "aggregate": tiny_multitask.build(
            folder / "aggregate.nemo", tiny_multitask.aggregate(special, [pieces, pieces])
        ),
        "unified": tiny_multitask.build(
            folder / "unified.nemo", tiny_multitask.unified(unified), prompt_format="canary", seed=3
        ),
    }
    ctc = tiny_models.build("ctc_bpe", pieces, folder / "ctc.nemo")
    made["timed"] = tiny_multitask.with_times(folder / "timed.nemo", made["aggregate"], ctc)
    return made


Load = Callable[..., NemoEngine]


@pytest.fixture(scope="module")
def load(files: dict[str, Path]) -> Load:
    """An engine with the model of a kind; the same one for the same settings."""

    @cache
    def made(kind: str, options: tuple[tuple[str, Any], ...], **settings: Any) -> NemoEngine:
        path = str(files[kind])
        return NemoEngine(ModelSettings(path=path, threads=1, options=dict(options), **settings))

    def load(kind: str, options: dict[str, Any] = UNGUARDED, **settings: Any) -> NemoEngine:
        return made(kind, tuple(options.items()), **settings)

    return load


@pytest.fixture(scope="module")
def nemo_writes(files: dict[str, Path]) -> Callable[..., list[Any]]:
    """What NeMo's `transcribe` makes of all clips, each in its language."""
    models = cache(lambda kind: reference(files[kind], "auto"))

    @cache
    def write(kind: str, *, pnc: str = "yes", timestamps: bool | None = None) -> list[Any]:
        found: dict[int, Any] = {}
        for language in tiny_multitask.LANGUAGES:
            rows = [row for row, spoken in enumerate(SPOKEN) if spoken == language]
            written = models(kind).transcribe(
                [CLIPS[row] for row in rows],
                batch_size=4,
                verbose=False,
                timestamps=timestamps,
                source_lang=language,
                target_lang=language,
                pnc=pnc,
                **TOLD["unified" if kind == "unified" else "aggregate"],
            )
            found.update(zip(rows, written, strict=True))
        return [found[row] for row in range(len(CLIPS))]

    return write


def written(results: Sequence[Hypothesis | Rejection]) -> list[str | None]:
    """The texts; None for one that does not come to an end."""
    for each in results:
        if isinstance(each, Rejection):
            assert each.code is ErrorCode.MODEL_REPEATS
            assert each.message == "the model does not come to an end on this clip"
    return [each.text if isinstance(each, Hypothesis) else None for each in results]


def agree(found: Sequence[str | None], expected: Sequence[Any]) -> None:
    """Check that each text is that of NeMo, and that one without an end is long there, too."""
    for clip, text, each in zip(CLIPS, found, expected, strict=True):
        if text is None:
            assert len(each.y_sequence) > 12.5 * len(clip) / SAMPLE_RATE + 40
        else:
            assert text == each.text.strip()


class TestText:
    @pytest.mark.parametrize("kind", TOLD)
    def test_equals_that_of_transcribe_in_any_batch(
        self, kind: str, load: Load, nemo_writes: Callable[..., list[Any]]
    ) -> None:
        together = load(kind).transcribe(CLIPS, REQUESTS)
        found = written(together)
        agree(found, nemo_writes(kind))
        assert len(set(found) - {None}) > 4
        alone = load(kind, batch_seconds=0.1).transcribe(CLIPS, REQUESTS)
        assert written(alone) == found
        assert load(kind).transcribe(CLIPS[::-1], REQUESTS[::-1]) == together[::-1]

    def test_is_without_punctuation_on_request(
        self, load: Load, nemo_writes: Callable[..., list[Any]]
    ) -> None:
        found = written(load("aggregate", UNGUARDED | {"pnc": False}).transcribe(CLIPS, REQUESTS))
        agree(found, nemo_writes("aggregate", pnc="no"))
        assert found != written(load("aggregate").transcribe(CLIPS, REQUESTS))

    def test_has_no_special_tokens(self, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
        import torch

        engine = load("timed")
        network: Any = engine._head._model  # type: ignore[attr-defined]
        special = network.tokenizer.special_tokens
        [word] = network.tokenizer.text_to_ids("fox", "en")[-1:]

        def decode(**_: Any) -> list[Any]:
            ids = ([special["<|nospeech|>"]], [special["<|en|>"], word, special["<|pnc|>"]])
            return [
                SimpleNamespace(y_sequence=torch.tensor(each), token_confidence=[0.5] * len(each))
                for each in ids
            ]

        monkeypatch.setattr(network.decoding, "decode_predictions_tensor", decode)
        longer, shorter = CLIPS[1], CLIPS[0]  # in the order that they are decoded in
        silent, spoken = heard(engine.transcribe([longer, shorter], [ClipRequest(words=True)] * 2))
        assert (silent.text, silent.words, silent.confidence) == ("", [], None)
        assert spoken.text.isalpha()
        assert spoken.confidence == 0.5


class TestLanguage:
    def test_that_the_model_does_not_know_rejects_that_clip_only(self, load: Load) -> None:
        engine = load("aggregate")
        requests = [ClipRequest(language=tag) for tag in ("en", "it", "en", "xx-YY")]
        results = engine.transcribe(CLIPS[:4], requests)
        assert codes(results)[1::2] == [ErrorCode.MODEL_REJECTED] * 2
        assert isinstance(results[1], Rejection)
        assert results[1].message == (
            "the model does not know the language 'it' (`lang`); there are: en, de"
        )
        assert [results[0], results[2]] == engine.transcribe(CLIPS[:3:2], requests[:3:2])
        assert codes(engine.transcribe(CLIPS[:1], requests[1:2])) == [ErrorCode.MODEL_REJECTED]

    def test_of_a_record_without_one_is_that_of_the_options(self, load: Load) -> None:
        english, german = load("aggregate"), load("aggregate", UNGUARDED | {"language": "de-CH"})
        told = english.transcribe(CLIPS, [ClipRequest(language="de")] * len(CLIPS))
        assert german.transcribe(CLIPS) == told
        assert english.transcribe(CLIPS) != told

    def test_is_one_of_the_options_if_the_file_has_more(self, load: Load) -> None:
        request = [ClipRequest(language="it")]
        assert codes(load("unified").transcribe(CLIPS[2:3], request)) == [None]
        some = load("unified", UNGUARDED | {"languages": ("de", "en")})
        assert codes(some.transcribe(CLIPS[2:3], request)) == [ErrorCode.MODEL_REJECTED]


class TestWords:
    def test_have_the_times_of_nemo_where_they_are_asked_for(
        self, load: Load, nemo_writes: Callable[..., list[Any]]
    ) -> None:
        requests = [ClipRequest(language=tag, words=index != 0) for index, tag in enumerate(TAGS)]
        found = load("timed").transcribe(CLIPS, requests)
        assert written(found) == written(load("aggregate").transcribe(CLIPS, REQUESTS))
        compared = 0
        for clip, each, theirs in zip(
            CLIPS, found, nemo_writes("timed", timestamps=True), strict=True
        ):
            if isinstance(each, Hypothesis) and each.words is not None:
                assert [word.word for word in each.words] == each.text.split()
                for word, row in zip(each.words, theirs.timestamp["word"], strict=True):
                    assert word.start == pytest.approx(row["start"], abs=0.01)
                    assert word.end == pytest.approx(
                        min(row["end"], len(clip) / SAMPLE_RATE), abs=0.01
                    )
                    compared += 1
        assert compared > 10
        assert isinstance(found[0], Rejection) or found[0].words is None

    def test_have_no_times_without_the_second_model(self, load: Load) -> None:
        requests = [ClipRequest(language=tag, words=True) for tag in TAGS]
        for engine in (load("aggregate"), load("timed", UNGUARDED | {"word_times": False})):
            results = engine.transcribe(CLIPS, requests)
            assert results == load("aggregate").transcribe(CLIPS, REQUESTS)
            assert any(isinstance(each, Hypothesis) and each.confidence for each in results)

    def test_that_cannot_be_timed_cost_no_text(
        self, load: Load, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        engine = load("timed")
        requests = [ClipRequest(language=tag, words=True) for tag in TAGS]
        before = engine.transcribe(CLIPS, requests)
        timed = [each for each in before if isinstance(each, Hypothesis) and each.words]
        head: Any = engine._head
        encode = head._timer._model.tokenizer.text_to_ids

        def fail(text: str) -> Any:
            if text == timed[0].text:
                raise KeyError(text)
            return encode(text)

        monkeypatch.setattr(head._timer._model.tokenizer, "text_to_ids", fail)
        after = engine.transcribe(CLIPS, requests)
        place = before.index(timed[0])
        assert after[place] == replace(timed[0], words=None)
        assert [*after[:place], *after[place + 1 :]] == [*before[:place], *before[place + 1 :]]
        assert "the words of 1 of" in caplog.text
        assert timed[0].text not in caplog.text

    def test_are_as_sure_as_nemo_s_tokens(self, load: Load, files: dict[str, Path]) -> None:
        from omegaconf import OmegaConf, open_dict

        model = reference(files["aggregate"], "auto")
        config = OmegaConf.create(OmegaConf.to_container(model.cfg.decoding))
        with open_dict(config):
            config.strategy = "greedy_batch"
            config.greedy = {"max_generation_delta": 50}
            config.confidence_cfg = {
                "preserve_token_confidence": True,
                "method_cfg": {"name": "max_prob", "alpha": 1.0},
            }
        model.change_decoding_strategy(config)
        told = {"source_lang": "en", "target_lang": "en", "pnc": "yes"} | TOLD["aggregate"]
        expected = model.transcribe(
            CLIPS, batch_size=4, verbose=False, return_hypotheses=True, **told
        )
        requests = [ClipRequest(language="en", words=True)] * len(CLIPS)
        compared = 0
        for ours, theirs in zip(load("timed").transcribe(CLIPS, requests), expected, strict=True):
            if isinstance(ours, Rejection) or ours.words is None:
                continue
            products: list[float] = []
            pieces = model.tokenizer.ids_to_tokens(theirs.y_sequence.tolist())
            for piece, confidence in zip(pieces, theirs.token_confidence, strict=True):
                if piece.startswith("▁") or not products:
                    products.append(1.0)
                products[-1] *= float(confidence)
            if len(products) == len(ours.words):
                compared += 1
                found = [word.confidence for word in ours.words]
                assert found == pytest.approx(products, abs=2e-4)
                assert ours.confidence == pytest.approx(sum(products) / len(products), abs=2e-4)
        assert compared > 2


class TestGuards:
    def test_a_text_that_repeats_itself_is_rejected(self, load: Load) -> None:
        free = load("aggregate").transcribe(CLIPS, REQUESTS)
        ratios = {"compression_ratio_threshold": 1.0}
        found = load("aggregate", ratios).transcribe(CLIPS, REQUESTS)
        loops = [each for each in found if isinstance(each, Rejection)]
        assert loops != [each for each in free if isinstance(each, Rejection)]
        assert all(each.code is ErrorCode.MODEL_REPEATS for each in loops)
        assert any("the model repeats itself" in each.message for each in loops)
        passed = [(a, b) for a, b in zip(found, free, strict=True) if isinstance(a, Hypothesis)]
        assert passed
        assert all(a == b for a, b in passed)

    def test_are_no_fault_of_the_model(self, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
        engine = load("aggregate", {})
        monkeypatch.setattr(multitask, "repetition", lambda text, limit: "always")
        engine.warm_up()
        check_engine(engine)


class TestModel:
    def test_stays_in_evaluation_mode(self, load: Load) -> None:
        engine = load("timed")
        engine.transcribe(CLIPS[:2], [ClipRequest(words=True)] * 2)
        head: Any = engine._head
        for network in (head._model, head._timer._model):
            assert [name for name, part in network.named_modules() if part.training] == []

    def test_says_what_it_is(self, load: Load) -> None:
        engine = load("timed")
        assert (engine.model_class, engine.head) == ("EncDecMultiTaskModel", "aed")
        assert not engine.takes_phrases
        results = load("aggregate").transcribe(CLIPS[:1], [ClipRequest(phrases=("fox",))])
        assert [getattr(each, "phrases", None) for each in results] == [None]

    @pytest.mark.parametrize(
        ("settings", "reason"),
        [
            ({"options": {"language": "it"}}, "options.language: the model has no language 'it'"),
            ({"options": {"languages": ["en", "it"]}}, "options.languages: the model has no"),
            ({"options": {"beam": 4}}, "options.beam: no such key"),
            ({"options": {"pnc": "no"}}, "options.pnc: Expected `bool`"),
            ({"options": {"target_lang": "de"}}, "options.target_lang: translations are not"),
            ({"phrases": ["fox"]}, "phrases: not supported by a multitask model"),
            ({"head": "rnnt"}, "no 'rnnt' head; set `head: aed`"),
        ],
    )
    def test_with_what_it_cannot_do_is_refused(
        self, settings: dict[str, Any], reason: str, files: dict[str, Path]
    ) -> None:
        with pytest.raises(EngineError, match=reason):
            NemoEngine(ModelSettings(path=str(files["aggregate"]), threads=1, **settings))

    def test_whose_second_model_hears_something_else_is_refused(
        self, files: dict[str, Path], tmp_path: Path
    ) -> None:
        from tests.serve_app.engines.nemo.archives import (
            TIMES_CONFIG,
            plain_tar,
            read_members,
            with_config,
        )

        path = tmp_path / "model.nemo"
        members = with_config(
            read_members(files["timed"]),
            lambda config: config.update(sample_rate=8000),
            TIMES_CONFIG,
        )
        path.write_bytes(plain_tar(members))
        with pytest.raises(EngineError, match=r"model\.nemo: its two models hear different"):
            NemoEngine(ModelSettings(path=str(path), threads=1))


def test_other_models_have_no_options(model_file: Callable[[str], Path]) -> None:
    settings = ModelSettings(path=str(model_file("tones")), options={"language": "en"})
    with pytest.raises(EngineError, match=r"options\.language: a model of class EncDecCTCModel"):
        NemoEngine(settings)
