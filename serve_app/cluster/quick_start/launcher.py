"""The script that the raylet runs to start a worker, instead of Ray's own ``setup_worker.py``.

It passes the worker on to the fork server (`fork_server`, in the same folder) and ends. It is a
script without imports of the project, because its start is part of the start of each worker.
"""

from __future__ import annotations

import json
import os
import socket
import sys

_CONTEXT = "--serialized-runtime-env-context="
_LANGUAGE = "--language="


def main(arguments: list[str]) -> None:
    """Start a worker.

    Args:
        arguments: those of ``setup_worker.py``: the worker's script and its arguments, a runtime
            environment, a language.
    """
    context = [each for each in arguments if each.startswith(_CONTEXT)]
    language = [each for each in arguments if each.startswith(_LANGUAGE)]
    plain = context in ([], [_CONTEXT + "{}"]) and language in ([], [_LANGUAGE + "PYTHON"])
    own = [each for each in arguments if each not in context and each not in language]
    if not plain or not _fork(own):
        setup_worker = os.path.join(os.path.dirname(own[0]), "setup_worker.py")
        os.execv(sys.executable, [sys.executable, setup_worker, *arguments])


def _fork(arguments: list[str]) -> bool:
    """Ask the fork server for the worker; whether it has started it."""
    request = {
        "arguments": arguments,
        "folder": os.getcwd(),
        "environment": dict(os.environ),
    }
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
            server.connect(os.environ["CHORUS_FORK_SERVER"])
            socket.send_fds(server, [json.dumps(request).encode()], [0, 1, 2])
            return bool(server.recv(16))
    except (OSError, KeyError):
        return False


if __name__ == "__main__":
    main(sys.argv[1:])
