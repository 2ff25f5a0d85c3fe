"""Activations that gate x by a smooth step of x itself: gelu, gelu_tanh, silu (swish) and mish.

All have the form y = x g(x), so dy/dx = g(x) + x g'(x). At x = ±∞ this is 0 · ∞, and so are their gradients: NaN.
"""

import math

import jax
import jax.numpy as jnp

from purenet.layers.elementwise import elementwise


def _gelu_derivative(x: jax.Array, y: jax.Array) -> jax.Array:
    z = x * math.sqrt(0.5)
    return 0.5 * jax.lax.erfc(-z) + x * (jnp.exp(-z * z) / math.sqrt(2 * math.pi))


@elementwise(_gelu_derivative)
def gelu(x: jax.Array) -> jax.Array:
    """Gaussian error linear unit, y = x Φ(x) with the normal distribution function Φ, element by element.

    The exact one, by erfc. A layer, not a call: any shape and floating dtype, which y keeps; no params.

    Raises:
      StructureError: at trace time, if x is not one floating array.

    Derivation:
      Φ' is the normal density φ(x) = exp(-x²/2) / √(2π), so dy/dx = Φ(x) + x φ(x), with Φ(x) = erfc(-x/√2) / 2.

    References:
      Hendrycks and Gimpel (2016), Gaussian error linear units (GELUs).

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> pn.gelu.apply((), jnp.array([-1e4, 0.0, 1e4])).tolist()
      [-0.0, 0.0, 10000.0]
    """
    return jax.nn.gelu(x, approximate=False)


_CUBIC = 0.044715  # Hendrycks and Gimpel (2016)
_SLOPE = math.sqrt(2 / math.pi)


def _within(x: jax.Array) -> jax.Array:
    """Keeps x³ finite in float16, where the gradient of `jax.nn.gelu` is NaN beyond x = 147.

    At ±10 the tanh is ±1 to the last bit, in float64 too.
    """
    return jnp.clip(x, -10, 10)


def _gelu_tanh_derivative(x: jax.Array, y: jax.Array) -> jax.Array:
    z = _within(x)
    t = jnp.tanh(_SLOPE * (z + _CUBIC * z**3))
    return 0.5 * (1 + t) + 0.5 * x * ((1 - t) * (1 + t)) * (_SLOPE * (1 + 3 * _CUBIC * z**2))


@elementwise(_gelu_tanh_derivative)
def gelu_tanh(x: jax.Array) -> jax.Array:
    """Gaussian error linear unit in its tanh form, y = ½ x (1 + tanh(√(2/π) (x + 0.044715 x³))), element by element.

    What GPT-2 uses; within 5·10⁻⁴ of `gelu`. A layer, not a call: any shape and floating dtype, which y keeps; no
    params.

    Raises:
      StructureError: at trace time, if x is not one floating array.

    Derivation:
      With t = tanh u, t' = 1 - t² and u = √(2/π) (x + 0.044715 x³):
      dy/dx = ½ (1 + t) + ½ x (1 - t²) · √(2/π) (1 + 3 · 0.044715 x²).

    References:
      Hendrycks and Gimpel (2016), Gaussian error linear units (GELUs).

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> pn.gelu_tanh.apply((), jnp.array([-1e4, 0.0, 1e4])).tolist()
      [-0.0, 0.0, 10000.0]
    """
    z = _within(x)
    return 0.5 * x * (1 + jnp.tanh(_SLOPE * (z + _CUBIC * z**3)))


def _silu_derivative(x: jax.Array, y: jax.Array) -> jax.Array:
    gate = jax.nn.sigmoid(x)
    return gate + x * (gate * jax.nn.sigmoid(-x))


@elementwise(_silu_derivative)
def silu(x: jax.Array) -> jax.Array:
    """Sigmoid-weighted linear unit, also called swish, y = x σ(x), element by element.

    A layer, not a call: any shape and floating dtype, which y keeps; no params. `pn.swish` is the same object.

    Raises:
      StructureError: at trace time, if x is not one floating array.

    Derivation:
      With σ' = σ(x) σ(-x): dy/dx = σ(x) + x σ(x) σ(-x).

    References:
      Elfwing, Uchibe and Doya (2018), Sigmoid-weighted linear units for neural network function approximation in
      reinforcement learning.
      Ramachandran, Zoph and Le (2017), Searching for activation functions.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> pn.silu.apply((), jnp.array([-1e4, 0.0, 1e4])).tolist()
      [-0.0, 0.0, 10000.0]
      >>> pn.swish is pn.silu
      True
    """
    return jax.nn.silu(x)


swish = silu


def _mish_terms(x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Gives p, q, n and d of the derivation of `mish`."""
    positive = x > 0
    p = jnp.exp(jnp.where(positive, -x, x))
    q = jnp.where(positive, p, 1)
    n = jnp.where(positive, 1 + 2 * p, p * (p + 2))
    return p, q, n, n + 2 * q * q


def _mish_derivative(x: jax.Array, y: jax.Array) -> jax.Array:
    p, q, n, d = _mish_terms(x)
    return n / d + x * (4 * p * q * (1 + p) / (d * d))


@elementwise(_mish_derivative)
def mish(x: jax.Array) -> jax.Array:
    """Mish, y = x tanh(softplus(x)) = x tanh(log(1 + eˣ)), element by element.

    A layer, not a call: any shape and floating dtype, which y keeps; no params.

    Raises:
      StructureError: at trace time, if x is not one floating array.

    Derivation:
      With w = 1 + eˣ the gate is t = tanh(log w) = (w² - 1) / (w² + 1), and t' = 4w eˣ / (w² + 1)²; then
      dy/dx = t + x t'. For x > 0 numerators and denominators are multiplied by powers of e⁻ˣ, so that with
      p = e^-|x|, which never overflows, w² - 1 becomes n = 1 + 2p (for x <= 0: p² + 2p), w² + 1 becomes
      d = n + 2q² and w eˣ becomes p q (1 + p), where q = p (for x <= 0: 1).

    References:
      Misra (2020), Mish: a self regularized non-monotonic activation function.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> pn.mish.apply((), jnp.array([-1e4, 0.0, 1e4])).tolist()
      [-0.0, 0.0, 10000.0]
    """
    _, _, n, d = _mish_terms(x)
    return x * (n / d)  # with log and tanh, as `jax.nn.mish`, value and gradient take 1.4 to 2.5 times as long
