"""From a direction to a step: the rate in force, and how much of the step a line search takes."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from purenet.optim.flattening import Function

# Halving 30 times ends at 1e-9 of the step.
_HALVINGS = 30


def rate_at(learning_rate: Any, count: jax.Array) -> Any:
    """Gives the rate of the update after `count` others, of a number or of a schedule."""
    return learning_rate(count) if callable(learning_rate) else learning_rate


def scaled(direction: jax.Array, learning_rate: Any, count: jax.Array) -> jax.Array:
    """The full step: the rate in force times the direction."""
    return jnp.asarray(rate_at(learning_rate, count)).astype(direction.dtype) * direction


def searched(
    step: jax.Array, x: jax.Array, value: Any, slope: jax.Array, value_fn: Function
) -> tuple[jax.Array, jax.Array]:
    """Halves a step until the value falls by 1e-4 of what the slope promises.

    Args:
      step: the full step, which is tried first, in every update anew.
      x: the params as a vector.
      value: `value_fn(x)`, or None to have it computed.
      slope: the gradient at x.
      value_fn: the function.

    Returns:
      The shortened step, and what share of the full one it is. A rise of the order of rounding is allowed: at the
      minimum there is nothing else.

    References:
      Armijo (1966), Minimization of functions having Lipschitz continuous first partial derivatives.
    """
    value = value_fn(x) if value is None else jnp.asarray(value).astype(x.dtype)
    search = optax.scale_by_backtracking_linesearch(
        _HALVINGS, decrease_factor=0.5, atol=8 * jnp.finfo(x.dtype).eps * jnp.abs(value)
    )
    # begun anew each time, so that no share of an earlier step limits this one
    shortened, state = search.update(step, search.init(x), x, value=value, grad=slope, value_fn=value_fn)
    return shortened, state.learning_rate
