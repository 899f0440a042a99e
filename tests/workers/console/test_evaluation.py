"""The pages of reports: what a report holds harms nothing, and leads to utterances."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from schemas.settings import Settings, load_settings
from tests.workers.console.browsing import HOSTILE, Person, person, signed_in
from tests.workers.console.conftest import demo_settings
from tests.workers.console.samples import transcript
from tests.workers.console.topics import MemoryTopics
from tests.workers.evaluation.report.samples import comparison, score_of, worst
from workers.evaluation.benchmarking.results import Benchmark, ModelResult, PathResult, Rate
from workers.evaluation.comparison.results import SetInfo
from workers.evaluation.report import write_report
from workers.evaluation.systems.base import SystemInfo
from workers.evaluation.validation.checks import Check
from workers.evaluation.validation.findings import Findings
from workers.evaluation.validation.recommendations import Recommendation
from workers.evaluation.validation.results import Validation

NAMES = ("call-17", "calls/18.flac", HOSTILE[:200])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a report of each kind, and what is none."""
    found = tmp_path_factory.mktemp("reports")
    bad = [worst(name) for name in NAMES]
    compared = comparison({"calls": {"general": 20, "medical": 10}}, bad=bad)
    write_report(compared, found / "compared.html")
    compared.save(found / "compared.json")
    validation().save(found / "validated.json")
    measured().save(found / "speed.json")
    (found / "other.json").write_text('{"wer": 3.2}')
    (found / "hostile.html").write_text(f"<title>{HOSTILE}</title><script>parent.x = 1</script>")
    (found / "broken.json").write_text('{"differences": 1, "made": "<script>"}')
    (found / "notes.txt").write_text("not a report")
    (found / "out.html").symlink_to("/etc/passwd")
    return found


def validation(name: str = HOSTILE[:300]) -> Validation:
    set_info = SetInfo(
        name="calls",
        sha256="ab" * 32,
        utterances=1200,
        seconds=60.0,
        left_out=0,
        drawn="utterances",
        blocks=10,
    )
    return Validation(
        made="2026-03-04T05:06:07+00:00",
        normaliser="whisper",
        system=SystemInfo(name=name, type="function"),
        test_set=set_info,
        findings=Findings(
            score=score_of(20),
            interval=None,
            slices=[],
            stresses=[],
            rtfx=None,
            heard_in_silence=None,
            confidence=None,
            accuracy=None,
        ),
        checks=[
            Check(key="max_wer", limit=25.0, value=20.0, passed=True),
            Check(
                key="min_rtfx", limit=50.0, value=None, passed=False, reason=f"{name} was not timed"
            ),
        ],
        recommendations=[Recommendation(code="more", message="Measure more speech.", numbers={})],
    )


def measured(name: str = HOSTILE[:300]) -> Benchmark:
    rate = Rate(median=310.4, lowest=300.0, highest=315.0, spread=4.8)
    result = PathResult(
        path="engine",
        device="cpu",
        rtfx=rate,
        samples_per_second=rate,
        latency_ms={"p50": 21.5, "p99": 44.0},
        load_seconds=3.2,
        host_memory_gb=1.25,
        gpu_memory_gb=None,
        harness_percent=1.0,
        score=score_of(20),
    )
    model = ModelResult(
        name=name,
        domain="general",
        sha256="ab" * 32,
        batch_seconds=30.0,
        threads=1,
        dtype="float32",
        paths=[result],
    )
    return Benchmark(
        made="2026-03-04T05:06:07+00:00",
        machine="a machine, 2 cores",
        protocol="As it was done.",
        normaliser="whisper",
        repeats=5,
        test_set="calls",
        utterances=1200,
        seconds=3600.0,
        longest=12.0,
        models=[model],
    )


@pytest.fixture(scope="module")
def topics() -> MemoryTopics:
    return MemoryTopics()


@pytest.fixture(scope="module")
def user(folder: Path, topics: MemoryTopics) -> Iterator[Person]:
    settings = demo_settings()
    settings.console.reports = str(folder)
    with person(settings, topics) as found:
        yield found


def test_the_reports_of_the_folder_are_listed(user: Person) -> None:
    seen = user.see("/evaluation")
    names = re.findall(r'href="/evaluation/([a-z]+\.[a-z]+)"', seen)
    assert sorted(names) == [
        "broken.json",
        "compared.html",
        "compared.json",
        "hostile.html",
        "other.json",
        "speed.json",
        "validated.json",
    ]
    assert "2 systems on 1 test set" in seen


