"""`chorus rollout start` and `resume`: run a candidate beside the version that serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers import exit_codes
from workers.cli.common import (
    DEFAULT_SETTINGS,
    JsonOption,
    SettingsOption,
    fail,
    print_json,
)
from workers.cli.models.common import ByOption, WhyOption, explained
from workers.cli.rollout.common import AddressOption, ModelArgument, find_cluster

if TYPE_CHECKING:
    from schemas.rollout import RolloutPlan
    from schemas.settings import RolloutSettings, Settings


def share(text: str) -> float:
    """A part of a whole: `20%`, or `0.2`.

    Raises:
        BadParameter: it is none.
    """
    from schemas.shares import share_of

    try:
        found = float(share_of(text))
    except ValueError:
        found = -1.0
    if not 0 <= found < float("inf"):
        raise typer.BadParameter(f"{text}: give a share such as 20% or 0.2")
    return found


def part(text: str) -> float:
    """As `share`, of what cannot be more than all.

    Raises:
        BadParameter: it is none.
    """
    if (found := share(text)) > 1:
        raise typer.BadParameter(f"{text}: is more than all; give a share such as 20% or 0.2")
    return found


@explained
def start(
    model: ModelArgument,
    candidate: Annotated[str, typer.Option(help="Version that may replace the one that serves.")],
    shadow: Annotated[
        float | None,
        typer.Option(parser=part, help="Share of the speech that both transcribe, such as 20%."),
    ] = None,
    canary: Annotated[
        float | None,
        typer.Option(
            parser=part,
            help="Share of the speech whose transcripts are the candidate's, such as 10%.",
        ),
    ] = None,
    max_worse: Annotated[
        float | None,
        typer.Option(
            parser=share, help="Roll back when the WER is certainly higher by more than this."
        ),
    ] = None,
    promote: Annotated[
        str | None, typer.Option(help="`automatic` or `by_hand`, once it is shown to be better.")
    ] = None,
    why: WhyOption = "",
    by: ByOption = None,
    settings_file: SettingsOption = DEFAULT_SETTINGS,
    address: AddressOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a candidate beside the version that serves, and compare them on live speech.

    Options that are not given are those of the settings (`rollout`). Returns when the candidate
    has been loaded and gets speech; exits with 1 if it cannot be.
    """
    import msgspec

    from schemas.rollout import RolloutPlan
    from schemas.settings import load_settings
    from serve_app.cluster import ray_cluster
    from serve_app.registry.provenance import user
    from workers.models.rollouts import followed, open_rollouts

    settings = load_settings(settings_file, files=False)
    reference = followed(settings, model)
    given = {"shadow": shadow, "canary": canary, "max_worse": max_worse, "promote": promote}
    rules = _rules(settings.rollout, {key: each for key, each in given.items() if each is not None})
    incumbent, version = _versions(settings, str(reference), reference.name, candidate)
    ray_cluster.connect(find_cluster(settings, address))
    plan = open_rollouts(settings).begin(
        RolloutPlan(
            name=reference.name,
            alias=str(reference.alias),
            number=0,
            app=settings.serve.app,
            model=model,
            incumbent=incumbent,
            candidate=version,
            rules=rules,
            by=by or user(),
            at="",
            why=why,
        )
    )
    _run(settings, plan)
    if as_json:
        print_json(msgspec.to_builtins(plan))
        return
    print(
        f"{plan.name}:{plan.candidate} runs beside {plan.name}:{plan.incumbent}: shadow "
        f"{rules.shadow:.0%}, canary {rules.canary:.0%} of the {_blocks(rules)}"
    )
    print(f"`chorus rollout status {model}` says how it does")


@explained
def resume(
    model: ModelArgument,
    why: WhyOption = "",
    by: ByOption = None,
    settings_file: SettingsOption = DEFAULT_SETTINGS,
    address: AddressOption = None,
) -> None:
    """Go on with a rollout that was paused, or whose candidate does not run."""
    from schemas.settings import load_settings
    from serve_app.cluster import ray_cluster
    from workers.models import rollouts

    settings = load_settings(settings_file, files=False)
    rollouts.under_way(settings, model)
    ray_cluster.connect(find_cluster(settings, address))
    rollout = rollouts.resume(settings, model, by=by, why=why)
    _run(settings, rollout.plan)
    print(f"rollout {rollout.plan.number} of {model} goes on")


def _rules(rules: RolloutSettings, given: dict[str, Any]) -> RolloutSettings:
    """The rules of the settings with the options that were given."""
    import msgspec

    from schemas.settings import rollout_faults

    changed = {**msgspec.to_builtins(rules), **given}
    try:
        rules = msgspec.convert(changed, type(rules))
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
    for key, reason in rollout_faults(rules):
        raise ValueError(f"{key}: {reason}")
    if not rules.shadow and not rules.canary:
        raise ValueError("give the candidate a share of the speech: --shadow 20% or --canary 10%")
    return rules


def _versions(settings: Settings, alias: str, name: str, candidate: str) -> tuple[str, str]:
    """The version that an alias names, and that of the candidate; both exist and differ."""
    from schemas.model_reference import parse_reference
    from workers.cli.models.common import resolved
    from workers.models.rollouts import registry_of

    registry = registry_of(settings)
    reference = parse_reference(candidate if ":" in candidate else f"{name}:{candidate}")
    if reference.name != name:
        raise ValueError(f"--candidate {candidate}: {alias} can only name versions of {name}")
    incumbent, found = resolved(registry, alias), registry.resolve(reference)
    if incumbent.version == found.version:
        raise ValueError(f"{alias} names version {found.version} already; there is no candidate")
    if incumbent.engine != found.engine:
        raise ValueError(
            f"version {found.version} is of the engine {found.engine}, and the one that serves of "
            f"{incumbent.engine}; change `engine` in the settings instead"
        )
    return incumbent.version, found.version


def _run(settings: Settings, plan: RolloutPlan) -> None:
    from serve_app.cluster.candidates import deploy_candidate, wait_for_candidate
    from serve_app.cluster.readiness import StartError

    deploy_candidate(settings, plan)
    try:
        wait_for_candidate(settings, plan)
    except StartError as error:
        fail(str(error), exit_codes.FAILURE)


def _blocks(rules: RolloutSettings) -> str:
    return {"speaker": "speakers", "recording": "recordings", "record": "records"}[rules.block_by]
