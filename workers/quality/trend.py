"""Whether the mean of a series has changed, and when: right however often one looks.

The evidence for a change at one place is a ratio of likelihoods: that of the records if their mean
is another one after it, over that of the records if it is the same throughout. What the first mean
is does not matter to it, and by how much the second differs is averaged over a normal distribution,
as in the confidence sequence of the rollouts (`serve_app.rollout.sequence`). While nothing changes
such a ratio is 1 on average however long one watches, and so is the weighted mean of those of all
places where a change may have begun. By Ville's inequality it ever exceeds ``1 / alpha`` with a
probability of at most alpha: see Ramdas, Grünwald, Vovk and Shafer, "Game-theoretic statistics and
safe anytime-valid inference" (Statistical Science, 2023), and, for the mean over the beginnings of
a change, Shin, Ramdas and Rinaldo, "E-detectors" (2023, arXiv 2203.03532).

Records of the same call or speaker resemble one another and often follow one another, so variances
are taken from the sums of batches of records wherever these say more ("batch means").
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from serve_app.rollout.sequence import half_width, mixing_variance

#: A look every so many records, ...
WINDOW = 50
#: ... and a possible beginning of a change every so many of these windows.
_STRIDE = 2
#: Records after a change before it can be told: the variances have to be known.
LEAST = 100
#: Records whose sum is one observation where variances are concerned.
_BATCH = 25
#: For how many looks a beginning is considered. One that has not shown by then is not waited for.
_LOOKBACK = 200
#: Number of records, in terms of `half_width`, at which changes are found the soonest.
_SHARPEST_AT = 200
#: Of a share, the variance is taken as if the rare case had come so many times more: of what comes
#: once in a thousand records, two in a row are no reason for alarm.
_RARE = 8.0
#: Intervals are wrong with this probability, over all looks.
_INTERVAL_ALPHA = 0.05

Values = NDArray[np.float64]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A mean that has changed.

    Attributes:
        at: the record where it probably did, counted from 0: the maximum of the likelihood.
        certain_at: the number of records with which it became certain.
    """

    at: int
    certain_at: int


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """Two parts of a series beside one another: before and after a change, if there is one.

    Attributes:
        before: ratio of the part before.
        after: ratio of the part after.
        difference: ``after - before``.
        low: lower end of the 95% interval of the difference, which is right at every look.
        high: upper end of it.
        change: what was found; None if the difference may be chance.
    """

    before: float
    after: float
    difference: float
    low: float
    high: float
    change: Change | None = None


def ratio_interval(
    numerators: Values, denominators: Values, *, share: bool = False
) -> tuple[float, float, float]:
    """A pooled ratio with its 95% interval, which is right at every look.

    Args:
        numerators: [records].
        denominators: [records]; their sum is not 0.
        share: whether the numerators are 0 or 1 and the denominators 1.

    Returns:
        The ratio, and the lower and upper end; not a number with fewer than `LEAST` records.
    """
    ratio = float(numerators.sum() / denominators.sum())
    if len(numerators) < LEAST:
        return ratio, np.nan, np.nan
    excess = (numerators - ratio * denominators) / denominators.mean()
    n = len(excess)
    variance = _variance(excess, n, share)
    half = half_width(variance, n, _INTERVAL_ALPHA, max(n, _SHARPEST_AT))
    return ratio, ratio - half, ratio + half


def find_change(
    numerators: Values,
    denominators: Values,
    *,
    first: int,
    alpha: float,
    anywhere: bool = True,
    share: bool = False,
) -> Trend:
    """Look for a change of ``sum(numerators) / sum(denominators)``.

    Args:
        numerators: [records], in order.
        denominators: [records].
        first: number of records that serve as the reference; no change is looked for among them.
            A multiple of `WINDOW`, and followed by at least `LEAST` records.
        alpha: probability of ever finding a change where there is none.
        anywhere: whether it may begin anywhere after the reference; else at `first` only.
        share: whether the numerators are 0 or 1 and the denominators 1.

    Raises:
        ValueError: `first` is not such a number, or the reference's denominators are 0.
    """
    if first < LEAST or first % WINDOW or len(numerators) - first < LEAST:
        raise ValueError(f"{len(numerators)} records with {first} for reference are not enough")
    mean = float(denominators[:first].mean())
    if mean <= 0:
        raise ValueError("the ratio of the reference has a denominator of 0")
    ratio = float(numerators[:first].sum() / denominators[:first].sum())
    excess = (numerators - ratio * denominators) / mean  # its mean is the ratio's change
    certain = _certain_at(excess, first, alpha, anywhere, _RARE if share else 0.0)
    change = None
    if certain is not None:
        at = _likeliest(excess[:certain], first) if anywhere else first
        change = Change(at=at, certain_at=certain)
    split = first if change is None else change.at
    return _beside(numerators, denominators, excess, split, change, share)


