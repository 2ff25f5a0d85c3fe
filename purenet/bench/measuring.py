"""How a contest is measured: compile apart, warm-up, then rounds in which the contenders take turns."""

import dataclasses
import math
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from purenet.bench.comparing import compare
from purenet.bench.contests import Contender, Contest
from purenet.bench.rows import Row

# Calls shorter than this are timed several in a row, so that the clock and the loop around it do not count.
_SAMPLE_SECONDS = 0.02


class _Ready(NamedTuple):
    """A contender after its first calls: its first time, its number, and how many calls make a sample."""

    first: float
    result: float
    calls: int


def measure(suite: str, contest: Contest, rounds: int) -> list[Row]:
    """Measures a contest.

    Every contender is called once, which compiles, and once more to warm up. One that raises, or whose result is
    not the first contender's, gets a row with an error and no times. The others take turns, and each round begins
    with another one.

    Args:
      suite: the suite's name, for the rows.
      contest: what to measure.
      rounds: how often each contender is timed, 1 or more.

    Returns:
      One row per contender, in their order.
    """
    ready: dict[str, _Ready] = {}
    errors: dict[str, str] = {}
    for contender in contest.contenders:
        try:
            ready[contender.name] = _prepare(contender)
        except Exception as error:  # whatever one contender's library raises, the others go on
            errors[contender.name] = f"{type(error).__name__}: {error}".strip().splitlines()[0]
    errors |= _refusals(contest, ready)
    running = [contender for contender in contest.contenders if contender.name not in errors]
    times: dict[str, list[float]] = {contender.name: [] for contender in running}
    for turn in range(rounds if running else 0):
        shift = turn % len(running)
        for contender in running[shift:] + running[:shift]:
            calls = ready[contender.name].calls
            times[contender.name].append(_clock(contender.call, calls)[0])
    return [
        _row(suite, contest, contender.name, ready.get(contender.name), times, errors)
        for contender in contest.contenders
    ]


def _prepare(contender: Contender) -> _Ready:
    first, output = _clock(contender.call, 1)
    result = float(contender.result(output))
    warm, _ = _clock(contender.call, 1)
    return _Ready(first, result, max(1, math.ceil(_SAMPLE_SECONDS / max(warm, 1e-6))))


def _clock(call: Callable[[], Any], calls: int) -> tuple[float, Any]:
    """Seconds per call, waiting for every result, and the last one."""
    output = None
    started = time.perf_counter()
    for _ in range(calls):
        output = jax.block_until_ready(call())
    return (time.perf_counter() - started) / calls, output


def _refusals(contest: Contest, ready: dict[str, _Ready]) -> dict[str, str]:
    """Says of each contender that did not do the same work what it did instead."""
    first = contest.contenders[0].name
    if first not in ready:
        return dict.fromkeys(ready, f"nothing to compare with: {first} failed")
    wanted, refusals = ready[first].result, {}
    for name, one in ready.items():
        if not abs(one.result - wanted) <= contest.tolerance * abs(wanted):  # so written, NaN is refused too
            refusals[name] = (
                f"refused: its {contest.agreement} is {one.result:.6g}, that of {first} {wanted:.6g} "
                f"(tolerance {contest.tolerance:g}, relative)"
            )
    return refusals


def _row(
    suite: str,
    contest: Contest,
    name: str,
    ready: _Ready | None,
    times: dict[str, list[float]],
    errors: dict[str, str],
) -> Row:
    row = Row(
        suite=suite,
        case=contest.case,
        contender=name,
        per=contest.per,
        per_call=contest.per_call,
        agreement=contest.agreement,
        tolerance=contest.tolerance,
        result=ready.result if ready is not None and math.isfinite(ready.result) else None,
        error=errors.get(name),
    )
    if name in errors or ready is None:
        return row
    first = contest.contenders[0]
    wanted = {contender.name: contender.at_most for contender in contest.contenders}
    seconds = tuple(one / contest.per_call for one in times[name])
    return dataclasses.replace(
        row,
        compile_seconds=max(0.0, ready.first - statistics.median(times[name])),
        seconds=seconds,
        median=statistics.median(seconds),
        low=min(seconds),
        high=max(seconds),
        comparison=None if name == first.name else compare(times[name], times[first.name], first.name, wanted[name]),
    )
