from __future__ import annotations

import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from schemas.failures import ErrorCode
from schemas.settings import ModelSettings
from serve_app.engines.base import Clip, Hypothesis, Rejection
from serve_app.engines.errors import EngineError
from serve_app.engines.load import check_engine
from tests.serve_app.engines.conftest import EngineOf
from tests.serve_app.engines.tiny_models import SAMPLE_RATE, babble
from tests.serve_app.engines.tones import sentence, speak

pytestmark = pytest.mark.nemo

KINDS = [
    ("ctc_char", "auto"),
    ("ctc_conv", "auto"),
    ("ctc_bpe", "auto"),
    ("rnnt_char", "auto"),
    ("rnnt", "auto"),
    ("tdt", "auto"),
    ("hybrid_rnnt", "rnnt"),
    ("hybrid_rnnt", "ctc"),
    ("hybrid_tdt", "auto"),
    ("hybrid_tdt", "ctc"),
]
SHIPPED = sorted((Path(__file__).parents[3] / "deploy/demo/models").glob("*.nemo"))


def reference(path: Path, head: str) -> Any:
    """NeMo's own way to load the model: another object than the engine's, for `transcribe()`
    leaves a model in training mode."""
    from nemo.collections.asr.models import ASRModel

    model = ASRModel.restore_from(str(path), map_location="cpu")
    if head == "ctc":
        model.change_decoding_strategy(decoder_type="ctc", verbose=False)
    return model


def heard(results: Sequence[Hypothesis | Rejection]) -> list[Hypothesis]:
    """The results, all of which must be hypotheses."""
    assert all(isinstance(each, Hypothesis) for each in results), results
    return [each for each in results if isinstance(each, Hypothesis)]


def texts(results: Sequence[Hypothesis | Rejection]) -> list[str]:
    return [each.text for each in heard(results)]


@pytest.fixture(scope="module")
def babbles() -> list[Clip]:
    """Clips of mixed length, the shortest beyond the second to which NeMo pads arrays."""
    return [babble(seconds, seed) for seed, seconds in enumerate((1.5, 4.2, 1.05, 2.2, 3.1, 1.5))]


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
        from serve_app.engines.nemo import NemoEngine

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
            (hypothesis,) = heard(engine.transcribe([clip], words=True))
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
        found = heard(engine_of(kind).transcribe(babbles, words=True))
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
        hypotheses = heard(engine_of(kind, head=head).transcribe(babbles, words=True))
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
        for each in heard(engine_of(kind, head=head).transcribe(babbles, words=True)):
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
        found = heard(engine_of(kind).transcribe(babbles, words=True))
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
        (hypothesis,) = heard(engine.transcribe([clip], words=True))
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
            ErrorCode.MODEL_REJECTED,
            None,
        ]


class TestBatches:
    def test_keep_the_limit_and_go_by_length(self, engine_of: EngineOf) -> None:
        engine = engine_of("ctc_bpe", batch_seconds=10.0)
        sizes = watch(engine)
        lengths = (1.0, 5.0, 1.2, 4.8, 12.0, 0.9, 1.1)
        engine.transcribe([babble(seconds, seed) for seed, seconds in enumerate(lengths)])
        assert all(clips == 1 or clips * longest <= 10.0 for clips, longest in sizes)
        assert sizes == [(1, 12.0), (2, 5.0), (4, 1.2)]

    def test_may_hold_clips_that_are_read_only_or_views(self, engine_of: EngineOf) -> None:
        clip, _ = speak("aei oae")
        locked, strided = clip.copy(), np.repeat(clip, 2)[::2]
        locked.flags.writeable = False
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = engine_of("tones").transcribe([locked, strided])
        assert texts(found) == ["aei oae"] * 2

    def test_of_nothing(self, engine_of: EngineOf) -> None:
        assert engine_of("ctc_bpe").transcribe([]) == []


