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
from purenet.bench.peers import PEERS
from purenet.bench.racing import race
from purenet.bench.rows import Row
from purenet.bench.tables import show_contest

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
    contests = _made(name, suite, options, rows)
    for contest in contests:
        _finish(_measured(name, contest, options, peaks), rows)
        del contest  # so that its data are gone before the next one's are made
    if suite.races is None or not options.settings.peers:
        return
    peers = [PEERS[one] for one in options.settings.peers]
    for one in suite.races(options.settings):
        try:
            done = race(
                name,
                one,
                peers,
                rounds=_QUICK_PROCESSES if quick else _PROCESSES,
                seconds=_QUICK_SECONDS if quick else _SECONDS,
                peaks=peaks,
            )
        except Exception as error:  # what one race raises, the next one need not
            done = [_failed(name, f"{one.case.name}, beside peers", error)]
        _finish(done, rows)


def _finish(done: list[Row], rows: list[Row]) -> None:
    rows += done
    print(f"\n{show_contest(done)}", flush=True)


def _failed(suite: str, case: str, error: Exception) -> Row:
    return Row(suite, case, "all of it", "", 1, None, 0.0, error=f"not measured: {in_one_line(error)}")


def _made(name: str, suite: Suite, options: Options, rows: list[Row]) -> Iterator[Contest]:
    """The contests; one that cannot be made is an error row, and the end of its suite but not of the run."""
    try:
        yield from suite.contests(options.settings)
    except Exception as error:  # of any kind, as data and networks are made there
        _finish([_failed(name, "the next contest", error)], rows)


def _measured(name: str, contest: Contest, options: Options, peaks: Peaks) -> list[Row]:
    """Measures a contest, of half the size as long as memory does not suffice, and profiles it if that is asked for."""
    rounds = _QUICK_ROUNDS if options.settings.quick else _ROUNDS
    while True:
        if contest.note:
            print(f"\n{name}: {contest.note}", flush=True)
        done, smaller = measure(name, contest, rounds, peaks), contest.smaller
        if smaller is None or not any(is_out_of_memory(row.error) for row in done):
            break
        del contest  # whose data fill the memory
        try:
            contest = smaller()
        except Exception as error:  # nothing smaller fits either
            return [*done, _failed(name, "half the size", error)]
    if options.profile is not None:
        _profile(options.profile, name, contest, {row.contender for row in done if row.error is None})
    return done


def _profile(folder: str, name: str, contest: Contest, counting: set[str]) -> None:
    """Traces one more call of each contender that counts, outside of all measuring."""
    for contender in contest.contenders:
        path = pathlib.Path(folder) / re.sub(r"[^\w.=-]+", "_", f"{name}_{contest.case}_{contender.name}")
        if contender.name not in counting:
            continue
        try:
            with jax.profiler.trace(str(path)):
                jax.block_until_ready(contender.call())
            print(f"  profile of {contender.name}: {path}", flush=True)
        except Exception as error:  # such as a full disk: the times are there already
            print(f"  no profile of {contender.name}: {in_one_line(error)}", flush=True)
