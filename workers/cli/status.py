"""`chorus status`: what runs now, on one screen."""

from __future__ import annotations

import socket
import time
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from workers import exit_codes
from workers.cli.common import DEFAULT_SETTINGS, JsonOption, SettingsOption, print_json
from workers.cli.performance import performance_of, performance_parts, seldom
from workers.cli.rollout.common import AddressOption, find_cluster

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from schemas.settings import Settings
    from serve_app.cluster.state import AppState, ModelState
    from serve_app.model.protocol import ModelInfo
    from serve_app.rollout.evidence import Findings
    from serve_app.rollout.records import Rollout
    from workers.quality.recent import Performance

_WATCH_S = 2.0
_CONNECT_S = 1.0


def status(
    settings_file: SettingsOption = DEFAULT_SETTINGS,
    address: AddressOption = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it again every two seconds, until Ctrl-C.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what runs now: models with their versions and queues, stream workers, and the lag.

    Also how the latest transcripts did: their number, speed, errors and WER.

    Exits with 4 if no `chorus serve` with these settings answers, with 1 if a model does not run or
    its version is refused, or a stream worker does not run.
    """
    from schemas.settings import load_settings

    settings = load_settings(settings_file, files=False)
    where = find_cluster(settings, address)
    if watch and not as_json:
        _watch(settings, where)
    view = _look(settings, where, performance_of)
    if as_json:
        print_json(_as_json(view))
    else:
        from workers.cli.tables import people_console

        console = people_console()
        for part in _parts(view):
            console.print(part)
    if _faults(view.app):
        raise typer.Exit(exit_codes.FAILURE)


class _View(NamedTuple):
    """What is shown.

    Attributes:
        app: the application.
        rollouts: those under way, with what their evidence says, or why that is not known.
        lag: records that wait in Kafka, or why that is not known.
        performance: how models have done of late, or why that is not known; None without
            transcripts, or without Kafka.
    """

    app: AppState
    rollouts: list[tuple[Rollout, Findings]] | str
    lag: int | str
    performance: Performance | str | None


def _look(
    settings: Settings, address: str, performance: Callable[[Settings], Performance | str | None]
) -> _View:
    from serve_app.cluster.state import application_state

    lag = _lag(settings)
    return _View(
        app=application_state(settings, address),
        rollouts=_rollouts(settings),
        lag=lag,
        performance=performance(settings) if isinstance(lag, int) else None,
    )


def _rollouts(settings: Settings) -> list[tuple[Rollout, Findings]] | str:
    from serve_app.cluster.candidates import rollouts_of
    from workers.models.rollouts import findings_of

    try:
        found = findings_of(settings, rollouts_of(settings).values())
    except OSError as error:  # a registry out of reach hides nothing else
        return str(error)
    return [(rollout, findings) for rollout, findings in found if rollout.end is None]


def _watch(settings: Settings, address: str) -> None:
    from rich.console import Group
    from rich.live import Live

    performance = seldom(performance_of)
    with Live(auto_refresh=False, screen=True) as live:
        while True:
            view = _look(settings, address, performance)
            live.update(Group(*_parts(view)), refresh=True)
            time.sleep(_WATCH_S)


def _lag(settings: Settings) -> int | str:
    """Records that wait in Kafka, or why that is not known."""
    servers = settings.kafka.bootstrap_servers
    if not any(map(_listens, servers)):  # Kafka's client would try for long
        return f"no broker answers at {', '.join(servers)}"
    try:
        from workers.kafka.group_offsets import group_offsets
    except ModuleNotFoundError as error:
        return f"{error.name} is not installed"
    try:
        return sum(each.lag for each in group_offsets(settings.kafka))
    except Exception as error:  # Kafka's client has many; none of them hides the rest
        return next(iter(str(error).splitlines()), type(error).__name__)


def _listens(server: str) -> bool:
    host, _, port = server.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
    except OSError:
        return False
    return True


def _faults(found: AppState) -> bool:
    bad = any((each.info is None and not each.asleep) or _refusals(each) for each in found.models)
    return bad or bool(found.workers) or not found.state


def _as_json(view: _View) -> dict[str, Any]:
    import msgspec

    from workers.cli.rollout.status import as_json

    known, lag, rollouts = isinstance(view.lag, int), view.lag, view.rollouts
    unknown = view.performance if isinstance(view.performance, str) else None
    return {
        **msgspec.to_builtins(view.app),
        "rollouts": None if isinstance(rollouts, str) else [as_json(*each) for each in rollouts],
        "lag": lag if known else None,
        "lag_unknown": None if known else lag,
        "performance": None if unknown else msgspec.to_builtins(view.performance),
        "performance_unknown": unknown,
    }


def _parts(view: _View) -> list[RenderableType]:
    from rich.table import Table
    from rich.text import Text

    from workers.models.rollouts import sentence

    found, rollouts, lag, performance = view
    state = found.state.lower() or "not there"
    if found.missing:
        state += f" without {', '.join(found.missing)}"
    parts: list[RenderableType] = [Text(f"{found.app} at {found.address}: {state}")]
    table = Table(box=None, pad_edge=False)
    for name in ("model", "version", "source", "state"):
        table.add_column(name)
    for name in ("replicas", "waiting", "audio/s", "failed"):
        table.add_column(name, justify="right")
    table.add_column("sha256")
    for model in found.models:
        table.add_row(*_row(model))
    parts.append(table)
    for model in found.models:
        parts += [Text(f"{model.name}: {each}") for each in _differences(model)]
        failures = sorted({each.last_failure for each in _served(model) if each.last_failure})
        parts += [Text(f"{model.name}: last failure: {each}") for each in failures]
        refusals = _refusals(model)
        parts += [Text(f"{model.name}: refused: {each}", style="red") for each in refusals]
        if not refusals and model.message and model.state != "HEALTHY":
            parts.append(Text(f"{model.name}: {model.message}", style="red"))
    if isinstance(rollouts, str):
        parts.append(Text(f"rollouts: {rollouts}", style="dim"))
    else:
        parts += [Text(sentence(*each)) for each in rollouts]
    for worker, reason in found.workers.items():
        parts.append(Text(f"stream worker {worker} does not run: {reason}", style="red"))
    if isinstance(lag, int):
        parts.append(Text(f"stream: {lag} records wait" if lag else "stream: no record waits"))
    else:
        parts.append(Text(f"stream: {lag}", style="dim"))
    return [*parts, *performance_parts(performance)]


def _row(model: ModelState) -> list[str]:
    served = _served(model)
    return [
        model.name,
        ", ".join(dict.fromkeys(each.version or "-" for each in served)) or "?",
        _shown(model.source),
        "asleep" if model.asleep else model.state.lower() or "not there",
        str(model.replicas),
        str(sum(each.waiting for each in served)) if served else "?",
        f"{sum(each.audio_per_s for each in served):.1f}" if served else "?",
        str(sum(each.failed for each in served)) if served else "?",
        ", ".join(dict.fromkeys(each.sha256[:12] for each in served)),
    ]


def _served(model: ModelState) -> list[ModelInfo]:
    """What the replicas of a model serve; that of one where none has left a note yet."""
    return model.served or ([model.info] if model.info is not None else [])


def _refusals(model: ModelState) -> list[str]:
    """Why replicas do not serve what the settings name, each reason once."""
    reasons = Counter(each.refused for each in _served(model) if each.refused)
    total = len(_served(model))
    return [
        reason if count == total else f"{reason} ({count} of {total} replicas)"
        for reason, count in reasons.items()
    ]


def _differences(model: ModelState) -> list[str]:
    """Which replicas serve what, where that is not the same, and how many do not say."""
    counts = Counter((each.version or "-", each.sha256[:12]) for each in model.served)
    said = [
        f"version {version} ({digest}) on {_replicas(count)}"
        for (version, digest), count in counts.items()
    ]
    silent = model.replicas - len(model.served)
    if silent > 0 and model.served:
        said.append(f"{_replicas(silent)} did not say")
    return [", ".join(said)] if len(said) > 1 else []


def _replicas(count: int) -> str:
    return "1 replica" if count == 1 else f"{count} replicas"


def _shown(source: str) -> str:
    """The source without folders, which may be personal data."""
    return source.rpartition("/")[2] or source
