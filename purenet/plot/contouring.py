"""Contours of a function of two variables, in levels that show valleys and walls alike."""

from collections.abc import Callable
from typing import Any

import numpy as np

from purenet.errors import ShapeError
from purenet.plot.drawn import AMOUNTS, BLACK, colour_bar, font_for, halo

_LEVELS = 14


def levels_of(values: np.ndarray) -> np.ndarray:
    """Levels between which lie equal shares of the values, rounded to as few digits as keep them apart.

    Args:
      values: an array with finite numbers among others.

    Returns:
      Ascending levels, two or more.

    Raises:
      ShapeError: if no value is finite.

    Example:
      >>> levels_of(np.array([0.0, 1.0, 2.0, 3.0, 100.0]))[[0, -1]].tolist()
      [0.0, 100.0]
    """
    finite = np.asarray(values, np.float64)[np.isfinite(values)]
    if not finite.size:
        raise ShapeError("expected finite values somewhere in the picture, got none. Choose another span.")
    cuts = np.quantile(finite, np.linspace(0, 1, _LEVELS))
    inner = cuts[1:-1]
    for digits in (1, 2, 3, 4):
        rounded = np.unique([float(f"{cut:.{digits}g}") for cut in inner])
        if len(rounded) >= min(8, len(np.unique(inner))):
            break
    levels = np.unique(np.concatenate([cuts[:1], rounded[(rounded > cuts[0]) & (rounded < cuts[-1])], cuts[-1:]]))
    return levels if len(levels) > 1 else levels[0] + np.array([-0.5, 0.5]) * max(1.0, abs(levels[0]))


def draw_contours(ax: Any, xs: np.ndarray, ys: np.ndarray, values: np.ndarray, what: str) -> Any:
    """Fills the axes with contours of values of shape (len(ys), len(xs)), with a colour bar that says what they are."""
    from matplotlib.colors import BoundaryNorm

    masked = np.ma.masked_invalid(np.asarray(values, np.float64))
    levels = levels_of(values)
    norm = BoundaryNorm(levels, 256)
    filled = ax.contourf(xs, ys, masked, levels=levels, norm=norm, cmap=AMOUNTS)
    ax.contour(xs, ys, masked, levels=levels[1:-1], colors="white", linewidths=0.4, alpha=0.6)
    bar = colour_bar(ax, filled, what, spacing="uniform")
    bar.set_ticks(levels[1:-1][:: max(1, len(levels) // 7)])
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:.4g}")
    bar.ax.minorticks_off()
    ax.set_xlim(xs[0], xs[-1])
    ax.set_ylim(ys[0], ys[-1])
    return filled


def draw_path(ax: Any, points: np.ndarray, colours: np.ndarray, marker: str, text: str) -> None:
    """Draws a path of shape (n, 2) over a map: dots from pale to dark, the first empty, the last big."""
    points = points[np.all(np.isfinite(points), axis=1)]
    if not len(points):
        return
    colours = colours[: len(points)]
    few = len(points) <= 60
    ax.plot(
        *points.T, color=colours[-1], linewidth=1.3 if few else 0.8, zorder=5, path_effects=halo(2.4 if few else 1.4)
    )
    rim = {"edgecolors": "white", "linewidths": 0.4} if few else {"linewidths": 0.0}
    ax.scatter(*points.T, c=colours, marker=marker, s=13 if few else 5, zorder=6, **rim)
    draw_ends(ax, points, colours[-1], marker, text, above=6)


def draw_ends(ax: Any, points: np.ndarray, colour: Any, marker: str, text: str, above: int) -> None:
    """Draws the first point of a path empty and the last one big, with its legend, above what is drawn so far."""
    font = font_for(ax)
    ax.plot(
        *points[:1].T, marker, color="white", markeredgecolor=colour, markeredgewidth=1.6, markersize=0.8 * font,
        zorder=above + 1,
    )  # fmt: skip
    ax.plot(
        *points[-1:].T, marker, color=colour, markeredgecolor=BLACK, markersize=0.9 * font, zorder=above + 2,
        linestyle="-", linewidth=1.3, label=text,
    )  # fmt: skip


def on_grid(f: Callable[[Any], Any], xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Values of a function of points (n, 2) on a grid, of shape (len(ys), len(xs))."""
    grid = np.stack(np.meshgrid(xs, ys), axis=-1)
    return np.asarray(f(grid.reshape(-1, 2))).reshape(len(ys), len(xs))
