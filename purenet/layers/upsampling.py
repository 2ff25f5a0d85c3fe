"""Up-sampling: more elements along each axis of space, by repeating or by interpolating."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from purenet.contract import Layer, Spec, Tree, layer
from purenet.errors import ShapeError, expect_array
from purenet.layers.sliding import interleaved, wide
from purenet.layers.windows import as_sizes

METHODS = ("nearest", "linear")


def upsample(scale: Any, method: str = "nearest") -> Layer:
    """Makes space larger by whole numbers, each channel by itself.

    "nearest" repeats every element: y_o = x_⌊o/s⌋ along each axis. "linear" interpolates between the two nearest
    elements, linearly along each axis (bilinearly for images, trilinearly for volumes), where elements are small
    areas known at their centres: y_o is x at (o + ½)/s - ½, and beyond the first and last centre x is constant. So do
    Keras, `jax.image.resize`, and PyTorch with `align_corners=False`.

    Args:
      scale: s, 1 or more for each axis of space (one to three); a whole number is one axis: 2 for sequences, (2, 2) for
        images.
      method: "nearest" or "linear".

    Returns:
      A layer from shape (n…, channels) to (s·n…, channels), of the same floating dtype; no params.

    Raises:
      ShapeError: for sizes out of range or an unknown method; at trace time, if x has other axes.
      StructureError: if `scale` is not made of whole numbers; at trace time, if x is not one floating array.

    Derivation:
      y = A x with a fixed matrix A for each axis, so dJ/dx = Aᵀ dJ/dy. For "nearest" that is the sum over each
      element's copies; for "linear", the weights with which x_j entered each y_o, once more.

    References:
      Odena, Dumoulin and Olah (2016), Deconvolution and checkerboard artifacts.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> line = jnp.array([[0.0], [4.0]])
      >>> pn.upsample(2).apply((), line)[:, 0].tolist()
      [0.0, 0.0, 4.0, 4.0]
      >>> pn.upsample(2, "linear").apply((), line)[:, 0].tolist()
      [0.0, 1.0, 3.0, 4.0]
    """
    scales = as_sizes("upsample", "scale", scale)
    if len(scales) > 3:
        raise ShapeError(f"upsample: expected scale of one to three axes, got {scale!r}. Leave the channels out.")
    if not isinstance(method, str) or method not in METHODS:
        raise ShapeError(f"upsample: expected method to be one of {METHODS}, got {method!r}. Choose one of them.")
    larger, smaller = (_repeated, _summed) if method == "nearest" else (_interpolated, _gathered)
    axes = [(axis, times) for axis, times in enumerate(scales, start=1) if times > 1]

    def check(params: Tree, x: Spec) -> None:
        _expect_axes(x, len(scales))

    def plain(xs: jax.Array) -> jax.Array:
        for axis, times in axes:
            xs = larger(xs, axis, times)
        return xs

    def apply(params: Tree, x: jax.Array) -> jax.Array:
        return plain(x[None])[0]

    def forward(params: Tree, xs: jax.Array, state: Tree, key: Any) -> tuple[jax.Array, Tree]:
        return plain(xs), state

    def vjp(params: Tree, xs: jax.Array, state: Tree, key: Any) -> Any:
        return plain(xs), state, jax.tree_util.Partial(pullback)

    def pullback(dys: jax.Array) -> tuple[Tree, jax.Array]:
        dxs = wide(dys)
        for axis, times in reversed(axes):
            dxs = smaller(dxs, axis, times)
        return (), dxs.astype(dys.dtype)

    return layer(apply, forward=forward, vjp=vjp, check=check, name="upsample")


def _expect_axes(x: Spec, rank: int) -> None:
    expect_array(x)
    if len(x.shape) != rank + 1:
        raise ShapeError(
            f"expected x of {rank + 1} axes, {rank} of space and the channels last, got {x.shape}. "
            "For a mini-batch use jax.vmap(net.apply, (None, 0)); for one channel put pn.reshape before it."
        )
    if 0 in x.shape[:-1]:
        raise ShapeError(f"expected x with space of 1 or more along each axis, got {x.shape}. Drop empty examples.")


def _repeated(xs: jax.Array, axis: int, times: int) -> jax.Array:
    shape = xs.shape
    many = jnp.broadcast_to(jnp.expand_dims(xs, axis + 1), (*shape[: axis + 1], times, *shape[axis + 1 :]))
    return jnp.reshape(many, (*shape[:axis], shape[axis] * times, *shape[axis + 1 :]))


def _summed(dys: jax.Array, axis: int, times: int) -> jax.Array:
    shape = dys.shape
    return jnp.sum(jnp.reshape(dys, (*shape[:axis], shape[axis] // times, times, *shape[axis + 1 :])), axis=axis + 1)


def _offsets(times: int) -> list[float]:
    """How far each new centre lies from that of the element it came from, in elements."""
    return [(i + 0.5) / times - 0.5 for i in range(times)]


def _finished(a: jax.Array) -> jax.Array:
    """Has one axis finished before the next begins.

    Else XLA on CPU computes the first again for every element of the second: value and gradient from 128×14×14×32 to
    twice the size took 79 ms on two cores, and 9 so.
    """
    done: jax.Array = lax.optimization_barrier(a)
    return done


def _interpolated(xs: jax.Array, axis: int, times: int) -> jax.Array:
    xs, n = _finished(xs), xs.shape[axis]
    first, last = lax.slice_in_dim(xs, 0, 1, axis=axis), lax.slice_in_dim(xs, n - 1, n, axis=axis)
    before = jnp.concatenate([first, lax.slice_in_dim(xs, 0, n - 1, axis=axis)], axis=axis)
    after = jnp.concatenate([lax.slice_in_dim(xs, 1, n, axis=axis), last], axis=axis)

    def at(offset: float) -> jax.Array:
        if offset == 0:
            return xs
        return (1 - abs(offset)) * xs + abs(offset) * (before if offset < 0 else after)

    return interleaved([at(offset) for offset in _offsets(times)], axis)


def _gathered(dys: jax.Array, axis: int, times: int) -> jax.Array:
    """Brings back to each element what it gave to its own new centres, to those behind and to those before it."""
    dys, n = _finished(dys), dys.shape[axis] // times
    copies = [lax.slice_in_dim(dys, i, dys.shape[axis], times, axis) for i in range(times)]
    pairs = list(zip(_offsets(times), copies, strict=True))

    def weighted(part: Callable[[float], float]) -> jax.Array:
        return functools.reduce(jnp.add, [part(offset) * dy for offset, dy in pairs if part(offset)])

    def moved(a: jax.Array, steps: int) -> jax.Array:
        """Moves by one element; what would leave stays at the edge, whose element stands for what is beyond."""
        edge = lax.slice_in_dim(a, 0, 1, axis=axis) if steps < 0 else lax.slice_in_dim(a, n - 1, n, axis=axis)
        around = [(0, 0, 0)] * a.ndim
        around[axis] = (0, n - 1, 0) if steps < 0 else (n - 1, 0, 0)
        stays = lax.pad(edge, jnp.zeros((), a.dtype), around)
        around[axis] = (steps, -steps, 0)
        return lax.pad(a, jnp.zeros((), a.dtype), around) + stays

    own = weighted(lambda offset: 1 - abs(offset))
    to_before, to_after = weighted(lambda offset: max(-offset, 0.0)), weighted(lambda offset: max(offset, 0.0))
    return own + moved(to_before, -1) + moved(to_after, 1)
