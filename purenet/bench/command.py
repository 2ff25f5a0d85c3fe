"""The command line of `python -m purenet.bench`."""

import argparse
import sys
from collections.abc import Sequence
from typing import NamedTuple

from purenet.bench import canaries
from purenet.bench.contests import Suite
from purenet.bench.core_suite import CORE
from purenet.bench.machine import find_machine
from purenet.bench.measuring import measure
from purenet.bench.records import expect_writable, make_record, write_record
from purenet.bench.rows import Row
from purenet.bench.shuffle_suite import SHUFFLE
from purenet.bench.tables import show_canary, show_contest, show_machine

SUITES: dict[str, Suite] = {"core": CORE, "shuffle": SHUFFLE}

# Odd, so that a median is a measured time. In full about two minutes on two cores.
_ROUNDS, _QUICK_ROUNDS = 25, 7


class Options(NamedTuple):
    """What the command line asks for."""

    suites: tuple[str, ...]
    quick: bool
    json: str | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
      arguments: those after `python -m purenet.bench`; None takes the process's.

    Returns:
      The exit status: 0; 1 if a canary failed, a row is an error or the file could not be written; 130 after
      Ctrl-C. For arguments that cannot be followed argparse exits with 2.
    """
    options = _parse(arguments)
    if options is None:
        for name, suite in SUITES.items():
            print(f"{name:<10}{suite.summary}")
        return 0
    machine = find_machine()
    print(show_machine(machine), flush=True)
    found: list[canaries.Canary] = []
    rows: list[Row] = []
    finished = False
    try:
        for canary in canaries.CANARIES:
            found.append(canary())
            print(show_canary(found[-1]), flush=True)
        for name in options.suites:
            _run(name, options.quick, rows)
        finished = True
    except KeyboardInterrupt:
        cases = len({(row.suite, row.case) for row in rows})
        print(f"\ninterrupted: {cases} finished contests, printed above", flush=True)
    written = True
    if options.json is not None:
        record = make_record(machine, found, rows, quick=options.quick, finished=finished)
        written = _written(options.json, record)
    return _status(finished, written, found, rows)


def _run(name: str, quick: bool, rows: list[Row]) -> None:
    """Measures a suite, printing each contest when it is done."""
    for contest in SUITES[name].contests(quick):
        done = measure(name, contest, _QUICK_ROUNDS if quick else _ROUNDS)
        rows += done
        print(f"\n{show_contest(done)}", flush=True)


def _written(path: str, record: dict[str, object]) -> bool:
    try:
        write_record(path, record)
    except OSError as error:
        print(f"bench: the results could not be written to {path}: {error.strerror}.", file=sys.stderr)
        return False
    print(f"\nwritten to {path}")
    return True


def _status(finished: bool, written: bool, found: Sequence[canaries.Canary], rows: Sequence[Row]) -> int:
    dead = [canary for canary in found if not canary.alive]
    wrong = [row for row in rows if row.error is not None]
    if dead:
        print("\n" + "\n".join(map(show_canary, dead)))
    if wrong:
        print(f"\n{len(wrong)} of {len(rows)} rows do not count: see ERROR above")
    if not finished:
        return 130
    return 1 if dead or wrong or not written else 0


def _parse(arguments: Sequence[str] | None) -> Options | None:
    """Gives the options, or None if the suites are to be listed."""
    parser = argparse.ArgumentParser(
        prog="python -m purenet.bench",
        description="Measures training on this machine. Times are medians of interleaved rounds; the range is that "
        "from the fastest to the slowest; a ratio is a median divided by that of the contest's first row, and its "
        "middle half is that of the ratios within the rounds.",
        epilog=f"Suites: {', '.join(SUITES)}.",
    )
    parser.add_argument("suites", nargs="*", metavar="suite", help="what to run; all if none is named")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and shorter runs: noisier")
    parser.add_argument("--json", metavar="FILE", help="write everything measured to this file")
    parser.add_argument("--list", action="store_true", help="list the suites and end")
    options = parser.parse_args(arguments)
    if options.list:
        return None
    for name in options.suites:
        if name not in SUITES:
            parser.error(f"there is no suite {name!r}. Choose from: {', '.join(SUITES)}.")
    if options.json is not None:
        try:
            expect_writable(options.json)
        except OSError as error:
            parser.error(
                f"cannot write to {options.json}: {error.strerror}. Give --json a file in a folder that exists."
            )
    return Options(tuple(dict.fromkeys(options.suites)) or tuple(SUITES), options.quick, options.json)
