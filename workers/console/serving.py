"""The console as a process that listens."""

from __future__ import annotations

import socket
from contextlib import closing
from functools import partial

import uvicorn

from schemas.settings import Settings
from workers.console.all_pages import PAGES
from workers.console.app import make_console
from workers.console.topics import KafkaTopics
from workers.console.trial.router import connect_router

#: Seconds that pages with an open stream have at the end.
_GRACE_S = 1


def serve_console(settings: Settings) -> bool:
    """Serve the pages until SIGINT or SIGTERM.

    Returns:
        False if the address is taken or is none of this machine.

    Raises:
        SettingsError: a key is not in the environment, or is there twice.
    """
    app = make_console(
        settings, KafkaTopics(settings.kafka), partial(connect_router, settings), PAGES
    )
    family = socket.AF_INET6 if ":" in settings.console.host else socket.AF_INET
    with closing(socket.socket(family)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.console.host, settings.console.port))
            listener.listen()  # whoever reads the address below may connect at once
        except OSError:
            return False
        host, port = listener.getsockname()[:2]
        print(f"console at http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_S,
        )
        uvicorn.Server(config).run(sockets=[listener])
    return True
