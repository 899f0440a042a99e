"""Which dead letters a form means, and the fields that mean the same in the next one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from litestar.exceptions import ClientException

from workers.kafka.letter_choice import Choice

_PLACE = re.compile(r"([0-9]{1,9})-([0-9]{1,18})", re.ASCII)
_UNTIL = re.compile(r"([0-9]{1,9}):([0-9]{1,18})", re.ASCII)


class Fields(Protocol):
    """A form, in which a name may have several values."""

    def getall(self, key: str, default: list[str]) -> Sequence[str]:
        """The values of a name."""
        ...


def place_of(text: str) -> tuple[int, int] | None:
    """Partition and offset that a text names; None if it names none."""
    found = _PLACE.fullmatch(text)
    return (int(found[1]), int(found[2])) if found else None


def until_text(until: Mapping[int, int]) -> str:
    """`Choice.until` for a field of a form."""
    return ",".join(f"{partition}:{offset}" for partition, offset in sorted(until.items()))


def choice_of(form: Fields) -> Choice:
    """What a form means: the letters that are ticked, or all that its filter holds for.

    Raises:
        ClientException: nothing is ticked, or a field is none of the page's.
    """
    if _one(form, "which") == "chosen":
        places = [place_of(each) for each in form.getall("place", [])]
        known = frozenset(each for each in places if each is not None)
        if not known or len(known) != len(set(places)):
            raise ClientException("choose letters: tick those that you mean")
        return Choice(places=known)
    until = {}
    for each in filter(None, _one(form, "until").split(",")):
        found = _UNTIL.fullmatch(each)
        if found is None:
            raise ClientException("the form is none of this page; load it again")
        until[int(found[1])] = int(found[2])
    return Choice(
        failure=_one(form, "failure"), code=_one(form, "code"), text=_one(form, "text"), until=until
    )


def fields_of(choice: Choice) -> Iterator[tuple[str, str]]:
    """The hidden fields that `choice_of` reads the same from."""
    if choice.places is not None:
        yield "which", "chosen"
        for partition, offset in sorted(choice.places):
            yield "place", f"{partition}-{offset}"
        return
    yield "which", "all"
    yield from (("failure", choice.failure), ("code", choice.code), ("text", choice.text))
    yield "until", until_text(choice.until or {})


def in_words(choice: Choice) -> str:
    """What a choice means, for the line of an act: without the text, which may be of a path."""
    if choice.places is not None:
        named = ", ".join(f"{partition}-{offset}" for partition, offset in sorted(choice.places))
        return named if len(choice.places) <= 20 else f"{len(choice.places)} chosen"
    kinds = "/".join(filter(None, (choice.failure, choice.code))) or "any class"
    return f"all of {kinds}{', filtered' if choice.text else ''}"


def _one(form: Fields, name: str) -> str:
    values = form.getall(name, [])
    return values[0] if values else ""
