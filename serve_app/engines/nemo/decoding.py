"""What the heads of NeMo models have in common: what they are asked, and what they answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch

from serve_app.engines.nemo.options import Languages
from serve_app.engines.words import Tokens


class Wish(NamedTuple):
    """How one clip is decoded.

    Attributes:
        phrases: to bias it towards, in characters that the model writes; None if it cannot be
            biased, or has none.
        language: by the model's name; None for a model that is not told the language.
        words: whether the words have times.
    """

    phrases: tuple[str, ...] | None = None
    language: str | None = None
    words: bool = False


class Decoded(NamedTuple):
    """One clip's hypothesis.

    Attributes:
        text: as NeMo spells it.
        tokens: None if they were not requested, or if NeMo's lists are inconsistent.
        finite: whether the network's output is free of NaN and infinity.
        fault: why the text must not be published; None if it may be.
        times: start and end of each word in seconds, where the tokens do not tell them, see `Head`;
            None if they are not known.
    """

    text: str
    tokens: Tokens | None
    finite: bool
    fault: str | None = None
    times: Sequence[tuple[float, float]] | None = None


class PhraseBoost(NamedTuple):
    """Phrases to bias recognition towards, by NeMo's boosting tree.

    Attributes:
        phrases: for every clip.
        weight: strength of the bias, also for the phrases of single clips.
    """

    phrases: Sequence[str] = ()
    weight: float = 0.5


NO_BOOST = PhraseBoost()


class Head(Protocol):
    """Decodes greedily, in whole batches; set up once, when the model is loaded.

    Attributes:
        surfaces: what each token ID adds to the text.
        takes_phrases: whether single clips may have phrases.
        has_frames: whether tokens have the frames on which they were heard. Otherwise those frames
            are zero, and words have the times of `Decoded.times`.
        languages: that it can be told; None if it is not told any.
    """

    surfaces: list[str]
    takes_phrases: bool
    has_frames: bool

    @property
    def languages(self) -> Languages | None:
        """The attribute, which never changes."""

    def decode(
        self,
        signal: torch.Tensor,
        lengths: torch.Tensor,
        *,
        tokens: bool,
        wishes: Sequence[Wish] = (),
    ) -> list[Decoded]:
        """Transcribe a batch.

        Args:
            signal: float32 [clips, samples], zero after each clip's end.
            lengths: int64 [clips], in samples.
            tokens: whether to return the tokens too.
            wishes: one per clip; empty for the defaults.
        """
        ...


def confidence_config(*, confidence: bool) -> dict[str, Any]:
    """The section of NeMo's decoding for the confidences that Chorus takes from it."""
    return {
        "preserve_token_confidence": confidence,
        # NeMo's word confidence fails on a word that starts with a punctuation mark
        "preserve_word_confidence": False,
        "exclude_blank": True,
        "method_cfg": {"name": "max_prob", "alpha": 1.0},
    }
