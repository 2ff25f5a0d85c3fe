"""decision: what a classifier of two inputs says, all over the plane."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purenet.contract import Layer, Tree, as_layer
from purenet.errors import ShapeError, StructureError, by, describe
from purenet.plot.drawn import (
    BLACK,
    COLOURS,
    HATCHES,
    MARKERS,
    SIGNED,
    around,
    axes_for,
    colour_bar,
    expect_count,
    expect_names,
    expect_params,
    intervals,
    label,
    legend,
    shades,
)

_AT_ONCE = 4096  # points
_PROBABLE = ("sigmoid", "hard_sigmoid", "softmax")
# Purple and orange as in the map's ends, for class 0 and class 1.
_SIDES = ("#542788", "#b35806")


class Scores(NamedTuple):
    """What a network gives on a grid.

    Attributes:
      xs: the values of the first input.
      ys: those of the second.
      values: shape (len(ys), len(xs)) of the probability of class 1, or (len(ys), len(xs), C) of C scores.
    """

    xs: np.ndarray
    ys: np.ndarray
    values: np.ndarray


def decision(
    net: Any,
    params: Tree,
    data: Any = None,
    *,
    state: Tree = None,
    classes: Sequence[str] | None = None,
    ax: Any = None,
    span: Any = None,
    points: int = 200,
) -> Any:
    """Draws what a classifier with two inputs says, with the data over it.

    One output is the score of class 1: the map shows its probability and a line where it is ½. It is a probability
    if the net ends with a sigmoid, else a logit, and σ of it is drawn. With C outputs the highest one is the class;
    regions differ in colour and hatching, and data in their markers.

    Args:
      net: a layer that takes shape (2,) and gives (), (1,) or (C,), looked at in inference (`apply`).
      params: its parameters.
      data: `(xs, ys)`: points of shape (n, 2), and labels: class numbers, one-hot rows, or for one output 0 and 1 or
        -1 and 1, of shape (n,) or (n, 1); or None.
      state: the network's state; a network without needs none.
      classes: their names, for legend and colour bar.
      ax: the Matplotlib axes to draw into; left out, a figure is made.
      span: (low, high) of both inputs, or such a pair for each; left out, the data and some room, or (-1, 1).
      points: how many values of each input the map has, from 2.

    Returns:
      The axes.

    Raises:
      ImportError: without Matplotlib.
      ShapeError: if the net does not take two inputs or gives no scores, an output is not finite, or the data are of
        other shapes.
      StructureError: for anything but a layer, or params that do not fit.

    Example:
      >>> import numpy as np, purenet as pn
      >>> params = {"kernel": np.array([[1.0], [0.0]], np.float32), "bias": np.zeros(1, np.float32)}
      >>> ax = pn.plot.decision(pn.dense(1), params, span=(-2, 2), points=5)
      >>> line = ax.collections[-1].get_paths()[0].vertices  # where the probability is ½: the first input is 0
      >>> np.abs(line[:, 0]).max().round(6).tolist()
      0.0
    """
    ax = axes_for("decision", ax)
    with by("plot.decision"):
        net = as_layer(net)
        expect_params(params)
        expect_count("points", points, 2)
        places, labels = _data(data)
        if span is None and places is not None:
            spans = around(places[:, 0], 0.1), around(places[:, 1], 0.1)
        else:
            spans = intervals((-1.0, 1.0) if span is None else span)
        scores = scores_on(net, params, state, spans, points)
        count = 2 if scores.values.ndim == 2 else scores.values.shape[-1]
        names = expect_names("classes", classes, count) or [f"class {i}" for i in range(count)]
        draw = _draw_probability if scores.values.ndim == 2 else _draw_regions
        draw(ax, scores, names)
        if places is not None:
            _draw_data(ax, places, _classes(labels, count), names, binary=scores.values.ndim == 2)
        ax.set_xlim(*spans[0])
        ax.set_ylim(*spans[1])
        label(ax, "x₀", "x₁")
        legend(ax)
    return ax


def scores_on(net: Layer, params: Tree, state: Tree, spans: Any, points: int) -> Scores:
    """Runs a network on a grid of points by points; a single output becomes a probability."""
    xs, ys = (np.linspace(low, high, points) for low, high in spans)
    floats = [leaf.dtype for leaf in jax.tree.leaves(params) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    dtype = jax.dtypes.canonicalize_dtype(floats[0]) if floats else jnp.float32
    values = np.asarray(_program(net)(params, state, jnp.asarray(grid, dtype)))
    if values.ndim > 2 or values.shape[1:] == (0,):
        raise ShapeError(
            f"expected a net that gives scores of shape (), (1,) or (C,), got {values.shape[1:]}. Put pn.flatten "
            "behind it, or pick what is to be drawn."
        )
    wrong = int(np.sum(~np.isfinite(values)))
    if wrong:
        raise ShapeError(f"expected finite outputs, got {wrong} of {values.size} that are not. Has training diverged?")
    values = values.astype(np.float64)
    if values.shape[1:] in ((), (1,)):
        values = values.reshape(points, points)
        if not _is_probable(net):
            values = 0.5 * (1 + np.tanh(values / 2))  # the logistic function, without overflow
        return Scores(xs, ys, values)
    return Scores(xs, ys, values.reshape(points, points, -1))


@functools.lru_cache(maxsize=16)  # so that picture after picture of one network compiles nothing
def _program(net: Layer) -> Callable[..., Any]:
    def run(params: Tree, state: Tree, grid: jax.Array) -> Any:
        return jax.lax.map(lambda x: net.apply(params, x, state), grid, batch_size=min(_AT_ONCE, len(grid)))

    return jax.jit(run)


def _is_probable(net: Layer) -> bool:
    while net.parts and net.name not in _PROBABLE:
        net = net.parts[-1]
    return net.name in _PROBABLE


def _draw_probability(ax: Any, scores: Scores, names: list[str]) -> None:
    levels = np.linspace(0, 1, 21)
    # Paler than the data: the ends of the map are left out.
    filled = ax.contourf(scores.xs, scores.ys, scores.values, levels=levels, cmap=SIGNED, vmin=-0.3, vmax=1.3)
    bar = colour_bar(ax, filled, f"probability of {names[1]}")
    bar.set_ticks(np.linspace(0, 1, 6))
    if scores.values.min() < 0.5 < scores.values.max():
        ax.contour(scores.xs, scores.ys, scores.values, levels=[0.5], colors=[BLACK], linewidths=1.4)
        ax.plot([], [], color=BLACK, linewidth=1.4, label="probability ½")


def _draw_regions(ax: Any, scores: Scores, names: list[str]) -> None:
    from matplotlib.patches import Rectangle

    best = np.argmax(scores.values, axis=-1)
    for number, name in enumerate(names):
        own = scores.values[..., number]
        ahead = own - np.max(np.delete(scores.values, number, axis=-1), axis=-1)
        if not np.any(best == number):
            continue
        colour, hatch = shades(COLOURS[number % 8], 8)[0], HATCHES[number % 8]
        top = max(float(ahead.max()), 0.0) + 1.0
        region = ax.contourf(scores.xs, scores.ys, ahead, levels=[0.0, top], colors=[colour], hatches=[hatch], zorder=1)
        region.set(edgecolor=COLOURS[number % 8], linewidth=0.0)
        ax.contour(scores.xs, scores.ys, ahead, levels=[0.0], colors=[BLACK], linewidths=0.8, zorder=2)
        ax.add_patch(
            Rectangle(
                (scores.xs[0], scores.ys[0]), 0, 0, facecolor=colour, edgecolor=COLOURS[number % 8], hatch=hatch,
                linewidth=0.0, label=name,
            )
        )  # fmt: skip


def _draw_data(ax: Any, places: np.ndarray, labels: np.ndarray, names: list[str], binary: bool) -> None:
    for number, name in enumerate(names):
        own = places[labels == number]
        if not len(own):
            continue
        colour = _SIDES[number] if binary else COLOURS[number % 8]
        size = 22 if len(places) <= 300 else 10
        ax.scatter(
            *own.T, color=colour, marker=MARKERS[number % 8], s=size, edgecolors="white", linewidths=0.6, zorder=4,
            label=name,
        )  # fmt: skip


def _data(data: Any) -> tuple[np.ndarray | None, np.ndarray]:
    if data is None:
        return None, np.zeros(0)
    if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
        raise StructureError(f"expected data (xs, ys), got {describe(data)}. Pass points and their labels.")
    places, labels = np.asarray(data[0], np.float64), np.asarray(data[1])
    if labels.dtype.kind not in "biufV":  # V: bfloat16 and its like
        raise StructureError(
            f"expected labels to be numbers, got {labels.dtype}. Number the classes; classes names them."
        )
    if places.ndim != 2 or places.shape[1] != 2 or not len(places):
        raise ShapeError(f"expected points of shape (n, 2), got {places.shape}. Draw a net of two inputs.")
    if not np.all(np.isfinite(places)):
        raise ShapeError("expected finite points, got nan or inf among them. Leave those examples out.")
    if labels.shape[:1] != places.shape[:1] or labels.ndim > 2:
        raise ShapeError(
            f"expected one label for each of {len(places)} points, got shape {labels.shape}. Pass (xs, ys)."
        )
    return places, labels


def _classes(labels: np.ndarray, count: int) -> np.ndarray:
    """Class numbers: of one-hot rows the largest entry, of one score whether it is above a half."""
    if labels.ndim == 2 and labels.shape[1] == count and count > 1:
        return np.asarray(np.argmax(labels, axis=1))
    if labels.ndim == 2 and labels.shape[1] != 1:
        raise ShapeError(f"expected labels for {count} classes, got shape {labels.shape}. Pass class numbers.")
    flat: np.ndarray = labels.reshape(-1).astype(np.float64)
    if count == 2 and set(np.unique(flat)) <= {-1.0, 1.0}:
        return (flat > 0).astype(int)
    if not np.all((flat >= 0) & (flat < count) & (flat == np.round(flat))):
        raise ShapeError(
            f"expected labels from 0 to {count - 1}, got {flat.min():g} to {flat.max():g}. Number the classes."
        )
    return flat.astype(int)
