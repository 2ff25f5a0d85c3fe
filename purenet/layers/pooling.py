"""Pooling: the largest element or the mean of every window."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purenet.contract import Layer, Spec, Tree, layer
from purenet.errors import StructureError, describe
from purenet.layers.largest import largest, largest_value, shares
from purenet.layers.sliding import (
    by_axis,
    cropped,
    expect_windows,
    padded,
    pooling_windows,
    stages,
    taps,
    untaps,
    wide,
)
from purenet.layers.windows import Windows


def max_pool(window: Any, *, stride: Any = None, padding: Any = "valid") -> Layer:
    """The largest element of every window, each channel by itself: y_ic = max_t x_(si+t)c.

    A window that sees NaN gives NaN. Padding counts as -∞, and an element of -∞ behind it as no larger. What is left at
    the end, too small for a window, is dropped unless it is padded.

    Args:
      window: its sizes, one for each axis of space (one to three); a whole number is one axis: 2 for sequences, (2, 2)
        for images.
      stride: the step s from one window to the next, a whole number for all axes or one for each; None for the
        window's own sizes, so that windows neither overlap nor leave gaps.
      padding: "valid" for none, "same" for as many windows as steps fit in, "causal" for all of it in front (one axis),
        a whole number for all sides, or for each axis one number or a pair (before, behind), below the window's size.

    Returns:
      A layer from shape (space…, channels) to (windows…, channels), of the same floating dtype; no params.

    Raises:
      ShapeError: for sizes out of range; at trace time, if x has other axes or no room for a window.
      StructureError: if a size is not a whole number; at trace time, if x is not one floating array.

    Derivation:
      y_i = x_j for the j at which window i has its largest element, so dJ/dx_j = Σ dJ/dy_i over the windows i whose
      largest is j. Where several are the largest, as zeros often are behind a `relu`, any division of dJ/dy_i among
      them is a subgradient; the first in row-major order takes it all, as in PyTorch and in XLA. Of NaNs, the first.

    References:
      Zhou and Chellappa (1988), Computation of optical flow using a neural network; Ranzato, Huang, Boureau and LeCun
      (2007), Unsupervised learning of invariant feature hierarchies with applications to object recognition.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> image = jnp.arange(16.0).reshape(4, 4, 1)
      >>> pn.max_pool((2, 2)).apply((), image)[..., 0].tolist()
      [[5.0, 7.0], [13.0, 15.0]]
      >>> pn.max_pool((3, 3), stride=2, padding="same").apply((), image)[..., 0].tolist()
      [[10.0, 11.0], [14.0, 15.0]]
    """
    windows = pooling_windows("max_pool", window, stride, padding)

    def plain(xs: jax.Array) -> jax.Array:
        xs = padded(xs, windows.pads(xs.shape[1:-1]), -math.inf)
        for step in by_axis(windows._replace(padding="valid")):
            xs = largest(taps(xs, step))
        return xs

    return _pooling("max_pool", windows, plain, functools.partial(_max_rule, windows))


@functools.cache  # one rule for equal windows, so that equal pullbacks have equal tree structures
def _max_rule(windows: Windows, space: tuple[int, ...]) -> "_Rule":
    pads, steps = windows.pads(space), stages(windows)

    def stages_of(xs: jax.Array) -> list[jax.Array]:
        found = [padded(xs, pads, -math.inf)]
        for step in steps:
            found.append(largest_value(taps(found[-1], step)))
        return found

    def values(xs: jax.Array) -> Any:
        ys = stages_of(xs)[-1]
        return ys, (xs, ys)

    def pullback(xs: jax.Array, ys: jax.Array, dys: jax.Array) -> tuple[Tree, jax.Array]:
        found = [*stages_of(xs)[:-1], ys]
        for i, step in reversed(list(enumerate(steps))):
            given = shares(taps(found[i], step), found[i + 1], dys)
            dys = untaps(given, step, found[i].shape[1:-1])
        return (), cropped(dys, pads)

    @jax.custom_vjp
    def forward(xs: jax.Array) -> jax.Array:
        ys: jax.Array = values(xs)[0]
        return ys

    forward.defvjp(values, lambda kept, dys: pullback(kept[0], kept[1], dys)[1:])
    return _Rule(forward, values, pullback)


def avg_pool(window: Any, *, stride: Any = None, padding: Any = "valid", count_padding: bool = False) -> Layer:
    """The mean of every window, each channel by itself: y_ic = Σ_t x_(si+t)c / n_i.

    Sums of 16-bit numbers are taken in float32. What is left at the end, too small for a window, is dropped unless it
    is padded.

    Args:
      window: its sizes, one for each axis of space (one to three); a whole number is one axis: 2 for sequences, (2, 2)
        for images.
      stride: the step s from one window to the next, a whole number for all axes or one for each; None for the
        window's own sizes, so that windows neither overlap nor leave gaps.
      padding: "valid" for none, "same" for as many windows as steps fit in, "causal" for all of it in front (one axis),
        a whole number for all sides, or for each axis one number or a pair (before, behind), below the window's size.
      count_padding: whether n_i is the size of the window, padding (of zeros) counted in, as in PyTorch and Flax, or
        the number of elements that the window sees, as in Keras: the default, for it leaves a constant image constant.

    Returns:
      A layer from shape (space…, channels) to (windows…, channels), of the same floating dtype; no params.

    Raises:
      ShapeError: for sizes out of range; at trace time, if x has other axes or no room for a window.
      StructureError: if a size is not a whole number or `count_padding` no truth value; at trace time, if x is not one
        floating array.

    Derivation:
      y is linear in x: dJ/dx_j = Σ dJ/dy_i / n_i over the windows i that see j.

    References:
      LeCun, Bottou, Bengio and Haffner (1998), Gradient-based learning applied to document recognition, section II.B.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> image = jnp.arange(16.0).reshape(4, 4, 1)
      >>> pn.avg_pool((2, 2)).apply((), image)[..., 0].tolist()
      [[2.5, 4.5], [10.5, 12.5]]
      >>> line = jnp.ones((3, 1))
      >>> pn.avg_pool(2, padding="same").apply((), line)[:, 0].tolist()
      [1.0, 1.0]
      >>> pn.avg_pool(2, padding="same", count_padding=True).apply((), line)[:, 0].tolist()
      [1.0, 0.5]
    """
    if not isinstance(count_padding, bool):
        raise StructureError(
            f"avg_pool: expected count_padding to be True or False, got {describe(count_padding)}. Give one of them."
        )
    windows = pooling_windows("avg_pool", window, stride, padding)

    rule = functools.partial(_avg_rule, windows, count_padding)
    return _pooling("avg_pool", windows, lambda xs: rule(xs.shape[1:-1]).forward(xs), rule)


@functools.cache
def _avg_rule(windows: Windows, count_padding: bool, space: tuple[int, ...]) -> "_Rule":
    pads, steps = windows.pads(space), stages(windows)
    spaces = [tuple(n + low + high for n, (low, high) in zip(space, pads, strict=True))]
    for step in steps:
        spaces.append(step.out(spaces[-1]))
    seen = _size(windows) if count_padding else _seen(windows, space)

    def forward(xs: jax.Array) -> jax.Array:
        sums = padded(wide(xs), pads, 0.0)
        for step in steps:
            sums = functools.reduce(jnp.add, taps(sums, step))
        return _divided(sums, seen).astype(xs.dtype)

    def pullback(dys: jax.Array) -> tuple[Tree, jax.Array]:
        dxs = _divided(wide(dys), seen)
        for i, step in reversed(list(enumerate(steps))):
            dxs = untaps([dxs] * _size(step), step, spaces[i])
        return (), cropped(dxs, pads).astype(dys.dtype)

    return _Rule(forward, lambda xs: (forward(xs), ()), pullback)


def _size(windows: Windows) -> int:
    return math.prod(windows.size)


def _seen(windows: Windows, space: tuple[int, ...]) -> Any:
    """How many elements each window sees that are no padding: a number, or an array with the channels last."""
    pads, counts = windows.pads(space), []
    if not any(map(any, pads)):
        return _size(windows)
    for n, size, stride, (low, _), out in zip(
        space, windows.size, windows.stride, pads, windows.out(space), strict=True
    ):
        first = stride * np.arange(out) - low
        counts.append(np.minimum(first + size, n) - np.maximum(first, 0))
    return functools.reduce(np.multiply.outer, counts)[..., None]


def _divided(sums: jax.Array, seen: Any) -> jax.Array:
    if isinstance(seen, int):
        return sums / seen
    return sums / jnp.broadcast_to(jnp.asarray(seen, sums.dtype)[None], sums.shape)


class _Rule(NamedTuple):
    """How a mini-batch is pooled, and the way back.

    Attributes:
      forward: from xs to ys, the form that is fast to differentiate, too.
      values: from xs to ys and what the way back needs of them.
      pullback: from that and dys to dparams and dxs.
    """

    forward: Callable[[jax.Array], jax.Array]
    values: Callable[[jax.Array], Any]
    pullback: Callable[..., tuple[Tree, jax.Array]]


def _pooling(
    name: str,
    windows: Windows,
    plain: Callable[[jax.Array], jax.Array],
    rule: Callable[[tuple[int, ...]], _Rule],
) -> Layer:
    def check(params: Tree, x: Spec) -> None:
        expect_windows(x, windows)

    def apply(params: Tree, x: jax.Array) -> jax.Array:
        return plain(x[None])[0]

    # Slices, choices and sums, one loop over the elements for each: as good on other platforms as on a CPU.
    def forward(params: Tree, xs: jax.Array, state: Tree, key: Any) -> tuple[jax.Array, Tree]:
        return rule(xs.shape[1:-1]).forward(xs), state

    def vjp(params: Tree, xs: jax.Array, state: Tree, key: Any) -> Any:
        made = rule(xs.shape[1:-1])
        ys, kept = made.values(xs)
        return ys, state, jax.tree_util.Partial(made.pullback, *kept)

    return layer(apply, forward=forward, vjp=vjp, check=check, name=name)
