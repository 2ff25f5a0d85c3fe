"""newton_cg: Newton's method by Hessian-vector products and conjugate gradients, for larger problems."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from purenet.contract import Tree
from purenet.errors import by, expect_flags
from purenet.optim.checking import expect_amounts, expect_counts, expect_given, expect_rate
from purenet.optim.curvature import hessian_product
from purenet.optim.flattening import dtype_of, flatten, on_vectors, restorer, seen
from purenet.optim.solving import truncated_cg
from purenet.optim.stepping import scaled, searched


class NewtonCGState(NamedTuple):
    """What Newton-CG tells of itself.

    Attributes:
      count: updates made.
      step_size: the share of the last step that the line search took; 1 without one.
      products: Hessian-vector products of the last update.
      curved: whether it met a direction of negative curvature.
    """

    count: jax.Array  # type: ignore[assignment]
    step_size: jax.Array
    products: jax.Array
    curved: jax.Array

    @property
    def wants(self) -> tuple[str, ...]:
        """What training is to tell."""
        return ("value", "grad", "value_fn")


def newton_cg(
    learning_rate: float | jax.Array | Callable[[Any], Any] = 1.0,
    *,
    damping: float | jax.Array = 0.0,
    iterations: int | jax.Array = 100,
    tolerance: float | jax.Array | None = None,
    line_search: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """Newton's method without a matrix: (H + λI) p = -g by conjugate gradients on Hessian-vector products.

    It stops at the first direction dᵀ(H + λI)d <= 0 and keeps what it has, at the very first one the negative
    gradient; so p always points downhill, also where H is not positive definite. An update costs about two gradients a
    product.

    Args:
      learning_rate: the share of p taken, or where the line search begins; above 0, or a schedule.
      damping: λ, 0 or more, in units of curvature.
      iterations: the most products an update, 1 or more.
      tolerance: ends when the residual falls to this share of |g|, 0 or more; None for min(0.01, √|g|), with which the
        steps converge faster than linearly.
      line_search: whether p is halved until the value falls.

    Returns:
      An optax optimizer whose `update` needs `value_fn`, which `pn.train_step`, `pn.train` and `pn.fit` supply.

    Raises:
      ShapeError: for a rate that is not above 0, or another option out of range.
      StructureError: if an option is not what it should be, or `update` lacks `params` or `value_fn`.

    References:
      Nocedal and Wright (2006), Numerical optimization, algorithm 7.1;
      Dembo, Eisenstat and Steihaug (1982), Inexact Newton methods.

    Example:
      >>> import jax, jax.numpy as jnp, optax, purenet as pn
      >>> def value_fn(x): return jnp.sum(jnp.arange(1.0, 4.0) * (x - 5) ** 2)
      >>> optimizer, x = pn.optim.newton_cg(tolerance=1e-6), jnp.zeros(3)
      >>> updates, state = optimizer.update(jax.grad(value_fn)(x), optimizer.init(x), x, value_fn=value_fn)
      >>> optax.apply_updates(x, updates).round(4).tolist(), int(state.products)
      ([5.0, 5.0, 5.0], 3)
    """
    with by("newton_cg"):
        expect_rate(learning_rate)
        expect_amounts(damping=damping, **({} if tolerance is None else {"tolerance": tolerance}))
        expect_counts(iterations=iterations)
    expect_flags("newton_cg", line_search=line_search)

    def init(params: Tree) -> NewtonCGState:
        none = jnp.zeros((), jnp.int32)
        return NewtonCGState(none, jnp.ones((), dtype_of(params)), none, jnp.zeros((), bool))

    def update(
        grads: Tree,
        state: NewtonCGState,
        params: Tree = None,
        *,
        value: Any = None,
        grad: Tree = None,
        value_fn: Any = None,
        **_: Any,
    ) -> tuple[Tree, NewtonCGState]:
        with by("newton_cg"):
            expect_given(params, value_fn=value_fn)
        if not jax.tree.leaves(params):
            return grads, state._replace(count=state.count + 1)
        x, f = flatten(params), on_vectors(value_fn, params)
        b = -flatten(grads, x.dtype)
        hessian, shift = hessian_product(f, x), jnp.asarray(damping).astype(x.dtype)
        near = jnp.minimum(0.01, jnp.sqrt(jnp.linalg.norm(b))) if tolerance is None else tolerance
        solution = truncated_cg(lambda v: hessian(v) + shift * v, b, iterations=iterations, tolerance=near)
        step = scaled(solution.x, learning_rate, state.count)
        size = jnp.ones((), x.dtype)
        if line_search:
            step, size = searched(step, x, value, flatten(grads if grad is None else seen(grad, params), x.dtype), f)
        return restorer(params)(step), NewtonCGState(state.count + 1, size, solution.products, solution.curved)

    return optax.GradientTransformationExtraArgs(init, update)
