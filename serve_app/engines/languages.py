"""Languages as records say them, and as models do."""

from __future__ import annotations

from collections.abc import Iterable


def find_language(tag: str | None, known: Iterable[str]) -> str | None:
    """The model's name of a language; None if it does not have it.

    Args:
        tag: BCP 47 language tag ("de", "de-AT"), in letters of either case, or with "_".
        known: the model's names: tags, too.

    Returns:
        The name that says the same; else the language without a country; else the first of
        `known` that is the same language in any country.
    """
    wanted = (tag or "").replace("_", "-").lower()
    language = language_of(wanted)
    if not language:
        return None
    names = {each.lower(): each for each in known}
    anywhere = next((each for each in names if each.startswith(f"{language}-")), "")
    return names.get(wanted) or names.get(language) or names.get(anywhere)


def language_of(tag: str) -> str:
    """The language of a tag such as "de-AT" or "de_AT", in lower case and without the country."""
    return tag.replace("_", "-").lower().partition("-")[0]
