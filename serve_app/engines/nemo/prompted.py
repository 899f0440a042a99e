"""Tell a prompted transducer the language of each clip: its encoder's output is marked with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from serve_app.engines.errors import EngineError
from serve_app.engines.nemo.decoding import Wish
from serve_app.engines.nemo.options import Languages, NemoOptions

#: What a model is told of a clip without a language, if it knows it: NeMo's default, and English.
_DEFAULTS = ("auto", "en-US", "en")


class LanguagePrompts:
    """The prompts of a model.

    Args:
        model: NeMo's model; `is_prompted`.
        options: of the settings.

    Attributes:
        languages: that the model can be told.

    Raises:
        EngineError: an option does not fit the model, or its prompts are not what it says.
    """

    def __init__(self, model: Any, options: NemoOptions) -> None:
        named = dict(model.cfg.model_defaults.prompt_dictionary or {})
        for name, index in named.items():
            if type(index) is not int or not 0 <= index < model.num_prompts:
                raise EngineError(f"prompt_dictionary.{name} is no prompt of {model.num_prompts}")
        if not named:
            raise EngineError("prompt_dictionary is empty: the model cannot be told any language")
        self._indices: dict[str, int] = named
        self.languages = Languages(named, options, _DEFAULTS)

    def indices(self, wishes: Sequence[Wish]) -> torch.Tensor:
        """The number of the prompt of each clip: int64 [clips]."""
        told = [self._indices[each.language or self.languages.default] for each in wishes]
        return torch.tensor(told)


def is_prompted(model: Any) -> bool:
    """Whether a model must be told the language of each clip."""
    return bool(getattr(model, "concat", False))
