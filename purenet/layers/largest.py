"""The largest of several arrays, element by element, with one convention for ties: the first takes all."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

# Of so many arrays what is left of the cotangents is handed on from one to the next, of more by the number of the first
# that is the largest. Value and gradient on two cores, in ms: of 4 arrays 2.3 handed on and 3.2 by number, of 64 0.9
# and 0.3, and XLA compiled them in a third of the time.
_FEW = 9


def largest(arrays: Sequence[jax.Array]) -> jax.Array:
    """Gives the largest element at every place, in plain JAX; the derivative is that of the first largest.

    Args:
      arrays: one or more, of one shape and dtype.

    Returns:
      An array of that shape; NaN where one of them is NaN, and the derivative is then the first NaN's.
    """
    # In pairs, as XLA would compute a long chain of choices again and again.
    while len(arrays) > 1:
        pairs = zip(arrays[::2], arrays[1::2], strict=False)
        arrays = [*(_larger(a, b) for a, b in pairs), *(arrays[-1:] if len(arrays) % 2 else ())]
    return arrays[0]


def _larger(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.where((b <= a) | (a != a), a, b)


def largest_value(arrays: Sequence[jax.Array]) -> jax.Array:
    """Gives the values of `largest`, faster, for callers with a derivative of their own."""
    return functools.reduce(jnp.maximum, arrays)


def shares(arrays: Sequence[jax.Array], top: jax.Array, dys: jax.Array) -> list[jax.Array]:
    """Hands the cotangents of `largest` to the first array that reaches the largest value.

    Args:
      arrays: what `largest` was taken of.
      top: the largest.
      dys: the cotangents of `top`.

    Returns:
      A cotangent for each of the arrays.
    """
    if len(arrays) > _FEW:
        first = jnp.zeros(top.shape, jnp.int32)
        for i, a in reversed(list(enumerate(arrays))):
            first = jnp.where((a == top) | (a != a), i, first)
        first = jax.lax.optimization_barrier(first)  # else found again for each of the arrays
        return [jnp.where(first == i, dys, 0) for i in range(len(arrays))]
    given, left = [], dys
    for a in arrays:
        mine = (a == top) | (a != a)
        given.append(jnp.where(mine, left, 0))
        left = jnp.where(mine, 0, left)
    return given
