"""The rows as plain text, for a terminal or a file."""

from collections.abc import Sequence

from purenet.bench.canaries import Canary
from purenet.bench.machine import Machine
from purenet.bench.peaks import Peaks
from purenet.bench.rows import Row

_HEADINGS = ("", "median", "range", "compile", "ratio", "middle half", "")
# Wide enough that one contest's columns stand under the last one's.
_WIDTHS = (24, 8, 15, 8, 7, 15, 0)
_RATE_HEADINGS = ("", "examples/s", "GFLOP/s", "GB/s", "of the limit")
_RATE_WIDTHS = (24, 12, 10, 8, 12)
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


def show_peaks(peaks: Peaks) -> str:
    """Lists the measured limits.

    Args:
      peaks: from `measure_peaks`.

    Returns:
      Lines of text.
    """
    products = ", ".join(f"{name} {_digits(peak.flops / 1e9)} (n={peak.size:,})" for name, peak in peaks.matmul.items())
    return (
        f"peaks   GFLOP/s of n x n products: {products}\n"
        f"        memory {_digits(peaks.bandwidth / 1e9)} GB/s; smallest call {show_time(peaks.dispatch)}, "
        f"smallest compile {show_time(peaks.compile)}"
    )


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
    arithmetic = "" if first.arithmetic is None else f"{first.arithmetic}, "
    lines = [f"{first.suite}: {first.case}, {arithmetic}{unit} per {first.per}, {_rounds(rows)}"]
    lines.append(_line(_HEADINGS, _WIDTHS))
    for row in rows:
        if row.error is not None:
            lines.append(f"  {row.contender:<{_WIDTHS[0]}}  ERROR {row.error}")
        else:
            lines.append(_line(_cells(row, size), _WIDTHS))
    lines += _rates(rows)
    if first.agreement is not None:
        lines.append(f"  {_agreement(rows)}")
    return "\n".join(line.rstrip() for line in lines)


def _cells(row: Row, size: float) -> tuple[str, ...]:
    median, low, high = (_digits((value or 0.0) / size) for value in (row.median, row.low, row.high))
    compiling = "" if row.compile_seconds is None else f"{row.compile_seconds:.2f} s"
    times = (row.contender, median, f"{low} to {high}", compiling)
    if row.comparison is None:
        return (*times, "1", "", "")
    one = row.comparison
    return (*times, _ratio(one.ratio), f"{_ratio(one.low)} to {_ratio(one.high)}", one.words)


def _rates(rows: Sequence[Row]) -> list[str]:
    """Says what the medians mean in examples, arithmetic and memory, and how near the limit they are."""
    rated = [(row.contender, row.rates) for row in rows if row.rates is not None]
    if not rated:
        return []
    limit = rated[0][1]
    what = "its products" if limit.limit == "matmul" else "moving its bytes"
    lines = [_line(_RATE_HEADINGS, _RATE_WIDTHS)]
    for name, one in rated:
        numbers = (
            f"{one.examples:,.0f}",
            _digits(one.flops / 1e9),
            _digits(one.bytes / 1e9),
            f"{_digits(100 * one.of_limit)} %",
        )
        lines.append(_line((name, *numbers), _RATE_WIDTHS))
    lines.append(f"  the limit: {show_time(limit.limit_seconds)} a {rows[0].per}, set by {what}")
    if limit.limit == "matmul" and any(one.of_limit > 1 for _, one in rated):
        lines[-1] += "; above 100 %, the peaks were measured at a worse moment"
    return lines


def show_time(seconds: float) -> str:
    """Gives a time with the unit that suits it.

    Args:
      seconds: 0 or more.

    Returns:
      Such as "1.52 ms".

    Example:
      >>> show_time(0.00152)
      '1.52 ms'
    """
    size, unit = _unit([seconds])
    return f"{_digits(seconds / size)} {unit}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    aligned = [f"{cells[0]:<{widths[0]}}"]
    aligned += [f"{cell:>{width}}" for cell, width in zip(cells[1:], widths[1:], strict=True)]
    return "  " + "  ".join(aligned)


def _rounds(rows: Sequence[Row]) -> str:
    rounds = max(len(row.seconds) for row in rows)
    many = f"{rows[0].per_call:,} {rows[0].per}s a call, " if rows[0].per_call > 1 else ""
    return f"{many}{rounds} alternating {'processes' if rows[0].process else 'rounds'}"


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
