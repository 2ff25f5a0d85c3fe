"""Layers that drop at random in training and do nothing at inference: elements, whole channels, whole examples."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purenet.contract import Check, Layer, Spec, Tree, layer
from purenet.errors import ShapeError, StructureError, describe, expect_array, expect_key
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
    return _dropping("dropout", drop_prob, lambda shape: shape, one_array)


def channel_dropout(drop_prob: float) -> Layer:
    """Dropout of whole channels: in training y = m ∘ x / (1 - p), where m_c is 0 with probability p, else 1.

    One m_c for each example and channel, the last axis, and the same over all of space: neighbours in an image are so
    alike that single elements dropped among them are no loss. Keras calls it SpatialDropout, PyTorch Dropout2d. At
    inference y = x. `forward` and `vjp` need a key; `apply`, and drop_prob = 0, need none.

    Args:
      drop_prob: the probability p of dropping, 0 <= p < 1, a Python number, rounded to a multiple of 2⁻³².

    Returns:
      A layer for any shape (…, channels) and floating dtype, which y keeps; no params.

    Raises:
      ShapeError: if `drop_prob` is below 0, or 1 or above; at trace time, if x has no axis.
      StructureError: if `drop_prob` is not a Python number; at trace time, if x is not one floating array, or
        `forward` or `vjp` get no key.

    Derivation:
      For a given m, y is linear in x with a diagonal Jacobian: dJ/dx = m ∘ dJ/dy / (1 - p), with the same m.

    References:
      Tompson, Goroshin, Jain, LeCun and Bregler (2015), Efficient object localization using convolutional networks,
      section 3.2.

    Example:
      >>> import jax, jax.numpy as jnp, purenet as pn
      >>> ys, _ = pn.channel_dropout(0.5).forward((), jnp.ones((1, 2, 2, 8)), (), jax.random.key(0))
      >>> bool(jnp.all(ys == ys[:, :1, :1])), sorted(set(ys.ravel().tolist()))
      (True, [0.0, 2.0])
    """

    def drawn(shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[0], *(1 for _ in shape[1:-1]), shape[-1])

    return _dropping("channel_dropout", drop_prob, drawn, _expect_channels)


def drop_path(drop_prob: float) -> Layer:
    """Stochastic depth: in training y = m x / (1 - p), where m is 0 with probability p, else 1, one for each example.

    Put last on the path of a `residual`, it leaves that path out for some examples, so that a deep network trains like
    many shallower ones. At inference y = x. `forward` and `vjp` need a key; `apply`, and drop_prob = 0, need none.

    Args:
      drop_prob: the probability p of dropping, 0 <= p < 1, a Python number, rounded to a multiple of 2⁻³².

    Returns:
      A layer for any shape and floating dtype, which y keeps; no params.

    Raises:
      ShapeError: if `drop_prob` is below 0, or 1 or above.
      StructureError: if `drop_prob` is not a Python number; at trace time, if x is not one floating array, or
        `forward` or `vjp` get no key.

    Derivation:
      For a given m, y is linear in x with a diagonal Jacobian: dJ/dx = m dJ/dy / (1 - p), with the same m.

    References:
      Huang, Sun, Liu, Sedra and Weinberger (2016), Deep networks with stochastic depth, eq. 2; here divided by 1 - p in
      training instead of multiplied at inference.

    Example:
      >>> import jax, jax.numpy as jnp, purenet as pn
      >>> block = pn.residual(pn.dense(3), pn.relu, pn.drop_path(0.2))
      >>> params, state = block.init(jax.random.key(0), pn.spec(3))
      >>> block.forward(params, jnp.ones((4, 3)), state, jax.random.key(1))[0].shape
      (4, 3)
    """
    return _dropping("drop_path", drop_prob, lambda shape: (shape[0], *(1 for _ in shape[1:])), one_array)


def _dropping(name: str, drop_prob: float, drawn: Callable[[tuple[int, ...]], tuple[int, ...]], check: Check) -> Layer:
    """Makes a dropout whose mask has the shape `drawn` of that of the mini-batch, with 1 where it is stretched."""
    p = checked_probability(name, drop_prob)
    scale = 1 / (1 - p)
    threshold = threshold_of(p)

    def masked(keep: jax.Array, a: jax.Array) -> jax.Array:
        return jnp.where(jnp.broadcast_to(keep, a.shape), a * scale, 0)

    def kept(key: Any, xs: jax.Array) -> jax.Array:
        return jax.random.bits(needed(key, f"drop_prob = {p}"), drawn(xs.shape), jnp.uint32) >= threshold

    def apply(params: Tree, x: jax.Array) -> jax.Array:
        return x

    def forward(params: Tree, xs: jax.Array, state: Tree, key: Any) -> tuple[jax.Array, Tree]:
        return (masked(kept(key, xs), xs) if p else xs), state

    def vjp(params: Tree, xs: jax.Array, state: Tree, key: Any) -> Any:
        if not p:
            return xs, state, jax.tree_util.Partial(unchanged)
        keep = kept(key, xs)
        return masked(keep, xs), state, jax.tree_util.Partial(pullback, keep)

    def pullback(keep: jax.Array, dys: jax.Array) -> tuple[Tree, jax.Array]:
        return (), masked(keep, dys)

    return layer(apply, forward=forward, vjp=vjp, check=check, name=name)


def needed(key: Any, why: str) -> Any:
    """Gives the key back, after refusing what is none."""
    if key is None:
        raise StructureError(
            f"expected a key for {why}, got None. Pass key=jax.random.key(…), or use apply for inference."
        )
    expect_key(key)
    return key


def threshold_of(p: float) -> np.uint32:
    """What 32 random bits are compared with: they are below it with probability p."""
    return np.uint32(min(round(p * 2**32), 2**32 - 1))  # a p next to 1 would round to 2³², one too many


def checked_probability(name: str, drop_prob: Any) -> float:
    """Gives the probability as Python's, after refusing what is none."""
    if not is_number(drop_prob):
        raise StructureError(
            f"{name}: expected drop_prob to be a Python number, got {describe(drop_prob)}. Give one such as 0.5."
        )
    if not 0 <= drop_prob < 1:
        raise ShapeError(
            f"{name}: expected 0 <= drop_prob < 1, got {drop_prob}. It is the probability of dropping, not of keeping."
        )
    return float(drop_prob)


def is_number(value: Any) -> bool:
    """Tells whether this is a number of Python's or NumPy's, and no truth value."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def unchanged(dys: jax.Array) -> tuple[Tree, jax.Array]:
    """The pullback of a layer that does nothing."""
    return (), dys


def _expect_channels(params: Tree, x: Spec) -> None:
    expect_array(x)
    if not x.shape:
        raise ShapeError("expected x with the channels on its last axis, got (). Use pn.dropout for single numbers.")
