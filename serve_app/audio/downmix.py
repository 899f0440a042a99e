"""From several channels to one: their mean, one of them, or one where they cancel each other.

A cable or a plug-in that inverts one channel of two makes their mean silent, although each channel
alone is good. How much is lost shows only at the end of the audio, so a reader mixes once, and
reads once more, one channel, where `cancelled` says so.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from itertools import zip_longest

import numpy as np
import numpy.typing as npt

from schemas.channels import MEAN, OneChannel
from schemas.failures import ErrorCode
from serve_app.audio.clip import Clip, Recording
from serve_app.audio.errors import AudioError

#: Samples over which channels are compared; 20 ms at 48 kHz to 120 ms at 8 kHz.
_WINDOW = 960
#: In a window, channels cancel each other if less than this share is left of the power that the
#: mean of independent channels has, or that one of several channels has in it. In two channels with
#: the same voice only inverted ones do.
_LEFT = 0.25
#: Channels are not mixed if this share of their power or more is in such windows.
_MAX_CANCELLED = 0.25
#: A channel with less than this share of the power is silent.
_NOTHING = 1e-6
#: A channel with more than this share of the loudest one's power is as good.
_AS_LOUD = 0.8


def mixed(decode: Callable[[Downmix], Clip], channel: OneChannel | None = None) -> Recording:
    """The mean of the channels, or one of them.

    Args:
        decode: reads the audio with a downmix; called once more where the channels cancel each
            other.
        channel: the one to take, from 0, or "mean"; None for the mean, or one of them if they
            cancel each other.

    Raises:
        AudioError: `AUDIO_CHANNEL`: there is no such channel.
    """
    taken = None if channel == MEAN else channel
    downmix = Downmix(taken)
    clip = decode(downmix)
    if taken is not None and taken >= downmix.fewest:
        raise _missing(taken, downmix.fewest)
    if channel is None and (taken := downmix.cancelled) is not None:
        clip = decode(Downmix(taken))
    return Recording(clip, taken, downmix.channels, downmix.similarity)


def _missing(channel: int, channels: int) -> AudioError:
    there = "one channel, 0" if channels == 1 else f"the channels 0 to {channels - 1}"
    reason = f"has {there}, and `channel` is {channel}; name one that is there, or leave it out"
    return AudioError(ErrorCode.AUDIO_CHANNEL, reason)


class Downmix:
    """Mixes blocks of one recording.

    Args:
        channel: use this channel, from 0, instead of the mean; the last one where there are fewer.

    Attributes:
        fewest: channels of the block that has the fewest.
    """

    def __init__(self, channel: int | None = None) -> None:
        self.channel = channel
        self.reset()

    def reset(self) -> None:
        """Forget what was mixed so far."""
        self.fewest = 0
        self._powers: list[float] = []  # by channel
        self._cancelled = 0.0
        self._mean_power = 0.0

    def mix(self, channels: Sequence[Clip]) -> Clip:
        """One channel from several, each of shape [samples]."""
        self.fewest = min(self.fewest or len(channels), len(channels))
        if len(channels) == 1:
            return channels[0]
        mean: Clip = functools.reduce(np.add, channels) / np.float32(len(channels))
        self._compare(channels, mean)
        if self.channel is not None:
            chosen = channels[min(self.channel, len(channels) - 1)]
            return np.ascontiguousarray(chosen)  # it may be every second sample of a block
        return mean

    @property
    def channels(self) -> int:
        """How many channels there are; the most of any block."""
        return max(len(self._powers), 1)

    @property
    def similarity(self) -> float | None:
        """How much the channels are the same, -1 to 1; None where there is only one.

        Their correlation: of two channels <a, b> / (|a| |b|), of more the sum over all pairs of
        these products, each. It is 1 where all hold the same, at whatever level, which what they
        differ by is 50 dB below; 0 where they have nothing in common; and below 0 where they
        cancel each other. A silent channel has nothing in common with one that is not.
        """
        count, power = len(self._powers), sum(self._powers)
        if count < 2:
            return None
        if not power:
            return 1.0
        most = sum(map(math.sqrt, self._powers)) ** 2 - power
        if most <= power * _NOTHING:
            return 0.0
        heard = sum(each > power * _NOTHING for each in self._powers)
        pairs = heard * (heard - 1) / (count * (count - 1))
        return round(pairs * (count**2 * self._mean_power - power) / most, 5)

    @property
    def cancelled(self) -> int | None:
        """The channel to take, from 0, if they cancel each other; else None.

        It is the first of those that are about as loud as the loudest.
        """
        if not self._cancelled or self._cancelled < _MAX_CANCELLED * sum(self._powers):
            return None
        return int(np.argmax(np.array(self._powers) > _AS_LOUD * max(self._powers)))

    def _compare(self, channels: Sequence[Clip], mean: Clip) -> None:
        count = len(channels)
        powers = np.stack([_window_products(each, each) for each in channels])
        total = powers.sum(axis=0)
        left = _window_products(mean, mean)
        self._mean_power += float(left.sum())
        lost = np.where(left < _LEFT * total / count**2, total, 0.0)
        if count > 2:  # two of them may cancel each other where the others are heard
            kept = np.stack([_window_products(mean, each) for each in channels])
            gone = np.where(kept < _LEFT * powers / count, powers, 0.0)
            lost = np.maximum(lost, gone.sum(axis=0))
        self._cancelled += float(lost.sum())
        pairs = zip_longest(self._powers, powers.sum(axis=1).tolist(), fillvalue=0.0)
        self._powers = [known + more for known, more in pairs]


def _window_products(one: Clip, other: Clip) -> npt.NDArray[np.float64]:
    """Products of two channels, summed over consecutive windows; the last one may be shorter."""
    whole = len(one) // _WINDOW * _WINDOW
    windows, others = (each[:whole].reshape(-1, _WINDOW) for each in (one, other))
    sums = np.einsum("ij,ij->i", windows, others).astype(np.float64)
    return np.append(sums, float(np.dot(one[whole:], other[whole:])))
