"""Layers that only rearrange: flatten and reshape."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from purenet.contract import Layer, Spec, Tree, layer
from purenet.contract import reshape as reshaped
from purenet.errors import ShapeError, StructureError, describe, is_whole


def _rearranging(name: str, shape: tuple[int, ...], doc: str | None = None) -> Layer:
    def check(params: Tree, x: Spec) -> None:
        _expect_fill(x, shape)

    def apply(params: Tree, x: jax.Array) -> jax.Array:
        return jnp.reshape(x, shape)

    def vjp(params: Tree, xs: jax.Array, state: Tree, key: Any) -> Any:
        ys = jnp.reshape(xs, (len(xs), *_filled(xs.shape[1:], shape)))
        return ys, state, jax.tree_util.Partial(_back_to(xs.shape))

    apply.__doc__ = doc
    return layer(apply, vjp=vjp, check=check, name=name)


def reshape(shape: int | Sequence[int]) -> Layer:
    """Gives one example another shape, its elements in the same order (the last axis fastest).

    Args:
      shape: the new shape; a whole number n means `(n,)`. One size may be -1 and follows from the others.

    Returns:
      A layer from any shape of that many elements, any dtype, to `shape`; no params.

    Raises:
      StructureError: if a size is not a whole number.
      ShapeError: if a size is below -1, or -1 stands twice; at trace time, if the elements do not fill `shape`.

    Derivation:
      The elements stay, so the Jacobian is the identity: dJ/dx is dJ/dy in the shape of x.

    References:
      Golub and Van Loan (2013), Matrix Computations, section 1.3.7, on vec and reshape.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> pn.reshape((2, 2)).apply((), jnp.arange(4)).tolist()
      [[0, 1], [2, 3]]
    """
    given = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    if not all(is_whole(size) for size in given):
        raise StructureError(f"reshape: expected sizes that are whole numbers, got {shape!r}. Give ints.")
    sizes = tuple(int(size) for size in given)
    if any(size < -1 for size in sizes) or sizes.count(-1) > 1:
        raise ShapeError(
            f"reshape: expected sizes of 0 or more and at most one -1, got {shape!r}. "
            "Leave the mini-batch axis out: reshape sees one example."
        )
    return _rearranging("reshape", sizes)


flatten = _rearranging(
    "flatten",
    (-1,),
    """One example of any shape as a vector of its elements, the last axis fastest.

    A layer, not a call: from any shape and dtype to `(n,)`; no params.

    Raises:
      StructureError: at trace time, if x is not one array.

    Derivation:
      The elements stay, so the Jacobian is the identity: dJ/dx is dJ/dy in the shape of x.

    References:
      Golub and Van Loan (2013), Matrix Computations, section 1.3.7, on vec and reshape.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> pn.flatten.apply((), jnp.ones((28, 28))).shape
      (784,)
    """,
)


def _filled(given: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Puts in the size that -1 stands for."""
    known = math.prod(size for size in shape if size != -1)
    return tuple(math.prod(given) // max(known, 1) if size == -1 else size for size in shape)


def _expect_fill(x: Spec, shape: tuple[int, ...]) -> None:
    if not isinstance(x, jax.ShapeDtypeStruct):
        raise StructureError(f"expected x to be one array, got {describe(x)}. Pick one, or use jnp.asarray.")
    if math.prod(_filled(x.shape, shape)) != math.prod(x.shape):
        raise ShapeError(
            f"expected x with elements that fill {shape}, got {x.shape}, which has {math.prod(x.shape)}. "
            "Leave the mini-batch axis out: reshape sees one example."
        )


@functools.cache  # one function a shape, so that equal pullbacks have equal tree structures
def _back_to(shape: tuple[int, ...]) -> Callable[[Tree], tuple[Tree, Tree]]:
    return lambda dys: ((), reshaped(dys, shape))
