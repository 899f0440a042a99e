"""What the settings name outside of themselves: engines, secrets, a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator

from schemas.settings import Settings, SettingsError, api_key_faults, client_options
from schemas.settings.models import BUILT_IN
from serve_app.engines.available import engine_faults
from workers.doctor.causes import failure_of
from workers.doctor.finding import Finding, failure, ok


def examine_engines(settings: Settings) -> Iterator[Finding]:
    """Whether the engines other than NeMo's can be imported. Blocks while they are."""
    found = list(engine_faults(settings.models))
    for key, reason in found:
        yield failure_of(key, reason)
    own = {model.engine for model in settings.models.values()} - BUILT_IN
    if own and not found:
        yield ok("engines", f"{', '.join(sorted(own))}: imported")


def examine_secrets(settings: Settings) -> Iterator[Finding]:
    """Whether the environment has the secrets that the settings name."""
    faults = list(api_key_faults(settings.http)) if settings.http is not None else []
    faults += api_key_faults(settings.console)
    try:
        client_options(settings.kafka)
    except SettingsError as error:
        key, _, reason = str(error).partition(": ")
        faults.append((key, reason))
    for key, reason in faults:
        yield failure(
            key,
            reason,
            cause="set in another shell, or not passed on by the service or the container",
            next="set it where `chorus serve`, `chorus stream` and `chorus console` start",
        )


def cluster_of(settings: Settings) -> str | None:
    """The address of the Ray cluster that the models run on; None if one is started here."""
    return settings.serve.address or os.environ.get("RAY_ADDRESS")


def examine_cluster(address: str) -> Finding:
    """Whether a running cluster answers.

    Args:
        address: of it; the resources of its machines are not examined.
    """
    from serve_app.cluster.announcements import check_answers  # psutil may be absent

    try:
        check_answers(address)
    except ConnectionError as error:
        return failure(
            "Ray cluster",
            str(error),
            cause="it is down, or `serve.address` (or RAY_ADDRESS) is wrong",
            next="start it, correct the address, or leave it out for a cluster of one's own",
        )
    return ok(
        "Ray cluster", f"{address} answers; memory, cores, GPUs and ports there are not examined"
    )
