"""Layers that are random in training and do nothing at inference: dropout."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purenet.contract import Layer, Tree, layer
from purenet.errors import ShapeError, StructureError, describe, expect_key
from purenet.layers.elementwise import one_array


def dropout(drop_prob: float) -> Layer:
    """Dropout: in training y = m ∘ x / (1 - p), where every element of m is 0 with probability p, else 1.

    Inverted: because of the division the mean of y is x, and at inference y = x. `forward` and `vjp` need a key,
    the same key gives the same m; `apply`, and drop_prob = 0, need none.

    Args:
      drop_prob: the probability p of dropping, 0 <= p < 1, a Python number. m compares 32 random bits with p,
        which is thereby rounded to a multiple of 2⁻³².

    Returns:
      A layer for any shape and floating dtype, which y keeps; no params.

    Raises:
      ShapeError: if `drop_prob` is below 0, or 1 or above.
      StructureError: if `drop_prob` is not a Python number; at trace time, if x is not one floating array, or
        `forward` or `vjp` get no key.

    Derivation:
      For a given m, y is linear in x with a diagonal Jacobian: dJ/dx = m ∘ dJ/dy / (1 - p), with the same m.

    References:
      Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov (2014), Dropout: a simple way to prevent neural
      networks from overfitting.

    Example:
      >>> import jax, jax.numpy as jnp, purenet as pn
      >>> net = pn.dropout(0.5)
      >>> ys, _ = net.forward((), jnp.ones((1, 1000)), (), jax.random.key(0))
      >>> sorted(set(ys[0].tolist()))
      [0.0, 2.0]
      >>> net.apply((), jnp.ones(2)).tolist()
      [1.0, 1.0]
    """
    p = _checked_probability(drop_prob)
    scale = 1 / (1 - p)
    threshold = np.uint32(min(round(p * 2**32), 2**32 - 1))  # a p next to 1 would round to 2³², one too many

    def kept(key: Any, xs: jax.Array) -> jax.Array:
        if key is None:
            raise StructureError(
                f"expected a key for drop_prob = {p}, got None. Pass key=jax.random.key(…), or use apply for inference."
            )
        expect_key(key)
        return jax.random.bits(key, xs.shape, jnp.uint32) >= threshold

    def masked(keep: jax.Array, a: jax.Array) -> jax.Array:
        return jnp.where(keep, a * scale, 0)

    def apply(params: Tree, x: jax.Array) -> jax.Array:
        return x

    def forward(params: Tree, xs: jax.Array, state: Tree, key: Any) -> tuple[jax.Array, Tree]:
        return (masked(kept(key, xs), xs) if p else xs), state

    def vjp(params: Tree, xs: jax.Array, state: Tree, key: Any) -> Any:
        if not p:
            return xs, state, jax.tree_util.Partial(_unchanged)
        keep = kept(key, xs)
        return masked(keep, xs), state, jax.tree_util.Partial(pullback, keep)

    def pullback(keep: jax.Array, dys: jax.Array) -> tuple[Tree, jax.Array]:
        return (), masked(keep, dys)

    return layer(apply, forward=forward, vjp=vjp, check=one_array, name="dropout")


def _checked_probability(drop_prob: Any) -> float:
    if isinstance(drop_prob, bool) or not isinstance(drop_prob, (int, float, np.integer, np.floating)):
        raise StructureError(
            f"dropout: expected drop_prob to be a Python number, got {describe(drop_prob)}. Give one such as 0.5."
        )
    if not 0 <= drop_prob < 1:
        raise ShapeError(
            f"dropout: expected 0 <= drop_prob < 1, got {drop_prob}. It is the probability of dropping, not of keeping."
        )
    return float(drop_prob)


def _unchanged(dys: jax.Array) -> tuple[Tree, jax.Array]:
    return (), dys
