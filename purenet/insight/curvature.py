"""Curvature of a loss: the largest eigenvalues by Lanczos' iteration."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from purenet.contract import Tree
from purenet.metrics.base import summing

Product = Callable[[Tree], Tree]


def ritz_values(product: Product, start: Tree, steps: int, *, exact: bool = False) -> jax.Array:
    """Eigenvalues of a symmetric map on the Krylov space of `start`, in ascending order, by Lanczos' iteration.

    The last one is never above the largest eigenvalue, but for rounding, and comes close within few steps.

    Args:
      product: the map, such as `optim.curvature.hessian_product` gives.
      start: where to begin, a pytree that is not 0; a direction rich in the wanted eigenvectors, such as a gradient,
        needs fewer steps.
      steps: the dimension of the space, from 1 to the dimension of `start`.
      exact: whether every new direction is made orthogonal to all before, which keeps them in memory. Without, the
        largest eigenvalue is as good, but with many steps eigenvalues that were found come again.

    Returns:
      Shape (steps,). Beyond an invariant space, the rest are zeros.

    References:
      Golub and Van Loan (2013), Matrix computations, section 10.1.

    Example:
      >>> import jax.numpy as jnp
      >>> ritz_values(lambda v: v * jnp.array([1.0, 2.0, 5.0]), jnp.ones(3), 3).round(3).tolist()
      [1.0, 2.0, 5.0]
    """
    first = _plus(1 / _norm(start), start)
    dtype = _norm(start).dtype

    def step(carry: Any, index: jax.Array) -> Any:
        before, now, beta, basis = carry
        after = product(now)
        alpha = _dot(now, after)
        after = _plus(1, after, -alpha, now, -beta, before)
        if exact:
            flat, unflatten = ravel_pytree(after)
            basis = basis.at[index].set(ravel_pytree(now)[0])
            for _ in range(2):  # once is not enough in floating point
                flat = flat - basis.T @ (basis @ flat)
            after = unflatten(flat)
        norm = _norm(after)
        # an invariant space: nothing is left but rounding
        found = norm > 10 * jnp.finfo(dtype).eps * (jnp.abs(alpha) + beta)
        beta = jnp.where(found, norm, 0)
        after = _plus(jnp.where(found, 1 / jnp.where(found, norm, 1), 0), after)
        return (now, after, beta, basis), (alpha, beta)

    basis = jnp.zeros((steps if exact else 0, sum(leaf.size for leaf in jax.tree.leaves(start))), dtype)
    carry = (_plus(0, first), first, jnp.zeros((), dtype), basis)
    _, (alphas, betas) = jax.lax.scan(step, carry, jnp.arange(steps))
    alphas, betas = (a.astype(summing(a.dtype)) for a in (alphas, betas))
    matrix = jnp.diag(alphas) + jnp.diag(betas[:-1], 1) + jnp.diag(betas[:-1], -1)
    values: jax.Array = jnp.linalg.eigvalsh(matrix)
    return values


def _dot(a: Tree, b: Tree) -> jax.Array:
    dots = [jnp.vdot(x, y) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True)]
    total: jax.Array = sum(dots[1:], dots[0])
    return total


def _norm(a: Tree) -> jax.Array:
    return jnp.sqrt(_dot(a, a))


def _plus(*terms: Any) -> Tree:
    """Adds trees, each behind its factor."""
    factors, trees = terms[::2], terms[1::2]

    def combine(*leaves: jax.Array) -> Any:
        parts = [jnp.asarray(factor, leaf.dtype) * leaf for factor, leaf in zip(factors, leaves, strict=True)]
        return sum(parts[1:], parts[0])

    return jax.tree.map(combine, *trees)
