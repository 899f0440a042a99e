"""The words of a text with their times, from how the decoder attended to the frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from faster_whisper.tokenizer import Tokenizer

from schemas.transcript import Word
from serve_app.engines.words import Tokens, fold_words

#: Length of a frame of the encoder's output.
FRAME_S = 0.02


def timed_words(
    text: str,
    tokens: Sequence[int],
    alignment: Any,
    tokenizer: Tokenizer,
    *,
    duration: float,
    confidence: bool,
) -> list[Word] | None:
    """One word with times for each of `text`; None where the tokens do not spell it.

    Args:
        text: of the clip.
        tokens: of the text.
        alignment: of these tokens, of CTranslate2.
        tokenizer: of the language.
        duration: of the clip, in seconds.
        confidence: whether words have confidences: the product of their tokens' probabilities.
    """
    surfaces, groups = tokenizer.split_tokens_on_unicode([t for t in tokens if t < tokenizer.eot])
    steps = np.array(alignment.alignments)
    begins = steps[:, 1][np.diff(steps[:, 0], prepend=-1).astype(bool)].tolist()
    spans = list(pairwise(accumulate(map(len, groups), initial=0)))
    probabilities = alignment.text_token_probs
    confidences = [math.prod(probabilities[first:end]) for first, end in spans]
    return fold_words(
        text,
        Tokens(
            surfaces=["".join(each.split()) for each in surfaces],
            starts=[begins[first] for first, _ in spans],
            ends=[begins[end] for _, end in spans],
            confidences=confidences if confidence else None,
        ),
        frame_seconds=FRAME_S,
        duration=duration,
    )
