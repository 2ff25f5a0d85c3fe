"""How two series of times are compared, and when noise forbids to rank them."""

import statistics
from collections.abc import Sequence

from purenet.bench.rows import Comparison

# Noise that leaves a difference of at most 5 % open is called small.
_CLOSE = 1.05

# Fewer rounds say nothing of noise.
_FEWEST = 3


def compare(
    seconds: Sequence[float],
    others: Sequence[float],
    to: str,
    at_most: float | None = None,
    at_least: float | None = None,
) -> Comparison:
    """Compares a contender's times with those of the first contender, round by round.

    The ratio is that of the medians. Noise is judged from the ratios within the rounds, in which both ran within a
    moment of each other, so that what slows the whole machine for a while drops out: if the middle half of them,
    together with the ratio of the medians, reaches from below 1 to above, the two are not ranked.

    Args:
      seconds: the contender's time in every round.
      others: the first contender's time in the same rounds.
      to: the first contender's name.
      at_most: the largest ratio wanted, or None.
      at_least: the smallest ratio wanted, or None.

    Returns:
      The comparison, words included.

    Raises:
      ValueError: if there are no rounds, or not as many of one as of the other.

    Example:
      >>> compare([2.0, 2.2, 2.1], [1.0, 1.1, 1.0], "by hand").words
      'takes 2.1 times as long'
    """
    if not seconds or len(seconds) != len(others):
        raise ValueError(f"compare: expected as many rounds of each, got {len(seconds)} and {len(others)}. Pair them.")
    ratio = statistics.median(seconds) / statistics.median(others)
    low, high = quartiles([one / other for one, other in zip(seconds, others, strict=True)])
    if len(seconds) < _FEWEST:
        words = f"{len(seconds)} {'round' if len(seconds) == 1 else 'rounds'}, too few to rank them"
        return Comparison(to, ratio, low, high, at_most, words, at_least)
    verdicts = [_rank(ratio, low, high)]
    if at_most is not None:
        wanted = f"ratio <= {at_most:g}" if at_most >= 1 else f"{1 / at_most:g} times as fast"
        verdicts.append(_verdict(wanted, ratio <= at_most, at_most, ratio, low, high))
    if at_least is not None:
        verdicts.append(_verdict(f"ratio >= {at_least:g}", ratio >= at_least, at_least, ratio, low, high))
    return Comparison(to, ratio, low, high, at_most, "; ".join(verdicts), at_least)


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """Gives the first and the third quartile, interpolated between the values; of one value, that value.

    Args:
      values: at least one number.

    Returns:
      Both quartiles.

    Example:
      >>> quartiles([1.0, 2.0, 3.0, 4.0, 5.0])
      (2.0, 4.0)
    """
    if len(values) == 1:
        return values[0], values[0]
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, third


def _rank(ratio: float, low: float, high: float) -> str:
    low, high = min(low, ratio), max(high, ratio)
    if low <= 1 <= high:
        close = max(high, 1 / low) <= _CLOSE
        return "equal within the noise" if close else "noise too large to rank them"
    if ratio >= 1.5:
        return f"takes {ratio:.3g} times as long"
    if ratio <= 1 / 1.5:
        return f"{1 / ratio:.3g} times as fast"
    return f"{abs(ratio - 1):.1%} {'slower' if ratio > 1 else 'faster'}"


def _verdict(wanted: str, met: bool, limit: float, ratio: float, low: float, high: float) -> str:
    noisy = min(low, ratio) <= limit <= max(high, ratio)
    return f"wanted {wanted}: {'met' if met else 'MISSED'}{', but within the noise' if noisy else ''}"
