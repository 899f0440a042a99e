"""When each token of Whisper's was spoken: dynamic time warping over its attention."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from transformers.models.whisper.generation_whisper import _dynamic_time_warping, _median_filter


def token_frames(
    decoder: Any,
    states: torch.Tensor,
    prompt: Sequence[int],
    tokens: Sequence[int],
    *,
    heads: Sequence[tuple[int, int]],
    frames: int,
) -> list[int]:
    """The frame in which each token begins, by `find_alignment` of OpenAI's implementation.

    The decoder runs once more over the whole text, to see where its attention was: asked for that
    while it writes, it would have to do without its fast attention for every clip.

    Args:
        decoder: Whisper's.
        states: [1, frames, size], the encoder's output for the clip.
        prompt: the tokens before the text.
        tokens: of the text, without the one that ends it.
        heads: (layer, head) of the attention that follows the speech.
        frames: how many frames of the states the clip has; the others are padding.

    Returns:
        One frame for each token, and that in which the text ends. They never decrease.
    """
    ids = torch.tensor([[*prompt, *tokens]], device=states.device)
    with torch.inference_mode(), _eager_attention(decoder):
        found = decoder(
            input_ids=ids, encoder_hidden_states=states, use_cache=False, output_attentions=True
        )
    chosen = [found.cross_attentions[layer][0, head] for layer, head in heads]
    weights = torch.stack(chosen)[..., : max(1, frames)].float()  # [heads, tokens, frames]
    deviation, mean = torch.std_mean(weights, dim=-2, keepdim=True, unbiased=False)
    weights = (weights - mean) / deviation.clamp_min(torch.finfo(torch.float32).tiny)
    weights = _median_filter(weights, decoder.config.median_filter_width).mean(dim=0)
    # a token is chosen by the attention of the one before it
    matrix = weights[len(prompt) - 1 :]
    rows, columns = _dynamic_time_warping(-matrix.double().cpu().numpy())
    begins = np.pad(np.diff(rows), (1, 0), constant_values=1).astype(bool)
    return [int(each) for each in columns[begins]]


@contextmanager
def _eager_attention(decoder: Any) -> Iterator[None]:
    """Within the block the decoder's attention can be seen; afterwards it is as before."""
    config = decoder.config
    before = config._attn_implementation
    config._attn_implementation = "eager"
    try:
        yield
    finally:
        config._attn_implementation = before
