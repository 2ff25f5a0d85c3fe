"""The rows as plain text, for a terminal or a file."""

from collections.abc import Sequence

from purenet.bench.canaries import Canary
from purenet.bench.machine import Machine
from purenet.bench.rows import Row

_HEADINGS = ("", "median", "range", "compile", "ratio", "middle half", "")
# Wide enough that one contest's columns stand under the last one's.
_WIDTHS = (24, 8, 15, 8, 7, 15, 0)
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def show_machine(machine: Machine) -> str:
    """Describes the machine in the first lines.

    Args:
      machine: from `find_machine`.

    Returns:
      Lines of text.
    """
    several = f", {machine.devices} devices" if machine.devices > 1 else ""
    lines = [
        f"device  {machine.device} ({machine.platform}{several}), {machine.cores} CPU cores, {machine.system}",
        f"python  {machine.python}, jax {machine.jax}, jaxlib {machine.jaxlib}, "
        f"XLA_FLAGS {machine.xla_flags or 'not set'}",
    ]
    if machine.load is not None and machine.load > 0.5:
        lines.append(
            f"load    {machine.load:g} processes on {machine.cores} cores before the start: others disturb the times"
        )
    return "\n".join(lines)


def show_canary(canary: Canary) -> str:
    """Says how a canary came out; shouts if it died.

    Args:
      canary: from `canaries`.

    Returns:
      A line of text, or three.
    """
    error = "not a number" if canary.error is None else f"{canary.error:.1e}"
    text = f"{canary.name}: error {error}, allowed {canary.tolerance:g}"
    if canary.alive:
        return f"canary  ok, {text}"
    loud = "!" * 100
    return f"{loud}\nCANARY FAILED: {text}. This compiler computes WRONG NUMBERS: change the jaxlib release.\n{loud}"


def show_contest(rows: Sequence[Row]) -> str:
    """Lays out the rows of one contest as a table.

    Args:
      rows: of one contest, at least one.

    Returns:
      A heading, and a line per row.
    """
    first = rows[0]
    size, unit = _unit([row.median for row in rows if row.median is not None])
    lines = [f"{first.suite}: {first.case}, {unit} per {first.per}, {_rounds(rows)}"]
    lines.append(_line(_HEADINGS))
    for row in rows:
        if row.error is not None:
            lines.append(f"  {row.contender:<{_WIDTHS[0]}}  ERROR {row.error}")
        else:
            lines.append(_line(_cells(row, size)))
    lines.append(f"  {_agreement(rows)}")
    return "\n".join(line.rstrip() for line in lines)


def _cells(row: Row, size: float) -> tuple[str, ...]:
    median, low, high = (_digits((value or 0.0) / size) for value in (row.median, row.low, row.high))
    times = (row.contender, median, f"{low} to {high}", f"{row.compile_seconds:.2f} s")
    if row.comparison is None:
        return (*times, "1", "", "")
    one = row.comparison
    return (*times, _ratio(one.ratio), f"{_ratio(one.low)} to {_ratio(one.high)}", one.words)


def _line(cells: Sequence[str]) -> str:
    aligned = [f"{cells[0]:<{_WIDTHS[0]}}"]
    aligned += [f"{cell:>{width}}" for cell, width in zip(cells[1:], _WIDTHS[1:], strict=True)]
    return "  " + "  ".join(aligned)


def _rounds(rows: Sequence[Row]) -> str:
    rounds = max(len(row.seconds) for row in rows)
    many = f"{rows[0].per_call:,} {rows[0].per}s a call, " if rows[0].per_call > 1 else ""
    return f"{many}{rounds} interleaved rounds"


def _agreement(rows: Sequence[Row]) -> str:
    """Says how nearly the contenders that count did the same."""
    results = [row.result for row in rows if row.error is None and row.result is not None]
    if not results:
        return "no row counts"
    first = results[0]
    apart = max(abs(result - first) for result in results) / max(abs(first), 1e-300)
    return (
        f"same {rows[0].agreement}: {first:,.7g}, at most {apart:.1e} apart (tolerance {rows[0].tolerance:g}, relative)"
    )


def _unit(seconds: Sequence[float]) -> tuple[float, str]:
    """Chooses the unit in which the smallest median is 1 or more."""
    least = min(seconds, default=1.0)
    return next((unit for unit in _UNITS if least >= unit[0]), _UNITS[-1])


def _ratio(value: float) -> str:
    """Three decimals, or as many as show three digits."""
    return f"{value:.3f}" if value >= 0.1 else f"{value:.3g}"


def _digits(value: float) -> str:
    """Three significant digits, and never an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
