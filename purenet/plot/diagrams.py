"""units: a small network with every unit and every weight."""

from typing import Any, NamedTuple

import jax
import numpy as np

from purenet.contract import Layer, Tree, as_layer, out_spec, spec
from purenet.errors import ShapeError, StructureError, by, describe
from purenet.plot.drawn import (
    BLACK,
    BLUE,
    SIGNED,
    VERMILION,
    axes_for,
    colour_bar,
    expect_params,
    font_for,
    inches,
    legend,
)

_MOST = 40  # units in a layer: more of them become a blot
_NUMBERED = 12  # up to so many units in a layer there is room for numbers in them


class Column(NamedTuple):
    """The units of one layer.

    Attributes:
      name: what makes them, such as `dense, relu`.
      size: how many there are.
      values: what they give for the example, or None.
      kernel: the weights that lead to them, shape (units before, size); None for the inputs.
      bias: their biases, or None.
    """

    name: str
    size: int
    values: np.ndarray | None
    kernel: np.ndarray | None
    bias: np.ndarray | None


def units(net: Any, params: Tree, x: Any = None, ax: Any = None, state: Tree = None) -> Any:
    r"""Draws every unit of a small network and every weight between them.

    A weight is a line, the wider the larger: blue and solid above 0, vermilion and dashed below. Biases come from the
    unit "1". With an example, units are coloured by what they give, and say it where there is room.

    Args:
      net: dense layers and activations in `pn.serial`, at most 40 units in a layer.
      params: its parameters.
      x: one example, to show the activations in inference, or None.
      ax: the Matplotlib axes to draw into; left out, a figure is made.
      state: the network's state; a network without needs none.

    Returns:
      The axes.

    Raises:
      ImportError: without Matplotlib.
      ShapeError: for more units in a layer, or an example of another shape.
      StructureError: for any other layer, or params that are not its own.

    Example:
      >>> import numpy as np, purenet as pn
      >>> net = pn.serial(pn.dense(2, bias=False), pn.relu)
      >>> params = ({"kernel": np.array([[1.0, -2.0]], np.float32)}, ())
      >>> ax = pn.plot.units(net, params, np.array([3.0], np.float32))
      >>> [text.get_text() for text in ax.texts]
      ['3', '3', '0', 'input', 'dense,\nrelu']
    """
    made = ax is None
    ax = axes_for("units", ax)
    with by("plot.units"):
        expect_params(params)
        columns = columns_of(as_layer(net), params, x, state)
        if made:
            tallest = max(column.size for column in columns)
            ax.figure.set_size_inches(max(4.6, 1.5 * len(columns) + 1.2), min(9.0, max(3.4, 0.42 * tallest + 1.2)))
        places = _places(columns)
        _draw_weights(ax, columns, places)
        _draw_units(ax, columns, places)
        ax.set_axis_off()
        legend(ax)
    return ax


def columns_of(net: Layer, params: Tree, x: Any, state: Tree) -> list[Column]:
    """Goes through the layers and gathers the units of each dense one, after the activations behind it."""
    chain = list(_chain(net, params, state))
    if not chain or chain[0][0].name != "dense":
        name = chain[0][0].name if chain else net.name
        raise StructureError(
            f"expected a net that begins with dense, got {name}. plot.network draws layers of all kinds."
        )
    kernel = _kernel(chain[0][1])
    if x is not None and np.shape(x) != (len(kernel),):
        raise ShapeError(
            f"expected x of shape {(len(kernel),)}, one example, got {np.shape(x)}. Pick one, such as xs[0]."
        )
    now = spec(len(kernel), kernel.dtype)
    value = None if x is None else jax.numpy.asarray(x, kernel.dtype)
    columns = [Column("input", len(kernel), _host(value), None, None)]
    for part, own, its_state in chain:
        value = None if value is None else part.apply(own, value, its_state)
        now_before, now = now, out_spec(part, own, now, its_state)
        if part.name == "dense":
            bias = own.get("bias")
            columns.append(Column("dense", now.shape[0], _host(value), _host(_kernel(own)), _host(bias)))
        elif jax.tree.leaves(own) or getattr(now, "shape", None) != now_before.shape:
            raise StructureError(
                f"expected dense layers and activations, got {part.name}. plot.network draws layers of all kinds."
            )
        else:
            columns[-1] = columns[-1]._replace(name=f"{columns[-1].name},\n{part.name}", values=_host(value))
    largest = max(column.size for column in columns)
    if largest > _MOST:
        raise ShapeError(
            f"expected at most {_MOST} units in a layer, got {largest}. plot.network draws large networks."
        )
    return columns


