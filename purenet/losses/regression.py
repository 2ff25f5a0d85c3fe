"""Losses for numbers: squared, absolute and in between."""

import jax
import jax.numpy as jnp

from purenet.losses.base import expect_alike, loss


def _half_squared_error(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Half the squared error, ½ Σ (p - y)², summed over the outputs.

    A loss, not a call: prediction and target of one shape and floating dtype, in the unit of the target.

    Raises:
      ShapeError, StructureError: at trace time, if their shapes or dtypes differ.

    Derivation:
      d/dpᵢ ½ Σ (pⱼ - yⱼ)² = pᵢ - yᵢ: only the term j = i depends on pᵢ.

    References:
      Rumelhart, Hinton and Williams (1986), Learning representations by back-propagating errors, eq. 3.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> float(pn.losses.half_squared_error.value(jnp.array([1.0, 3.0]), jnp.array([0.0, 1.0])))
      2.5
    """
    return jnp.sum(jnp.square(prediction - target)) / 2


half_squared_error = loss(_half_squared_error, grad=lambda p, y: p - y, name="half_squared_error", check=expect_alike)
