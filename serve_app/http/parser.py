"""Parsing of HTTP/1.1 in Serve's proxy: an offer of another protocol is declined, not fatal.

A client may offer HTTP/2 with its first request (`Upgrade: h2c`), as curl and Java's client do.
Such an offer may be ignored (RFC 9110, 7.8), but llhttp, the parser in httptools, takes all that
follows the head for the other protocol, and the body is lost
(https://github.com/Kludex/uvicorn/issues/2722). uvicorn's other parser, h11, reads it, but takes
more time, and accepts what a proxy in front may read in another way: `Content-Length` together with
chunks, for example. So here a new parser is put behind the head, which costs only such requests.
"""

from __future__ import annotations

import json

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Headers that say where the body ends.
_FRAMING = (b"content-length", b"transfer-encoding")


class Http11(HttpToolsProtocol):
    """uvicorn's protocol for httptools, without upgrades but to WebSockets."""

    def data_received(self, data: bytes) -> None:
        """Parse `data`."""
        self._unset_keepalive_if_required()
        try:
            while True:
                try:
                    self.parser.feed_data(data)
                    return
                except httptools.HttpParserUpgrade as upgrade:
                    if not self._is_declined():
                        self._end_with_head()
                        return
                    data = data[upgrade.args[0] :]
                    self._parse_rest()
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")

    def on_message_complete(self) -> None:
        """Note the end of a message; the head of one whose offer is declined is not its end."""
        if not self._is_declined():
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP/1.1, in the shape of the API's errors; close the connection."""
        error = {
            "message": "the request is not valid HTTP/1.1",
            "type": "invalid_request_error",
            "param": None,
            "code": "invalid_http",
        }
        body = json.dumps({"error": error}).encode()
        head = (
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
            b"content-length: %d\r\n\r\n" % len(body)
        )
        self.transport.write(head + body)
        self.transport.close()

    def _is_declined(self) -> bool:
        return (
            self.parser.should_upgrade()
            and not self._should_upgrade()
            and self.scope["method"] != "CONNECT"  # a tunnel: what follows is not HTTP
        )

    def _end_with_head(self) -> None:
        if self._should_upgrade():
            self.handle_websocket_upgrade()

    def _parse_rest(self) -> None:
        """Put a parser behind the head; it gets a head of its own, with the same framing."""
        self.parser = httptools.HttpRequestParser(_BehindHead(self))
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        framing = [b"%s: %s" % header for header in self.headers if header[0] in _FRAMING]
        self.parser.feed_data(b"\r\n".join([b"POST / HTTP/1.1", *framing, b"", b""]))


class _BehindHead:
    """Callbacks for a parser whose first head is not one of the client's."""

    def __init__(self, protocol: Http11) -> None:
        self._protocol = protocol
        self._is_first = True

    def on_message_begin(self) -> None:
        if not self._is_first:
            self._protocol.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._is_first:
            self._protocol.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_first:
            self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        if not self._is_first:
            self._protocol.on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._protocol.on_body(body)

    def on_message_complete(self) -> None:
        self._is_first = False
        self._protocol.on_message_complete()