def _chain(net: Layer, params: Tree, state: Tree) -> Any:
    """Layers in the order in which they run, with params and state; serial within serial is opened."""
    if net.name != "serial":
        yield net, params, state
        return
    if not isinstance(params, (tuple, list)) or len(params) != len(net.parts):
        raise StructureError(f"expected params of this network, got {describe(params)}. Pass what its init made.")
    states = state if isinstance(state, (tuple, list)) and len(state) == len(net.parts) else [None] * len(net.parts)
    for part, own, its_state in zip(net.parts, params, states, strict=True):
        yield from _chain(part, own, its_state)


def _kernel(params: Tree) -> Any:
    if not isinstance(params, dict) or "kernel" not in params:
        raise StructureError(f"expected params of a dense layer, got {describe(params)}. Pass what its init made.")
    return params["kernel"]


def _host(a: Any) -> np.ndarray | None:
    return None if a is None else np.asarray(a, np.float64)


def _places(columns: list[Column]) -> list[np.ndarray]:
    """The middle of each unit, and of the unit 1 below them where the next column has biases."""
    places = []
    for number, column in enumerate(columns):
        biased = number + 1 < len(columns) and columns[number + 1].bias is not None
        count = column.size + biased
        ys = (count - 1) / 2 - np.arange(count)
        places.append(np.stack([np.full(count, float(number)), ys], axis=1))
    tallest = max(len(middle) for middle in places)
    for middle in places:  # small layers are spread, though not over all the height
        middle[:, 1] *= min(1.8, tallest / len(middle)) / tallest * 2.4
    return places


def _draw_weights(ax: Any, columns: list[Column], places: list[np.ndarray]) -> None:
    from matplotlib.collections import LineCollection

    lines, sizes = [], []
    for number, column in enumerate(columns[1:]):
        matrix = np.asarray(column.kernel)
        if column.bias is not None:
            matrix = np.concatenate([matrix, column.bias[None]])
        for i, start in enumerate(places[number]):
            for j, end in enumerate(places[number + 1][: column.size]):
                lines.append((start, end))
                sizes.append(matrix[i, j])
    weights = np.array(sizes)
    if not np.all(np.isfinite(weights)):
        raise ShapeError("expected finite params, got nan or inf among them. Has training diverged?")
    largest = float(np.abs(weights).max()) or 1.0
    # The more lines, the thinner, so that single ones can be followed.
    widest = float(np.clip(36.0 / len(weights) ** 0.5, 0.6, 3.0)) * min(1.0, inches(ax)[0] / 4)
    for above, colour, style, text in (
        (True, BLUE, "-", "weight > 0"),
        (False, VERMILION, "--", f"weight < 0; the widest: {largest:.3g}"),
    ):
        chosen = np.flatnonzero((weights > 0) if above else (weights < 0))
        ax.add_collection(
            LineCollection(
                [lines[i] for i in chosen], colors=colour, linestyles=style, zorder=1,
                linewidths=widest * np.abs(weights[chosen]) / largest,
            ),
            autolim=False,
        )  # fmt: skip
        ax.plot([], [], color=colour, linestyle=style, linewidth=1.8, label=text)


def _draw_units(ax: Any, columns: list[Column], places: list[np.ndarray]) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    tallest = max(len(column) for column in places)
    shown = [column.values for column in columns if column.values is not None]
    largest = max((float(np.abs(v[np.isfinite(v)]).max(initial=0)) for v in shown), default=0.0) or 1.0
    colours = ScalarMappable(Normalize(-largest, largest), SIGNED)
    ax.set_xlim(-0.35, len(columns) - 0.65)
    ax.set_ylim(-1.75, 1.35)
    if shown:
        colour_bar(ax, colours, "activation")
    points = 72 * ax.figure.get_size_inches()[1] * 0.7 / tallest
    side = float(np.clip(0.78 * points, 3.0, 25.0))
    font = min(font_for(ax), 0.42 * side)
    for column, middle in zip(columns, places, strict=True):
        faces = "white" if column.values is None else colours.to_rgba(column.values)
        own = middle[: column.size]
        ax.scatter(*own.T, s=side**2, c=faces, edgecolors=BLACK, linewidths=1.0, zorder=3)
        if column.values is not None and tallest <= _NUMBERED:
            for (x, y), value in zip(own, column.values, strict=True):
                dark = abs(value) > 0.6 * largest
                ax.text(
                    x, y, _short(value), ha="center", va="center", fontsize=font, zorder=4,
                    color="white" if dark else BLACK,
                )  # fmt: skip
        for x, y in middle[column.size :]:
            ax.scatter([x], [y], s=(0.8 * side) ** 2, c="white", marker="s", edgecolors=BLACK, linewidths=1.0, zorder=3)
            if side > 8:
                ax.text(x, y, "1", ha="center", va="center", fontsize=font, zorder=4)
    for number, column in enumerate(columns):
        ax.text(number, -1.4, column.name, ha="center", va="top", fontsize=0.9 * font_for(ax))


def _short(value: float) -> str:
    text = f"{value:.2g}" if abs(value) < 100 else f"{value:.0e}".replace("e+0", "e")
    return "0" if value == 0 else text
