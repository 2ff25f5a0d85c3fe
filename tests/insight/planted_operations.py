"""Operations that make a NaN or an infinity in the line that says `# here`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from insight.planting import few, planted

import purenet as pn


@planted(0.0, 0.0)
def zero_by_zero(a, b):
    u = a + 1.0
    v = a / b  # here
    return u * v


@planted(few(1.0, 0.0), kind="inf")
def log_of_zero(x):
    y = x * 2.0
    return jnp.sum(jnp.log(y))  # here


@planted(few(4.0, -1.0))
def sqrt_of_negative(x):
    root = jnp.sqrt(x)  # here
    return jnp.mean(root)


@planted(few(0.0, 1.0), kind="inf", direction="backward")
def sqrt_slope_at_zero(x):
    y = 2.0 * x
    return jnp.sum(jnp.sqrt(y))  # here


@planted(few(100.0), kind="inf")
def infinity_minus_infinity(x):
    big = jnp.exp(x)  # here
    other = big + 1.0
    return jnp.sum(big - other)


@planted(np.array([3.0, 200.0], jnp.bfloat16), kind="inf")
def overflow_in_bfloat16(x):
    y = x + x
    z = jnp.exp(y)  # here
    return jnp.sum(z)


@planted(np.array([3.0, 300.0], np.float16), kind="inf")
def overflow_in_float16(x):
    y = x * x  # here
    return jnp.sum(y)


@planted(few(1e30), kind="inf")
def overflow_in_cast(x):
    y = x.astype(jnp.float16)  # here
    return jnp.sum(y)


@planted(few(0.0, 0.0), kind="inf", direction="backward")
def norm_at_zero(x):
    s = x * x
    return jnp.linalg.norm(s)  # here


@planted(few(0.0, 2.0), kind="inf", direction="backward")
def where_after_sqrt(x):
    shifted = 3.0 * x
    return jnp.sum(jnp.where(shifted > 0, jnp.sqrt(shifted), 0.0))  # here


@planted(few(1.0, 0.0), direction="backward")
def where_after_log(x):
    y = jnp.where(x > 0, jnp.log(x), 0.0)  # here
    return jnp.sum(y)


@planted(few(0.0), kind="inf", direction="backward")
def power_at_zero(x):
    return jnp.sum(x**0.5)  # here


@planted(few(-2.0))
def power_of_negative(x):
    return jnp.sum(x**0.5)  # here


@planted(few(1.0, 2.0), np.full(2, -np.inf, np.float32))
def everything_masked(scores, mask):
    hidden = scores + mask
    highest = jnp.max(hidden)
    weights = jnp.exp(hidden - highest)  # here
    return jnp.sum(weights / jnp.sum(weights))


@planted(few(1.0, -1.0))
def beside_a_mask(x):
    masked = jnp.where(jnp.array([True, False]), x, -jnp.inf)
    top = jnp.max(masked)
    return top + jnp.log(x[1])  # here


@planted(few(1e20, 1.0), kind="inf")
def overflow_beside_a_mask(x):
    masked = jnp.where(jnp.array([True, False]), x, jnp.inf)
    squared = masked * masked  # here
    return squared[0]


@planted(few(0.5, 2.0))
def through_a_gather(x):
    y = jnp.arcsin(x)  # here
    return jnp.sum(y[jnp.array([1, 1, 0])])


@planted(few(1.0, 2.0), 0.0, kind="inf", direction="backward")
def the_second_argument(x, s):
    def scaled(x, s):
        return x * jnp.sqrt(s)  # here

    return jnp.sum(functools.partial(scaled, s=s)(x))


@planted(few(0.0, 3.0), kind="inf")
def log_times_zero(p):
    entropy = p * jnp.log(p)  # here
    return -jnp.sum(entropy)


@planted(np.zeros(0, np.float32))
def mean_of_nothing(x):
    return jnp.mean(x)  # here


@planted(np.array([0, 5], np.int32))
def label_out_of_range(labels):
    return jnp.sum(jax.vmap(pn.losses.softmax_cross_entropy.value)(jnp.zeros((2, 3)), labels))  # here
