"""Smooth steps and their integrals: sigmoid, tanh, soft_sign, softplus and log_sigmoid, each beside its derivative.

The derivatives of sigmoid and tanh are taken from y, without a second exponential: that would make a step of a small
network 5 % longer. In the tails they are exact to a rounding of y, not to their own last digit.
"""

import jax
import jax.numpy as jnp

from purenet.layers.elementwise import elementwise


@elementwise(lambda x, y: y * (1 - y))
def sigmoid(x: jax.Array) -> jax.Array:
    """Logistic function, y = 1 / (1 + e⁻ˣ), element by element, from 0 to 1.

    A layer, not a call: any shape and floating dtype, which y keeps; no params.

    Raises:
      StructureError: at trace time, if x is not one floating array.

    Derivation:
      dy/dx = e⁻ˣ / (1 + e⁻ˣ)² = y (1 - y), as 1 - y = e⁻ˣ / (1 + e⁻ˣ).

    References:
      Rumelhart, Hinton and Williams (1986), Learning representations by back-propagating errors, eq. 2.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> pn.sigmoid.apply((), jnp.array([-1e4, 0.0, 1e4])).tolist()
      [0.0, 0.5, 1.0]
    """
    return jax.nn.sigmoid(x)


@elementwise(lambda x, y: (1 - y) * (1 + y))
def tanh(x: jax.Array) -> jax.Array:
    """Hyperbolic tangent, y = (eˣ - e⁻ˣ) / (eˣ + e⁻ˣ), element by element, from -1 to 1.

    A layer, not a call: any shape and floating dtype, which y keeps; no params.

    Raises:
      StructureError: at trace time, if x is not one floating array.

    Derivation:
      With y = s/c, s' = c and c' = s: dy/dx = (c² - s²)/c² = 1 - y² = (1 - y)(1 + y), of which the product keeps
      more digits where y is near ±1.

    References:
      LeCun, Bottou, Orr and Müller (1998), Efficient BackProp, section 4.4.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> pn.tanh.apply((), jnp.zeros(2)).tolist()
      [0.0, 0.0]
    """
    return jnp.tanh(x)


def _soft_sign_derivative(x: jax.Array, y: jax.Array) -> jax.Array:
    r = 1 / (1 + jnp.abs(x))
    return r * r


@elementwise(_soft_sign_derivative)
def soft_sign(x: jax.Array) -> jax.Array:
    """Soft sign, y = x / (1 + |x|), element by element, from -1 to 1.

    A layer, not a call: any shape and floating dtype, which y keeps; no params. At x = ±∞ it is NaN.

    Raises:
      StructureError: at trace time, if x is not one floating array.

    Derivation:
      For x > 0, dy/dx = ((1 + x) - x) / (1 + x)² = 1 / (1 + |x|)², and the same for x < 0. At x = 0 both sides
      give 1: no kink.

    References:
      Glorot and Bengio (2010), Understanding the difficulty of training deep feedforward networks.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> pn.soft_sign.apply((), jnp.array([-1.0, 0.0, 3.0])).tolist()
      [-0.5, 0.0, 0.75]
    """
    return jax.nn.soft_sign(x)


@elementwise(lambda x, y: jax.nn.sigmoid(x))
def softplus(x: jax.Array) -> jax.Array:
    """Soft rectifier, y = log(1 + eˣ), element by element.

    A layer, not a call: any shape and floating dtype, which y keeps; no params.

    Raises:
      StructureError: at trace time, if x is not one floating array.

    Derivation:
      dy/dx = eˣ / (1 + eˣ) = σ(x). The value is max(x, 0) + log(1 + e^-|x|), which does not overflow.

    References:
      Dugas, Bengio, Bélisle, Nadeau and Garcia (2001), Incorporating second-order functional knowledge for better
      option pricing.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> pn.softplus.apply((), jnp.array([-1e4, 1e4])).tolist()
      [0.0, 10000.0]
    """
    return jax.nn.softplus(x)


@elementwise(lambda x, y: jax.nn.sigmoid(-x))
def log_sigmoid(x: jax.Array) -> jax.Array:
    """Logarithm of the logistic function, y = log σ(x) = -log(1 + e⁻ˣ), element by element.

    A layer, not a call: any shape and floating dtype, which y keeps; no params.

    Raises:
      StructureError: at trace time, if x is not one floating array.

    Derivation:
      y = -softplus(-x), so dy/dx = σ(-x).

    References:
      Goodfellow, Bengio and Courville (2016), Deep Learning, section 3.10.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> pn.log_sigmoid.apply((), jnp.array([-1e4, 1e4])).tolist()
      [-10000.0, -0.0]
    """
    return jax.nn.log_sigmoid(x)
