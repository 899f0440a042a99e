"""A collector of OpenTelemetry on a free port of this machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Span(NamedTuple):
    """A span that was sent.

    Attributes:
        service: that sent it.
        links: numbers of the spans that it is linked to.
    """

    trace: str
    number: str
    parent: str
    name: str
    service: str
    begin_ns: int
    end_ns: int
    links: tuple[str, ...]

    @property
    def milliseconds(self) -> float:
        """How long it took."""
        return (self.end_ns - self.begin_ns) / 1e6


class Collector:
    """What has been sent.

    Attributes:
        url: for ``OTEL_EXPORTER_OTLP_ENDPOINT``.
        bodies: of the requests.
        spans: in these.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.bodies: list[bytes] = []
        self.spans: list[Span] = []

    def take(self, path: str, body: bytes) -> None:
        """Take a request."""
        self.bodies.append(body)
        if path.endswith("/traces"):
            self.spans += _spans(body)

    def tree(self, trace: str) -> list[str]:
        """The spans of a trace as lines, each below the one that it is in."""
        mine = sorted((each for each in self.spans if each.trace == trace), key=_begin)
        known = {each.number for each in mine}

        def lines(parent: Span, depth: int) -> Iterator[str]:
            text = f"{'  ' * depth}{parent.name}"
            links = f"  ({len(parent.links)} linked)" if parent.links else ""
            yield f"{text:<48}{parent.service:<16}{parent.milliseconds:8.1f} ms{links}"
            for each in mine:
                if each.parent == parent.number:
                    yield from lines(each, depth + 1)

        roots = [each for each in mine if each.parent not in known]
        return [line for root in roots for line in lines(root, 0)]


@contextmanager
def collector() -> Iterator[Collector]:
    """A collector that listens while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.take(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Collector(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield found
        server.shutdown()


def _begin(span: Span) -> int:
    return span.begin_ns


def _spans(body: bytes) -> Iterator[Span]:
    request = ExportTraceServiceRequest.FromString(body)
    for resource in request.resource_spans:
        about = {each.key: each.value.string_value for each in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Span(
                    trace=span.trace_id.hex(),
                    number=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    name=span.name,
                    service=about.get("service.name", ""),
                    begin_ns=span.start_time_unix_nano,
                    end_ns=span.end_time_unix_nano,
                    links=tuple(link.span_id.hex() for link in span.links),
                )
