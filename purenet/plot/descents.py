"""descent: the steps of a search for a minimum, on the curve or on the contours of its function."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purenet.errors import ShapeError, StructureError, by, describe
from purenet.plot.contouring import draw_contours, draw_ends, draw_path, on_grid
from purenet.plot.drawn import (
    BLACK,
    COLOURS,
    MARKERS,
    VERMILION,
    around,
    axes_for,
    expect_names,
    font_for,
    halo,
    interval,
    intervals,
    label,
    legend,
    shades,
)

_ARROWS = 40  # so many first steps have arrows; the later ones are small and many


def descent(
    f: Callable[[Any], Any],
    *descents: Any,
    ax: Any = None,
    labels: Sequence[str] | None = None,
    span: Any = None,
) -> Any:
    """Draws the steps of one descent or several: on the curve of f, or on its contours if it has two variables.

    A path begins at the empty marker and ends at the big one; its dots go from pale to dark.

    Args:
      f: the function, of one number or of an array of shape (2,), in JAX.
      *descents: what `pn.descend` returned, one or more.
      ax: the Matplotlib axes to draw into; left out, a figure is made.
      labels: a name for each descent, for the legend.
      span: what to show: (low, high), or such a pair for each of two variables; left out, the paths and some room.

    Returns:
      The axes.

    Raises:
      ImportError: without Matplotlib.
      ShapeError: for more than two variables, paths that begin at no finite place, or a span that is empty.
      StructureError: if there is no descent, or something else in its place.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> ax = pn.plot.descent(lambda x: x**2, pn.descend(lambda x: x**2, 1.0, 0.25, 2))
      >>> ax.collections[0].get_offsets().tolist()
      [[1.0, 1.0], [0.5, 0.25], [0.25, 0.0625]]
    """
    ax = axes_for("descent", ax)
    with by("plot.descent"):
        if not callable(f):
            raise StructureError(f"expected f to be a function, got {describe(f)}. Pass that of the descent.")
        paths = [_path(one) for one in descents]
        if not paths:
            raise StructureError("expected one descent or more, got none. Pass what pn.descend returned.")
        if len({path.shape[1:] for path in paths}) > 1:
            raise ShapeError(f"expected paths of one kind, got the shapes {[p.shape for p in paths]}. Draw them apart.")
        texts = expect_names("labels", labels, len(paths)) or [
            "path" if len(paths) == 1 else f"path {i + 1}" for i in range(len(paths))
        ]
        if paths[0].shape[1:] == (2,):
            _on_contours(ax, f, paths, texts, span)
        else:
            _on_curve(ax, f, paths, descents, texts, span)
        legend(ax)
    return ax


def _path(one: Any) -> np.ndarray:
    """The points of a descent: shape (n,), (n, 1) or (n, 2)."""
    if not (hasattr(one, "path") and hasattr(one, "values")):
        raise StructureError(f"expected what pn.descend returned, got {describe(one)}. Pass all of it.")
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(one.path)]
    shapes = [leaf.shape for leaf in leaves]
    if len(leaves) != 1 or shapes[0][1:] not in ((), (1,), (2,)) or np.shape(one.values) != shapes[0][:1]:
        raise ShapeError(
            f"expected one run in one variable or two, got a path of shape {', '.join(map(str, shapes))}. Pass runs of "
            "jax.vmap one by one; for more variables draw their values alone, a network's run with plot.loss_surface."
        )
    points = leaves[0]
    if not np.all(np.isfinite(points[0])):
        raise ShapeError(f"expected a path that begins at a finite place, got {points[0]}. Choose another start.")
    return points


def _on_curve(
    ax: Any, f: Callable[[Any], Any], paths: list[np.ndarray], descents: Sequence[Any], texts: list[str], span: Any
) -> None:
    dtype, shape = paths[0].dtype, paths[0].shape[1:]
    flat = [path.reshape(-1) for path in paths]
    everything = np.concatenate(flat)
    low, high = around(everything[np.isfinite(everything)], 0.15) if span is None else interval(span)
    xs = np.linspace(low, high, 801)
    values = np.asarray(jax.jit(jax.vmap(f))(jnp.asarray(xs.reshape(-1, *shape), dtype)), np.float64)
    _expect_number(values.shape[1:])
    ax.plot(xs, values, color=BLACK, linewidth=1.4, label="f", zorder=2)
    for number, (path, one) in enumerate(zip(flat, descents, strict=True)):
        points = np.stack([path, np.asarray(one.values).reshape(-1)], axis=1).astype(np.float64)
        points = points[np.all(np.isfinite(points), axis=1)]
        colour, marker = _look(number)
        colours = shades(colour, len(points))
        _dots(ax, points, colours, marker, texts[number])
        _arrows(ax, points[: _ARROWS + 1], colours)
    ax.set_xlim(low, high)
    shown = np.concatenate([values, *[np.asarray(one.values).reshape(-1)[_inside(p, low, high)]
                                      for p, one in zip(flat, descents, strict=True)]])  # fmt: skip
    ax.set_ylim(around(shown[np.isfinite(shown)], 0.08))
    label(ax, "x", "f(x)")


def _inside(path: np.ndarray, low: float, high: float) -> np.ndarray:
    return (path >= low) & (path <= high)


def _look(number: int) -> tuple[str, str]:
    order = (VERMILION, *[colour for colour in COLOURS if colour not in (VERMILION, BLACK)])
    return order[number % len(order)], MARKERS[number % len(MARKERS)]


def _dots(ax: Any, points: np.ndarray, colours: np.ndarray, marker: str, text: str) -> None:
    font = font_for(ax)
    ax.scatter(*points.T, c=colours, marker=marker, s=1.8 * font, zorder=4, edgecolors=[colours[-1]], linewidths=0.6)
    draw_ends(ax, points, colours[-1], marker, text, above=4)


def _arrows(ax: Any, points: np.ndarray, colours: np.ndarray) -> None:
    """An arrow for each step."""
    if len(points) < 2:
        return
    ax.quiver(
        *points[:-1].T, *np.diff(points, axis=0).T, angles="xy", scale_units="xy", scale=1, units="dots",
        width=0.012 * ax.figure.dpi, headwidth=6, headlength=7, headaxislength=6, minlength=0.5,
        color=colours[1 : len(points)], alpha=0.8, zorder=3, path_effects=halo(0.5),
    )  # fmt: skip


def _on_contours(ax: Any, f: Callable[[Any], Any], paths: list[np.ndarray], texts: list[str], span: Any) -> None:
    everything = np.concatenate(paths)
    everything = everything[np.all(np.isfinite(everything), axis=1)]
    if span is None:
        x_span, y_span = around(everything[:, 0], 0.25), around(everything[:, 1], 0.25)
    else:
        x_span, y_span = intervals(span)
    xs, ys = np.linspace(*x_span, 121), np.linspace(*y_span, 121)
    program = jax.jit(jax.vmap(f))

    def values(points: np.ndarray) -> np.ndarray:
        result = np.asarray(program(jnp.asarray(points, paths[0].dtype)))
        _expect_number(result.shape[1:])
        return result

    draw_contours(ax, xs, ys, on_grid(values, xs, ys), "f")
    for number, path in enumerate(paths):
        colour, marker = _look(number)
        draw_path(ax, path, shades(colour, len(path)), marker, texts[number])
    label(ax, "x₀", "x₁")


def _expect_number(shape: tuple[int, ...]) -> None:
    if shape != ():
        raise ShapeError(f"expected f to give one number, got shape {shape}. Sum it, or pick one entry.")
