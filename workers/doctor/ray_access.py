"""Ray's token and folder: private, so that nobody else runs code through the cluster."""

from __future__ import annotations

from collections.abc import Iterator

from serve_app.cluster import access
from workers.doctor.finding import Finding, failure, ok


def examine_access() -> Iterator[Finding]:
    """Whether other users of the machine could reach a cluster of this user."""
    try:
        access.check_token()
        access.temp_folder()
    except OSError as error:
        yield failure(
            "Ray's token",
            str(error),
            cause="Ray, or a command as another user, made it with its usual mode",
            next="run the command that is named above",
        )
    else:
        yield ok("Ray's token", "no other user can read or replace it, or enter Ray's folder")
