"""Layers that are noisy in training and do nothing at inference: Gaussian noise, added or multiplied; alpha dropout."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from purenet.contract import Layer, Tree, layer
from purenet.errors import ShapeError, StructureError, describe
from purenet.layers.elementwise import one_array
from purenet.layers.noise import checked_probability, is_number, needed, threshold_of, unchanged

# Where selu saturates, -λα: https://arxiv.org/abs/1706.02515, with λ and α to double precision.
_SATURATION = -1.0507009873554805 * 1.6732632423543772


def gaussian_noise(stddev: float) -> Layer:
    """Additive noise: in training y = x + σ ε, where every element of ε is normal with mean 0 and variance 1.

    At inference y = x. `forward` and `vjp` need a key, the same key gives the same ε; `apply`, and stddev = 0, need
    none. ε is drawn in float32, in float64 for float64.

    Args:
      stddev: σ, in the units of x, 0 or more and finite, a Python number.

    Returns:
      A layer for any shape and floating dtype, which y keeps; no params.

    Raises:
      ShapeError: if `stddev` is below 0 or not finite.
      StructureError: if `stddev` is not a Python number; at trace time, if x is not one floating array, or `forward` or
        `vjp` get no key.

    Derivation:
      For a given ε the Jacobian is the identity: dJ/dx = dJ/dy.

    References:
      Bishop (1995), Training with noise is equivalent to Tikhonov regularization.

    Example:
      >>> import jax, jax.numpy as jnp, purenet as pn
      >>> net = pn.gaussian_noise(0.1)
      >>> ys, _ = net.forward((), jnp.zeros((100, 100)), (), jax.random.key(0))
      >>> round(float(jnp.std(ys)), 2), net.apply((), jnp.ones(2)).tolist()
      (0.1, [1.0, 1.0])
    """
    if not is_number(stddev):
        raise StructureError(
            f"gaussian_noise: expected stddev to be a Python number, got {describe(stddev)}. Give one such as 0.1."
        )
    if not 0 <= stddev < math.inf:
        raise ShapeError(
            f"gaussian_noise: expected a finite stddev of 0 or more, got {stddev}. It is a standard deviation."
        )
    sigma = float(stddev)

    def apply(params: Tree, x: jax.Array) -> jax.Array:
        return x

    def forward(params: Tree, xs: jax.Array, state: Tree, key: Any) -> tuple[jax.Array, Tree]:
        return (xs + sigma * _normal(needed(key, f"stddev = {sigma}"), xs) if sigma else xs), state

    def vjp(params: Tree, xs: jax.Array, state: Tree, key: Any) -> Any:
        return *forward(params, xs, state, key), jax.tree_util.Partial(unchanged)

    return layer(apply, forward=forward, vjp=vjp, check=one_array, name="gaussian_noise")


def gaussian_dropout(drop_prob: float) -> Layer:
    """Multiplicative noise: in training y = m ∘ x, where every element of m is normal with mean 1, variance p/(1-p).

    Mean and variance of m are those of `dropout` with the same p, so that y has mean x; at inference y = x. `forward`
    and `vjp` need a key; `apply`, and drop_prob = 0, need none.

    Args:
      drop_prob: the probability p of dropping that the noise corresponds to, 0 <= p < 1, a Python number.

    Returns:
      A layer for any shape and floating dtype, which y keeps; no params.

    Raises:
      ShapeError: if `drop_prob` is below 0, or 1 or above.
      StructureError: if `drop_prob` is not a Python number; at trace time, if x is not one floating array, or
        `forward` or `vjp` get no key.

    Derivation:
      For a given m, y is linear in x with a diagonal Jacobian: dJ/dx = m ∘ dJ/dy.

    References:
      Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov (2014), Dropout: a simple way to prevent neural
      networks from overfitting, section 10.

    Example:
      >>> import jax, jax.numpy as jnp, purenet as pn
      >>> ys, _ = pn.gaussian_dropout(0.2).forward((), jnp.ones((100, 100)), (), jax.random.key(0))
      >>> round(float(jnp.mean(ys)), 1), round(float(jnp.std(ys)), 1)
      (1.0, 0.5)
    """
    p = checked_probability("gaussian_dropout", drop_prob)
    sigma = math.sqrt(p / (1 - p))

    def noise(key: Any, xs: jax.Array) -> jax.Array:
        return 1 + sigma * _normal(needed(key, f"drop_prob = {p}"), xs)

    def apply(params: Tree, x: jax.Array) -> jax.Array:
        return x

    def forward(params: Tree, xs: jax.Array, state: Tree, key: Any) -> tuple[jax.Array, Tree]:
        return (xs * noise(key, xs) if p else xs), state

    def vjp(params: Tree, xs: jax.Array, state: Tree, key: Any) -> Any:
        if not p:
            return xs, state, jax.tree_util.Partial(unchanged)
        m = noise(key, xs)
        return xs * m, state, jax.tree_util.Partial(pullback, m)

    def pullback(m: jax.Array, dys: jax.Array) -> tuple[Tree, jax.Array]:
        return (), m * dys

    return layer(apply, forward=forward, vjp=vjp, check=one_array, name="gaussian_dropout")


def alpha_dropout(drop_prob: float) -> Layer:
    """Dropout for networks of `selu`: what is dropped becomes α', and mean 0 and variance 1 stay as they are.

    In training y = a (m ∘ x + (1 - m) α') + b, where every element of m is 0 with probability p, else 1, α' = -λα is
    where selu saturates, a = ((1 - p)(1 + p α'²))^-½ and b = -a p α'. At inference y = x. `forward` and `vjp` need a
    key; `apply`, and drop_prob = 0, need none.

    Args:
      drop_prob: the probability p of dropping, 0 <= p < 1, a Python number, rounded to a multiple of 2⁻³².

    Returns:
      A layer for any shape and floating dtype, which y keeps; no params.

    Raises:
      ShapeError: if `drop_prob` is below 0, or 1 or above.
      StructureError: if `drop_prob` is not a Python number; at trace time, if x is not one floating array, or
        `forward` or `vjp` get no key.

    Derivation:
      For a given m, y is affine in x with a diagonal Jacobian: dJ/dx = a m ∘ dJ/dy.

    References:
      Klambauer, Unterthiner, Mayr and Hochreiter (2017), Self-normalizing neural networks, section 2, "New dropout
      technique".

    Example:
      >>> import jax, jax.numpy as jnp, purenet as pn
      >>> xs = jax.random.normal(jax.random.key(0), (200, 200))
      >>> ys, _ = pn.alpha_dropout(0.3).forward((), xs, (), jax.random.key(1))
      >>> abs(round(float(jnp.mean(ys)), 1)), round(float(jnp.var(ys)), 1)
      (0.0, 1.0)
    """
    p = checked_probability("alpha_dropout", drop_prob)
    a = ((1 - p) * (1 + p * _SATURATION**2)) ** -0.5
    b = -a * p * _SATURATION
    threshold = threshold_of(p)

    def kept(key: Any, xs: jax.Array) -> jax.Array:
        return jax.random.bits(needed(key, f"drop_prob = {p}"), xs.shape, jnp.uint32) >= threshold

    def dropped(keep: jax.Array, xs: jax.Array) -> jax.Array:
        return jnp.where(keep, a * xs + b, a * _SATURATION + b)

    def apply(params: Tree, x: jax.Array) -> jax.Array:
        return x

    def forward(params: Tree, xs: jax.Array, state: Tree, key: Any) -> tuple[jax.Array, Tree]:
        return (dropped(kept(key, xs), xs) if p else xs), state

    def vjp(params: Tree, xs: jax.Array, state: Tree, key: Any) -> Any:
        if not p:
            return xs, state, jax.tree_util.Partial(unchanged)
        keep = kept(key, xs)
        return dropped(keep, xs), state, jax.tree_util.Partial(pullback, keep)

    def pullback(keep: jax.Array, dys: jax.Array) -> tuple[Tree, jax.Array]:
        return (), jnp.where(keep, a * dys, 0)

    return layer(apply, forward=forward, vjp=vjp, check=one_array, name="alpha_dropout")


def _normal(key: Any, xs: jax.Array) -> jax.Array:
    """Draws in 32 bits at least: 16 have too few for the tails."""
    wide = jnp.float32 if xs.dtype.itemsize < 4 else xs.dtype
    return jax.random.normal(key, xs.shape, wide).astype(xs.dtype)
