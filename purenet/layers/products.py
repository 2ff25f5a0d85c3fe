"""The matrix product of a mini-batch with a kernel, in the form that XLA runs fast inside a loop."""

import functools

import jax
import jax.numpy as jnp

# XLA on CPU compiles a loop without library calls into one function; with a single product that calls a library, every
# small operation of the loop is dispatched by itself, some 50 ns each. As multiplications and sums, a step of training
# by autodiff took on two cores with jax 0.12 (in brackets 0.10.1): 2-16-1 B=4 0.37 µs instead of 2.05 (1.3 instead of
# 2.7); 4-32-32-3 B=4 2.3 instead of 7.2 (3.8 instead of 8.4); 8-32-8 B=16 6.0 instead of 8.4 (5.4 instead of 6.5);
# 16-32-10 B=8 3.7 instead of 7.1 (6.2 instead of 7.8). Beyond _SMALL multiply-adds the library wins, sooner under
# `jax.vmap`; sums over 4,096 elements or more are library calls again, so longer ones are cut.
_SMALL, _BLOCK = 4_096, 2_048
_EXACT = (jnp.float32, jnp.float64)  # in 16 bits the single products would be rounded


def product(left: jax.Array, right: jax.Array) -> jax.Array:
    """Multiplies two matrices.

    Args:
      left: shape (m, k).
      right: shape (k, n), of the same dtype.

    Returns:
      Their product, shape (m, n).
    """
    (m, k), n = left.shape, right.shape[1]
    if not 0 < m * k * n <= _SMALL or left.dtype not in _EXACT:
        return jnp.dot(left, right)
    out: jax.Array = jax.lax.platform_dependent(left, right, cpu=_by_sums, default=jnp.dot)
    return out


def _by_sums(left: jax.Array, right: jax.Array) -> jax.Array:
    (m, k), n = left.shape, right.shape[1]
    step = max(1, _BLOCK // (m * n))
    blocks = [jnp.sum(left[:, i : i + step, None] * right[None, i : i + step], axis=1) for i in range(0, k, step)]
    return functools.reduce(jnp.add, blocks)
