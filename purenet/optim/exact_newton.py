"""newton: the exact Hessian of small problems, factorised."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from purenet.contract import Tree
from purenet.errors import by, expect_flags
from purenet.optim.checking import expect_amounts, expect_counts, expect_given, expect_rate, expect_room, tell
from purenet.optim.curvature import hessian_product, matrix_of
from purenet.optim.flattening import dtype_of, flatten, on_vectors, restorer, seen
from purenet.optim.solving import smallest_eigenvalue, solve_positive
from purenet.optim.stepping import scaled, searched


class NewtonState(NamedTuple):
    """What Newton's method tells of itself.

    Attributes:
      count: updates made.
      step_size: the share of the last step that the line search took; 1 without one.
      failed_at: the first update, counted from 1, whose Hessian was not positive definite; 0 for none.
      smallest: the smallest eigenvalue then, damping included.
    """

    count: jax.Array  # type: ignore[assignment]
    step_size: jax.Array
    failed_at: jax.Array
    smallest: jax.Array

    @property
    def wants(self) -> tuple[str, ...]:
        """What training is to tell."""
        return ("value", "grad", "value_fn")

    def trouble(self) -> str | None:
        """Says in one sentence what went wrong first and what to do, or None; read on the host."""
        failed, smallest = (np.ravel(np.asarray(leaf)) for leaf in (self.failed_at, self.smallest))
        if not failed.any():
            return None
        first = int(np.argmax(failed > 0))
        where, eigenvalue = f"at update {failed[first]}", float(smallest[first])
        if not np.isfinite(eigenvalue):
            return f"newton: expected a finite Hessian {where}, got NaN or infinity. Lower learning_rate."
        return (
            f"newton: expected a positive definite Hessian {where}, got a smallest eigenvalue of {eigenvalue:.6g}, "
            f"damping included. Raise damping by more than {abs(eigenvalue):.6g}, "
            "or use pn.optim.newton_cg or pn.optim.gauss_newton."
        )


def newton(
    learning_rate: float | jax.Array | Callable[[Any], Any] = 1.0,
    *,
    damping: float | jax.Array = 0.0,
    line_search: bool = True,
    max_bytes: int | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Newton's method with the exact Hessian, for small problems: p = -(H + λI)⁻¹ g, by Cholesky's factorisation.

    On a quadratic one step of rate 1 ends at the minimum. d parameters cost d Hessian-vector products, d² numbers and
    d³/3 operations an update; beyond a few thousand `newton_cg` and `gauss_newton` serve. Where H + λI is not positive
    definite the updates are NaN, the state's `trouble()` says why, and an update outside `jit` raises. A softmax's
    logits have such a direction, a constant added to all: give those a little damping, 1e-6 say. It wants all data at
    once (`batch_size=None`), and for networks with hidden layers the other two.

    Args:
      learning_rate: the share of p taken, or where the line search begins; above 0, or a schedule.
      damping: λ, 0 or more, in units of curvature; it shortens the step where the function is flat.
      line_search: whether p is halved until the value falls, which every step away from a minimum needs.
      max_bytes: the largest matrix that is made; None for 2³⁰, 1 GiB. More is refused by `init`.

    Returns:
      An optax optimizer whose `update` needs `value_fn`, which `pn.train_step`, `pn.train` and `pn.fit` supply.

    Raises:
      ShapeError: for a rate that is not above 0, damping below 0, or, by `init`, a matrix above `max_bytes`; by
        `update` outside `jit`, if the Hessian is not positive definite.
      StructureError: if an option is not what it should be, or `update` lacks `params` or `value_fn`.

    References:
      Nocedal and Wright (2006), Numerical optimization, section 3.3.

    Example:
      >>> import jax, jax.numpy as jnp, optax, purenet as pn
      >>> def value_fn(x): return 2 * x[0] ** 2 + x[0] * x[1] + x[1] ** 2 - 7 * x[1]
      >>> optimizer, x = pn.optim.newton(), jnp.zeros(2)
      >>> updates, state = optimizer.update(jax.grad(value_fn)(x), optimizer.init(x), x, value_fn=value_fn)
      >>> optax.apply_updates(x, updates).round(5).tolist()
      [-1.0, 4.0]
    """
    with by("newton"):
        expect_rate(learning_rate)
        expect_amounts(damping=damping)
        if max_bytes is not None:
            expect_counts(max_bytes=max_bytes)
    expect_flags("newton", line_search=line_search)

    def init(params: Tree) -> NewtonState:
        with by("newton"):
            expect_room(params, max_bytes, "Use pn.optim.newton_cg, which needs no matrix, or raise max_bytes.")
        dtype, none = dtype_of(params), jnp.zeros((), jnp.int32)
        return NewtonState(none, jnp.ones((), dtype), none, jnp.zeros((), dtype))

    def update(
        grads: Tree,
        state: NewtonState,
        params: Tree = None,
        *,
        value: Any = None,
        grad: Tree = None,
        value_fn: Any = None,
        **_: Any,
    ) -> tuple[Tree, NewtonState]:
        with by("newton"):
            expect_given(params, value_fn=value_fn)
        if not jax.tree.leaves(params):
            return grads, state._replace(count=state.count + 1)
        x, f = flatten(params), on_vectors(value_fn, params)
        matrix = matrix_of(hessian_product(f, x), x)
        matrix = matrix + jnp.asarray(damping).astype(x.dtype) * jnp.eye(x.size, dtype=x.dtype)
        direction, sound = solve_positive(matrix, -flatten(grads, x.dtype))
        step = scaled(direction, learning_rate, state.count)
        size = jnp.ones((), x.dtype)
        if line_search:
            step, size = searched(step, x, value, flatten(grads if grad is None else seen(grad, params), x.dtype), f)
        new = _noted(state, size, sound, matrix)
        tell(new)
        return restorer(params)(step), new

    return optax.GradientTransformationExtraArgs(init, update)


def _noted(state: NewtonState, size: jax.Array, sound: jax.Array, matrix: jax.Array) -> NewtonState:
    """The state after an update; the first trouble stays."""
    count = state.count + 1
    first = ~sound & (state.failed_at == 0)
    smallest = smallest_eigenvalue(matrix, first)
    return NewtonState(
        count, size, jnp.where(first, count, state.failed_at), jnp.where(first, smallest, state.smallest)
    )
