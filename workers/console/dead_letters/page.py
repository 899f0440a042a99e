"""The pages of dead letters, and the acts on them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from litestar import get, post
from litestar.exceptions import ClientException, NotFoundException
from litestar.params import Parameter
from litestar.response import Template

from schemas.dead_letter import original_headers
from schemas.manifest import ManifestError, decode_manifest
from schemas.settings import KafkaSettings
from workers.console.access import needs
from workers.console.acting import act, actor, explained
from workers.console.dead_letters.asked import (
    choice_of,
    fields_of,
    in_words,
    place_of,
    until_text,
)
from workers.console.dead_letters.overview import STATES, Overview, State, overview_of
from workers.console.pages import Page
from workers.console.rendering import page
from workers.console.signing_in import Form
from workers.console.state import AnyRequest, Console
from workers.kafka import dead_letters
from workers.kafka.dead_letters import DeadLetters, Settled
from workers.kafka.letter_choice import Choice, Letter

#: Longest record that can be edited on a page, in bytes.
_MAX_EDITED = 200_000
_NOBODY = Choice(places=frozenset())


@get("/dead-letters", guards=[needs("figures")])
async def show_letters(
    request: AnyRequest,
    console: Console,
    failure: str = "",
    code: str = "",
    text: str = "",
    asked: Annotated[str, Parameter(query="state")] = "open",
) -> Template:
    """The letters by class and code; to who may read them, those that a filter holds for."""
    reads = console.user(request).may("speech")
    choice = Choice(failure=failure, code=code, text=text) if reads else _NOBODY
    shown: State = next((each for each in STATES if each == asked), "open")
    found = await _overview(console, choice, shown)
    return page(
        request,
        "dead_letters.html.j2",
        found=found,
        choice=choice,
        state=shown,
        states=STATES,
        reads=reads,
        until=until_text(found.until),
        topic=console.settings.kafka.topics.dead_letters,
    )


@post("/dead-letters/preview", guards=[needs("act")], status_code=200)
async def preview(request: AnyRequest, console: Console) -> Template:
    """What would be replayed or dropped, and how much of it."""
    form = await request.form()
    choice, what = choice_of(form), _verb(form.get("what"))
    found = await _overview(console, choice, "all")
    fields = list(fields_of(choice))
    return page(request, "dead_letters_preview.html.j2", found=found, fields=fields, what=what)


@post("/dead-letters/settle", guards=[needs("act")], status_code=200)
async def settle(request: AnyRequest, console: Console) -> Template:
    """Replay or drop the letters of a preview."""
    form = await request.form()
    choice, what, user = choice_of(form), _verb(form.get("what")), console.user(request)
    again, kafka = form.get("again") == "yes", console.settings.kafka
    with act(user, f"{what} dead letters", in_words(choice)) as outcome:
        if what == "replay":
            done = await asyncio.to_thread(
                dead_letters.replay, kafka, choice, again=again, by=actor(user)
            )
        else:
            done = await asyncio.to_thread(dead_letters.drop, kafka, choice, by=actor(user))
        outcome.text = _outcome(done)
    return page(request, "dead_letters_done.html.j2", done=done, what=what)


@get("/dead-letters/{place:str}", guards=[needs("speech")])
async def show_letter(request: AnyRequest, console: Console, place: str) -> Template:
    """A letter, with its record as it was."""
    letter = await _letter(console, place)
    return _letter_page(request, letter)


@post("/dead-letters/{place:str}/replay-edited", guards=[needs("act")], status_code=200)
async def replay_edited(request: AnyRequest, console: Console, place: str, data: Form) -> Template:
    """Replay a letter with another value, if that is a manifest record."""
    letter, user = await _letter(console, place), console.user(request)
    text = data.get("value", "").replace("\r\n", "\n")  # browsers send lines so
    if len(text) > _MAX_EDITED:
        raise ClientException(f"the record is too long; at most {_MAX_EDITED:,} characters")
    try:
        value = text.encode()
        decode_manifest(value, default_id=letter.view.source)
    except (ManifestError, UnicodeEncodeError) as error:
        reason = f"it would be a dead letter again: {error}"
        return _letter_page(request, letter, edited=_kept(text), reason=reason, status=400)
    partition, offset = letter.place
    with act(user, "edit and replay dead letter", f"{partition}-{offset}") as outcome:
        done = await asyncio.to_thread(
            dead_letters.replay_edited,
            console.settings.kafka,
            partition,
            offset,
            value,
            by=actor(user),
        )
        outcome.text = _outcome(done)
    return page(request, "dead_letters_done.html.j2", done=done, what="replay")


async def _overview(console: Console, choice: Choice, state: State) -> Overview:
    def read(kafka: KafkaSettings) -> Overview:
        letters = DeadLetters(kafka, skip_newer=True)
        found = overview_of(letters, choice, state)
        found.newer = letters.newer
        return found

    with explained():
        return await asyncio.to_thread(read, console.settings.kafka)


async def _letter(console: Console, text: str) -> Letter:
    place, found = place_of(text), None

    def find(kafka: KafkaSettings) -> Letter | None:
        return next(
            (each for each in DeadLetters(kafka, skip_newer=True) if each.place == place), None
        )

    if place is not None:
        with explained():
            found = await asyncio.to_thread(find, console.settings.kafka)
    if found is None:
        raise NotFoundException(
            "there is no dead letter at this place, not any more, or it was written by a newer "
            "version of Chorus"
        )
    return found


def _letter_page(
    request: AnyRequest,
    letter: Letter,
    *,
    edited: str | None = None,
    reason: str = "",
    status: int = 200,
) -> Template:
    partition, offset = letter.place
    return page(
        request,
        "dead_letter.html.j2",
        status=status,
        letter=letter,
        place=f"{partition}-{offset}",
        value=(letter.message.value or b"").decode(errors="replace"),
        headers=[
            (name, (value or b"").decode(errors="replace"))
            for name, value in original_headers(letter.message.headers)
        ],
        edited=_editable(letter) if edited is None else edited,
        reason=reason,
    )


def _editable(letter: Letter) -> str | None:
    """The record as a field of a form can hold it; None where it would not come back the same."""
    if letter.view.value_omitted is not None:
        return ""
    value = letter.message.value or b""
    if len(value) > _MAX_EDITED:
        return None
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return text if _kept(text) == text else None


def _kept(text: str) -> str:
    """A text without the characters that a form does not keep."""
    return "".join(each if each >= " " or each in "\n\t" else "�" for each in text)


def _verb(what: Any) -> str:
    if what not in ("replay", "drop"):
        raise ClientException("dead letters can be given: replay, drop")
    return str(what)


def _outcome(done: Settled) -> str:
    parts = [f"done: {done.done}"]
    if done.before:
        parts.append(f"{done.before} before")
    if done.without_value:
        parts.append(f"{done.without_value} without their record")
    return ", ".join(parts)


PAGE = Page(
    "Dead letters",
    "/dead-letters",
    "figures",
    (show_letters, preview, settle, show_letter, replay_edited),
)
