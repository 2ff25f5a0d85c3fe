"""From a time and what the work takes to rates, and to the share of the measured limit."""

from purenet.bench.contests import Cost
from purenet.bench.peaks import Peaks
from purenet.bench.rows import Rates


def rate(seconds: float, cost: Cost, arithmetic: str, peaks: Peaks) -> Rates:
    """Holds a time against what the measured peaks allow.

    The work's products cannot be done faster than the peak rate of products, nor its bytes moved faster than the
    peak of copying; the limit is the longer of the two times. Small work that stays in a cache can be faster than
    the second.

    Args:
      seconds: the time of one unit of work.
      cost: what that unit takes.
      arithmetic: of its products, a key of `peaks.matmul`.
      peaks: the machine's.

    Returns:
      The rates.

    Example:
      >>> from purenet.bench.peaks import Peak
      >>> peaks = Peaks({"bfloat16": Peak("bfloat16", 1e12, 4096)}, bandwidth=1e11, dispatch=1e-5, compile=1e-2)
      >>> rates = rate(0.004, Cost(examples=8, flops=10**9, bytes=2 * 10**8), "bfloat16", peaks)
      >>> rates.limit, rates.of_limit, rates.examples
      ('memory', 0.5, 2000.0)
    """
    times = {"matmul": cost.flops / peaks.matmul[arithmetic].flops, "memory": cost.bytes / peaks.bandwidth}
    limit = max(times, key=lambda name: times[name])
    return Rates(
        examples=cost.examples / seconds,
        flops=cost.flops / seconds,
        bytes=cost.bytes / seconds,
        limit=limit,
        limit_seconds=times[limit],
        of_limit=times[limit] / seconds,
    )
