"""confusion: which class is taken for which."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from purenet.errors import ShapeError, StructureError, by, describe
from purenet.plot.drawn import AMOUNTS, axes_for, colour_bar, expect_names, font_for, inches, label

_READABLE = 4.0  # points: smaller numbers are left out


def confusion(matrix: Any, names: Sequence[str] | None = None, ax: Any = None) -> Any:
    """Draws a confusion matrix: counts as numbers, and as colour their share of the true class.

    Args:
      matrix: from `pn.metrics.confusion_matrix`, shape (C, C): in row i and column j how many examples of the true
        class i were predicted as class j; counts or sums of weights.
      names: of the classes; left out, their numbers.
      ax: the Matplotlib axes to draw into; left out, a figure is made. In cells too small for numbers there are none.

    Returns:
      The axes.

    Raises:
      ImportError: without Matplotlib.
      ShapeError: if the matrix is not square, or holds numbers that are negative or not finite.
      StructureError: if it holds no numbers.

    Example:
      Of a trained network: `pn.evaluate(net, params, data, metrics={"m": pn.metrics.confusion_matrix})["m"]`.

      >>> import numpy as np, purenet as pn
      >>> ax = pn.plot.confusion(np.array([[3, 1], [0, 4]]), ["cat", "dog"])
      >>> [text.get_text() for text in ax.texts], ax.images[0].get_array().tolist()
      (['3', '1', '0', '4'], [[0.75, 0.25], [0.0, 1.0]])
    """
    made = ax is None
    ax = axes_for("confusion", ax)
    with by("plot.confusion"):
        counts = _counts(matrix)
        size = len(counts)
        texts = expect_names("names", names, size) or [str(i) for i in range(size)]
        if made:
            side = min(12.0, 3.0 + 0.34 * size)
            ax.figure.set_size_inches(side * 1.15, side)
        totals = counts.sum(axis=1, keepdims=True)
        shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
        drawn = ax.imshow(shares, cmap=AMOUNTS, vmin=0, vmax=1, aspect="auto")
        _ticks(ax, texts)
        colour_bar(ax, drawn, "share of the true class")
        _numbers(ax, counts, shares, drawn)
    return ax


def _counts(matrix: Any) -> np.ndarray:
    try:
        counts = np.asarray(matrix, np.float64)
    except (TypeError, ValueError):
        raise StructureError(f"expected a matrix of counts, got {describe(matrix)}. Pass a square array.") from None
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.size:
        raise ShapeError(f"expected a square matrix, got shape {counts.shape}. pn.metrics.confusion_matrix makes one.")
    if not np.all(np.isfinite(counts)) or counts.min() < 0:
        raise ShapeError("expected counts of 0 or more, got others among them. Pass counts, not their logarithms.")
    return counts


def _ticks(ax: Any, texts: list[str]) -> None:
    size = len(texts)
    label(ax, "predicted class", "true class")
    font = 0.85 * font_for(ax)
    width, height = (0.75 * 72 * side / size for side in inches(ax))  # of a cell; labels and colour bar take the rest
    longest = max(len(text) for text in texts)
    needed = (0.62 * longest + 0.6) * font
    turned = longest > 3 and needed > width  # long names stand upright, where they need a line's height
    across = np.arange(0, size, max(1, int(np.ceil((1.3 * font if turned else needed) / width))))
    down = np.arange(0, size, max(1, int(np.ceil(1.3 * font / height))))
    ax.set_xticks(across, [texts[i] for i in across], rotation=90 if turned else 0, fontsize=font)
    ax.set_yticks(down, [texts[i] for i in down], fontsize=font)


def _numbers(ax: Any, counts: np.ndarray, shares: np.ndarray, drawn: Any) -> None:
    """Writes the counts, dark on light cells and light on dark ones."""
    texts = [[f"{count:.0f}" if count == round(count) else f"{count:.3g}" for count in row] for row in counts]
    longest = max(len(text) for row in texts for text in row)
    side = 0.85 * 72 * min(inches(ax)) / len(counts)
    font = min(font_for(ax), 0.8 * side / (0.62 * longest), 0.6 * side)
    if font < _READABLE:
        return
    for i, row in enumerate(texts):
        for j, text in enumerate(row):
            red, green, blue, _ = drawn.cmap(drawn.norm(shares[i, j]))
            dark = 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.45
            ax.text(j, i, text, ha="center", va="center", fontsize=font, color="white" if dark else "black")
