"""From what was measured of a contest's contenders to its rows: who is refused, who is how fast."""

import dataclasses
import math
import statistics
from collections.abc import Mapping
from typing import NamedTuple

from purenet.bench.comparing import compare
from purenet.bench.contests import Contender, Contest
from purenet.bench.peaks import Peaks, arithmetic_of, shown_arithmetic
from purenet.bench.rating import rate
from purenet.bench.rows import Row


class Outcome(NamedTuple):
    """What was measured of one contender.

    Attributes:
      first: seconds of its first call, None if that failed.
      result: its number, None if there is none.
      times: seconds of a call in every round.
      error: why it does not count, or None.
      versions: of the packages that ran, where they ran in a process of their own.
    """

    first: float | None = None
    result: float | None = None
    times: tuple[float, ...] = ()
    error: str | None = None
    versions: Mapping[str, str] | None = None


def refusals(contest: Contest, results: Mapping[str, float | None]) -> dict[str, str]:
    """Says of each contender that did not do the same work what it did instead.

    Args:
      contest: whose first contender is right.
      results: by name, the numbers of those that did not fail.

    Returns:
      By name, why it is refused; without an entry for those that agree.

    Example:
      >>> contest = Contest("c", "step", 1, "loss", 0.01, [Contender("a", int, float), Contender("b", int, float)])
      >>> refusals(contest, {"a": 2.0, "b": 2.5})
      {'b': 'refused: its loss is 2.5, that of a 2 (tolerance 0.01, relative)'}
    """
    first = contest.contenders[0].name
    if first not in results:
        return dict.fromkeys(results, f"nothing to compare with: {first} failed")
    wanted, found = results[first], {}
    for name, result in results.items():
        if wanted is None or result is None:
            continue
        if not abs(result - wanted) <= contest.tolerance * abs(wanted):  # so written, NaN is refused too
            found[name] = (
                f"refused: its {contest.agreement} is {result:.6g}, that of {first} {wanted:.6g} "
                f"(tolerance {contest.tolerance:g}, relative)"
            )
    return found


def rows_of(suite: str, contest: Contest, outcomes: Mapping[str, Outcome], peaks: Peaks | None) -> list[Row]:
    """Makes the rows of a contest.

    Args:
      suite: the suite's name.
      contest: what was measured.
      outcomes: by name, of every contender.
      peaks: the machine's limits, or None.

    Returns:
      One row per contender, in their order.
    """
    return [_row(suite, contest, contender, outcomes, peaks) for contender in contest.contenders]


def _row(
    suite: str, contest: Contest, contender: Contender, outcomes: Mapping[str, Outcome], peaks: Peaks | None
) -> Row:
    outcome, first = outcomes[contender.name], contest.contenders[0].name
    result = outcome.result
    row = Row(
        suite=suite,
        case=contest.case,
        contender=contender.name,
        per=contest.per,
        per_call=contest.per_call,
        agreement=contest.agreement,
        tolerance=contest.tolerance,
        result=result if result is not None and math.isfinite(result) else None,
        error=outcome.error,
        arithmetic=None if contest.dtype is None else shown_arithmetic(contest.dtype),
        process=contest.processes,
        versions=dict(outcome.versions or {}),
    )
    if outcome.error is not None or outcome.first is None:
        return row
    others, seconds = outcomes[first].times, tuple(one / contest.per_call for one in outcome.times)
    median, comparison, rates = statistics.median(seconds), None, None
    if contender.name != first:
        comparison = compare(outcome.times, others, first, contender.at_most, contender.at_least)
    if contest.cost is not None and contest.dtype is not None and peaks is not None:
        key = arithmetic_of(contest.dtype)
        rates = rate(median, contest.cost, key, peaks) if key in peaks.matmul else None
    return dataclasses.replace(
        row,
        compile_seconds=max(0.0, outcome.first - statistics.median(outcome.times)) if contest.compiles else None,
        seconds=seconds,
        median=median,
        low=min(seconds),
        high=max(seconds),
        comparison=comparison,
        rates=rates,
    )
