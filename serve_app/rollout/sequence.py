"""A confidence sequence: an interval for a mean that is right at every look.

An interval of the usual kind is right at one sample size that was chosen beforehand. Who looks at
it after every observation and stops when it excludes zero is wrong in half of the cases where there
is nothing to find.
"""

from __future__ import annotations

import math

import msgspec


class ConfidenceSequence(msgspec.Struct):
    """Observations so far: their number, sum, and sum of squares.

    That of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and
    asymptotic confidence sequences" (Annals of Statistics, 2024; arXiv 2103.06476). It is
    asymptotic: it needs a hundred observations before the first look.

    Attributes:
        n: number of observations.
        total: their sum.
        squares: the sum of their squares.
    """

    n: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        """Add an observation."""
        self.n += 1
        self.total += value
        self.squares += value * value

    @property
    def mean(self) -> float:
        """Mean of the observations; 0 without any."""
        return self.total / self.n if self.n else 0.0

    def bounds(self, alpha: float, sharpest_at: int) -> tuple[float, float]:
        """The interval now.

        Args:
            alpha: probability that the mean is ever outside, over all looks together.
            sharpest_at: number of observations at which the interval is narrowest in relation to
                one that is looked at once.

        Returns:
            Its lower and upper end; infinite with fewer than two observations.
        """
        n = self.n
        if n < 2:
            return -math.inf, math.inf
        variance = max(self.squares / n - self.mean**2, 0.0)
        half = half_width(variance, n, alpha, sharpest_at)
        return self.mean - half, self.mean + half


def half_width(variance: float, n: float, alpha: float, sharpest_at: float) -> float:
    """Half of the interval for a mean that is right at every look.

    Args:
        variance: of an observation.
        n: number of observations; for the difference of two means, the number that would have the
            variance of that difference, ``1 / (1 / n1 + 1 / n2)``.
        alpha: probability that the mean is ever outside, over all looks together.
        sharpest_at: as in `ConfidenceSequence.bounds`.
    """
    rho2 = mixing_variance(alpha, sharpest_at)
    spread = n * rho2 + 1
    return math.sqrt(variance * 2 * spread / (n * n * rho2) * math.log(math.sqrt(spread) / alpha))


def mixing_variance(alpha: float, sharpest_at: float) -> float:
    """Variance, in that of an observation, of the means that a sequence is on the lookout for."""
    wide = -2 * math.log(alpha)
    return (wide + math.log(wide) + 1) / sharpest_at
