"""What a network does, drawn for each snapshot: regions of two inputs, a function of one, else its weights."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purenet.contract import Layer, example_spec, out_spec
from purenet.gradients import Batch
from purenet.losses.base import Loss
from purenet.plot.frames_scales import BUDGET, Span, limits, picks
from purenet.plot.frames_weights import Tiles, tiles_of

_POINTS, _CLASSES, _SIDE = 400, 20, 120


class Maps(NamedTuple):
    """A network of two inputs over the plane.

    Attributes:
      cells: a byte per cell, of shape (frames, rows, columns), the lowest x₂ first. With classes it is
        `levels · class + level`, where the level grows with the share of the class; else the output between the
        limits of `span`.
      levels: how many levels a class has; 0 without classes.
      classes: their names; none where the output is a number.
      xlim, ylim: of the plane.
      span: the smallest and largest output, without classes.
      points: examples, of shape (points, 2).
      targets: the number of their class, or their target; None where there is no such.
    """

    cells: np.ndarray
    levels: int
    classes: tuple[str, ...]
    xlim: Span
    ylim: Span
    span: Span
    points: np.ndarray
    targets: np.ndarray | None


class Functions(NamedTuple):
    """A network of one input and one output.

    Attributes:
      x: where it was evaluated.
      ys: what it gave, of shape (frames, len(x)).
      points: examples (x, y), of shape (points, 2).
      xlim, ylim: of the plane.
    """

    x: np.ndarray
    ys: np.ndarray
    points: np.ndarray
    xlim: Span
    ylim: Span


def picture_of(
    net: Layer, loss: Loss, batch: Batch, snapshots: Sequence[Any], shape: Any
) -> tuple[Maps | Functions | Tiles | None, Sequence[Any], list[str]]:
    """Chooses the picture and computes it for each snapshot.

    Args:
      net: a layer.
      loss: a loss.
      batch: the examples.
      snapshots: with `params` and `state`.
      shape: of the images that the first layer's weights are; None lets the examples tell.

    Returns:
      The picture, None where only histograms are left; the snapshots that it has; and what was left out, in
      sentences.
    """
    x, shot = example_spec(batch.xs), snapshots[0]
    y = out_spec(net, shot.params, x, shot.state)
    if shape is None and _is_floats(x):
        single = _is_floats(y) and math.prod(y.shape) == 1
        targets = _classes_of(loss, y, batch.ys) if x.shape == (2,) else None
        if x.shape == (2,) and (targets is not None or single):
            return _maps(net, loss, batch, snapshots, targets)
        ys_fit = _is_floats(batch.ys) and math.prod(batch.ys.shape[1:]) == 1
        if x.shape in ((), (1,)) and single and ys_fit:
            return _functions(net, batch, snapshots)
    return tiles_of(net, x, snapshots, shape)


def _is_floats(x: Any) -> bool:
    return hasattr(x, "dtype") and bool(jnp.issubdtype(x.dtype, jnp.floating))


def _classes_of(loss: Loss, y: Any, ys: Any) -> Any:
    """The targets that there are, one for each class; None if they are no classes."""
    if not hasattr(ys, "dtype") or ys.ndim > 2:
        return None
    values = np.unique(np.asarray(ys), axis=0)
    whole = np.issubdtype(values.dtype, np.integer)
    if whole and ys.ndim == 1 and hasattr(y, "shape") and len(y.shape) == 1 and y.shape[0] > 1:
        values = np.arange(y.shape[0], dtype=values.dtype)
    elif values.ndim == 2 and values.shape[1] > 1 and set(np.unique(values)) <= {0, 1} and np.all(values.sum(1) == 1):
        values = np.eye(values.shape[1], dtype=values.dtype)
    elif not whole and not set(np.unique(values)) <= {0.0, 1.0} and not set(np.unique(values)) <= {-1.0, 1.0}:
        return None
    return values if 2 <= len(values) <= _CLASSES else None


def _maps(
    net: Layer, loss: Loss, batch: Batch, snapshots: Sequence[Any], targets: Any
) -> tuple[Maps, Sequence[Any], list[str]]:
    side = min(_SIDE, math.isqrt(BUDGET // len(snapshots)))
    kept, notes = _few(batch.size)
    points = np.asarray(batch.xs, np.float64)
    xlim, ylim = limits(points[:, 0], 0.1), limits(points[:, 1], 0.1)
    centres = [low + (high - low) * (np.arange(side) + 0.5) / side for low, high in (xlim, ylim)]
    grid = np.stack(np.meshgrid(*centres), axis=-1).reshape(-1, 2)
    outputs = _outputs(net, loss, targets, snapshots, grid.astype(batch.xs.dtype))
    if targets is None:
        fits = _is_floats(batch.ys) and math.prod(batch.ys.shape[1:]) == 1
        values = np.asarray(batch.ys, np.float64).reshape(-1) if fits else None
        span = limits(outputs if values is None else np.append(outputs, values), margin=0.0)
        shares = np.nan_to_num((outputs.reshape(len(snapshots), side, side) - span[0]) / (span[1] - span[0]))
        cells = np.clip(np.rint(255 * shares), 0, 255).astype(np.uint8)
        return (
            Maps(cells, 0, (), xlim, ylim, span, points[kept], None if values is None else values[kept]),
            snapshots,
            notes,
        )
    count = len(targets)
    levels = 256 // count
    best = outputs.max(axis=-1)
    surer = np.clip((best - 1 / count) / (1 - 1 / count), 0, 1)
    cells = (levels * outputs.argmax(axis=-1) + np.rint((levels - 1) * surer)).astype(np.uint8)
    numbers = np.argmax(np.all(_rows(batch.ys)[:, None] == _rows(targets)[None], axis=-1), axis=1)
    names = tuple(_name(target, i) for i, target in enumerate(targets))
    cells = cells.reshape(len(snapshots), side, side)
    return Maps(cells, levels, names, xlim, ylim, (0.0, 1.0), points[kept], numbers[kept]), snapshots, notes


def _outputs(net: Layer, loss: Loss, targets: Any, snapshots: Sequence[Any], grid: np.ndarray) -> np.ndarray:
    """What the network gives on a grid: one number, or the shares of the classes.

    A class's share is e^(−loss) if it were the target, over the sum of all. For cross-entropies these are the
    network's own probabilities, and for every loss the largest belongs to the target that costs least.
    """

    def one(params: Any, x: Any, state: Any) -> jax.Array:
        y = net.apply(params, x, state)
        if targets is None:
            return jnp.reshape(y, ())
        return jax.nn.softmax(-jax.vmap(lambda target: loss.value(y, target))(jnp.asarray(targets)))

    program = jax.jit(jax.vmap(one, (None, 0, None)))
    rows = [np.asarray(program(shot.params, grid, shot.state), np.float64) for shot in snapshots]
    return np.asarray(rows) if targets is None else np.nan_to_num(np.asarray(rows))


def _rows(values: Any) -> np.ndarray:
    return np.asarray(values).reshape(len(values), -1)


def _name(target: Any, number: int) -> str:
    """A class's name: its label, or its place in a vector of 0 and 1."""
    row = np.ravel(target)
    if len(row) > 1:
        return str(int(np.argmax(row))) if row.sum() == 1 else str(row.tolist())
    return f"{row[0]:g}"


def _functions(net: Layer, batch: Batch, snapshots: Sequence[Any]) -> tuple[Functions, Sequence[Any], list[str]]:
    kept, notes = _few(batch.size)
    inputs, targets = (np.asarray(a, np.float64).reshape(-1) for a in (batch.xs, batch.ys))
    xlim = limits(inputs, 0.1)
    x = np.linspace(*xlim, 201)
    xs = x.reshape(-1, *batch.xs.shape[1:]).astype(batch.xs.dtype)
    program = jax.jit(lambda params, state: jax.vmap(lambda one: net.apply(params, one, state))(xs))
    ys = np.asarray([np.asarray(program(shot.params, shot.state), np.float64).reshape(-1) for shot in snapshots])
    low, high = limits(np.append(ys, targets))
    wide = limits(targets, 0.5)  # a wild start must not flatten the rest
    ylim = max(low, wide[0]), min(high, wide[1])
    return Functions(x, ys, np.stack([inputs, targets], axis=1)[kept], xlim, ylim), snapshots, notes


def _few(count: int) -> tuple[np.ndarray, list[str]]:
    kept = np.asarray(picks(count, _POINTS))
    return kept, [f"{len(kept)} of {count} examples are drawn."] * (len(kept) < count)
