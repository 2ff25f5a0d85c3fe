"""Linear systems of second-order methods: by Cholesky's factorisation, and by conjugate gradients cut short."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purenet.optim.curvature import Product


def solve_positive(matrix: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Solves A x = b for a positive definite A by Cholesky's factorisation.

    Args:
      matrix: A, symmetric, of shape (n, n).
      b: of shape (n,).

    Returns:
      x, and whether A is positive definite in this precision; else x is NaN.
    """
    factor = jnp.linalg.cholesky(matrix)
    x = jax.scipy.linalg.cho_solve((factor, True), b)
    return x, jnp.all(jnp.isfinite(factor))


def smallest_eigenvalue(matrix: jax.Array, wanted: jax.Array) -> jax.Array:
    """Gives the smallest eigenvalue of a symmetric matrix where it is wanted, else 0.

    Args:
      matrix: of shape (n, n).
      wanted: a truth value. A loop of one turn or none: `cond` would find the eigenvalue always under vmap, and that
        costs many times the factorisation.

    Returns:
      A scalar.
    """

    def find(_: Any) -> tuple[jax.Array, jax.Array]:
        return jnp.zeros_like(wanted), jnp.linalg.eigvalsh(matrix)[0]

    found: jax.Array = jax.lax.while_loop(lambda carry: carry[0], find, (wanted, jnp.zeros((), matrix.dtype)))[1]
    return found


class Solution(NamedTuple):
    """Where conjugate gradients ended.

    Attributes:
      x: the solution so far.
      residual: b - A x.
      products: how many were made.
      curved: whether a direction of curvature 0 or less was met, and ended it.
    """

    x: jax.Array
    residual: jax.Array
    products: jax.Array
    curved: jax.Array


def truncated_cg(
    product: Product, b: jax.Array, *, iterations: Any, tolerance: Any, start: jax.Array | None = None
) -> Solution:
    """Solves A x = b by conjugate gradients, until near enough or the first direction of curvature 0 or less.

    `jax.scipy.sparse.linalg.cg` would go on along such a direction.

    Args:
      product: v ↦ Av, symmetric.
      b: of shape (n,).
      iterations: the most products, traced or not.
      tolerance: ends when |b - Ax| <= tolerance · |b|.
      start: where x begins; None for 0. Of the first direction being of no positive curvature, b itself is returned.

    Returns:
      The solution. NaN in `b` or in a product makes it NaN.

    References:
      Steihaug (1983), The conjugate gradient method and trust regions in large scale optimization;
      Nocedal and Wright (2006), Numerical optimization, algorithm 7.1.
    """
    x = jnp.zeros_like(b) if start is None else start
    residual = b if start is None else b - product(start)
    limit = jnp.square(jnp.asarray(tolerance, b.dtype)) * jnp.vdot(b, b)

    def unfinished(carry: Any) -> jax.Array:
        solution, _, square = carry
        near = square <= limit  # of NaN no, so that the first turn makes the solution NaN
        more: jax.Array = (solution.products < iterations) & ~near & ~solution.curved
        return more

    def turn(carry: Any) -> Any:
        (x, residual, count, _), direction, square = carry
        along = product(direction)
        curvature = jnp.vdot(direction, along)
        positive = curvature > 0
        length = jnp.where(positive, square / jnp.where(positive, curvature, 1), 0)
        x, residual = x + length * direction, residual - length * along
        if start is None:
            x = jnp.where(~positive & (count == 0), b, x)
        x = jnp.where(jnp.isnan(curvature), jnp.nan, x)
        after = jnp.vdot(residual, residual)
        direction = residual + after / jnp.where(square > 0, square, 1) * direction
        return Solution(x, residual, count + 1, ~positive), direction, after

    first = Solution(x, residual, jnp.zeros((), jnp.int32), jnp.zeros((), bool))
    solution: Solution = jax.lax.while_loop(unfinished, turn, (first, residual, jnp.vdot(residual, residual)))[0]
    return solution
