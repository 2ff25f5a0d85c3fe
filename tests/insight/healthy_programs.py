"""Programs in which no NaN and no infinity reaches a result or a gradient, or only one that is meant."""

import jax
import jax.numpy as jnp
import numpy as np
from insight.planting import few, healthy

import purenet as pn


@healthy(few(1.0, 2.0, 3.0), np.array([True, False, True]))
def masked_attention(scores, mask):
    hidden = jnp.where(mask, scores, -jnp.inf)
    weights = jnp.exp(hidden - jnp.max(hidden))
    return jnp.sum(weights / jnp.sum(weights) * scores)


@healthy(few(1.0, 2.0, 3.0), few(0.0, -np.inf, 0.0))
def masked_by_an_argument(scores, mask):
    return jnp.sum(jax.nn.softmax(scores + mask) * scores)


@healthy(few(0.0, 4.0))
def guarded_on_both_sides(x):
    safe = jnp.where(x > 0, x, 1.0)
    return jnp.sum(jnp.where(x > 0, jnp.sqrt(safe), 0.0))


@healthy(few(1.0, -2.0, 5.0))
def running_maximum_from_minus_infinity(xs):
    return jax.lax.scan(lambda c, x: (jnp.maximum(c, x), None), -jnp.inf, xs)[0]


@healthy(few(1.0, -2.0, 5.0))
def logsumexp_of_large(xs):
    return jax.nn.logsumexp(1e4 * xs)


@healthy(few(0.0, 1.0))
def unused_nan(x):
    jnp.log(-x - 1.0)
    return jnp.sum(x)


@healthy(few(0.0, 1.0))
def nan_not_taken(x):
    broken = jnp.log(x - 2.0)
    return jnp.sum(jax.lax.stop_gradient(jnp.where(x > 5, broken, 0.0)) + x)


@healthy(few(1.0, 2.0))
def minimum_of_infinity(x):
    return jnp.sum(jnp.minimum(jax.lax.stop_gradient(jnp.exp(100.0 * x)), 3.0)) + jnp.sum(jnp.exp(-1e10 * x))


@healthy(few(0.0, 3.0))
def relu_at_zero(x):
    return jnp.sum(jax.nn.relu(x) + jax.nn.silu(x))


@healthy(np.array([[0.0, 0.0], [3.0, 4.0]], np.float32))
def guarded_norm(x):
    squares = jnp.sum(x * x, axis=1)
    return jnp.sum(jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1.0)), 0.0))


@healthy(few(0.0))
def infinity_in_a_cond_not_taken(x):
    return jax.lax.cond(x[0] > 0, lambda a: jnp.sum(1.0 / a), jnp.sum, x)


@healthy(jax.random.key(0), few(1.0, 2.0))
def with_a_random_key(key, x):
    return jnp.sum(x * jax.random.normal(key, (2,)))


@healthy(few(1e4, -1e4))
def stable_cross_entropy(logits):
    return pn.losses.softmax_cross_entropy.value(logits, jnp.array(1))


@healthy(np.ones((3, 2), np.float32), np.ones((3, 2), np.float32))
def causal_attention(q, v):
    causal = jnp.tril(jnp.ones((3, 3), bool))
    weights = jax.nn.softmax(jnp.where(causal, q @ q.T, -jnp.inf))
    return jnp.sum(weights @ v)


@healthy(few(1.0, 2.0, 0.5))
def running_softmax(x):
    def body(carry, x):
        top, total = carry
        new = jnp.maximum(top, x)
        return (new, total * jnp.exp(top - new) + jnp.exp(x - new)), None

    top, total = jax.lax.scan(body, (-jnp.inf, 0.0), x)[0]
    return top + jnp.log(total)


@healthy(few(1.0, 2.0))
def logits_that_are_masked_on_purpose(x):
    return jnp.where(jnp.array([True, False]), x, -jnp.inf)