class TestShortClips:
    @pytest.mark.parametrize(("kind", "head"), KINDS)
    def test_disturb_nobody(self, kind: str, head: str, engine_of: EngineOf) -> None:
        engine = engine_of(kind, head=head)
        neighbours = [babble(2.0, 1), babble(1.3, 2)]
        alone = engine.transcribe(neighbours)
        short = [
            babble(1.0, 3)[:samples]
            for samples in (1, engine.min_samples - 1, engine.min_samples, engine.min_samples + 1)
        ]
        assert all(isinstance(each, Hypothesis) for each in engine.transcribe(short))
        for clip in short:
            heard(engine.transcribe([clip], words=True))
            assert texts(engine.transcribe([neighbours[0], clip, neighbours[1]]))[::2] == texts(
                alone
            )

    def test_the_shortest_has_two_frames_of_features(self, engine_of: EngineOf) -> None:
        import torch

        engine = engine_of("ctc_bpe")
        model = engine._head._model  # type: ignore[attr-defined]
        for samples, frames in ((engine.min_samples, 2), (engine.min_samples - 1, 1)):
            _, length = model.preprocessor(
                input_signal=torch.zeros(1, samples), length=torch.tensor([samples])
            )
            assert length.tolist() == [frames]


class TestBadClips:
    def test_disturb_nobody(self, engine_of: EngineOf) -> None:
        engine = engine_of("tones")
        good, _ = speak("aei oae")
        nan, infinite = good.copy(), good.copy()
        nan[1000], infinite[1000] = np.nan, np.inf
        bad: dict[ErrorCode, list[Any]] = {
            ErrorCode.AUDIO_EMPTY: [np.zeros(0, np.float32)],
            ErrorCode.MODEL_REJECTED: [
                nan,
                infinite,
                good.astype(np.int16),
                good.astype(np.float64),
                np.stack([good, good]),
            ],
        }
        for code, clips in bad.items():
            for clip in clips:
                results = engine.transcribe([good, clip, good])
                assert codes(results) == [None, code, None]
                assert texts(results[::2]) == ["aei oae"] * 2

    def test_on_which_the_model_fails_are_rejected_alone(self, engine_of: EngineOf) -> None:
        engine = engine_of("tones")
        clips = [speak(sentence(3, seed), seed=seed)[0] for seed in range(9)]
        expected = texts(engine.transcribe(clips))
        clips[4][100] = 0.987
        fail_on(engine, 0.987, ValueError("stft failed"))
        results = engine.transcribe(clips)
        assert codes(results) == [None] * 4 + [ErrorCode.MODEL_REJECTED] + [None] * 4
        assert texts(results[:4] + results[5:]) == expected[:4] + expected[5:]
        assert isinstance(results[4], Rejection)
        assert "stft failed" in results[4].message

    def test_with_output_that_is_not_finite_are_rejected_alone(self, engine_of: EngineOf) -> None:
        for kind in ("tones", "tdt"):
            engine = engine_of(kind)
            loud = babble(2.0, 7) * np.float32(1e25)  # its energy is infinite
            results = engine.transcribe([babble(2.0, 8), loud])
            assert codes(results) == [None, ErrorCode.MODEL_REJECTED]


class TestBrokenEngine:
    def test_is_not_blamed_on_the_clips(self, engine_of: EngineOf) -> None:
        engine = engine_of("tones")
        fail_on(engine, None, ValueError("lost"))
        with pytest.raises(EngineError, match="lost"):
            engine.transcribe([speak("aei")[0]])
        with pytest.raises(EngineError, match="lost"):
            engine.warm_up()

    def test_whose_weights_are_not_finite_fails_its_check(self, engine_of: EngineOf) -> None:
        import torch

        for kind in ("tones", "tdt"):
            engine = engine_of(kind)
            check_engine(engine)
            with torch.inference_mode():
                next(engine._head._model.encoder.parameters()).fill_(float("nan"))  # type: ignore[attr-defined]
            with pytest.raises(EngineError, match="not finite"):
                check_engine(engine)
            with pytest.raises(EngineError, match="not finite"):
                engine.warm_up()

    def test_on_a_gpu_is_not_blamed_on_the_clips(self, engine_of: EngineOf) -> None:
        import torch

        engine = engine_of("tones")
        fail_on(engine, None, torch.AcceleratorError("CUDA error: device-side assert", 710))
        with pytest.raises(EngineError, match="the GPU failed"):
            engine.transcribe([speak("aei")[0]] * 8)


