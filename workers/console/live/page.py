"""The live page, and the stream of server-sent events that fills it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Annotated, Any

import msgspec
from litestar import Litestar, get
from litestar.params import Parameter
from litestar.response import ServerSentEvent, Template
from litestar.response.sse import ServerSentEventMessage

from schemas.metrics import MetricsEvent
from workers.console.access import needs
from workers.console.live.figures import Figures, event_of
from workers.console.live.filters import Filter
from workers.console.live.following import Follower
from workers.console.live.hub import Hub, Subscription, TooManyPagesError
from workers.console.live.rows import Row, row_of
from workers.console.pages import Page
from workers.console.place import Place
from workers.console.rendering import page
from workers.console.state import AnyRequest, Console
from workers.kafka.protocols import Record

#: Seconds between two events of rows, and how many of these pass until the figures come again.
_TICK_S, _FIGURES_TICKS = 0.25, 4
#: Metrics events that are read at the start: those of ten minutes of several workers.
_PAST_EVENTS = 5000


class Live:
    """What is read of Kafka for the page."""

    def __init__(self, console: Console) -> None:
        topics = console.settings.kafka.topics
        self.hub = Hub(console.settings.console.recent)
        self.figures = Figures()
        self._followers: list[Follower[Any]] = [
            Follower[Row](
                console.topics,
                topics.transcripts,
                console.settings.console.recent,
                row_of,
                self.hub.push,
            ),
            Follower[MetricsEvent](
                console.topics, topics.metrics, _PAST_EVENTS, _event, self.figures.push
            ),
        ]

    def start(self) -> None:
        """Begin to read."""
        for each in self._followers:
            each.start()

    def stop(self) -> None:
        """Read no more."""
        for each in self._followers:
            each.stop()

    @property
    def fault(self) -> str:
        """Why nothing comes; empty while Kafka is read."""
        return next((each.fault for each in self._followers if each.fault), "")


def _event(message: Record) -> MetricsEvent | None:
    return event_of(message.value)


async def start(app: Litestar) -> None:
    """Begin to read Kafka; a hook of Litestar's."""
    app.state.live = Live(app.state.console)
    app.state.live.start()


async def stop(app: Litestar) -> None:
    """Read no more; a hook of Litestar's."""
    app.state.live.stop()


@get("/live", guards=[needs("figures")], sync_to_thread=False)
def show_live(request: AnyRequest, console: Console) -> Template:
    """The page."""
    live: Live = request.app.state.live
    reads = console.user(request).may("speech")
    settings = console.settings
    return page(
        request,
        "live.html.j2",
        reads=reads,
        models=[*settings.plans, *settings.models],
        rules=[*(rule.name for rule in settings.routing.rules), "default", "requested"],
        domains=live.hub.seen("domain") if reads else [],
        given=dict(request.query_params),
    )


@get("/live/events", guards=[needs("figures")], sync_to_thread=False)
def live_events(
    request: AnyRequest,
    console: Console,
    model: str = "",
    domain: str = "",
    rule: str = "",
    below: str = "",
    text: str = "",
    after: str = "",
    last_event_id: Annotated[str, Parameter(header="last-event-id")] = "",
) -> ServerSentEvent:
    """Rows of HTML as they come, and figures each second; at most five events a second.

    The id of an event of rows is the place of its last one; a browser sends it when it connects
    again, and the page sends it in `after` when it is resumed.
    """
    live: Live = request.app.state.live
    reads = console.user(request).may("speech")
    wanted = Filter.of(model, domain, rule, below, text)
    events = _events(request, live, wanted if reads else None, Place.parse(last_event_id or after))
    return ServerSentEvent(events, headers={"x-accel-buffering": "no"})


async def _events(
    request: AnyRequest, live: Live, wanted: Filter | None, after: Place | None
) -> AsyncGenerator[ServerSentEventMessage, None]:
    """The events; without `wanted` those of figures alone."""
    try:
        with live.hub.subscribed(wanted or Filter(), after) as waiting:
            ticks = 0
            while request.app.state.console.access.knows(request):
                rows = waiting.take()
                if rows and wanted is not None:
                    yield _rows_event(request, rows)
                if ticks % _FIGURES_TICKS == 0:
                    yield _figures_event(live, waiting)
                ticks += 1
                await asyncio.sleep(_TICK_S)
    except TooManyPagesError:
        yield ServerSentEventMessage(event="full", data="too many pages are open")


def _rows_event(request: AnyRequest, rows: Sequence[Row]) -> ServerSentEventMessage:
    engine = request.app.template_engine
    if engine is None:
        raise RuntimeError("the application has templates")
    html = engine.get_template("live_rows.html.j2").render(rows=list(reversed(rows)))
    return ServerSentEventMessage(event="rows", data=html, id=str(rows[-1].place))


def _figures_event(live: Live, waiting: Subscription) -> ServerSentEventMessage:
    found = {
        "series": live.figures.series(time.time()),
        "dropped": waiting.dropped,
        "fault": live.fault[:500],
        "pages": live.hub.pages,
    }
    return ServerSentEventMessage(event="figures", data=msgspec.json.encode(found).decode())


PAGE = Page("Live", "/live", "figures", (show_live, live_events), start, stop)
