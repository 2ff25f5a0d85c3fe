"""The command line of `python -m purenet.bench`."""

import sys
import time
from collections.abc import Sequence

from purenet.bench import canaries
from purenet.bench.changes import show_changes
from purenet.bench.machine import Machine, choose_device, find_machine
from purenet.bench.options import Options, parse
from purenet.bench.peaks import Peaks, better, measure_peaks
from purenet.bench.records import make_record, write_record
from purenet.bench.rows import Row
from purenet.bench.running import run_suite
from purenet.bench.suites import SUITES
from purenet.bench.tables import show_canary, show_machine, show_peaks


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
      arguments: those after `python -m purenet.bench`; None takes the process's.

    Returns:
      The exit status: 0; 1 if a canary failed, a row is an error or the file could not be written; 130 after
      Ctrl-C. For arguments that cannot be followed argparse exits with 2.
    """
    options = parse(arguments, SUITES)
    if options.list:
        for name, suite in SUITES.items():
            print(f"{name:<14}{suite.summary}")
        return 0
    with choose_device(options.device, options.settings.dtype):
        return _run(options, find_machine())


def _run(options: Options, machine: Machine) -> int:
    started = time.monotonic()
    print(show_machine(machine), flush=True)
    found: list[canaries.Canary] = []
    rows: list[Row] = []
    peaks: Peaks | None = None
    quick, finished = options.settings.quick, False
    try:
        for canary in canaries.CANARIES:
            found.append(canary())
            print(show_canary(found[-1]), flush=True)
        for name in options.suites:
            if peaks is None or not quick:  # again before each suite, as other work on the machine comes and goes
                peaks = _peaks(peaks, options)
            run_suite(name, SUITES[name], options, peaks, rows)
        finished = True
    except KeyboardInterrupt:
        cases = len({(row.suite, row.case) for row in rows})
        print(f"\ninterrupted: {cases} finished contests, printed above", flush=True)
    seconds = time.monotonic() - started
    if options.compare is not None and rows:
        print(f"\n{show_changes(rows, options.compare, machine, quick=quick)}")
    written = True
    if options.json is not None:
        record = make_record(machine, found, peaks, rows, quick=quick, finished=finished, seconds=seconds)
        written = _written(options.json, record)
    return _status(finished, written, found, rows)


def _peaks(before: Peaks | None, options: Options) -> Peaks:
    """Measures the limits, the first time or again, and shows them the first time."""
    peaks = measure_peaks(options.settings.quick or before is not None, options.settings.dtype)
    if before is not None:
        return better(before, peaks)
    print(show_peaks(peaks), flush=True)
    return peaks


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
