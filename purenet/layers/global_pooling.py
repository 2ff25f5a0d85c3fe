"""Global pooling: the largest element or the mean of each channel, over the whole of space."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from purenet.contract import Spec, Tree, layer
from purenet.errors import ShapeError, expect_array


def _expect_space(params: Tree, x: Spec) -> None:
    expect_array(x)
    if len(x.shape) < 2:
        raise ShapeError(
            f"expected x of two axes or more, space and the channels last, got {x.shape}. "
            "Give the shape of one example; for one channel put pn.reshape((-1, 1)) before it."
        )
    if 0 in x.shape[:-1]:
        raise ShapeError(f"expected x with space of 1 or more along each axis, got {x.shape}. Drop empty examples.")


def _rows(xs: jax.Array) -> jax.Array:
    """All of space on one axis."""
    return jnp.reshape(xs, (xs.shape[0], math.prod(xs.shape[1:-1]), xs.shape[-1]))


def _first(rows: jax.Array, top: jax.Array) -> jax.Array:
    """Tells which element of a channel is its first largest; `argmax` takes eight times as long on a CPU."""
    index = jax.lax.broadcasted_iota(jnp.int32, rows.shape, 1)
    reached = (rows == top[:, None]) | (rows != rows)
    first = jnp.min(jnp.where(reached, index, rows.shape[1]), axis=1, keepdims=True)
    return index == first


def _largest(params: Tree, x: jax.Array) -> jax.Array:
    """The largest element of each channel, over the whole of space: y_c = max_t x_tc.

    A layer, not a call: from shape (space…, channels), with any number of axes of space, to (channels,), of the same
    floating dtype; no params. A channel that holds NaN gives NaN.

    Raises:
      ShapeError: at trace time, if x has no axis of space, or one of size 0.
      StructureError: at trace time, if x is not one floating array.

    Derivation:
      y_c = x_jc for the j of the largest element: dJ/dx_jc = dJ/dy_c, and 0 elsewhere. Of several that are the largest
      the first in row-major order takes it all, as for `max_pool`.

    References:
      Oquab, Bottou, Laptev and Sivic (2015), Is object localization for free? Weakly-supervised learning with
      convolutional neural networks.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> pn.global_max_pool.apply((), jnp.arange(12.0).reshape(2, 3, 2)).tolist()
      [10.0, 11.0]
    """
    rows = _rows(x[None])
    top = jax.lax.stop_gradient(jnp.max(rows, axis=1))
    return jnp.sum(jnp.where(_first(rows, top), rows, 0), axis=(0, 1))


@jax.custom_vjp
def _forward(xs: jax.Array) -> jax.Array:
    return jnp.max(_rows(xs), axis=1)


def _kept(xs: jax.Array) -> Any:
    ys = jnp.max(_rows(xs), axis=1)
    return ys, (xs, ys)


def _max_pullback(xs: jax.Array, ys: jax.Array, dys: jax.Array) -> tuple[Tree, jax.Array]:
    return (), jnp.reshape(jnp.where(_first(_rows(xs), ys), dys[:, None], 0), xs.shape)


_forward.defvjp(_kept, lambda kept, dys: _max_pullback(kept[0], kept[1], dys)[1:])


def _max_forward(params: Tree, xs: jax.Array, state: Tree, key: Any) -> tuple[jax.Array, Tree]:
    return _forward(xs), state


def _max_vjp(params: Tree, xs: jax.Array, state: Tree, key: Any) -> Any:
    ys, kept = _kept(xs)
    return ys, state, jax.tree_util.Partial(_max_pullback, *kept)


global_max_pool = layer(_largest, forward=_max_forward, vjp=_max_vjp, check=_expect_space, name="global_max_pool")


def _mean(params: Tree, x: jax.Array) -> jax.Array:
    """The mean of each channel, over the whole of space: y_c = Σ_t x_tc / n.

    A layer, not a call: from shape (space…, channels), with any number of axes of space, to (channels,), of the same
    floating dtype; no params. Sums of 16-bit numbers are taken in float32.

    Raises:
      ShapeError: at trace time, if x has no axis of space, or one of size 0.
      StructureError: at trace time, if x is not one floating array.

    Derivation:
      y is linear in x: dJ/dx_tc = dJ/dy_c / n, the same for all n elements of a channel.

    References:
      Lin, Chen and Yan (2014), Network in network, section 3.2.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> pn.global_avg_pool.apply((), jnp.arange(12.0).reshape(2, 3, 2)).tolist()
      [5.0, 6.0]
    """
    return jnp.mean(x, axis=tuple(range(x.ndim - 1)))


def _mean_vjp(params: Tree, xs: jax.Array, state: Tree, key: Any) -> Any:
    ys = jax.vmap(lambda x: _mean((), x))(xs)
    return ys, state, jax.tree_util.Partial(_mean_pullback(xs.shape[1:-1]))


@functools.cache  # one function a shape, so that equal pullbacks have equal tree structures
def _mean_pullback(space: tuple[int, ...]) -> Callable[[jax.Array], tuple[Tree, jax.Array]]:
    def pullback(dys: jax.Array) -> tuple[Tree, jax.Array]:
        shares = jnp.expand_dims(dys / math.prod(space), tuple(range(1, len(space) + 1)))
        return (), jnp.broadcast_to(shares, (dys.shape[0], *space, dys.shape[-1]))

    return pullback


global_avg_pool = layer(_mean, vjp=_mean_vjp, check=_expect_space, name="global_avg_pool")
