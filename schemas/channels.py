"""Which channel of a recording is transcribed."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec

#: The highest number of a channel; files with as many are refused long before.
MAX_CHANNEL = 999

#: One channel, by its number from 0, or the mean of all.
OneChannel = Annotated[int, msgspec.Meta(ge=0, le=MAX_CHANNEL)] | Literal["mean"]

#: One channel, the mean of all, or each of them by itself.
Channel = Annotated[int, msgspec.Meta(ge=0, le=MAX_CHANNEL)] | Literal["mean", "each"]

#: The mean of all channels, whatever they hold.
MEAN: Literal["mean"] = "mean"
#: Every channel by itself.
EACH: Literal["each"] = "each"
#: What a channel may be, in a sentence.
CHANNELS = (
    f"the number of a channel, from 0 to {MAX_CHANNEL}, `mean` for all mixed, or `each` for one "
    "after another"
)
#: NeMo's word for `MEAN`, the value of its `channel_selector`.
_NEMO_MEAN = "average"
_NUMBER = re.compile(r"\s*\d{1,3}\s*", re.ASCII)


def one_channel(channel: Channel | None) -> OneChannel | None:
    """`channel`, where it is certain that it is not `EACH`.

    Raises:
        ValueError: it is.
    """
    if channel == EACH:
        raise ValueError("`channel` is `each`: one is needed")
    return channel


def channel_of(value: Any) -> Any:
    """`value` as the channel that it can only mean; any other value comes back unchanged.

    A number in a text is that number, and `average` the mean.
    """
    if isinstance(value, str):
        if value == _NEMO_MEAN:
            return MEAN
        if _NUMBER.fullmatch(value):
            return int(value)
    return value
