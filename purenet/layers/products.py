"""The matrix product of a mini-batch with a kernel, in the form that XLA runs fast inside a loop."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

# XLA on CPU compiles a loop without library calls into one function; with a single product that calls a library, every
# small operation of the loop is dispatched by itself, some 50 ns each. As multiplications and sums, a step of training
# by autodiff took on two cores with jax 0.12 (in brackets 0.10.1): 2-16-1 B=4 0.48 µs instead of 2.2 (1.8 instead of
# 3.2); 4-32-32-3 B=4 3.6 instead of 7.5 (5.9 instead of 8.5); 8-32-8 B=16 3.7 instead of 6.5, and 1.6 by backprop (7.1
# instead of 7.6); 16-32-10 B=8 3.6 instead of 6.4 (5.8 instead of 6.9). Beyond _SMALL multiply-adds the library wins on
# the older release; so it does for many products at once, under `jax.vmap`, where sums took three to six times as long.
# Sums over 4,096 elements or more are library calls, too.
_SMALL, _BLOCK = 4_096, 2_048
_EXACT = (jnp.float32, jnp.float64)  # in 16 bits the single products would be rounded

# A primitive, as only that can be one thing for a single run and another under `jax.vmap`, and have all derivatives.
_small_product = Primitive("small_product")


def product(left: jax.Array, right: jax.Array) -> jax.Array:
    """Multiplies two matrices.

    Args:
      left: shape (m, k).
      right: shape (k, n), of the same dtype.

    Returns:
      Their product, shape (m, n).
    """
    sizes = (*left.shape, right.shape[1])
    known = all(isinstance(size, int) for size in sizes)  # `jax.export` has symbols
    if not known or left.dtype not in _EXACT or not jax.sharding.get_abstract_mesh().empty:
        return jnp.dot(left, right)
    m, k, n = sizes
    if not 0 < m * k * n <= _SMALL:
        return jnp.dot(left, right)
    out: jax.Array = _small_product.bind(left, right)
    return out


def _by_sums(left: jax.Array, right: jax.Array) -> jax.Array:
    (m, k), n = left.shape, right.shape[1]
    step = max(1, _BLOCK // (m * n))
    # Else XLA computes each element of both again for every sum that it is in.
    left, right = jax.lax.optimization_barrier((left, right))
    blocks = [jnp.sum(left[:, i : i + step, None] * right[None, i : i + step], axis=1) for i in range(0, k, step)]
    return functools.reduce(jnp.add, blocks)


def _shape(left: Any, right: Any) -> Any:
    return left.update(shape=(left.shape[0], right.shape[1]))


def _many(args: Any, axes: Any) -> tuple[jax.Array, int]:
    """Many products at once are the library's."""
    left, right = args
    left_axis, right_axis = axes
    if right_axis is None:
        return jnp.tensordot(jnp.moveaxis(left, left_axis, 0), right, 1), 0
    right = jnp.moveaxis(right, right_axis, 0)
    if left_axis is None:
        return jnp.matmul(left, right), 0
    return jnp.matmul(jnp.moveaxis(left, left_axis, 0), right), 0


_small_product.def_impl(jax.jit(_by_sums))
_small_product.def_abstract_eval(_shape)
# Linear in either side: dJ/dleft = δ rightᵀ and dJ/dright = leftᵀ δ.
ad.defbilinear(
    _small_product, lambda dy, left, right: product(dy, right.T), lambda dy, left, right: product(left.T, dy)
)
batching.primitive_batchers[_small_product] = _many
mlir.register_lowering(_small_product, mlir.lower_fun(jnp.dot, multiple_results=False))
mlir.register_lowering(_small_product, mlir.lower_fun(_by_sums, multiple_results=False), platform="cpu")
