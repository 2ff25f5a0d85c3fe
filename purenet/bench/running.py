"""Runs a suite: its contests, then the races with the peers that were asked for."""

import pathlib
import re
from collections.abc import Iterator

import jax

from purenet.bench.contests import Contest, Suite
from purenet.bench.measuring import in_one_line, measure
from purenet.bench.memory import is_out_of_memory
from purenet.bench.options import Options
from purenet.bench.peaks import Peaks
from purenet.bench.peers import split_by_presence
from purenet.bench.racing import race
from purenet.bench.rows import Row
from purenet.bench.tables import show_contest

# Odd, so that a median is a measured time.
_ROUNDS, _QUICK_ROUNDS = 25, 3
_PROCESSES, _QUICK_PROCESSES = 5, 1
_SECONDS, _QUICK_SECONDS = 1.0, 0.2


def run_suite(name: str, suite: Suite, options: Options, peaks: Peaks, rows: list[Row]) -> None:
    """Measures a suite, printing each contest when it is done.

    Args:
      name: the suite's.
      suite: what to measure.
      options: from the command line.
      peaks: the machine's limits.
      rows: to which the results are added as they come, so that an interrupted run keeps them.
    """
    quick = options.settings.quick
    for contest in _made(name, suite, options, rows):
        done = _measured(name, contest, _QUICK_ROUNDS if quick else _ROUNDS, peaks)
        rows += done
        print(f"\n{show_contest(done)}", flush=True)
        if options.profile is not None:
            _profile(options.profile, name, contest)
    if suite.races is None or not options.settings.peers:
        return
    peers, _ = split_by_presence(options.settings.peers)
    for case, wanted in suite.races(options.settings):
        done = race(
            name,
            case,
            peers,
            rounds=_QUICK_PROCESSES if quick else _PROCESSES,
            seconds=_QUICK_SECONDS if quick else _SECONDS,
            peaks=peaks,
            wanted=wanted,
        )
        rows += done
        print(f"\n{show_contest(done)}", flush=True)


def _made(name: str, suite: Suite, options: Options, rows: list[Row]) -> Iterator[Contest]:
    """The contests; one that cannot be made is an error row, and the end of its suite but not of the run."""
    try:
        yield from suite.contests(options.settings)
    except Exception as error:
        failed = Row(name, "the next contest", "", "", 1, None, 0.0, error=f"not made: {in_one_line(error)}")
        rows.append(failed)
        print(f"\n{show_contest([failed])}", flush=True)


def _measured(name: str, contest: Contest, rounds: int, peaks: Peaks) -> list[Row]:
    """Measures a contest, of half the size as long as memory does not suffice."""
    while True:
        if contest.note:
            print(f"\n{name}: {contest.note}", flush=True)
        done = measure(name, contest, rounds, peaks)
        if contest.smaller is None or not any(is_out_of_memory(row.error) for row in done):
            return done
        contest = contest.smaller()


def _profile(folder: str, name: str, contest: Contest) -> None:
    """Traces one more call of each contender, outside of all measuring."""
    for contender in contest.contenders:
        path = pathlib.Path(folder) / re.sub(r"[^\w.=-]+", "_", f"{name}_{contest.case}_{contender.name}")
        with jax.profiler.trace(str(path)):
            jax.block_until_ready(contender.call())
        print(f"  profile of {contender.name}: {path}", flush=True)
