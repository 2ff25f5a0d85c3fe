"""How a contest is measured: compile apart, warm-up, then rounds in which the contenders take turns."""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from purenet.bench.contests import Contender, Contest
from purenet.bench.outcomes import Outcome, refusals, rows_of
from purenet.bench.peaks import Peaks
from purenet.bench.rows import Row

# Calls shorter than this are timed several in a row, so that the clock and the loop around it do not count.
_SAMPLE_SECONDS = 0.02

# A contest that takes longer than this, on a device on which small programs are slow, ends after the least rounds.
_MOST_SECONDS, _LEAST_ROUNDS = 45.0, 5


class _Ready(NamedTuple):
    """A contender after its first calls: its first time, its number if any, and how many calls make a sample."""

    first: float
    result: float | None
    calls: int


def measure(suite: str, contest: Contest, rounds: int, peaks: Peaks | None = None) -> list[Row]:
    """Measures a contest.

    Every contender is called once, and once more to warm up if the first call compiled. One that raises, or whose
    result is not the first contender's, gets a row with an error and no times. The others take turns, and each round
    begins with another one.

    Args:
      suite: the suite's name, for the rows.
      contest: what to measure.
      rounds: how often each contender is timed, 1 or more; fewer in a contest that is slow.
      peaks: the machine's limits, to hold the times against; None leaves that out.

    Returns:
      One row per contender, in their order.
    """
    ready: dict[str, _Ready] = {}
    errors: dict[str, str] = {}
    for contender in contest.contenders:
        try:
            ready[contender.name] = _prepare(contender, contest.compiles)
        except Exception as error:  # whatever one contender's library raises, the others go on
            errors[contender.name] = in_one_line(error)
    errors |= _refused(contest, ready, errors)
    times: dict[str, list[float]] = {contender.name: [] for contender in contest.contenders}
    started = time.perf_counter()
    for turn in range(max(1, rounds // contest.slowness)):
        running = [contender for contender in contest.contenders if contender.name not in errors]
        if not running or (turn >= _LEAST_ROUNDS and time.perf_counter() - started > _MOST_SECONDS):
            break
        for contender in rotated(running, turn):
            try:
                times[contender.name].append(_clock(contender.call, ready[contender.name].calls)[0])
            except Exception as error:  # late, such as for want of memory
                errors[contender.name] = in_one_line(error)
    errors |= _refused(contest, ready, errors)  # again, as the first may have failed late
    outcomes = {}
    for name, series in times.items():
        one = ready.get(name)
        outcomes[name] = Outcome(one and one.first, one and one.result, tuple(series), errors.get(name))
    return rows_of(suite, contest, outcomes, peaks)


def rotated(contenders: list[Contender], turn: int) -> list[Contender]:
    """Lets another contender begin every round.

    Args:
      contenders: at least one.
      turn: the round's number.

    Returns:
      The same, beginning with number `turn`, counted around.
    """
    shift = turn % len(contenders)
    return contenders[shift:] + contenders[:shift]


def in_one_line(error: Exception) -> str:
    """Gives an error's kind and the first line of its text.

    Args:
      error: any exception.

    Returns:
      One line.
    """
    return f"{type(error).__name__}: {error}".strip().splitlines()[0]


def _refused(contest: Contest, ready: dict[str, _Ready], errors: dict[str, str]) -> dict[str, str]:
    return refusals(contest, {name: one.result for name, one in ready.items() if name not in errors})


def _prepare(contender: Contender, compiles: bool) -> _Ready:
    first, output = _clock(contender.call, 1)
    result = None if contender.result is None else float(contender.result(output))
    warm = _clock(contender.call, 1)[0] if compiles else first
    return _Ready(first, result, max(1, math.ceil(_SAMPLE_SECONDS / max(warm, 1e-6))))


def _clock(call: Callable[[], Any], calls: int) -> tuple[float, Any]:
    """Seconds per call, waiting for every result, and the last one."""
    output = None
    started = time.perf_counter()
    for _ in range(calls):
        output = jax.block_until_ready(call())
    return (time.perf_counter() - started) / calls, output
