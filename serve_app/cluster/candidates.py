"""Run the candidates of rollouts beside an application."""

from __future__ import annotations

import time

from schemas.model_reference import followed_alias
from schemas.rollout import RolloutPlan
from schemas.settings import Settings
from serve_app.cluster.readiness import StartError
from serve_app.registry.store import open_store
from serve_app.rollout.judge import app_of
from serve_app.rollout.records import Rollout, Rollouts

_POLL_S = 0.5


def rollouts_of(settings: Settings) -> dict[str, Rollout]:
    """The last rollout of each model that had one, by name. Blocks.

    Args:
        settings: that name the models and the registry.

    Raises:
        OSError: the registry cannot be read.
    """
    followed = {name: followed_alias(model.model) for name, model in settings.models.items()}
    if settings.registry is None or not any(followed.values()):
        return {}
    rollouts = Rollouts(open_store(settings.registry.url))
    found = {
        name: rollouts.last(reference.name, str(reference.alias))
        for name, reference in followed.items()
        if reference is not None
    }
    return {
        name: each
        for name, each in found.items()
        if each is not None and (each.plan.app, each.plan.model) == (settings.serve.app, name)
    }


def deploy_candidate(settings: Settings, plan: RolloutPlan) -> None:
    """Deploy the candidate of a rollout, on the connected cluster; does not wait for it.

    Args:
        settings: that the application runs with.
        plan: of the rollout.
    """
    from serve_app.cluster import deployments, ray_cluster
    from serve_app.system.ray_adapter import serve

    app = deployments.build_candidate(settings, plan, gpu=ray_cluster.has_gpu())
    serve.run_many(
        [serve.RunTarget(app, name=app_of(plan), route_prefix=None)],
        wait_for_ingress_deployment_creation=False,
        wait_for_applications_running=False,
    )


def wait_for_candidate(settings: Settings, plan: RolloutPlan, timeout_s: float = 600.0) -> None:
    """Wait until the candidate of a rollout gets speech.

    Raises:
        StartError: it cannot, or does not in time; the message says why.
        OSError: the registry cannot be read.
    """
    from serve_app.router.rollout_watch import LOOK_S
    from serve_app.system.ray_environment import rollout_notes
    from serve_app.system.ray_notes import notes

    deadline = time.monotonic() + timeout_s
    while plan.model not in notes(rollout_notes(plan.app)):
        rollout = rollouts_of(settings).get(plan.model)
        end = rollout.end if rollout is not None else None
        if end is not None:
            raise StartError(f"{plan.name}:{plan.candidate}: {end.kind}: {end.why}")
        if time.monotonic() > deadline:
            raise StartError(
                f"{plan.name}:{plan.candidate} is not ready after {timeout_s:g} s; "
                f"`chorus rollout abort {plan.model}` gives it up"
            )
        time.sleep(_POLL_S)
    time.sleep(LOOK_S)  # by then every Router has heard of it


def resume_rollouts(settings: Settings) -> list[RolloutPlan]:
    """Deploy the candidates of the rollouts that are under way, on a cluster that has just started.

    Returns:
        Their plans.

    Raises:
        OSError: the registry cannot be read.
    """
    under_way = [each.plan for each in rollouts_of(settings).values() if each.end is None]
    for plan in under_way:
        deploy_candidate(settings, plan)
    return under_way
