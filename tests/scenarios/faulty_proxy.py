"""A proxy before an S3 server: adds latency, throttles some requests, breaks some connections off.

It keeps what the server has sent, so that not the server's speed is measured but what the faults
cost. The first line of its output is its port. Run it as a program: it needs a core of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import re
import subprocess
import sys
from collections.abc import Iterator

DELAY_S, THROTTLED, BROKEN = 0.020, 0.05, 0.01

_SLOW_DOWN = (
    b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)
_THROTTLE = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_SLOW_DOWN), _SLOW_DOWN)
)
_CONNECTION = re.compile(rb"\r\nConnection: [^\r]*", re.IGNORECASE)
_CONDITION = re.compile(rb"\r\n((?:Range|If-[\w-]+): [^\r]*)", re.IGNORECASE)


class FaultyProxy:
    """The proxy.

    Args:
        port: of the server behind it, on this machine.
        seed: of the faults.
    """

    def __init__(self, port: int, seed: int) -> None:
        self._port = port
        self._rng = random.Random(seed)
        self._answers: dict[tuple[bytes, ...], bytes] = {}

    async def run(self) -> None:
        """Serve until cancelled."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
        print(server.sockets[0].getsockname()[1], flush=True)
        async with server:
            await server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await asyncio.sleep(DELAY_S)
                fate = self._rng.random()
                if fate < THROTTLED:
                    writer.write(_THROTTLE)
                    continue
                answer = await self._answer(head)
                if fate < THROTTLED + BROKEN:
                    writer.write(answer[: len(answer) // 2])
                    await writer.drain()
                    break
                writer.write(answer)
                await writer.drain()
        writer.close()

    async def _answer(self, head: bytes) -> bytes:
        key = (head.partition(b"\r\n")[0], *_CONDITION.findall(head))
        if key not in self._answers:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            writer.write(_CONNECTION.sub(b"", head)[:-2] + b"Connection: close\r\n\r\n")
            answer = await reader.read(-1)
            writer.close()
            self._answers[key] = _CONNECTION.sub(b"", answer, count=1)
        return self._answers[key]


@contextlib.contextmanager
def faulty_proxy(endpoint: str, seed: int = 1) -> Iterator[str]:
    """Run the proxy before the server at `endpoint`; yields its own endpoint."""
    port = endpoint.rpartition(":")[2]
    command = [sys.executable, "-m", "tests.scenarios.faulty_proxy", port, str(seed)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        if process.stdout is None:
            raise RuntimeError("the proxy has no output")
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Run the proxy."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("port", type=int)
    parser.add_argument("seed", type=int)
    options = parser.parse_args()
    asyncio.run(FaultyProxy(options.port, options.seed).run())


if __name__ == "__main__":
    main()
