"""Transcripts and figures as they come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import msgspec
import pytest

from schemas.metrics import Latency, MetricsEvent
from schemas.settings import Settings
from tests.serve_app.http.conftest import FakeRouter
from tests.workers.console.conftest import on_network
from tests.workers.console.samples import transcript, voted
from tests.workers.console.topics import METRICS, TRANSCRIPTS, MemoryTopics
from workers.console.live.figures import STEP_S, Figures, event_of
from workers.console.live.filters import Filter
from workers.console.live.hub import MAX_PAGES, MAX_WAITING, Hub, TooManyPagesError
from workers.console.live.rows import MAX_TEXT, Row, row_of
from workers.console.place import Place


def row(offset: int = 0, **keys: Any) -> Row:
    given: dict[str, Any] = {"made_by": "vote", "model": "medical", "rule": "noise", "text": "Yes"}
    return Row(place=Place("t", 0, offset), **(given | keys))


def metrics_event(**keys: Any) -> MetricsEvent:
    given: dict[str, Any] = {
        "worker": "w",
        "interval_start": 0.0,
        "interval_end": 1000.0,
        "model": "medical",
        "domain": "",
        "records": 10,
        "dead_letters": 1,
        "retries": 0,
        "audio_seconds": 30.0,
        "model_seconds": 0.5,
        "rtfx": 60.0,
        "latency": Latency(p50_ms=100, p95_ms=800, max_ms=900, sum_ms=1),
        "word_errors": 0,
        "reference_words": 0,
        "references": 0,
        "wer": None,
    }
    return MetricsEvent(**(given | keys))


class Events:
    """The events of a live page, as a browser gets them."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.iter_lines()

    def next(self, kind: str) -> dict[str, str]:
        """The next event of a kind; others are passed over."""
        while True:
            found = self._one()
            if found.get("event") == kind:
                return found

    def _one(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for line in self._lines:
            if not line:
                return found
            key, _, value = line.partition(": ")
            found[key] = found[key] + "\n" + value if key in found else value
        raise AssertionError("the stream has ended")


@pytest.fixture
def topics() -> MemoryTopics:
    return MemoryTopics()


@pytest.fixture
def url(settings: Settings, topics: MemoryTopics, router: FakeRouter) -> Iterator[str]:
    yield from on_network(settings, topics, router)


@pytest.fixture
def open_page(url: str) -> Iterator[Any]:
    """`open_page(**filters)`: the events of a live page."""
    with ExitStack() as stack:
        client = stack.enter_context(httpx.Client(base_url=url, timeout=20))

        def opened(headers: dict[str, str] | None = None, **asked: str) -> Events:
            stream = client.stream("GET", "/live/events", params=asked, headers=headers)
            return Events(stack.enter_context(stream))

        yield opened


def test_a_transcript_appears_when_it_is_committed(open_page: Any, topics: MemoryTopics) -> None:
    first = topics.say(voted(id="first"))
    page = open_page()
    found = page.next("rows")
    assert found["id"] == str(first)
    assert f'href="/utterances/{first}"' in found["data"]
    assert "vote" in found["data"]
    second = topics.say(transcript(id="second"))
    found = page.next("rows")
    assert found["id"] == str(second)
    assert "first" not in found["data"]


def test_a_page_goes_on_where_it_was(open_page: Any, topics: MemoryTopics) -> None:
    places = [topics.say(transcript(id=f"number-{n}-")) for n in range(4)]
    open_page().next("rows")  # all of them have been read
    for found in (
        open_page(after=str(places[1])).next("rows"),
        open_page(headers={"last-event-id": str(places[1])}).next("rows"),
    ):
        assert [n for n in range(4) if f"number-{n}-" in found["data"]] == [2, 3]
        assert found["id"] == str(places[3])


def test_a_page_shows_what_it_asks_for(open_page: Any, topics: MemoryTopics) -> None:
    topics.say(transcript(id="one", domain="medical", confidence=0.99))
    topics.say(transcript(id="two", domain="legal", confidence=0.4))
    assert "one" not in open_page(below="50").next("rows")["data"]
    assert "two" not in open_page(domain="medical").next("rows")["data"]


def test_figures_come_with_what_is_wrong(open_page: Any, topics: MemoryTopics) -> None:
    page = open_page()
    topics.add(METRICS, b"no event")
    assert msgspec.json.decode(page.next("figures")["data"])["fault"] == ""
    topics.down = ConnectionError("no Kafka broker answers at nowhere:9092")
    while not (fault := msgspec.json.decode(page.next("figures")["data"])["fault"]):
        pass
    assert fault == "no Kafka broker answers at nowhere:9092"
    topics.down = None
    place = topics.say(transcript(id="again"))
    assert page.next("rows")["id"] == str(place), "Kafka is tried again, nothing comes twice"


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        ({}, True),
        ({"model": "vote"}, True),
        ({"model": "medical"}, True),
        ({"model": "legal"}, False),
        ({"rule": "noise"}, True),
        ({"rule": "nois"}, False),
        ({"domain": "medical"}, False),
        ({"text": "YES"}, True),
        ({"text": "no"}, False),
        ({"below": "90"}, True),
        ({"below": "89.9"}, False),
        ({"below": "many"}, True),
    ],
)
def test_filters(wanted: dict[str, str], taken: bool) -> None:
    asked = {"model": "", "domain": "", "rule": "", "below": "", "text": ""} | wanted
    assert Filter.of(**asked).takes(row(confidence=0.9)) is taken