def _certain_at(
    excess: Values, first: int, alpha: float, anywhere: bool, rare: float
) -> int | None:
    """The number of records at the first look with enough evidence; None if there was none."""
    windows = excess[: len(excess) // WINDOW * WINDOW].reshape(-1, WINDOW)
    batches = windows.reshape(len(windows), -1, _BATCH).sum(axis=2)
    total = _running(windows.sum(axis=1))
    squares = _running((windows**2).sum(axis=1))
    batch_squares = _running((batches**2).sum(axis=1))
    rho2 = mixing_variance(alpha, _SHARPEST_AT)
    count, start = len(windows), first // WINDOW
    evidence = np.full(count + 1, -np.inf)
    beginnings = range(start, count, _STRIDE) if anywhere else range(start, start + 1)
    for number, at in enumerate(beginnings):
        last = count if number == 0 else min(count, at + _LOOKBACK)
        looks = np.arange(at + LEAST // WINDOW, last + 1)
        before, after = at * WINDOW, (looks - at) * WINDOW
        n = before + after
        mean_before = total[at] / before
        mean_after = (total[looks] - total[at]) / after
        explained = before * mean_before**2 + after * mean_after**2
        variance = (squares[looks] + rare - explained) / n
        between = (batch_squares[looks] - _BATCH * explained) / n
        effective = 1 / (1 / before + 1 / after)
        apart = (mean_after - mean_before) ** 2
        signal = apart * effective / np.maximum(np.maximum(variance, between), 1e-12)
        spread = effective * rho2
        ratio = (signal * spread / (1 + spread) - np.log1p(spread)) / 2
        weight = -np.log((number + 1) * (number + 2)) if anywhere else 0.0  # they add up to 1
        evidence[looks] = np.logaddexp(evidence[looks], ratio + weight)
    found = np.flatnonzero(evidence >= -np.log(alpha))
    return int(found[0]) * WINDOW if len(found) else None


def _likeliest(excess: Values, first: int) -> int:
    """Where one change of the mean is the likeliest (Hinkley, Biometrika 1970), from `first` on."""
    n = len(excess)
    places = np.arange(first, n - 1)
    sums = _running(excess)
    deviation = sums[places] - places / n * sums[n]
    return int(places[np.argmax(deviation**2 / (places * (n - places)))])


def _beside(
    numerators: Values,
    denominators: Values,
    excess: Values,
    split: int,
    change: Change | None,
    share: bool,
) -> Trend:
    sums = [
        float(values[part].sum())
        for part in (slice(split), slice(split, None))
        for values in (numerators, denominators)
    ]
    before, after = sums[0] / sums[1], sums[2] / sums[3] if sums[3] else np.nan
    n = 1 / (1 / split + 1 / (len(excess) - split))
    inside = np.concatenate([part - part.mean() for part in (excess[:split], excess[split:])])
    half = half_width(_variance(inside, len(inside), share), n, _INTERVAL_ALPHA, _SHARPEST_AT)
    difference = after - before
    return Trend(
        before=before,
        after=after,
        difference=difference,
        low=difference - half,
        high=difference + half,
        change=change,
    )


def _variance(centred: Values, n: int, share: bool) -> float:
    """Variance of a record, or what that of batches comes to where it is more.

    That of a share is taken as if the rare case had come once more: never in 1,000 is not never.
    """
    batches = centred[: n // _BATCH * _BATCH].reshape(-1, _BATCH).sum(axis=1)
    between = float((batches**2).mean()) / _BATCH if len(batches) else 0.0
    return max(float((centred**2).mean()) + share / n, between)


def _running(values: Values) -> Values:
    """Sums of the first 0, 1, 2, ... values."""
    return np.concatenate([[0.0], np.cumsum(values)])
