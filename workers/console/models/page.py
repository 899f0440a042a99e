"""The pages of models, and the acts on their aliases."""

from __future__ import annotations

import asyncio

from litestar import get, post
from litestar.exceptions import ClientException
from litestar.response import Redirect, Template

from schemas.model_reference import parse_reference
from serve_app.registry.registry import Registry
from workers.console.access import needs
from workers.console.acting import act, actor, explained, reason_of
from workers.console.models.view import model_view, overview
from workers.console.pages import Page
from workers.console.rendering import page
from workers.console.signing_in import Form
from workers.console.state import AnyRequest, Console
from workers.models.cards import aliases_by_version, as_version, card_lines
from workers.models.rollouts import registry_of, registry_settings


@get("/models", guards=[needs("figures")])
async def show_models(request: AnyRequest, console: Console) -> Template:
    """All models of the registry."""
    with explained():
        registry = registry_of(console.settings)
        models = await asyncio.to_thread(overview, registry, console.settings)
    url = registry_settings(console.settings).url
    return page(request, "models.html.j2", models=models, url=url)


@get("/models/{name:str}", guards=[needs("figures")])
async def show_model(request: AnyRequest, console: Console, name: str) -> Template:
    """A model: its versions, and what served when."""
    with explained():
        registry = _registry(console, name)
        view = await asyncio.to_thread(model_view, registry, console.settings, name)
    return page(request, "model.html.j2", model=view, poll_s=_poll_s(console))


@get("/models/{name:str}/{version:int}", guards=[needs("figures")])
async def show_version(request: AnyRequest, console: Console, name: str, version: int) -> Template:
    """The card of a version."""
    with explained():
        registry = _registry(console, name)
        card = await asyncio.to_thread(registry.card, name, version)
        aliases = await asyncio.to_thread(aliases_by_version, registry, name)
    lines = card_lines(card, aliases.get(card.version, []))
    measured = [("validation", card.validation)] if card.validation is not None else []
    measured += [("test", each) for each in card.tests]
    return page(
        request,
        "version.html.j2",
        card=card,
        lines=lines,
        measured=measured,
        title=as_version(card),
    )


@post("/models/{name:str}/promote", guards=[needs("act")], status_code=303)
async def promote(request: AnyRequest, console: Console, name: str, data: Form) -> Redirect:
    """Let an alias name a version from now on."""
    user, why = console.user(request), reason_of(data)
    version, alias = data.get("version", ""), data.get("alias", "")
    if not version.isdecimal() or not version.isascii():
        raise ClientException("choose a version: its number")
    with explained():
        registry = _registry(console, name, alias)
    with act(user, "promote", f"{name}:{int(version)} @{alias}", why):
        await asyncio.to_thread(
            registry.promote, name, int(version), alias, why=why, by=actor(user)
        )
    return Redirect(f"/models/{name}", status_code=303)


@post("/models/{name:str}/rollback", guards=[needs("act")], status_code=303)
async def rollback(request: AnyRequest, console: Console, name: str, data: Form) -> Redirect:
    """Take the last move of an alias back."""
    user, why, alias = console.user(request), reason_of(data), data.get("alias", "")
    with explained():
        registry = _registry(console, name, alias)
    with act(user, "roll back", f"{name}@{alias}", why):
        await asyncio.to_thread(registry.rollback, name, alias, why=why, by=actor(user))
    return Redirect(f"/models/{name}", status_code=303)


def _registry(console: Console, name: str, alias: str = "production") -> Registry:
    """The registry, for a model and an alias that may be called so.

    Raises:
        ClientException: nothing can be called so.
    """
    try:
        parse_reference(f"{name}@{alias}")
    except ValueError:  # whose message repeats the name, which may be long
        raise ClientException(
            "no model or alias is called so: names have a-z, 0-9, _ . - and at most 63 characters"
        ) from None
    return registry_of(console.settings)


def _poll_s(console: Console) -> float:
    return registry_settings(console.settings).poll_s


PAGE = Page(
    "Models", "/models", "figures", (show_models, show_model, show_version, promote, rollback)
)
