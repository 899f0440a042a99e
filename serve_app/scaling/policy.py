"""How many replicas a load needs. Pure functions: no clock, no Ray.

A model does `rtfx` seconds of audio in a second of work. What arrives keeps
``arriving / rtfx`` replicas busy, and what waits is to be worked off within `catch_up_s` beside
that, which keeps ``waiting / (rtfx x catch_up_s)`` more busy. Without the first term a load that is
kept up with, whose lag is nil, would lose its replicas and get them back in turns.
"""

from __future__ import annotations

import math

#: A load that differs by no more than this share from what the replicas are for changes nothing,
#: as with Kubernetes' HorizontalPodAutoscaler.
TOLERANCE = 0.1


def replicas_for_audio(*, arriving: float, waiting: float, rtfx: float, catch_up_s: float) -> float:
    """How many replicas of a model a stream keeps busy; not a whole number.

    Args:
        arriving: seconds of audio for the model that arrive per second.
        waiting: seconds of audio for it that wait.
        rtfx: seconds of audio that a replica transcribes in a second of work.
        catch_up_s: time in which what waits is to be worked off.
    """
    return (max(0.0, arriving) + max(0.0, waiting) / catch_up_s) / rtfx


def replicas_for_requests(*, requests: float, target: float) -> float:
    """How many replicas a number of requests in progress keeps busy; not a whole number.

    Args:
        requests: in progress, those that wait for a replica included.
        target: how many a replica is to have.
    """
    return max(0.0, requests) / target


def replicas_for_records(*, waiting: float, per_worker: float) -> float:
    """How many stream workers a lag needs; not a whole number.

    Args:
        waiting: records that wait.
        per_worker: how many of them are a worker's share.
    """
    return max(0.0, waiting) / per_worker


def settled(current: int, needed: float) -> int:
    """A whole number of replicas for what is needed; the current one where that will do.

    Args:
        current: how many there are to be now.
        needed: what `replicas_for_...` have said, added up.
    """
    if (current - 1) * (1 - TOLERANCE) < needed <= current * (1 + TOLERANCE):
        return current
    if needed > current:
        return math.ceil(needed)
    return math.ceil(needed / (1 - TOLERANCE))
