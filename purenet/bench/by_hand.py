"""The same training written by hand in plain JAX and optax: what `pn.train` is measured against.

Nothing of purenet is used here. The order of the examples comes in as a function, so that both see the same.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

Weights = list[tuple[jax.Array, ...]]
Carry = tuple[Weights, Any, Any]
Loss = Callable[[Weights, jax.Array, jax.Array], jax.Array]


def squared_error(weights: Weights, xs: jax.Array, ys: jax.Array) -> jax.Array:
    """The mean over a mini-batch of Σ ½ (y - p)², with tanh between the layers."""
    return jnp.mean(0.5 * jnp.sum((ys - _outputs(jnp.tanh, weights, xs)) ** 2, axis=1))


def cross_entropy(weights: Weights, xs: jax.Array, ys: jax.Array) -> jax.Array:
    """The mean cross-entropy of the softmax over a mini-batch with integer labels, with ReLU between the layers."""
    logits = _outputs(jax.nn.relu, weights, xs)
    classes = jax.nn.one_hot(ys, logits.shape[1], dtype=logits.dtype)
    return -jnp.mean(jnp.sum(classes * jax.nn.log_softmax(logits), axis=1))


def make_training(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    order_of_epoch: Callable[[Any, Any], jax.Array],
    *,
    batch_size: int,
    epochs: int,
) -> Callable[..., tuple[Weights, jax.Array]]:
    """Makes a whole run as one program: a scan over steps inside a scan over epochs.

    Args:
      loss: `(weights, xs, ys) -> scalar`, the mean over a mini-batch.
      optimizer: an optax optimizer.
      order_of_epoch: `(key, step) -> indices`, the order of the epoch that begins with this step.
      batch_size: examples per update; it divides their number.
      epochs: passes over the data.

    Returns:
      A pure function `(weights, opt_state, key, xs, ys) -> (weights, losses)`, losses of shape (epochs, steps).
    """

    def run(weights: Weights, opt_state: Any, key: Any, xs: jax.Array, ys: jax.Array) -> tuple[Weights, jax.Array]:
        def step(carry: Carry, indices: jax.Array) -> tuple[Carry, jax.Array]:
            weights, opt_state, count = carry
            # In range as they are a permutation; saying so is what a careful author would do, and a little faster.
            batch = (a.at[indices].get(mode="promise_in_bounds", unique_indices=True) for a in (xs, ys))
            value, grads = jax.value_and_grad(loss)(weights, *batch)
            updates, opt_state = optimizer.update(grads, opt_state, weights)
            return (optax.apply_updates(weights, updates), opt_state, count + 1), value

        def epoch(carry: Carry, _: None) -> tuple[Carry, jax.Array]:
            return jax.lax.scan(step, carry, order_of_epoch(key, carry[2]).reshape(-1, batch_size))

        start = (weights, opt_state, jnp.zeros((), jnp.int32))
        (weights, _, _), losses = jax.lax.scan(epoch, start, length=epochs)
        return weights, losses

    return run


def _outputs(activation: Callable[[jax.Array], jax.Array], weights: Weights, xs: jax.Array) -> jax.Array:
    for kernel, bias in weights[:-1]:
        xs = activation(xs @ kernel + bias)
    kernel, bias = weights[-1]
    return xs @ kernel + bias
