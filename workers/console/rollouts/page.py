"""The pages of rollouts, and what a person does to one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from litestar import get, post
from litestar.exceptions import ClientException, NotFoundException
from litestar.response import Redirect, Template

from schemas.model_reference import followed_alias
from schemas.settings import Settings
from serve_app.cluster.candidates import rollouts_of
from serve_app.rollout.evidence import Evidence, Findings
from serve_app.rollout.records import Rollout
from workers.console.access import needs
from workers.console.acting import act, actor, explained, reason_of
from workers.console.pages import Page
from workers.console.rendering import page
from workers.console.rollouts.chart import chart_of
from workers.console.rollouts.differing import Differing, find_utterances, most_differing
from workers.console.rollouts.sequence import sequence_of
from workers.console.signing_in import Form
from workers.console.state import AnyRequest, Console
from workers.console.topics import Topics
from workers.models import rollouts

#: Transcripts among which the utterances of blocks are looked for.
_RECENT = 20_000


@dataclass(frozen=True)
class View:
    """A rollout as it is shown.

    Attributes:
        rollout: with its events.
        state: what it does now, in words.
        evidence: that is stored.
        findings: what that says.
    """

    rollout: Rollout
    state: str
    evidence: Evidence
    findings: Findings


@get("/rollouts", guards=[needs("figures")])
async def show_rollouts(request: AnyRequest, console: Console) -> Template:
    """The last rollout of each model."""
    settings = console.settings
    with explained():
        views = await asyncio.to_thread(_views, settings)
    follow = [name for name, each in settings.models.items() if followed_alias(each.model)]
    return page(
        request,
        "rollouts.html.j2",
        views=views,
        follow=follow if settings.registry is not None else [],
    )


@get("/rollouts/{model:str}", guards=[needs("figures")])
async def show_rollout(request: AnyRequest, console: Console, model: str) -> Template:
    """A rollout: its verdict, its sequence, and what was done to it."""
    return await _shown(request, console, model, "rollout.html.j2")


@get("/rollouts/{model:str}/state", guards=[needs("figures")])
async def rollout_state(request: AnyRequest, console: Console, model: str) -> Template:
    """The part of the page that changes while a rollout is under way."""
    return await _shown(request, console, model, "rollout_state.html.j2")


@get("/rollouts/{model:str}/differing", guards=[needs("speech")])
async def show_differing(request: AnyRequest, console: Console, model: str) -> Template:
    """The utterances on which the two versions differ most."""
    view = await _view(console, model)
    topic = console.settings.kafka.topics.transcripts
    with explained():
        found, looked = await asyncio.to_thread(_differing, view, console.topics, topic)
    return page(
        request, "rollout_differing.html.j2", view=view, model=model, found=found, looked=looked
    )


@post("/rollouts/{model:str}/{what:str}", guards=[needs("act")], status_code=303)
async def change(
    request: AnyRequest, console: Console, model: str, what: str, data: Form
) -> Redirect:
    """Promote the candidate, hold the rollout, go on with it, or abort it."""
    done: Any = _ACTS.get(what)
    if done is None:
        raise NotFoundException(f"a rollout can be given: {', '.join(_ACTS)}")
    user, why = console.user(request), reason_of(data)
    with explained():
        rollout = await asyncio.to_thread(rollouts.under_way, console.settings, model)
    number = rollout.plan.number
    if data.get("number") != str(number):
        raise ClientException("another rollout is under way by now; look at it first")
    with act(user, f"{what} rollout", f"{model}#{number}", why):
        await asyncio.to_thread(done, console.settings, model, by=actor(user), why=why)
    return Redirect(f"/rollouts/{quote(model, safe='')}", status_code=303)


_ACTS = {
    "promote": rollouts.promote,
    "hold": rollouts.pause,
    "resume": rollouts.resume,
    "abort": rollouts.abort,
}


async def _shown(request: AnyRequest, console: Console, model: str, template: str) -> Template:
    view = await _view(console, model)
    rules = view.rollout.plan.rules
    points = await asyncio.to_thread(sequence_of, view.evidence, rules)
    return page(
        request,
        template,
        view=view,
        model=model,
        rules=rules,
        points=points,
        chart=chart_of(points),
        follows=rollouts.follows_within(console.settings),
    )


async def _view(console: Console, model: str) -> View:
    with explained():
        found = await asyncio.to_thread(_views, console.settings, model)
    if not found:
        raise NotFoundException(
            f"no rollout of this model was ever begun; `chorus rollout start {model} --candidate "
            "VERSION` begins one"
        )
    return found[0]


def _views(settings: Settings, model: str | None = None) -> list[View]:
    """The last rollouts of all models, or of one; blocks."""
    if model is not None:
        rollouts.followed(settings, model)
    stored = rollouts.open_rollouts(settings)
    views = []
    for name, each in rollouts_of(settings).items():
        if model in (None, name):
            evidence = stored.evidence(each.plan)[1]
            findings = evidence.findings(each.plan.rules)
            views.append(View(each, rollouts.state_of(each), evidence, findings))
    return views


def _differing(view: View, topics: Topics, topic: str) -> tuple[list[Differing], int]:
    found = most_differing(view.evidence)
    if not found:
        return [], 0
    looked = find_utterances(found, topics, topic, view.rollout.plan.rules, _RECENT)
    return list(found.values()), looked


PAGE = Page(
    "Rollouts",
    "/rollouts",
    "figures",
    (show_rollouts, show_rollout, rollout_state, show_differing, change),
)
