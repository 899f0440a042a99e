"""A worker's own port: probes and metrics, over real HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client.parser import text_string_to_metric_families

from schemas.settings import Settings, SettingsError, StatusSettings
from serve_app.telemetry.definitions import STREAM
from tests.otlp import Collector, collector
from tests.workers.stream.clusters import AnyCluster, Bench
from tests.workers.stream.support import StandInRouter, done, running_worker, wait_until
from workers.stream.monitoring import monitored
from workers.stream.worker import StreamWorker


@pytest.fixture
def bench(cluster: AnyCluster) -> Bench:
    return Bench(cluster)


@pytest.fixture
def settings(bench: Bench) -> Settings:
    found = bench.settings()
    found.stream.status = StatusSettings(port=0)
    return found


def values(text: str) -> dict[str, float]:
    """Sums over the labels, by name."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


def test_what_a_worker_shows(bench: Bench, settings: Settings) -> None:
    router = StandInRouter()
    router.poison = {"r3"}
    bench.send(settings, [f"r{number}" for number in range(50)])
    worker = bench.worker(settings, router)
    with monitored(worker, "a", settings) as port:
        url = f"http://127.0.0.1:{port}"
        assert httpx.get(f"{url}/live").json()["live"] is True
        not_yet = httpx.get(f"{url}/ready")
        assert (not_yet.status_code, not_yet.json()["ready"]) == (503, False)
        assert not_yet.json()["partitions"] == 0
        with running_worker(worker):
            wait_until(lambda: done(worker) == 50)
            ready = httpx.get(f"{url}/ready")
            assert (ready.status_code, ready.json()["partitions"]) == (200, 3)
            text = httpx.get(f"{url}/metrics").text
        assert httpx.get(f"{url}/nothing").status_code == 404
        assert httpx.post(f"{url}/live").status_code == 405
    found = values(text)
    assert found["chorus_stream_records_total"] == 49
    assert found["chorus_stream_dead_letters_total"] == 1
    assert found["chorus_stream_latency_seconds_count"] == 49
    assert found["chorus_stream_partitions"] == 3
    assert found["chorus_stream_pending_records"] == 0
    assert found["chorus_stream_commits_total"] >= 1
    assert 'model="general"' in text
    told = set(re.findall(r"^# TYPE (\S+) \S+$", text, re.MULTILINE))
    # what is told by the worker that looks at the lag, and what there is only of references
    sometimes = {"lag_records", "lag_audio_seconds", "oldest_pending_seconds"}
    sometimes |= {"word_errors_total", "reference_words_total"}
    expected = {each.prometheus_name for each in STREAM}
    assert told <= expected
    assert expected - told <= {f"chorus_stream_{name}" for name in sometimes}
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/live")


def test_a_port_that_is_taken_is_a_fault_of_the_settings(bench: Bench, settings: Settings) -> None:
    with monitored(bench.worker(settings, StandInRouter()), "a", settings) as port:
        assert port is not None
        settings.stream.status = StatusSettings(port=port)
        with (
            pytest.raises(SettingsError, match=f"stream.status: cannot listen on 127.0.0.1:{port}"),
            monitored(bench.worker(settings, StandInRouter()), "b", settings),
        ):
            pass


def _use(monkeypatch: pytest.MonkeyPatch, provider: TracerProvider) -> None:
    """Take a provider for one test; OpenTelemetry itself takes one for ever."""
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """What a collector of OpenTelemetry gets that the environment names."""
    with collector() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_on")
        monkeypatch.setattr(trace, "set_tracer_provider", partial(_use, monkeypatch))
        yield found


def test_a_collector_is_sent_the_same(bench: Bench, collected: Collector) -> None:
    settings = bench.settings()
    bench.send(settings, ["r0"])
    worker: StreamWorker = bench.worker(settings, StandInRouter())
    with monitored(worker, "a", settings) as port, running_worker(worker):
        assert port is None
        wait_until(lambda: done(worker) == 1)
    assert any(b"chorus.stream.records" in body for body in collected.bodies)
    names = {each.name.partition(" ")[0] for each in collected.spans}
    assert names == {"process", "send", "commit"}


def test_without_anybody_who_looks_nothing_is_measured(bench: Bench) -> None:
    settings = bench.settings()
    worker = bench.worker(settings, StandInRouter())
    with monitored(worker, "a", settings) as port:
        assert port is None
        assert worker._totals.listener is None
