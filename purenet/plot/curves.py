"""activation: activations and their derivatives, as curves."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purenet.contract import Layer, as_layer, spec
from purenet.errors import ShapeError, StructureError, at, by
from purenet.plot.drawn import COLOURS, MARKERS, axes_for, expect_names, interval, label, legend

_POINTS = 801


def activation(*layers: Any, ax: Any = None, span: Any = (-4.0, 4.0), labels: Sequence[str] | None = None) -> Any:
    """Draws activations, solid, and their derivatives, dashed: those of the layers' hand rules.

    Args:
      *layers: activations such as `pn.tanh` or `pn.leaky_relu(0.1)`, or functions of one number, in JAX.
      ax: the Matplotlib axes to draw into; left out, a figure is made.
      span: (low, high) of x.
      labels: a name for each, for the legend; left out, the layers' own.

    Returns:
      The axes.

    Raises:
      ImportError: without Matplotlib.
      ShapeError: for a layer that does not give one number for each, or a span that is empty.
      StructureError: if there is none, or something that is no layer.

    Example:
      >>> import purenet as pn
      >>> ax = pn.plot.activation(pn.relu, span=(-1, 1))
      >>> [(line.get_label(), line.get_ydata()[[0, -1]].tolist()) for line in ax.lines]
      [('relu', [0.0, 1.0]), ('relu′', [0.0, 1.0])]
    """
    ax = axes_for("activation", ax)
    with by("plot.activation"):
        if not layers:
            raise StructureError("expected one activation or more, got none. Pass some, such as pn.tanh, pn.relu.")
        low, high = interval(span)
        made = [as_layer(one) for one in layers]
        names = expect_names("labels", labels, len(made)) or [one.name for one in made]
        xs = np.linspace(low, high, _POINTS)
        ax.grid(alpha=0.25)
        for number, (one, name) in enumerate(zip(made, names, strict=True)):
            ys, slopes = values_and_slopes(one, xs)
            look = {
                "color": COLOURS[number % 8],
                "marker": MARKERS[number % 8] if len(made) > 1 else "",
                "markersize": 5,
            }
            every = (40 + 23 * number % 80, 160)
            ax.plot(xs, broken(ys), linestyle="-", linewidth=1.8, label=name, markevery=every, **look)
            ax.plot(xs, broken(slopes), linestyle="--", linewidth=1.3, label=f"{name}′", markevery=every, **look)
        ax.set_xlim(low, high)
        label(ax, "x", "y and dy/dx")
        legend(ax)
    return ax


def values_and_slopes(one: Layer, xs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gives y and dy/dx of a layer that takes numbers one by one, the latter from its pullback."""
    column = jnp.asarray(xs[:, None], jnp.float32)
    params, state = one.init(jax.random.key(0), spec(1))
    ys, _, pullback = one.vjp(params, column, state, None)
    if getattr(ys, "shape", None) != column.shape:
        with at(one.name):
            raise ShapeError(
                f"expected an activation, one number for each, got shape {np.shape(ys)[1:]} for one number. "
                "plot.network draws layers of all kinds."
            )
    _, slopes = pullback(jnp.ones_like(ys))
    return np.asarray(ys, np.float64)[:, 0], np.asarray(slopes, np.float64)[:, 0]


def broken(values: np.ndarray) -> np.ma.MaskedArray[Any, Any]:
    """Leaves out one point of a curve at each jump, so that no upright line joins what is apart."""
    finite = values[np.isfinite(values)]
    whole = float(finite.max() - finite.min()) if len(finite) else 0.0
    with np.errstate(invalid="ignore"):  # between infinities
        jumps = np.abs(np.diff(values, prepend=values[:1])) > 0.2 * whole
    single = jumps & ~np.roll(jumps, 1) & ~np.roll(jumps, -1)  # a run of them is a steep curve
    return np.ma.masked_where(single & (whole > 0), values)
