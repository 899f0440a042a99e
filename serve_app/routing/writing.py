"""The text rules of models, ready to be applied."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from schemas.settings import ModelSettings
from schemas.text_rules import TextRules, compile_text_rules

#: Writes a text by the rules of a model.
Write = Callable[[str], str]


def writers(
    models: Mapping[str, ModelSettings], text_rules: Mapping[str, TextRules]
) -> dict[str, Write]:
    """How the texts of each model are written, for the models that have rules.

    Args:
        models: of the settings, by name.
        text_rules: of the settings, by name.
    """
    return {
        name: compile_text_rules(text_rules[model.text_rules])
        for name, model in models.items()
        if model.text_rules is not None
    }
