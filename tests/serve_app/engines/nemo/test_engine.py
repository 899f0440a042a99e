"""What the engine hears, beside what NeMo hears; and what it asks of a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from deploy.demo import MODELS
from schemas.failures import ErrorCode
from schemas.settings import ModelSettings
from serve_app.audio.clip import Clip
from serve_app.engines.errors import EngineError
from tests.asking import alike
from tests.serve_app.engines.conftest import EngineOf
from tests.serve_app.engines.nemo.results import KINDS, codes, heard, reference, texts
from tests.serve_app.engines.nemo.tiny_models import SAMPLE_RATE, babble
from tests.serve_app.engines.nemo.tones import sentence, speak
from tests.serve_app.engines.nemo.watching import fail_on, network_of, watch

pytestmark = pytest.mark.nemo

SHIPPED = sorted(MODELS.glob("*.nemo"))


class TestText:
    @pytest.mark.parametrize(("kind", "head"), KINDS)
    def test_equals_that_of_transcribe(
        self,
        kind: str,
        head: str,
        babbles: list[Clip],
        engine_of: EngineOf,
        model_file: Callable[[str], Path],
    ) -> None:
        expected = reference(model_file(kind), head).transcribe(
            babbles, batch_size=4, verbose=False
        )
        found = texts(engine_of(kind, head=head).transcribe(babbles))
        assert found == [each.text for each in expected]
        assert len(set(found)) > 1  # the model hears something

    def test_equals_that_of_transcribe_on_files_shorter_than_a_second(
        self, engine_of: EngineOf, model_file: Callable[[str], Path], tmp_path: Path
    ) -> None:
        clips = [babble(seconds, seed) for seed, seconds in enumerate((0.2, 0.5, 0.8))]
        paths = [str(tmp_path / f"{index}.wav") for index in range(len(clips))]
        for path, clip in zip(paths, clips, strict=True):
            sf.write(path, clip, SAMPLE_RATE, subtype="FLOAT")
        expected = reference(model_file("ctc_conv"), "auto").transcribe(paths, verbose=False)
        found = texts(engine_of("ctc_conv").transcribe(clips))
        assert found == [each.text for each in expected]
        assert any(found)

    @pytest.mark.skipif(not SHIPPED, reason="the demo models are not there")
    @pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
    def test_equals_that_of_transcribe_on_the_demo_models(
        self, path: Path, babbles: list[Clip], nemo: None
    ) -> None:
        from serve_app.engines.nemo.engine import NemoEngine

        expected = reference(path, "auto").transcribe(babbles, batch_size=4, verbose=False)
        engine = NemoEngine(ModelSettings(path=str(path), threads=1))
        assert texts(engine.transcribe(babbles)) == [each.text for each in expected]

    def test_is_the_same_in_any_batch_and_on_every_call(
        self, engine_of: EngineOf, babbles: list[Clip]
    ) -> None:
        together, one_by_one = engine_of("ctc_bpe"), engine_of("ctc_bpe", batch_seconds=0.1)
        first = together.transcribe(babbles)
        assert texts(one_by_one.transcribe(babbles)) == texts(first)
        assert together.transcribe(babbles) == first
        assert together.transcribe(babbles[::-1]) == first[::-1]

    def test_is_that_of_the_default_head_of_a_hybrid_model(
        self, engine_of: EngineOf, babbles: list[Clip]
    ) -> None:
        auto, rnnt, ctc = (engine_of("hybrid_tdt", head=head) for head in ("auto", "rnnt", "ctc"))
        assert (auto.head, rnnt.head, ctc.head) == ("rnnt", "rnnt", "ctc")
        assert texts(auto.transcribe(babbles)) == texts(rnnt.transcribe(babbles))
        assert texts(auto.transcribe(babbles)) != texts(ctc.transcribe(babbles))

    def test_is_right_in_half_precision(self, engine_of: EngineOf) -> None:
        text = sentence(6, seed=3)
        engine = engine_of("tones", dtype="bfloat16")
        assert texts(engine.transcribe([speak(text)[0]])) == [text]


class TestWords:
    def test_lie_where_they_were_spoken(self, engine_of: EngineOf) -> None:
        engine = engine_of("tones")
        for lead in (0.3, 1.7):
            clip, spoken = speak(sentence(5, seed=1), lead=lead)
            (hypothesis,) = heard(engine.transcribe([clip], alike([clip], words=True)))
            assert hypothesis.words is not None
            assert [word.word for word in hypothesis.words] == [word for word, _, _ in spoken]
            for word, (_, start, end) in zip(hypothesis.words, spoken, strict=True):
                assert word.start == pytest.approx(start, abs=0.08)
                assert word.end == pytest.approx(end, abs=0.08)

    @pytest.mark.parametrize("kind", ["rnnt", "rnnt_char", "tdt", "hybrid_rnnt"])
    def test_of_transducers_agree_with_nemo_s_own(
        self,
        kind: str,
        babbles: list[Clip],
        engine_of: EngineOf,
        model_file: Callable[[str], Path],
    ) -> None:
        found = heard(engine_of(kind).transcribe(babbles, alike(babbles, words=True)))
        expected = reference(model_file(kind), "auto").transcribe(
            babbles, batch_size=1, verbose=False, timestamps=True
        )
        compared = 0
        for clip, ours, theirs in zip(babbles, found, expected, strict=True):
            assert ours.words is not None
            # NeMo glues an unknown piece to the word after it
            if [row["word"] for row in theirs.timestamp["word"]] == ours.text.split():
                compared += 1
                for word, row in zip(ours.words, theirs.timestamp["word"], strict=True):
                    assert word.start == pytest.approx(row["start"], abs=1e-3)
                    if kind != "tdt":  # see `TransducerHead`
                        end = min(row["end"], len(clip) / SAMPLE_RATE)
                        assert word.end == pytest.approx(end, abs=1e-3)
        assert compared >= len(babbles) // 2

    @pytest.mark.parametrize(("kind", "head"), KINDS)
    def test_spell_the_text_in_order(
        self, kind: str, head: str, babbles: list[Clip], engine_of: EngineOf
    ) -> None:
        hypotheses = heard(
            engine_of(kind, head=head).transcribe(babbles, alike(babbles, words=True))
        )
        for clip, each in zip(babbles, hypotheses, strict=True):
            assert each.words is not None
            assert [word.word for word in each.words] == each.text.split()
            times = [time for word in each.words for time in (word.start, word.end)]
            assert all(word.start <= word.end for word in each.words)
            assert sorted(word.start for word in each.words) == times[::2]
            assert all(0 <= time <= len(clip) / SAMPLE_RATE for time in times)

    def test_are_there_only_on_request(self, engine_of: EngineOf) -> None:
        clip = speak("aei oia")[0]
        (plain,) = heard(engine_of("tones").transcribe([clip]))
        assert plain.words is None
        (asked,) = heard(engine_of("tones", words=True, confidence=False).transcribe([clip]))
        assert asked.words is not None
        assert [word.word for word in asked.words] == ["aei", "oia"]
        assert asked.confidence is None
        assert asked.words[0].confidence is None


class TestConfidence:
    @pytest.mark.parametrize(("kind", "head"), KINDS)
    def test_is_the_mean_of_the_words(
        self, kind: str, head: str, babbles: list[Clip], engine_of: EngineOf
    ) -> None:
        for each in heard(
            engine_of(kind, head=head).transcribe(babbles, alike(babbles, words=True))
        ):
            if each.words:
                confidences = [word.confidence or 0.0 for word in each.words]
                assert all(0 <= value <= 1 for value in confidences)
                assert each.confidence == pytest.approx(np.mean(confidences), abs=1e-3)
            else:
                assert each.confidence is None

    @pytest.mark.parametrize("kind", ["ctc_bpe", "tdt", "rnnt"])
    def test_of_a_word_is_the_product_of_nemo_s_token_confidences(
        self,
        kind: str,
        babbles: list[Clip],
        engine_of: EngineOf,
        model_file: Callable[[str], Path],
    ) -> None:
        from omegaconf import OmegaConf, open_dict

        model = reference(model_file(kind), "auto")
        config = OmegaConf.create(OmegaConf.to_container(model.cfg.decoding))
        with open_dict(config):
            config.strategy = "greedy_batch"
            config.confidence_cfg = {
                "preserve_token_confidence": True,
                "aggregation": "max",  # of the frames of a CTC token
                "method_cfg": {"name": "max_prob", "alpha": 1.0},
            }
        model.change_decoding_strategy(config, verbose=False)
        expected = model.transcribe(babbles, batch_size=4, verbose=False, return_hypotheses=True)
        found = heard(engine_of(kind).transcribe(babbles, alike(babbles, words=True)))
        largest = 0.0
        for ours, theirs in zip(found, expected, strict=True):
            labels = np.asarray(theirs.y_sequence)
            if kind == "ctc_bpe":  # log-probabilities of each frame
                labels = labels.argmax(axis=-1)
                runs = labels[np.flatnonzero(np.diff(labels, prepend=-1))]
                labels = runs[runs != model.decoding.blank_id]
            pieces = model.tokenizer.ids_to_tokens(labels.tolist())
            products: list[float] = []
            for piece, confidence in zip(pieces, theirs.token_confidence, strict=True):
                if piece.startswith("▁") or piece == "<unk>" or not products:
                    products.append(1.0)
                if piece != "▁":  # a bare space is in no word
                    products[-1] *= float(confidence)
            assert ours.words is not None
            if len(products) == len(ours.words):
                confidences = [word.confidence for word in ours.words]
                assert confidences == pytest.approx(products, abs=2e-4)
                largest = max(largest, *products)
        assert largest > 0.1

    def test_falls_with_noise(self, engine_of: EngineOf) -> None:
        clip, _ = speak(sentence(6, seed=5))
        noise = np.random.default_rng(0).normal(0, 0.15, len(clip)).astype(np.float32)
        clean, noisy = heard(engine_of("tones").transcribe([clip, clip + noise]))
        assert clean.confidence is not None
        assert clean.confidence > 0.9
        assert noisy.confidence is None or noisy.confidence < clean.confidence - 0.05


class TestLongAudio:
    def test_is_split_at_pauses_and_joined(self, engine_of: EngineOf) -> None:
        text = sentence(40, seed=2)
        clip, spoken = speak(text, pause=0.4)
        engine = engine_of("tones", split_seconds=5.0)
        sizes = watch(engine)
        (hypothesis,) = heard(engine.transcribe([clip], alike([clip], words=True)))
        assert hypothesis.text == text
        assert hypothesis.confidence is not None
        assert hypothesis.confidence > 0.9
        assert hypothesis.words is not None
        for word, (_, start, end) in zip(hypothesis.words, spoken, strict=True):
            assert word.start == pytest.approx(start, abs=0.08)
            assert word.end == pytest.approx(end, abs=0.08)
        assert max(seconds for _, seconds in sizes) <= 5.0

    def test_shares_batches_with_other_clips(self, engine_of: EngineOf) -> None:
        sayings = [sentence(words, seed=words) for words in (2, 30, 1)]
        engine = engine_of("tones", split_seconds=6.0)
        sizes = watch(engine)
        assert texts(engine.transcribe([speak(each)[0] for each in sayings])) == sayings
        assert len(sizes) == 1

    def test_of_which_a_piece_is_refused_is_refused(self, engine_of: EngineOf) -> None:
        engine = engine_of("tones", split_seconds=5.0)
        clip, _ = speak(sentence(20, seed=4))
        clip[len(clip) // 2] = 0.987
        fail_on(engine, 0.987, ValueError("no"))
        assert codes(engine.transcribe([clip, speak("aei")[0]])) == [
            ErrorCode.MODEL_FAULT,
            None,
        ]


class TestModel:
    def test_stays_in_evaluation_mode(self, engine_of: EngineOf, babbles: list[Clip]) -> None:
        engine = engine_of("ctc_bpe")
        model = network_of(engine)
        before = {name: value.clone() for name, value in model.named_buffers()}
        engine.warm_up()
        engine.transcribe(babbles)
        training = [name for name, module in model.named_modules() if module.training]
        assert training == []
        assert not any(parameter.requires_grad for parameter in model.parameters())
        for name, value in model.named_buffers():
            assert value.equal(before[name]) or "pos_enc" in name

    def test_without_the_head_is_refused(self, engine_of: EngineOf) -> None:
        with pytest.raises(EngineError, match=r"EncDecRNNTBPEModel has no 'ctc' head.*head: rnnt"):
            engine_of("tdt", head="ctc")

    def test_with_another_digest_is_refused(self, engine_of: EngineOf) -> None:
        with pytest.raises(EngineError, match="is expected"):
            engine_of("ctc_char", sha256="0" * 64)

    def test_says_what_it_is(self, engine_of: EngineOf) -> None:
        engine = engine_of("ctc_bpe")
        assert (engine.sample_rate, engine.device) == (16_000, "cpu")
        assert len(engine.sha256) == 64
        assert engine.frame_seconds == pytest.approx(0.08)
        assert engine_of("ctc_conv").frame_seconds == pytest.approx(0.02)

    def test_takes_the_threads_of_its_settings(self, model_file: Callable[[str], Path]) -> None:
        import torch

        from serve_app.engines.nemo.engine import NemoEngine

        path = str(model_file("ctc_char"))
        for settings, threads in (
            (ModelSettings(path=path, threads=2), 2),
            (ModelSettings(path=path, num_cpus=2), 2),
            (ModelSettings(path=path, num_cpus=0.25), 1),
        ):
            NemoEngine(settings)
            assert torch.get_num_threads() == threads

    def test_with_damaged_weights_is_refused(
        self, model_file: Callable[[str], Path], tmp_path: Path
    ) -> None:
        import tarfile

        from serve_app.engines.nemo.engine import NemoEngine

        with tarfile.open(model_file("ctc_char")) as archive:
            archive.extractall(tmp_path / "model", filter="data")
        weights = tmp_path / "model/model_weights.ckpt"
        weights.write_bytes(weights.read_bytes()[:5000])
        with tarfile.open(tmp_path / "damaged.nemo", "w") as archive:
            archive.add(tmp_path / "model", ".")
        with pytest.raises(EngineError, match=r"damaged\.nemo: its weights are damaged"):
            NemoEngine(ModelSettings(path=str(tmp_path / "damaged.nemo")))

    def test_computes_its_features_as_nemo_does(
        self, engine_of: EngineOf, model_file: Callable[[str], Path]
    ) -> None:
        ours = network_of(engine_of("ctc_bpe")).preprocessor.featurizer
        theirs = reference(model_file("ctc_bpe"), "auto").preprocessor.featurizer
        assert theirs.fb.any()
        assert ours.fb.equal(theirs.fb)
        assert ours.window.equal(theirs.window)