def test_a_row_without_a_confidence_is_not_below_any() -> None:
    assert not Filter.of("", "", "", "100", "").takes(row())


def test_what_a_page_cannot_take_is_dropped_and_counted() -> None:
    hub = Hub(recent=1000)
    hub.push([row(n) for n in range(500)])
    with hub.subscribed(Filter()) as slow, hub.subscribed(Filter()) as quick:
        assert slow.dropped == 0, "what was there before the page is nothing that it missed"
        slow.take()
        quick.take()
        for n in range(500, 600):
            hub.push([row(n)])
            assert len(quick.take()) == 1
        assert [each.place.offset for each in slow.take()] == list(range(600 - MAX_WAITING, 600))
        assert slow.dropped == 100 - MAX_WAITING
        assert quick.dropped == 0


def test_pages_are_bounded_and_closed_ones_cost_nothing() -> None:
    hub = Hub(recent=10)
    with ExitStack() as stack:
        for _ in range(MAX_PAGES):
            stack.enter_context(hub.subscribed(Filter()))
        with pytest.raises(TooManyPagesError), hub.subscribed(Filter()):
            pass
    assert hub.pages == 0


def test_a_hostile_transcript_makes_a_small_row() -> None:
    topics = MemoryTopics()
    long = "\u202e<script>" + "x" * 1_000_000
    place = topics.say(transcript(id=long, pred_text=long, domain=long, rule=long, plan=long))
    message = topics.message(place)
    assert message is not None
    found = row_of(message)
    assert found is not None
    assert len(msgspec.json.encode(found)) < 3 * MAX_TEXT


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        (b"\x00\xff", ()),
        (b"[]", ()),
        (b'{"id": "\xff"}', ()),
        (b"{}", (("schema-version", b"9"),)),
        (b"{}", (("schema-version", b"\xff\x00<script>"),)),
    ],
)
def test_what_is_no_transcript_is_a_row_that_says_so(
    value: bytes, headers: tuple[tuple[str, bytes], ...]
) -> None:
    topics = MemoryTopics()
    message = topics.message(topics.add(TRANSCRIPTS, value, headers))
    assert message is not None
    found = row_of(message)
    assert found is not None
    assert found.fault


def test_figures_are_sums_over_workers_and_models() -> None:
    figures = Figures()
    figures.push([metrics_event(), metrics_event(worker="v", audio_seconds=20.0)])
    figures.push([metrics_event(interval_end=1000.0 + STEP_S, records=5, latency=None)])
    found = figures.series(1000.0 + STEP_S)
    assert found.t[-2:] == [1000, 1000 + STEP_S]
    assert found.rate[-2:] == [20 / STEP_S, 5 / STEP_S]
    assert found.rtfx[-2:] == [50.0, 60.0]
    assert found.lag[-2:] == [0.8, None]
    assert found.failures[-2:] == [24.0, 12.0]
    assert found.rtfx[0] is None


@pytest.mark.parametrize("value", [None, b"", b"{}", b'{"worker": 1}', b"\xff"])
def test_what_is_no_metrics_event_is_passed_over(value: bytes | None) -> None:
    assert event_of(value) is None
