"""The stand-in engine, each measurement in its own process; the serving path on a real Ray."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.settings import AudioSettings, ModelSettings, Routing, Settings
from schemas.text_rules import TextRule, TextRules
from serve_app.engines.errors import EngineError
from tests.workers.evaluation import scripted
from workers.evaluation.benchmarking.benchmark import benchmark
from workers.evaluation.benchmarking.results import Benchmark, PathName

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ENGINE = "tests.standin:StandInEngine"
#: A real-time factor of 50, on any machine.
SLOW = ModelSettings(engine=ENGINE, options={"delay_per_second": 0.02})


def test_the_engine_alone(manifest: Path, tmp_path: Path) -> None:
    said: list[str] = []
    settings = {
        "slow": SLOW,
        "broken": ModelSettings(engine=ENGINE, options={"fail_to_load": True}),
    }

    def run() -> Benchmark:
        return benchmark(
            ["slow"],
            manifest,
            settings=settings,
            paths=["engine"],
            repeats=3,
            latency_clips=5,
            folder=tmp_path / "work",
            say=said.append,
        )

    found = run()
    (model,) = found.models
    (path,) = model.paths
    assert path.rtfx.lowest <= path.rtfx.median <= path.rtfx.highest <= 50
    assert path.samples_per_second.median == pytest.approx(
        path.rtfx.median * found.utterances / found.seconds, rel=0.01
    )
    # five clips of 0.8 to 18.6 s, at 20 ms a second
    assert 16 <= path.latency_ms["p50"] <= path.latency_ms["p99"]
    assert path.host_memory_gb > 0.01
    assert path.load_seconds > 0
    assert path.harness_percent is not None
    assert path.harness_percent < 2
    assert (path.score.utterances, path.score.failed) == (13, 0)
    found.save(tmp_path / "found.json")
    assert Benchmark.load(tmp_path / "found.json") == found

    again = run()
    assert again.models == found.models
    assert said == ["slow: measuring the engine path", "slow: the engine path was measured before"]

    with pytest.raises(EngineError, match=r"the benchmark process failed: .*told to fail"):
        benchmark(["broken"], manifest, settings=settings, paths=["engine"])


@pytest.mark.parametrize("path", ["engine", pytest.param("serving", marks=pytest.mark.ray)])
def test_texts_are_written_by_the_rules_of_the_settings(manifest: Path, path: PathName) -> None:
    silent = TextRules(rules=[TextRule(matches="(?s).+", replace="")])
    settings = Settings(
        models={"general": ModelSettings(engine=ENGINE, text_rules="silent")},
        text_rules={"silent": silent},
        routing=Routing(default="general"),
        audio=AudioSettings(roots=["/"]),
    )
    found = benchmark(
        ["general"], manifest, settings=settings, paths=[path], repeats=1, latency_clips=1
    )
    (model,) = found.models
    score = model.paths[0].score
    assert score.failed == 0
    assert (score.words.substitutions, score.words.insertions) == (0, 0)
    assert score.words.deletions == score.words.reference > 0
    assert model.text_rules == "silent"


@pytest.mark.ray
def test_the_whole_serving_path(manifest: Path) -> None:
    found = benchmark(
        ["slow"],
        manifest,
        settings={"slow": SLOW},
        paths=["serving"],
        repeats=2,
        latency_clips=3,
    )
    (path,) = found.models[0].paths
    assert 0 < path.rtfx.median <= 50
    assert path.harness_percent is None
    assert path.score.failed == 0
    assert len(path.latency_ms) == 4


def test_what_a_new_process_cannot_load_is_refused(manifest: Path) -> None:
    with pytest.raises(ValueError, match="scripted: only models of files or settings"):
        benchmark([scripted.system()], manifest)
