"""What `models.NAME.options` may hold for the engine "nemo". Importing this module is cheap."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

import msgspec

from schemas.decoding import nearest
from schemas.settings import ModelSettings
from serve_app.engines.errors import EngineError
from serve_app.engines.languages import find_language
from serve_app.engines.nemo.allow_list import MULTITASK, PROMPTED
from serve_app.engines.options import Options, read_options

#: Keys by which other programs ask for a translation.
_TRANSLATION = ("task", "target_lang", "target_language")


class NemoOptions(Options, frozen=True, kw_only=True):
    """Options of a model that is told the language; all but the first two of a multitask one only.

    Attributes:
        language: of clips whose record has no `lang`; None for the model's own default.
        languages: those that records may have; None for all that the model's file names.
        pnc: whether texts have punctuation marks and capital letters.
        compression_ratio_threshold: a text that zlib makes shorter by a larger factor repeats
            itself, and is rejected; None takes any.
        word_times: whether the second model in the file is loaded, which times words; without it
            words have no times.
    """

    language: str | None = None
    languages: tuple[str, ...] | None = None
    pnc: bool = True
    compression_ratio_threshold: Annotated[float, msgspec.Meta(gt=0)] | None = 2.4
    word_times: bool = True


#: The options that models of a class have; others have none.
_TAKEN: dict[str, tuple[str, ...]] = {
    MULTITASK: NemoOptions.__struct_fields__,
    **dict.fromkeys(PROMPTED, ("language", "languages")),
}
#: The options of a model whose settings have none.
NO_OPTIONS = NemoOptions()


def options_of(settings: ModelSettings) -> NemoOptions:
    """The options in the settings of a model.

    Raises:
        EngineError: one does not exist, or its value cannot be.
    """
    for key in _TRANSLATION:
        if key in settings.options:
            raise EngineError(
                f"options.{key}: translations are not supported: they would be scored, and voted "
                "on, as transcripts; remove it"
            )
    return read_options(settings.options, NemoOptions)


def refuse_options(settings: ModelSettings, model_class: str) -> None:
    """Refuse the options that a model of a class does not have.

    Raises:
        EngineError: the settings have one of them.
    """
    taken = _TAKEN.get(model_class, ())
    for key in settings.options:
        if key not in taken:
            raise EngineError(
                f"options.{key}: a model of class {model_class} has no such option; remove it"
            )


class Languages:
    """The languages that a model can be told.

    Args:
        known: all that its file names.
        options: of the settings.
        default: tags of what it is told without options; the first that it knows counts.

    Attributes:
        known: those that records may have.
        default: of clips whose record has none.

    Raises:
        EngineError: the options name a language that the model does not have, or there is no
            default.
    """

    def __init__(
        self, known: Collection[str], options: NemoOptions, default: Collection[str]
    ) -> None:
        def find(key: str, tag: str) -> str:
            if (found := find_language(tag, known)) is not None:
                return found
            hint = nearest(tag, sorted(known))
            raise EngineError(f"options.{key}: the model has no language {tag!r}; {hint}")

        if options.languages is not None:
            known = tuple(find("languages", each) for each in options.languages)
        self.known = tuple(known)
        if options.language is not None:
            self.default = find("language", options.language)
            return
        usual = next(filter(None, (find_language(each, self.known) for each in default)), None)
        if usual is None and len(self.known) == 1:
            [usual] = self.known
        if usual is None:
            raise EngineError(
                "options.language: say which language clips are in whose record has no `lang`: "
                f"{nearest('', sorted(self.known))}"
            )
        self.default = usual

    def find(self, tag: str | None) -> str | None:
        """The language of a record by the model's name, or the default; None for an unknown one.

        Args:
            tag: the record's `lang`; None or empty without one.
        """
        return find_language(tag, self.known) if tag else self.default
