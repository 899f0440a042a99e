"""What Whisper's decoder begins with: the phrases to expect, the language and the task."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from faster_whisper.tokenizer import _LANGUAGE_CODES, Tokenizer

from serve_app.engines.languages import find_language

#: Tokens that phrases may take: half of the decoder's context of 448, without its mark.
MOST_TOKENS = 223


class Prompts:
    """Makes the prompts of a model.

    Args:
        tokenizer: of the package tokenizers.
        multilingual: whether the model knows languages but English.
        task: "transcribe" or "translate".
        phrases: that the model always expects.
    """

    def __init__(
        self, tokenizer: object, *, multilingual: bool, task: str, phrases: Sequence[str]
    ) -> None:
        self._multilingual = multilingual
        self.of_language = cache(
            lambda language: Tokenizer(tokenizer, multilingual, task=task, language=language)
        )
        self._any = self.of_language("en")
        self._phrases = [tokens for each in phrases if (tokens := self._tokens(each))]

    def language(self, code: str | None) -> str | None:
        """The model's code of a language such as "en-US"; None for one that it does not know."""
        if not self._multilingual:
            return "en"
        return find_language(code, _LANGUAGE_CODES)

    def phrases(self, phrases: Sequence[str]) -> tuple[list[int], int]:
        """The tokens of a clip's phrases, followed by the model's own, and how many of them fit.

        A phrase with a text that is one of the model's marks, such as ``<|endoftext|>``, is left
        out.
        """
        tokens: list[int] = []
        used = 0
        for each in phrases:
            tokens, fits = self._with(tokens, self._tokens(each))
            used += fits
        for own in self._phrases:
            tokens, _ = self._with(tokens, own)
        return tokens, used

    def prompt(self, phrases: Sequence[int], language: str) -> list[int]:
        """What the decoder begins with.

        Args:
            phrases: tokens of `phrases`.
            language: code of it, see `language`.
        """
        tokenizer = self.of_language(language)
        before = [tokenizer.sot_prev, *phrases] if phrases else []
        return [*before, *tokenizer.sot_sequence, tokenizer.no_timestamps]

    def _tokens(self, phrase: str) -> list[int]:
        tokens: list[int] = self._any.encode(" " + phrase.strip())
        return tokens if phrase.strip() and max(tokens) < self._any.eot else []

    def _with(self, tokens: list[int], more: list[int]) -> tuple[list[int], bool]:
        longer = [*tokens, *(self._any.encode(",") if tokens else ()), *more]
        fits = bool(more) and len(longer) <= MOST_TOKENS
        return (longer if fits else tokens), fits
