"""The port of the HTTP API: free, or held by whom."""

from __future__ import annotations

from typing import NamedTuple

import psutil

from schemas.settings import HttpSettings
from serve_app.cluster.port import PortClaim, PortTakenError
from workers.doctor.finding import Finding, failure, ok

_NAME = "HTTP port"


class Holder(NamedTuple):
    """A process that listens at a port."""

    pid: int
    name: str
    ours: bool


def examine_port(http: HttpSettings) -> Finding:
    """Whether `chorus serve` can listen where the settings say.

    Args:
        http: the section of the settings.
    """
    place = f"{http.host}:{http.port}"
    try:
        PortClaim(http.host, http.port).release()
    except PortTakenError:
        return taken(place, holder(http.port))
    except OSError as error:
        return failure(
            _NAME,
            f"{place}: {error.strerror or error}",
            cause="an address that this machine does not have, or a port that needs a privilege",
            next="correct `http.host`, or take a port above 1023",
        )
    return ok(_NAME, f"{place} is free")


def taken(place: str, found: Holder | None) -> Finding:
    """A port that is not free: fine if `chorus serve` itself has it.

    Args:
        place: address and port.
        found: who listens there; None if the system does not tell.
    """
    if found is None:
        return failure(
            _NAME,
            f"{place} is taken by a process of another user, or by one that is starting",
            next=f"`sudo ss -ltnp` names it; stop it, or set another `http.port` than in {place}",
        )
    if found.ours:
        return ok(_NAME, f"{place} is held by a running `chorus serve` (process {found.pid})")
    return failure(
        _NAME,
        f"{place} is taken by process {found.pid} ({found.name})",
        next="stop it, or set another `http.port`",
    )


def holder(port: int) -> Holder | None:
    """The process that listens at a port of this machine; None if it cannot be seen."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.Error:
        return None
    for each in connections:
        if each.status == psutil.CONN_LISTEN and each.pid and port in each.laddr[1:]:
            try:
                words = psutil.Process(each.pid).cmdline()
                name = psutil.Process(each.pid).name()
            except psutil.Error:
                return None
            return Holder(each.pid, name, any(word.startswith("ray::") for word in words))
    return None
