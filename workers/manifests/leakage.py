"""Speech that is in the training data and in what a model is measured on, too."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator

from schemas.channels import MEAN
from workers.manifests.speech import Fault, Utterance

#: Seconds that neighbouring segments of a recording may share: cuts are rounded, and padded a bit.
MARGIN_S = 0.25

#: In the place of a channel: the speech of any, where that of a mean is under None.
_ALL = -1
#: Start and end in seconds.
Interval = tuple[float, float]


def shared_faults(
    utterances: Iterable[Utterance], training: Iterable[Utterance]
) -> Iterator[Fault]:
    """The utterances of a validation or test manifest that the training data has too.

    Recordings are compared by the file that their paths lead to, through links and ``..``, and
    segments of one by their times. Two channels of a recording are different speech, its mean is
    that of all of them.

    Args:
        utterances: to validate or test on, with their measured durations.
        training: to train on, likewise.
    """
    intervals: dict[object, list[Interval]] = defaultdict(list)
    for each in training:
        recording, interval = _recording(each), (each.offset, each.offset + each.duration)
        for channel in {_one_channel(each), _ALL}:
            intervals[recording, channel].append(interval)
    known = {recording: _merged(parts) for recording, parts in intervals.items()}
    for each in utterances:
        end = each.offset + each.duration
        recording, channel = _recording(each), _one_channel(each)
        places = (
            [(recording, _ALL)] if channel is None else [(recording, channel), (recording, None)]
        )
        seconds = max(_shared(known.get(place, []), each.offset, end) for place in places)
        if seconds > min(MARGIN_S, each.duration / 2):
            reason = (
                f"{seconds:.2f} of its {each.duration:.2f} s are in the training data too; "
                "validate and test on other recordings"
            )
            yield Fault(each.manifest, each.line, reason)


def _one_channel(utterance: Utterance) -> int | None:
    """The only channel that is heard; None where all may be."""
    return None if utterance.channel == MEAN else utterance.channel


def _recording(utterance: Utterance) -> object:
    """The same for the same file, whatever it is called."""
    try:
        status = os.stat(utterance.path)
    except OSError:  # of another source than the file system
        return utterance.path
    return status.st_dev, status.st_ino


def _merged(parts: list[Interval]) -> list[Interval]:
    """The same time in sorted intervals that do not overlap."""
    merged: list[Interval] = []
    for start, end in sorted(parts):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, end))
    return merged


def _shared(intervals: list[Interval], start: float, end: float) -> float:
    """Seconds between `start` and `end` that are in the `intervals`, which `_merged` made."""
    first = bisect_left(intervals, start, key=lambda interval: interval[1])
    seconds = 0.0
    for begin, stop in intervals[first:]:
        if begin >= end:
            break
        seconds += min(stop, end) - max(begin, start)
    return seconds
