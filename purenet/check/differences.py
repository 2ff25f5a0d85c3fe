"""Slopes from differences: central ones with Richardson's extrapolation, and one-sided ones that show kinks.

Central differences with steps h, h/2 and h/4 have errors in h², which two rounds of extrapolation take to h⁶. A second,
much shorter step stays on one side of kinks close by. Each estimate comes with the error that the last round showed.
"""

from typing import Any, NamedTuple

import numpy as np


class Steps(NamedTuple):
    """How far to go: `coarse` where the function is smooth, `fine` near kinks; `rounding` is that of the numbers."""

    coarse: float
    fine: float
    rounding: float

    @property
    def offsets(self) -> Any:
        """The steps taken along each direction, in the order that `slopes_of` reads."""
        far = np.array([1, 0.5, 0.25]) * self.coarse
        return np.repeat(np.concatenate([far, np.array([1, 0.5]) * self.fine]), 2) * np.tile([1.0, -1.0], 5)


class Slopes(NamedTuple):
    """Slopes along directions of length one; arrays of one shape.

    Attributes:
      coarse, fine: the two estimates; NaN where they are not to be trusted.
      coarse_error, fine_error: how far they may be off.
      left, right: the one-sided slopes, for a short step.
      kinked: whether these two differ.
    """

    coarse: Any
    coarse_error: Any
    fine: Any
    fine_error: Any
    left: Any
    right: Any
    kinked: Any

    @property
    def best(self) -> Any:
        """The more exact estimate, NaN if there is none."""
        return np.where(self._coarse_first, self.coarse, self.fine)

    @property
    def error(self) -> Any:
        """How far `best` may be off."""
        return np.where(self._coarse_first, self.coarse_error, self.fine_error)

    @property
    def _coarse_first(self) -> Any:
        better = ~(self.coarse_error > self.fine_error)
        return np.isfinite(self.coarse) & (better | ~np.isfinite(self.fine))


def steps_for(rounding: float) -> Steps:
    """Chooses steps for numbers rounded like this: 2⁻⁹ and 2⁻²⁰ in float64, wide ones for 16 bits."""
    if rounding < 1e-12:
        return Steps(2.0**-9, 2.0**-20, rounding)
    fine = max(2.0**-12, rounding**0.5 / 2)
    return Steps(min(0.5, 16 * rounding ** (1 / 3) / 4), min(0.25, fine), rounding)


def slopes_of(rises: Any, lengths: Any, sizes: Any, steps: Steps) -> Slopes:
    """Turns what the value rose at `steps.offsets` into slopes.

    Args:
      rises: (…, 10).
      lengths: (…) of the directions.
      sizes: (…) of the sums that the value is made of.
      steps: how far each went.

    Returns:
      The slopes.
    """
    with np.errstate(all="ignore"):
        ups, downs = rises[..., 0::2], rises[..., 1::2]
        central = (ups - downs) / (2 * steps.offsets[0::2])
        a, b, c = (central[..., i] for i in range(3))
        first, second = (4 * b - a) / 3, (4 * c - b) / 3
        coarse = (16 * second - first) / 15
        short = central[..., 3:]
        fine = (4 * short[..., 1] - short[..., 0]) / 3
        right = (4 * ups[..., 4] - ups[..., 3]) / steps.fine
        left = -(4 * downs[..., 4] - downs[..., 3]) / steps.fine
        exact = steps.rounding < 1e-12
        noise = (64 if exact else 4) * steps.rounding * sizes
        coarse_error = np.abs(coarse - second) * (8 if exact else 1) + noise / steps.coarse
        fine_error = np.abs(fine - short[..., 1]) * (8 if exact else 1) + noise / steps.fine
        jump = np.abs(right - left)
        kinked = jump > 1e-3 * np.maximum(np.abs(right), np.abs(left)) + 8 * noise / steps.fine
        # An estimate that disagrees with its own refinement by much has met a kink: it is none.
        size = np.fmax(np.abs(coarse), np.abs(fine))
        rough = 1e-4 if exact else 0.1
        coarse = np.where(coarse_error <= rough * size + 64 * noise / steps.coarse, coarse, np.nan)
        fine = np.where(kinked | ~(fine_error <= rough * size + 64 * noise / steps.fine), np.nan, fine)
        coarse = np.where(kinked, np.nan, coarse)
        parts = (coarse, coarse_error, fine, fine_error, left, right)
        a, b, c, d, e, f = (part / lengths for part in parts)
    return Slopes(a, b, c, d, e, f, kinked)


def agrees(slopes: Slopes, got: Any, tolerance: float) -> Any:
    """Tells where a rule's slopes are the measured ones, and where none was measured that could tell."""
    best = slopes.best
    with np.errstate(all="ignore"):
        close = np.abs(got - best) <= tolerance * np.maximum(np.abs(best), np.abs(got)) + slopes.error
    return close | (~np.isfinite(best) & np.isfinite(got))


def within(slopes: Slopes, got: Any) -> Any:
    """Tells where a rule's slopes lie between the one-sided ones, ends included; the others know no such interval."""
    low, high = np.minimum(slopes.left, slopes.right), np.maximum(slopes.left, slopes.right)
    slack = 1e-5 * np.maximum(np.abs(low), np.abs(high)) + slopes.fine_error
    return (got >= low - slack) & (got <= high + slack)
