"""Activations: functions of one number, each beside its derivative."""

import jax
import jax.numpy as jnp

from purenet.layers.elementwise import elementwise


@elementwise(lambda x, y: jnp.where(x > 0, 1, 0).astype(x.dtype))
def relu(x: jax.Array) -> jax.Array:
    """Rectified linear unit, y = max(x, 0), element by element.

    A layer, not a call: any shape and floating dtype, which y keeps; no params.

    Raises:
      StructureError: at trace time, if x is not one floating array.

    Derivation:
      dy/dx = 1 for x > 0 and 0 for x < 0. At the kink x = 0 any number from 0 to 1 is a subgradient; 0 is
      taken, as everywhere (differentiating `maximum` would give ½).

    References:
      Nair and Hinton (2010), Rectified linear units improve restricted Boltzmann machines.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> pn.relu.apply((), jnp.array([-1.0, 0.0, 2.0])).tolist()
      [0.0, 0.0, 2.0]
    """
    return jax.nn.relu(x)


@elementwise(lambda x, y: 1 - y * y)
def tanh(x: jax.Array) -> jax.Array:
    """Hyperbolic tangent, y = (eˣ - e⁻ˣ) / (eˣ + e⁻ˣ), element by element, from -1 to 1.

    A layer, not a call: any shape and floating dtype, which y keeps; no params.

    Raises:
      StructureError: at trace time, if x is not one floating array.

    Derivation:
      With y = s/c, s' = c and c' = s: dy/dx = (c² - s²)/c² = 1 - y².

    References:
      LeCun, Bottou, Orr and Müller (1998), Efficient BackProp, section 4.4.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> pn.tanh.apply((), jnp.zeros(2)).tolist()
      [0.0, 0.0]
    """
    return jnp.tanh(x)
