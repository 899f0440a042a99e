"""The program of a worker process: decodes what the parent sends, within limits of its own."""

from __future__ import annotations

import contextlib
import errno
import math
import mmap
import os
import resource
import socket
import sys
from pathlib import Path

import msgspec

import serve_app.audio.ffmpeg  # noqa: F401  ready before the first file, and before the limits
from serve_app.audio.errors import AudioError, from_os_error
from serve_app.audio.formats import read_header
from serve_app.audio.recordings import decode_segment
from serve_app.audio.sandbox.messages import (
    MAX_REFUSAL_LENGTH,
    READY,
    Broken,
    Decoded,
    Refused,
    Reply,
    Request,
    WorkerOptions,
)
from serve_app.system.logs import location_of

_MAX_REQUEST_BYTES = 256
#: Open files: the standard streams, the two of a request, a copy of one, and some to spare.
_MAX_DESCRIPTORS = 16


def main() -> None:
    """Serve the parent at the other end of standard input, until it ends."""
    options = msgspec.json.decode(sys.argv[1], type=WorkerOptions)
    _restrict(options)
    with socket.socket(fileno=0) as connection:
        connection.send(READY)
        while _serve_one(connection, options):
            pass


def _serve_one(connection: socket.socket, options: WorkerOptions) -> bool:
    """Serve the next request; whether there may be another."""
    message, descriptors, _, _ = socket.recv_fds(connection, _MAX_REQUEST_BYTES, 2)
    if len(descriptors) != 2:  # the parent has ended
        return False
    _limit_cpu(options.cpu_s)
    try:
        file, memory = descriptors
        reply = _decode(file, memory, options, msgspec.json.decode(message, type=Request))
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    connection.send(msgspec.json.encode(reply))
    return not isinstance(reply, Broken)


def _decode(file: int, memory: int, options: WorkerOptions, request: Request) -> Reply:
    try:
        clip, channel, channels, similarity = decode_segment(
            file,
            read_header(file),
            offset=request.offset,
            duration=request.duration,
            channel=request.channel,
            sample_rate=options.sample_rate,
            limits=options.limits,
        )
        with mmap.mmap(memory, clip.nbytes) as mapped:
            mapped.write(clip.data.cast("B"))
        return Decoded(len(clip), channel, channels, similarity)
    except AudioError as error:
        return _refused(error)
    except Exception as error:
        if isinstance(error, OSError) and error.errno != errno.ENOMEM:
            return _refused(from_os_error(error))
        # Out of memory, or a bug of Chorus or of a library: the state of this process is unknown.
        return Broken(location_of(error)[:200])


def _refused(error: AudioError) -> Refused:
    return Refused(error.code, error.message[:MAX_REFUSAL_LENGTH])


def _restrict(options: WorkerOptions) -> None:
    """Give up what decoding does not need, for good."""
    with contextlib.suppress(OSError):  # if memory runs out, the kernel kills this process first
        Path("/proc/self/oom_score_adj").write_text("1000")
    # From here on, nothing is printed: messages of the libraries may contain parts of a file.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _limit(resource.RLIMIT_AS, pages * mmap.PAGESIZE + options.memory_bytes)
    _limit(resource.RLIMIT_CPU, _cpu_used() + options.cpu_s * (options.max_requests + 1))
    _limit(resource.RLIMIT_NOFILE, _MAX_DESCRIPTORS)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NPROC, 0)  # neither processes nor threads; root is exempt


def _limit(what: int, value: int) -> None:
    """Lower a limit for good; one that is lower already stays."""
    _, hard = resource.getrlimit(what)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (value, value))


def _limit_cpu(seconds: int) -> None:
    """From now on `seconds` of CPU time; then the kernel ends this process.

    The parent's timeout comes first, unless the parent is gone.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (min(_cpu_used() + seconds, hard), hard))


def _cpu_used() -> int:
    """CPU seconds of this process so far, rounded up."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return math.ceil(used.ru_utime + used.ru_stime)


if __name__ == "__main__":
    main()
