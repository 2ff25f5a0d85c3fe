"""relu_sum: how rectified lines add up to a function."""

from typing import Any

import numpy as np

from purenet.contract import Layer, Tree, as_layer
from purenet.errors import ShapeError, StructureError, by, describe
from purenet.plot.drawn import (
    BLACK,
    BLUE,
    GREY,
    SKY,
    VERMILION,
    around,
    axes_for,
    expect_count,
    expect_params,
    interval,
    label,
    legend,
)


def relu_sum(net: Any, params: Tree, target: Any = None, *, ax: Any = None, span: Any = None, points: int = 401) -> Any:
    """Draws how a net of one hidden layer is made of rectified lines: f(x) = c + Σ wₖ relu(aₖ x + bₖ).

    Each unit's share is a thin line, the sum a thick one; it bends at the kinks x = -bₖ/aₖ, which are marked.

    Args:
      net: `pn.serial(pn.dense(h), pn.relu, pn.dense(1))`, with biases or without.
      params: its parameters, for inputs of shape (1,).
      target: what it is to learn: a function of an array, or data `(xs, ys)`, each of shape (n,) or (n, 1).
      ax: the Matplotlib axes to draw into; left out, a figure is made.
      span: (low, high) of x; left out, that of the data, or the kinks and some room.
      points: how many values of x, from 2; the kinks come on top.

    Returns:
      The axes.

    Raises:
      ImportError: without Matplotlib.
      ShapeError: if the net has more inputs or outputs than one, or the target does not fit.
      StructureError: for any other net, or params that are not its own.

    Example:
      >>> import numpy as np, purenet as pn
      >>> net = pn.serial(pn.dense(2), pn.relu, pn.dense(1))  # |x| = relu(x) + relu(-x)
      >>> params = ({"kernel": np.array([[1.0, -1.0]]), "bias": np.zeros(2)}, (),
      ...           {"kernel": np.ones((2, 1)), "bias": np.zeros(1)})
      >>> ax = pn.plot.relu_sum(net, params, abs, span=(-1, 1), points=3)
      >>> {line.get_label(): line.get_ydata().tolist() for line in ax.lines}["sum"]
      [1.0, 0.0, 1.0]
    """
    ax = axes_for("relu_sum", ax)
    with by("plot.relu_sum"):
        expect_params(params)
        expect_count("points", points, 2)
        a, b, w, c = _numbers(as_layer(net), params)
        steep = a != 0
        kinks = -b[steep] / a[steep]
        low, high = _span(span, kinks, target)
        inside = np.sort(kinks[(kinks >= low) & (kinks <= high)])
        xs = np.unique(np.concatenate([np.linspace(low, high, points), inside]))
        shares = w * np.maximum(xs[:, None] * a + b, 0)
        whole = shares.sum(axis=1) + c
        for number, share in enumerate(shares.T):
            colour, dash, text = (SKY, "-", "unit, w > 0") if w[number] > 0 else (GREY, "-.", "unit, w < 0")
            is_new = text not in ax.get_legend_handles_labels()[1]
            ax.plot(
                xs, share, color=colour, linestyle=dash, linewidth=1.0, label=text if is_new else f"_{number}", zorder=2
            )
        _draw_target(ax, target, xs)
        ax.plot(xs, whole, color=BLUE, linewidth=2.0, label="sum", zorder=4)
        if len(inside):
            heights = np.interp(inside, xs, whole)
            ax.plot(inside, heights, "D", color="white", markeredgecolor=BLUE, markersize=5, label="kink", zorder=6)
        if c:
            ax.axhline(c, color=GREY, linestyle=":", linewidth=1.2, label=f"bias, {c:.3g}", zorder=1)
        ax.set_xlim(low, high)
        label(ax, "x", "y")
        legend(ax)
    return ax


def _numbers(net: Layer, params: Tree) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Slopes and offsets of the units, their weights, and the last bias, in float64."""
    if [part.name for part in net.parts] != ["dense", "relu", "dense"]:
        raise StructureError(
            f"expected serial(dense, relu, dense), got {net!r}. Make the net pn.serial of these three."
        )
    if not isinstance(params, (tuple, list)) or len(params) != 3 or not all("kernel" in params[i] for i in (0, 2)):
        raise StructureError(f"expected params of this network, got {describe(params)}. Pass what its init made.")
    first, last = ({name: np.asarray(leaf, np.float64) for name, leaf in params[i].items()} for i in (0, 2))
    if first["kernel"].shape[0] != 1 or last["kernel"].shape[1] != 1:
        raise ShapeError(
            f"expected one input and one output, got {first['kernel'].shape[0]} and {last['kernel'].shape[1]}. "
            "Curves show one variable; plot.decision shows two inputs."
        )
    a, w = first["kernel"][0], last["kernel"][:, 0]
    b, c = first.get("bias", np.zeros_like(a)), last.get("bias", np.zeros(1))
    if not len(a) == len(b) == len(w):
        units = f"{len(a)} units, {len(b)} biases and {len(w)} weights"
        raise StructureError(f"expected params of one network, got {units}. Pass its own.")
    if not all(np.all(np.isfinite(part)) for part in (a, b, w, c)):
        raise ShapeError("expected finite params, got nan or inf among them. Has training diverged?")
    return a, b, w, float(c[0])


def _span(span: Any, kinks: np.ndarray, target: Any) -> tuple[float, float]:
    if span is not None:
        return interval(span)
    if isinstance(target, (tuple, list)) and len(target) == 2:
        places = np.asarray(target[0], np.float64)
        if not np.all(np.isfinite(places)):
            raise ShapeError("expected finite xs in target, got nan or inf among them. Leave those examples out.")
        return around(places, 0.02)
    return around(kinks, 0.15) if len(kinks) else (-1.0, 1.0)


def _draw_target(ax: Any, target: Any, xs: np.ndarray) -> None:
    if target is None:
        return
    if callable(target):
        ys = np.asarray(target(xs))
        if ys.shape != xs.shape:
            raise ShapeError(f"expected target to give shape {xs.shape}, that of xs, got {ys.shape}. Use NumPy in it.")
        ax.plot(xs, ys, color=VERMILION, linestyle="--", linewidth=1.6, label="target", zorder=5)
        return
    if not isinstance(target, (tuple, list)) or len(target) != 2:
        raise StructureError(f"expected target to be a function or (xs, ys), got {describe(target)}. Pass either.")
    places, heights = (np.asarray(part, np.float64).reshape(-1) for part in target)
    if places.shape != heights.shape:
        raise ShapeError(f"expected as many ys as xs, got {len(heights)} and {len(places)}. Pass both of each.")
    ax.plot(places, heights, "x", color=BLACK, markersize=4, label="data", zorder=3)
