"""What has changed since an earlier run's file."""

import statistics
from collections.abc import Sequence
from typing import Any

from purenet.bench.machine import Machine
from purenet.bench.records import rows_of_record
from purenet.bench.rows import Row
from purenet.bench.tables import show_time

# What makes two runs different ones rather than a change of the code.
_SURROUNDINGS = ("device", "cores", "python", "jax", "jaxlib", "optax", "xla_flags", "settings")


def show_changes(rows: Sequence[Row], old: dict[str, Any], machine: Machine, *, quick: bool) -> str:
    """Compares the rows of this run with those of an earlier one.

    A time has changed if the ranges of both runs do not meet; anything less may be noise between two runs.

    Args:
      rows: of this run.
      old: the earlier run's record, from `read_record`.
      machine: this one.
      quick: whether this was a quick run.

    Returns:
      Lines of text.
    """
    lines = [f"compared with the run of {old['date']}"]
    lines += _surroundings(old, machine, quick)
    before = {_key(row): row for row in rows_of_record(old) if row.seconds}
    for row in rows:
        if row.error is not None:
            was = f"{show_time(statistics.median(before.pop(_key(row)).seconds))} then, " if _key(row) in before else ""
            lines.append(f"  {_name(row)}: {was}now {row.error}")
        elif _key(row) in before:
            lines.append(_line(row, before.pop(_key(row))))
        else:
            lines.append(f"  {_name(row)}: not in the earlier run")
    again = {_key(row)[0] for row in rows}
    lines += [f"  {_name(row)}: only in the earlier run" for key, row in before.items() if key[0] in again]
    return "\n".join(lines)


def _surroundings(old: dict[str, Any], machine: Machine, quick: bool) -> list[str]:
    here = {**machine._asdict(), "quick": quick}
    there = {**old["machine"], "quick": old["quick"]}
    differ = [
        f"{name} {there.get(name)!r} then, {here[name]!r} now"
        for name in (*_SURROUNDINGS, "quick")
        if name in there and there[name] != here[name]
    ]
    return [f"  other surroundings, so that the code is not all that differs: {'; '.join(differ)}"] if differ else []


def _line(row: Row, old: Row) -> str:
    now, then = statistics.median(row.seconds), statistics.median(old.seconds)
    if max(row.seconds) < min(old.seconds):
        words = f"{then / now:.3g} times as fast"
    elif min(row.seconds) > max(old.seconds):
        words = f"SLOWER: takes {now / then:.3g} times as long"
    else:
        words = f"no change beyond the ranges (ratio {now / then:.3g})"
    if row.versions != old.versions:
        words += f"; other versions: {_shown(old.versions)} then, {_shown(row.versions)} now"
    return f"  {_name(row)}: {show_time(then)} then, {show_time(now)} now: {words}"


def _shown(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items()) or "none told"


def _key(row: Row) -> tuple[str, str, str, str | None]:
    return row.suite, row.case, row.contender, row.arithmetic


def _name(row: Row) -> str:
    return f"{row.suite}, {row.case}, {row.contender}"
