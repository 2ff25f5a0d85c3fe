"""Which of many things are shown, and over which range."""

import math
from typing import Any

import numpy as np

# Bytes of all pictures together; in a page they take a third more.
BUDGET = 1_700_000

Span = tuple[float, float]


def picks(count: int, most: int) -> list[int]:
    """At most so many of 0 … count − 1, evenly, the first and the last among them."""
    return sorted({round(float(i)) for i in np.linspace(0, count - 1, min(count, most))})


def limits(values: Any, margin: float = 0.06) -> tuple[float, float]:
    """A span around all finite values, with a margin; never empty."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    if low == high:
        half = abs(low) / 2 or 0.5
        low, high = low - half, high + half
    return low - margin * (high - low), high + margin * (high - low)


def is_log(values: Any) -> bool:
    """Whether a curve wants a logarithmic axis: all of it above 0, the largest 20 times the smallest."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    return bool(known.size and known.min() > 0 and known.max() > 20 * known.min())


def decades(values: Any) -> tuple[int, int]:
    """The powers of ten around all positive finite values; at least one decade."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known) & (known > 0)]
    if not known.size:
        return -1, 0
    low, high = math.floor(math.log10(known.min())), math.ceil(math.log10(known.max()))
    return low, max(high, low + 1)