class TestMemory:
    def test_that_runs_out_halves_the_batch(self, engine_of: EngineOf) -> None:
        engine = engine_of("tones")
        sayings = [sentence(3, seed) for seed in range(16)]
        clips = [speak(each)[0] for each in sayings]
        sizes = watch(engine, fits=4 * len(clips[0]))
        assert texts(engine.transcribe(clips)) == sayings
        assert [clips for clips, _ in sizes] == [4, 4, 4, 4]
        sizes.clear()
        assert texts(engine.transcribe(clips)) == sayings
        assert engine.batch_seconds <= 8 * len(clips[0]) / SAMPLE_RATE  # it has learnt

    def test_for_which_one_clip_is_too_long(self, engine_of: EngineOf) -> None:
        engine = engine_of("tones")
        watch(engine, fits=3 * SAMPLE_RATE)
        short, long = speak("aei")[0], speak(sentence(9, 1))[0]
        results = engine.transcribe([short, long, short])
        assert codes(results) == [None, ErrorCode.MODEL_OUT_OF_MEMORY, None]

    @pytest.mark.slow
    def test_that_really_runs_out_costs_no_clip(self) -> None:
        code = """
            import resource
            from pathlib import Path
            from schemas.settings import ModelSettings
            from serve_app.engines.nemo import NemoEngine
            from tests.serve_app.engines.tones import MODEL, sentence, speak

            sayings = [sentence(6, seed) for seed in range(300)]
            clips = [speak(each)[0] for each in sayings]
            engine = NemoEngine(ModelSettings(path=str(MODEL), threads=1, batch_seconds=3000))
            engine.warm_up()
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            limit = pages * resource.getpagesize() + (200 << 20)
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            wrong = [
                each
                for each, text in zip(engine.transcribe(clips), sayings, strict=True)
                if getattr(each, "text", None) != text
            ]
            assert not wrong, (len(wrong), wrong[0])
            assert engine.batch_seconds < 1500, engine.batch_seconds
        """
        subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=280)


class TestModel:
    def test_stays_in_evaluation_mode(self, engine_of: EngineOf, babbles: list[Clip]) -> None:
        engine = engine_of("ctc_bpe")
        model = engine._head._model  # type: ignore[attr-defined]
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
        with pytest.raises(EngineError, match="but the settings expect"):
            engine_of("ctc_char", sha256="0" * 64)

    def test_says_what_it_is(self, engine_of: EngineOf) -> None:
        engine = engine_of("ctc_bpe")
        assert (engine.sample_rate, engine.device) == (16_000, "cpu")
        assert len(engine.sha256) == 64
        assert engine.frame_seconds == pytest.approx(0.08)
        assert engine_of("ctc_conv").frame_seconds == pytest.approx(0.02)

    def test_takes_the_threads_of_its_settings(self, model_file: Callable[[str], Path]) -> None:
        import torch

        from serve_app.engines.nemo import NemoEngine

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

        from serve_app.engines.nemo import NemoEngine

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
        ours = engine_of("ctc_bpe")._head._model.preprocessor.featurizer  # type: ignore[attr-defined]
        theirs = reference(model_file("ctc_bpe"), "auto").preprocessor.featurizer
        assert theirs.fb.any()
        assert ours.fb.equal(theirs.fb)
        assert ours.window.equal(theirs.window)


def codes(results: Sequence[Hypothesis | Rejection]) -> list[ErrorCode | None]:
    return [each.code if isinstance(each, Rejection) else None for each in results]


def watch(engine: Any, *, fits: float = float("inf")) -> list[tuple[int, float]]:
    """The batches that the engine will run, as (clips, seconds of the longest). Beyond `fits`
    padded samples, memory runs out."""
    import torch

    sizes: list[tuple[int, float]] = []
    decode = engine._head.decode

    def watched(signal: Any, lengths: Any, *, tokens: bool, phrases: Any = ()) -> Any:
        if signal.numel() > fits:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        sizes.append((signal.shape[0], round(signal.shape[1] / SAMPLE_RATE, 3)))
        return decode(signal, lengths, tokens=tokens, phrases=phrases)

    engine._head.decode = watched
    return sizes


def fail_on(engine: Any, sample: float | None, error: Exception) -> None:
    """Let the network raise `error` on a batch that contains this value; on any, if None."""
    decode = engine._head.decode

    def failing(signal: Any, lengths: Any, *, tokens: bool, phrases: Any = ()) -> Any:
        if sample is None or (signal == np.float32(sample)).any():
            raise error
        return decode(signal, lengths, tokens=tokens, phrases=phrases)

    engine._head.decode = failing
