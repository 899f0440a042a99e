"""What shares a batch disturbs nobody: short clips, bad ones, faults, little memory."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import warnings
from typing import Any

import numpy as np
import pytest

from schemas.failures import ErrorCode
from serve_app.engines.base import Hypothesis, Rejection
from serve_app.engines.errors import EngineError
from serve_app.engines.load import check_engine
from tests.asking import alike
from tests.serve_app.engines.conftest import EngineOf
from tests.serve_app.engines.nemo.results import KINDS, codes, heard, texts
from tests.serve_app.engines.nemo.tiny_models import SAMPLE_RATE, babble
from tests.serve_app.engines.nemo.tones import sentence, speak
from tests.serve_app.engines.nemo.watching import fail_on, network_of, watch

pytestmark = pytest.mark.nemo


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
            heard(engine.transcribe([clip], alike([clip], words=True)))
            assert texts(engine.transcribe([neighbours[0], clip, neighbours[1]]))[::2] == texts(
                alone
            )

    def test_the_shortest_has_two_frames_of_features(self, engine_of: EngineOf) -> None:
        import torch

        engine = engine_of("ctc_bpe")
        model = network_of(engine)
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
        assert codes(results) == [None] * 4 + [ErrorCode.MODEL_FAULT] + [None] * 4
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
                next(network_of(engine).encoder.parameters()).fill_(float("nan"))
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
            from serve_app.engines.nemo.engine import NemoEngine
            from tests.serve_app.engines.nemo.tones import MODEL, sentence, speak

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
        # an arena of its own for each thread would take 64 MiB of the limit, used or not
        environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
        command = [sys.executable, "-c", textwrap.dedent(code)]
        subprocess.run(command, env=environment, check=True, timeout=280)
