"""What the raylet runs to start a worker, in place of Ray's own ``setup_worker.py``.

It hands the worker over to the fork server (`serve_app.forkserver`) and ends. A script of its own,
without imports of the project: its start is part of each worker's.
"""

from __future__ import annotations

import json
import os
import socket
import sys

_CONTEXT = "--serialized-runtime-env-context="
_LANGUAGE = "--language="


def main(arguments: list[str]) -> None:
    """Start the worker that `arguments` (its script first) describe.

    They are those of ``setup_worker.py``: the worker's own, a runtime environment, a language.
    """
    context = [each for each in arguments if each.startswith(_CONTEXT)]
    language = [each for each in arguments if each.startswith(_LANGUAGE)]
    plain = context in ([], [_CONTEXT + "{}"]) and language in ([], [_LANGUAGE + "PYTHON"])
    own = [each for each in arguments if each not in context and each not in language]
    if not plain or not _fork(own):
        setup_worker = os.path.join(os.path.dirname(own[0]), "setup_worker.py")
        os.execv(sys.executable, [sys.executable, setup_worker, *arguments])


def _fork(arguments: list[str]) -> bool:
    """Whether the fork server has started the worker."""
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
