"""`chorus rollout status`: the rollouts, what has been observed, and the verdict so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers import exit_codes
from workers.cli.common import DEFAULT_SETTINGS, JsonOption, SettingsOption, fail, print_json
from workers.cli.models.common import explained

if TYPE_CHECKING:
    from rich.table import Table

    from serve_app.rollout.evidence import Findings
    from serve_app.rollout.records import Rollout


@explained
def status(
    model: Annotated[
        str | None,
        typer.Argument(metavar="[MODEL]", help="Name of the model in the settings. Default: all."),
    ] = None,
    settings_file: SettingsOption = DEFAULT_SETTINGS,
    json_: JsonOption = False,
) -> None:
    """Show the last rollout of each model, and what its evidence says.

    Read from the registry, so it can be asked from anywhere, also while nothing runs; what has been
    observed is stored there every ten seconds.
    """
    from schemas.settings import load_settings
    from serve_app.cluster.candidates import rollouts_of
    from workers.models.rollouts import findings_of, followed, sentence

    settings = load_settings(settings_file, files=False)
    if model is not None:
        followed(settings, model)
    wanted = [each for name, each in rollouts_of(settings).items() if model in (None, name)]
    found = findings_of(settings, wanted)
    if json_:
        print_json([as_json(*each) for each in found])
    elif not found:
        fail("no rollout was ever begun; `chorus rollout start` begins one", exit_codes.FAILURE)
    else:
        from workers.cli.tables import people_console

        console = people_console()
        for rollout, findings in found:
            console.print(sentence(rollout, findings))
            console.print(_table(rollout, findings))


def _table(rollout: Rollout, findings: Findings) -> Table:
    from rich.table import Table

    plan = rollout.plan
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for column in (f"version {plan.incumbent}", f"version {plan.candidate}", "difference"):
        table.add_column(column, justify="right")
    change = findings.wer_change
    table.add_row(
        f"WER % on {findings.words} words",
        _shown(findings.incumbent_wer),
        _shown(findings.candidate_wer),
        f"{change[0]:+.2f} to {change[1]:+.2f}" if change else "-",
    )
    for name, shares in (("no answer, %", findings.failing), ("slow over HTTP, %", findings.slow)):
        table.add_row(name, _shown(shares.get("incumbent")), _shown(shares.get("candidate")), "")
    table.add_row("words that differ, %", "", "", _shown(findings.differing))
    confidence = findings.confidence_change
    table.add_row("confidence", "", "", "-" if confidence is None else f"{confidence:+.3f}")
    table.add_row("records, blocks", "", "", f"{findings.records}, {findings.blocks}")
    return table


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def as_json(rollout: Rollout, findings: Findings) -> dict[str, Any]:
    """A rollout and what its evidence says, for scripts."""
    import msgspec

    from workers.models.rollouts import state_of

    return {
        "state": state_of(rollout),
        "plan": msgspec.to_builtins(rollout.plan),
        "events": msgspec.to_builtins(rollout.events),
        "findings": msgspec.to_builtins(findings),
    }
