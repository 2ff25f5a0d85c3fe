"""regression_lines, regression_surface: fitting y = w₁ x + w₂, as lines through the data and as a way down a bowl."""

from typing import Any

import numpy as np

from purenet.errors import ShapeError, StructureError, by, describe
from purenet.plot.drawn import (
    AMOUNTS,
    BLACK,
    VERMILION,
    around,
    axes_for,
    colour_bar,
    expect_count,
    font_for,
    halo,
    inches,
    intervals,
    label,
    legend,
    whole_ticks,
)

_LINES = 60  # more of them cover each other


def regression_lines(xs: Any, ys: Any, path: Any, ax: Any = None) -> Any:
    """Draws data and the lines y = w₁ x + w₂ that a descent goes through, from pale to dark.

    Args:
      xs: numbers, shape (n,) or (n, 1).
      ys: as many.
      path: what `pn.descend` returned, or its path: shape (steps + 1, 2), rows (w₁, w₂).
      ax: the Matplotlib axes to draw into; left out, a figure is made.

    Returns:
      The axes.

    Raises:
      ImportError: without Matplotlib.
      ShapeError: if shapes do not fit or the path is not finite anywhere.
      StructureError: if something is no array.

    Example:
      >>> import numpy as np, purenet as pn
      >>> ax = pn.plot.regression_lines([0.0, 1.0], [1.0, 3.0], np.array([[0.0, 0.0], [1.0, 0.5], [2.0, 1.0]]))
      >>> ax.lines[-1].get_label(), ax.lines[-1].get_ydata().round(6).tolist()
      ('y = 2 x + 1', [0.9, 3.1])
    """
    ax = axes_for("regression_lines", ax)
    with by("plot.regression_lines"):
        xs, ys = _data(xs, ys)
        path = _path(path)
        chosen = np.arange(len(path) - 1, -1, -len(path) // _LINES)[::-1]  # the last is always among them
        ends = np.array(around(xs, 0.05))
        lines = _between(ends, path[chosen])
        _draw_lines(ax, lines, chosen)
        ax.plot(xs, ys, "o", color=BLACK, markersize=4, label="data", zorder=6, linestyle="none")
        slope, offset = path[-1]
        text = f"y = {slope:.3g} x {'-' if offset < 0 else '+'} {abs(offset):.3g}"
        ax.plot(ends, slope * ends + offset, color=VERMILION, linewidth=2.0, label=text, zorder=5, path_effects=halo(3))
        ax.set_xlim(*ends)
        shown = np.concatenate([ys, lines[-1][:, 1], lines[0][:, 1]])
        ax.set_ylim(around(shown, 0.1))
        label(ax, "x", "y")
        legend(ax)
    return ax


def regression_surface(xs: Any, ys: Any, path: Any, ax: Any = None, *, span: Any = None, points: int = 41) -> Any:
    """Draws J over (w₁, w₂) as a surface, and on it the way of a descent.

    J(w₁, w₂) = 1/2n Σ (w₁ xᵢ + w₂ - yᵢ)², half the mean squared error.

    Args:
      xs: numbers, shape (n,) or (n, 1).
      ys: as many.
      path: what `pn.descend` returned, or its path: shape (steps + 1, 2), rows (w₁, w₂).
      ax: the Matplotlib axes to draw into, made with projection="3d"; left out, a figure is made.
      span: (low, high) of both weights, or such a pair for each; left out, the path, its goal and some room.
      points: how many values of each weight, from 2.

    Returns:
      The axes.

    Raises:
      ImportError: without Matplotlib.
      ShapeError: if shapes do not fit, or the path is not finite anywhere.
      StructureError: if something is no array, or the axes are flat.

    Example:
      >>> import numpy as np, purenet as pn
      >>> ax = pn.plot.regression_surface([0.0, 1.0], [1.0, 3.0], np.array([[0.0, 0.0], [2.0, 1.0]]))
      >>> [values.tolist() for values in ax.lines[0].get_data_3d()]
      [[0.0, 2.0], [0.0, 1.0], [2.5, 0.0]]
    """
    ax = axes_for("regression_surface", ax, projection="3d")
    with by("plot.regression_surface"):
        expect_count("points", points, 2)
        xs, ys = _data(xs, ys)
        path = _path(path)
        goal = np.linalg.lstsq(np.stack([xs, np.ones_like(xs)], axis=1), ys)[0]
        shown = np.concatenate([path, goal[None]])
        spans = (around(shown[:, 0], 0.15), around(shown[:, 1], 0.15)) if span is None else intervals(span)
        grid = np.stack(np.meshgrid(*[np.linspace(*each, points) for each in spans]), axis=-1)
        with np.errstate(over="ignore", invalid="ignore"):
            heights = _cost(grid, xs, ys)
        if not np.all(np.isfinite(heights)):
            raise ShapeError("expected finite costs in the picture, got others. Choose a smaller span.")
        ax.plot_surface(
            grid[..., 0], grid[..., 1], heights, cmap=AMOUNTS, alpha=0.55, linewidth=0, rcount=points, ccount=points
        )
        ax.plot(
            *path.T, _cost(path, xs, ys), color=VERMILION, marker="o", markersize=3, linewidth=1.4, label="path",
            zorder=10,
        )  # fmt: skip
        ax.plot(
            *[[w] for w in goal], _cost(goal[None], xs, ys), "*", color=BLACK, markersize=9, zorder=11,
            label="least squares",
        )  # fmt: skip
        _label_3d(ax)
    return ax


def _label_3d(ax: Any) -> None:
    font = font_for(ax)
    label(ax, "w₁", "w₂")
    ax.set_zlabel("J", fontsize=font)
    ax.set_box_aspect(None, zoom=1.0 if inches(ax)[0] > 2.5 else 0.85)  # so that labels stay inside
    ax.tick_params(pad=0, labelsize=0.8 * font)
    ax.locator_params(nbins=5)
    for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
        axis.labelpad = 0.2 * font
    ax.legend(loc="upper left", fontsize=0.9 * font, frameon=False, bbox_to_anchor=(-0.05, 1.08))


def _cost(weights: np.ndarray, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """J at weights of shape (..., 2), multiplied out so that no data point gets an axis of its own."""
    w1, w2 = weights[..., 0], weights[..., 1]
    x, y = np.mean(xs), np.mean(ys)
    centred = w1**2 * np.var(xs) - 2 * w1 * np.mean((xs - x) * (ys - y)) + np.var(ys)
    return np.asarray(np.maximum(centred + (w1 * x + w2 - y) ** 2, 0) / 2)


def _between(ends: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The two ends of each line, shape (lines, 2, 2)."""
    heights = weights[:, :1] * ends[None] + weights[:, 1:]
    return np.stack([np.broadcast_to(ends, heights.shape), heights], axis=-1)


def _draw_lines(ax: Any, lines: np.ndarray, steps: np.ndarray) -> None:
    from matplotlib.collections import LineCollection

    drawn = LineCollection(list(lines), cmap=f"{AMOUNTS}_r", linewidths=1.0, zorder=2)
    drawn.set_array(steps.astype(float))
    ax.add_collection(drawn)
    if len(steps) > 1:
        bar = colour_bar(ax, drawn, "step of the path")
        whole_ticks(bar.ax.yaxis)


def _data(xs: Any, ys: Any) -> tuple[np.ndarray, np.ndarray]:
    found = []
    for what, numbers in (("xs", xs), ("ys", ys)):
        try:
            array = np.asarray(numbers, np.float64)
        except (TypeError, ValueError):
            raise StructureError(f"expected {what} to be numbers, got {describe(numbers)}. Pass an array.") from None
        array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
        if array.ndim != 1 or not len(array):
            raise ShapeError(f"expected {what} of shape (n,) or (n, 1), got {np.shape(numbers)}. Draw one variable.")
        if not np.all(np.isfinite(array)):
            raise ShapeError(f"expected finite {what}, got nan or inf among them. Leave those examples out.")
        found.append(array)
    if len(found[0]) != len(found[1]):
        raise ShapeError(f"expected as many ys as xs, got {len(found[1])} and {len(found[0])}. Pass both of each.")
    return found[0], found[1]


def _path(path: Any) -> np.ndarray:
    """The finite rows of a path of (w₁, w₂)."""
    path = getattr(path, "path", path)
    try:
        points: np.ndarray = np.asarray(path, np.float64)
    except (TypeError, ValueError):
        points = np.zeros(0)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ShapeError(
            f"expected a path of shape (steps + 1, 2), rows (w₁, w₂), got {describe(path)}. "
            "Stack both weights along the last axis."
        )
    points = points[np.all(np.isfinite(points), axis=1)]
    if not len(points):
        raise ShapeError("expected a path with finite points, got none. Lower the rate of the descent.")
    return points
