"""Numbers, arrays and tables as text and as HTML."""

import html
import unicodedata
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purenet.insight.programs import as_numpy, plainly

# Arrays of at most so many numbers are shown in full.
SMALL = 64


def number_text(value: Any, dtype: Any = None) -> str:
    """A number with at most nine significant digits, and no more than its dtype holds."""
    dtype = np.dtype(dtype or getattr(value, "dtype", np.float64))
    if not jnp.issubdtype(dtype, jnp.inexact):
        return str(value)
    if jnp.issubdtype(dtype, jnp.complexfloating):
        return f"{complex(value):.9g}"
    if dtype.itemsize == 8 or not np.isfinite(value):
        return f"{float(value):.9g}"
    if dtype.itemsize == 4:
        return f"{float(str(np.float32(value))):.9g}"
    return f"{float(value):.{4 if dtype == np.float16 else 3}g}"


def value_text(value: Any, small: int = SMALL) -> str:
    """An array in full, or its dtype, shape and statistics if it has more than `small` numbers."""
    if value is None:
        return ""
    if not hasattr(value, "dtype"):
        return number_text(value) if isinstance(value, float) else str(value)
    if value.dtype == jax.dtypes.float0:
        return ""
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return kind_text(value)
    array = as_numpy(value)
    if array.size <= small:
        return _nested(array, value.dtype)
    return kind_text(value) + " " + statistics_text(array, value.dtype)


def kind_text(value: Any) -> str:
    """Dtype and shape, such as `float32[784,128]`."""
    return f"{value.dtype}[{','.join(map(str, np.shape(value)))}]"


def statistics_text(array: np.ndarray, dtype: Any) -> str:
    """Smallest, mean and largest number, and how many are zero, NaN or infinite."""
    if not jnp.issubdtype(array.dtype, jnp.inexact):
        return f"min {array.min()} max {array.max()}"
    kept = array[np.isfinite(array)]
    parts = []
    if kept.size:
        with plainly():
            mean = np.mean(kept, dtype=np.float64 if kept.dtype.kind == "f" else None)
        some = {"min": kept.min(), "mean": mean, "max": kept.max()} if kept.dtype.kind == "f" else {"mean": mean}
        parts = [f"{what} {_short(number)}" for what, number in some.items()]
    counts = {"zero": np.sum(array == 0), "NaN": np.sum(np.isnan(array)), "inf": np.sum(np.isinf(array))}
    return " ".join([*parts, *(f"{count:,} {what}" for what, count in counts.items() if count)])


def _short(number: Any) -> str:
    return f"{number:.4g}"


def _nested(array: np.ndarray, dtype: Any) -> str:
    if array.ndim == 0:
        return number_text(array[()], dtype)
    if array.size == 0:
        return f"[] of shape {list(array.shape)}"
    return "[" + " ".join(_nested(part, dtype) for part in array) + "]"


def width_of(text: str) -> int:
    """How many columns a text takes; marks above or below a letter take none."""
    return sum(not unicodedata.combining(letter) for letter in text)


def wrapped(text: str, width: int) -> list[str]:
    """Cuts a text into lines, between words where it can."""
    lines, line = [], ""
    for word in text.split(" "):
        while len(word) > width:
            head, word = word[:width], word[width:]
            lines += [line, head] if line else [head]
            line = ""
        joined = f"{line} {word}" if line else word
        if len(joined) > width:
            lines.append(line)
            joined = word
        line = joined
    return [*lines, line]


def fitted(text: str, width: int = 120) -> str:
    """A text with its long lines cut; what goes on stands as far in as the line's beginning, and two columns more."""
    lines = []
    for line in text.splitlines():
        start = line[: len(line) - len(line.lstrip())]
        head, *more = wrapped(line.strip(), width - len(start) - 2)
        lines += [start + head, *(f"{start}  {part}" for part in more)]
    return "\n".join(lines)


def table_text(head: Sequence[str], rows: Sequence[Sequence[str]], width: int = 120) -> str:
    """A table at most `width` columns wide: the widest of its columns give way, and their cells take several lines."""
    widest = [max(width_of(row[column]) for row in [head, *rows]) for column in range(len(head))]
    while sum(widest) + 2 * (len(widest) - 1) > width and max(widest) > 8:
        widest[widest.index(max(widest))] -= 1
    cells = [[wrapped(cell, most) for cell, most in zip(row, widest, strict=True)] for row in [head, *rows]]
    widths = [max(width_of(line) for row in cells for line in row[column]) for column in range(len(head))]
    lines: list[str] = []
    for row in cells:
        for i in range(max(map(len, row))):
            parts = [cell[i] if i < len(cell) else "" for cell in row]
            padded = [part + " " * (width - width_of(part)) for part, width in zip(parts, widths, strict=True)]
            lines.append("  ".join(padded).rstrip())
        if row is cells[0]:
            lines.append("-" * (sum(widths) + 2 * (len(widths) - 1)))
    return "\n".join(lines)


def table_html(head: Sequence[str], rows: Sequence[Sequence[str]], marked: Sequence[bool] = ()) -> str:
    """The same table for a notebook; marked rows stand out."""
    marks = [*marked, *[False] * (len(rows) - len(marked))]
    inside = [_row("td", row, _MARK * mark) for row, mark in zip(rows, marks, strict=True)]
    return "\n".join(["<table>", _row("th", head, ""), *inside, "</table>"])


_MARK = ' style="background-color: rgba(220, 50, 47, 0.25)"'


def _row(kind: str, cells: Sequence[str], style: str) -> str:
    inside = "".join(f'<{kind} style="text-align: left">{html.escape(cell)}</{kind}>' for cell in cells)
    return f"<tr{style}>{inside}</tr>"


def paragraph_html(text: str) -> str:
    """A text of several lines for a notebook."""
    return f"<pre>{html.escape(text)}</pre>"