@pytest.mark.parametrize("name", ["compared.html", "compared.json"])
def test_a_report_is_shown_in_a_frame_that_may_do_nothing(user: Person, name: str) -> None:
    found = user.client.get(f"/evaluation/{name}")
    assert f'<iframe class="report" src="/evaluation/{name}/page" sandbox ' in found.text
    policy = found.headers["content-security-policy"]
    assert "frame-src 'self'" in policy
    assert "script-src 'self'" in policy
    inside = user.client.get(f"/evaluation/{name}/page")
    assert "Worst utterances" in inside.text
    policy = inside.headers["content-security-policy"]
    assert policy.startswith("sandbox; default-src 'none'; ")
    assert policy.endswith("frame-ancestors 'self'")
    assert "script-src" not in policy
    assert inside.headers["x-content-type-options"] == "nosniff"


def test_no_other_page_may_be_framed_or_frame(user: Person) -> None:
    policy = user.client.get("/evaluation").headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "frame-src" not in policy


def test_an_utterance_of_a_report_leads_to_its_latest_transcript(
    user: Person, topics: MemoryTopics
) -> None:
    topics.say(transcript(id="call-17", audio_filepath="calls/17.flac"))
    latest = topics.say(transcript(id="call-17", audio_filepath="calls/17.flac"))
    by_file = topics.say(transcript(id="another", audio_filepath="calls/18.flac"))
    topics.add("asr.transcripts", b"no transcript")
    seen = user.see("/evaluation/compared.html")
    for name, place in zip(NAMES, (latest, by_file, None), strict=True):
        link = f"/evaluation/utterances?{urlencode({'id': name})}"
        assert link.replace("+", "%20") in seen or link in seen
        found = user.client.get(link, follow_redirects=False)
        assert found.headers.get("location") == (f"/utterances/{place}" if place else None)
    assert "is not among the last" in user.see("/evaluation/utterances?id=nobody", 404)


def test_results_are_tables_and_other_json_is_text(user: Person) -> None:
    seen = user.see("/evaluation/speed.json")
    for part in ("310.4", "21.5", "1.25", "1,200 utterances", "60.0 min", "As it was done."):
        assert part in seen
    seen = user.see("/evaluation/validated.json")
    for part in ("Not passed", "20.00", "max_wer", "not met", "Measure more speech.", "1,200"):
        assert part in seen
    assert "3.2}" in user.see("/evaluation/other.json")
    user.see("/evaluation/other.json/page", 404)


def test_what_is_no_report_is_not_shown(user: Person) -> None:
    for name in ("notes.txt", "out.html", "..%2Fcompared.html", "%2Fetc%2Fpasswd", "%00.html"):
        seen = user.see(f"/evaluation/{name}", 404)
        assert "root:" not in seen
    assert "not a saved Comparison" in user.see("/evaluation/broken.json", 400)
    user.see("/evaluation/hostile.html")


def test_speech_is_for_those_who_may_read_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = demo_settings()
    settings.console.reports = str(folder)
    with signed_in(settings, "figures", monkeypatch) as somebody:
        for path in ("", "/compared.html", "/compared.html/page", "/utterances?id=call-17"):
            somebody.see(f"/evaluation{path}", 403)
        assert "Evaluation" not in somebody.see("/models")


def test_without_reports_the_page_says_what_to_do(tmp_path: Path) -> None:
    settings = demo_settings()
    with person(settings) as somebody:
        assert "reports: reports" in somebody.see("/evaluation")
        assert "console.reports" in somebody.see("/evaluation/x.html", 404)
        settings.console.reports = str(tmp_path)
        assert "--report" in somebody.see("/evaluation")
        settings.console.reports = str(tmp_path / "none")
        assert "No such file" in somebody.see("/evaluation", 503)


def test_the_folder_is_relative_to_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "chorus.yaml"
    file.write_text(
        "models: {m: {engine: 'tests.versioned:VersionedEngine', path: m}}\n"
        "routing: {default: m}\naudio: {roots: [.]}\nconsole: {reports: reports}\n"
    )
    loaded: Settings = load_settings(file, files=False)
    assert loaded.console.reports == str(tmp_path / "reports")
