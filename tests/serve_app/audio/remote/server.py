"""A store on this machine, with faults: as much of S3 and of HTTP as reading needs."""

from __future__ import annotations

import hashlib
import re
import ssl
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Asked(NamedTuple):
    """A request."""

    path: str
    range: str | None
    authorization: str | None


class _Writes(BaseHTTPRequestHandler):
    """What changes objects."""

    objects: dict[str, bytes]
    faults: dict[str, list[int | str]]

    def do_PUT(self) -> None:
        path = unquote(self.path.partition("?")[0])
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if faults := self.faults[path]:
            self._answer(int(faults.pop(0)))
            return
        self.objects[path] = body
        self._answer(200)

    def do_POST(self) -> None:
        """Delete several objects."""
        bucket, _, action = self.path.partition("?")
        assert action.startswith("delete")
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        keys = re.findall("<Key>(.*?)</Key>", body)
        for key in keys:
            self.objects.pop(f"{bucket}/{unquote(key)}", None)
        deleted = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
        self._answer(200, f"<DeleteResult>{deleted}</DeleteResult>".encode())

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class StoreServer:
    """Objects by their path, ``/bucket/prefix/key`` or ``/prefix/file``.

    Attributes:
        objects: the bytes of each; may be changed at any time.
        faults: what happens to the next requests for a path, first to last: a status; ``break``,
            which ends the connection in the middle of the body; or ``-> URL``, a redirect.
        asked: all requests.
        knows_ranges: whether it sends parts.
    """

    def __init__(self, certificate: Path | None = None) -> None:
        self.objects: dict[str, bytes] = {}
        self.faults: dict[str, list[int | str]] = defaultdict(list)
        self.codes: dict[int, str] = {503: "SlowDown", 403: "AccessDenied", 404: "NoSuchKey"}
        self.asked: list[Asked] = []
        self.knows_ranges = True
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @contextmanager
    def running(self) -> Iterator[StoreServer]:
        self._thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    @property
    def environment(self) -> dict[str, str]:
        """Leads clients of S3 here."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }

    def requests(self, path: str) -> list[Asked]:
        """Those for one object."""
        return [each for each in self.asked if each.path == path]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        store = self

        class Handler(_Writes):
            objects, faults = store.objects, store.faults
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 16  # head and body in one packet

            def do_GET(self) -> None:
                path = unquote(self.path.partition("?")[0])
                wanted = self.headers.get("Range")
                store.asked.append(Asked(self.path, wanted, self.headers.get("Authorization")))
                faults = store.faults[path]
                fault = faults.pop(0) if faults else None
                if isinstance(fault, int):
                    code = store.codes.get(fault, "Other")
                    return self._send(fault, f"<Error><Code>{code}</Code></Error>".encode())
                if fault is not None and fault.startswith("-> "):
                    return self._send(302, b"", headers={"Location": fault.removeprefix("-> ")})
                data = store.objects.get(path)
                if data is None:
                    return self._send(404, b"<Error><Code>NoSuchKey</Code></Error>")
                etag = f'"{hashlib.md5(data).hexdigest()}"'
                if self.headers.get("If-None-Match") == etag:
                    return self._send(304, b"", headers={"ETag": etag})
                if self.headers.get("If-Match", etag) != etag:
                    return self._send(412, b"")
                status, body, more = 200, data, {"ETag": etag}
                if wanted is not None and store.knows_ranges:
                    first, last = map(int, wanted.removeprefix("bytes=").split("-"))
                    if first >= len(data):
                        more["Content-Range"] = f"bytes */{len(data)}"
                        return self._send(416, b"", headers=more)
                    last = min(last, len(data) - 1)
                    status, body = 206, data[first : last + 1]
                    more["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
                return self._send(status, body, fault, more)

            do_HEAD = do_GET  # noqa: N815

            def _send(
                self,
                status: int,
                body: bytes,
                fault: str | None = None,
                headers: Mapping[str, str] = MappingProxyType({}),
            ) -> None:
                self.send_response(status)
                self.send_header("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT")
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "HEAD":
                    return
                broken = fault == "break"
                self.wfile.write(body[: len(body) // 2] if broken else body)
                self.close_connection = self.close_connection or broken

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def make_certificate(folder: Path) -> Path:
    """A file with a key and its certificate for `localhost`, which is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(
        encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + certificate.public_bytes(encoding))
    return file
