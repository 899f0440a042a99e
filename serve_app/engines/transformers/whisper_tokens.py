"""The tokens of a Whisper model that are not text, and the texts of those that are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from schemas.decoding import nearest
from serve_app.engines.errors import EngineError
from serve_app.engines.languages import find_language
from serve_app.engines.transformers.folder import GENERATION


class _Generation(msgspec.Struct, kw_only=True):
    """The part of `generation_config.json` that is used."""

    no_timestamps_token_id: int
    is_multilingual: bool | None = None
    lang_to_id: dict[str, int] | None = None
    task_to_id: dict[str, int] | None = None
    suppress_tokens: list[int] | None = None
    begin_suppress_tokens: list[int] | None = None
    alignment_heads: list[tuple[int, int]] | None = None


class WhisperTokens(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens of a model that are not text.

    Attributes:
        start: begins every prompt.
        end: ends every text.
        no_timestamps: ends the prompt for a text without times.
        languages: of each language, by its code; empty for a model of one language.
        tasks: "transcribe" and "translate"; empty for a model of one language.
        suppressed: are never chosen.
        suppressed_first: are not chosen as the first token.
        alignment_heads: (layer, head) of the attention that follows the speech.
    """

    start: int
    end: int
    no_timestamps: int
    languages: Mapping[str, int]
    tasks: Mapping[str, int]
    suppressed: Sequence[int]
    suppressed_first: Sequence[int]
    alignment_heads: Sequence[tuple[int, int]]

    @property
    def no_speech(self) -> int:
        """The token whose probability is that of silence."""
        return self.no_timestamps - 1

    def code_of(self, language: str | None) -> str | None:
        """The code of a language as the model has it; None if it does not have it.

        Args:
            language: a code, which may name a country too ("en-GB").
        """
        return find_language(language, self.languages)

    def check_language(self, language: str) -> None:
        """Refuse the language of the settings if the model does not have it.

        Raises:
            EngineError: it does not.
        """
        if self.code_of(language) is None:
            known = sorted(self.languages)
            hint = nearest(language, known) if known else "it knows one language only"
            raise EngineError(f"options.language: the model has no language {language!r}; {hint}")

    def prompt(self, language: str | None, task: Literal["transcribe", "translate"]) -> list[int]:
        """What the decoder starts from.

        Args:
            language: a code of `languages`; ignored if there are none.
            task: ignored as well.
        """
        if not self.languages or language is None:
            return [self.start, self.no_timestamps]
        return [self.start, self.languages[language], self.tasks[task], self.no_timestamps]


def read_tokens(generation: Mapping[str, Any], config: Any) -> WhisperTokens:
    """The tokens of a model, checked against its vocabulary.

    Args:
        generation: the content of `generation_config.json`.
        config: Transformers' settings of the model.

    Raises:
        EngineError: they are missing, or not of this model.
    """
    if not generation:
        raise EngineError(f"the model has no {GENERATION}, which says what its tokens mean")
    try:
        found = msgspec.convert(dict(generation), _Generation)
    except msgspec.ValidationError as error:
        raise EngineError(f"{GENERATION}: {error}") from None
    multilingual = found.is_multilingual is not False and found.lang_to_id and found.task_to_id
    heads = found.alignment_heads or _upper_heads(config)
    tokens = WhisperTokens(
        start=config.decoder_start_token_id,
        end=config.eos_token_id,
        no_timestamps=found.no_timestamps_token_id,
        languages=_codes(found.lang_to_id or {}) if multilingual else {},
        tasks=found.task_to_id or {} if multilingual else {},
        suppressed=found.suppress_tokens or [],
        suppressed_first=found.begin_suppress_tokens or [],
        alignment_heads=heads,
    )
    _check(tokens, config)
    return tokens


def _upper_heads(config: Any) -> list[tuple[int, int]]:
    """All heads of the upper half of the layers, as OpenAI's implementation takes by default."""
    layers = range(config.decoder_layers // 2, config.decoder_layers)
    return [(layer, head) for layer in layers for head in range(config.decoder_attention_heads)]


def _codes(languages: Mapping[str, int]) -> dict[str, int]:
    return {key.removeprefix("<|").removesuffix("|>"): token for key, token in languages.items()}


def _check(tokens: WhisperTokens, config: Any) -> None:
    listed = [
        tokens.start,
        tokens.end,
        tokens.no_timestamps,
        tokens.no_speech,
        *tokens.languages.values(),
        *tokens.tasks.values(),
        *tokens.suppressed,
        *tokens.suppressed_first,
    ]
    size = config.vocab_size
    for token in listed:
        if not isinstance(token, int) or not 0 <= token < size:
            raise EngineError(f"{GENERATION}: the vocabulary of {size} has no token {token}")
    if tokens.tasks and not {"transcribe", "translate"} <= set(tokens.tasks):
        raise EngineError(f"{GENERATION}: `task_to_id` lacks `transcribe` or `translate`")
    for layer, head in tokens.alignment_heads:
        layers, heads = config.decoder_layers, config.decoder_attention_heads
        if not (0 <= layer < layers and 0 <= head < heads):
            raise EngineError(
                f"{GENERATION}: `alignment_heads` names head {head} of layer {layer}, "
                f"but there are {heads} in {layers} layers"
            )


class Units(msgspec.Struct, frozen=True):
    """The parts of a text that tokens spell: some characters take several tokens.

    Attributes:
        surfaces: each without spaces around it.
        firsts: index of the first token of each.
        ends: index after the last token of each.
    """

    surfaces: list[str]
    firsts: list[int]
    ends: list[int]


def units_of(tokenizer: Any, tokens: Sequence[int]) -> Units:
    """Group the tokens of a text into those that spell whole characters.

    What ends within a character has no unit, so that the units do not spell the text.
    """
    units = Units([], [], [])
    first = 0
    for end in range(1, len(tokens) + 1):
        text = tokenizer.decode(
            tokens[first:end], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        if "\ufffd" not in text:
            units.surfaces.append(text.strip())
            units.firsts.append(first)
            units.ends.append(end)
            first = end
    return units
