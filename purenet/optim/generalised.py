"""gauss_newton: curvature from the predictions' Jacobian and the loss, by conjugate gradients, on mini-batches."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from purenet.contract import Tree
from purenet.errors import ShapeError, by, expect_flags
from purenet.optim.checking import expect_amounts, expect_counts, expect_given, expect_positive, expect_rate, known
from purenet.optim.curvature import linearise
from purenet.optim.flattening import dtype_of, flatten, restorer, seen
from purenet.optim.solving import Solution, truncated_cg
from purenet.optim.stepping import scaled, searched

# Martens (2010), section 4.1: below a gain of 1/4 the damping grows, above 3/4 it falls.
_POOR, _GOOD = 0.25, 0.75


class GaussNewtonState(NamedTuple):
    """What the Gauss-Newton method remembers and tells of itself.

    Attributes:
      count: updates made.
      damping: λ for the next update.
      gain: the fall of the value at the last full step, over the fall that the quadratic model promised.
      step_size: the share of the last step that the line search took; 1 without one.
      products: Gauss-Newton products of the last update.
      direction: the last direction as a vector, where the next search for one begins.
    """

    count: jax.Array  # type: ignore[assignment]
    damping: jax.Array
    gain: jax.Array
    step_size: jax.Array
    products: jax.Array
    direction: jax.Array

    @property
    def wants(self) -> tuple[str, ...]:
        """What training is to tell."""
        return ("predict_fn", "loss_fn")


def gauss_newton(
    learning_rate: float | jax.Array | Callable[[Any], Any] = 1.0,
    *,
    damping: float | jax.Array = 0.03,
    adapt: float | jax.Array | None = None,
    iterations: int | jax.Array = 10,
    tolerance: float | jax.Array = 1e-3,
    memory: float | jax.Array = 0.95,
    line_search: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """The Gauss-Newton method for networks, on mini-batches: (JᵀLJ + λI) p = -g by conjugate gradients.

    J is the Jacobian of the predictions in the params, L the Hessian of the loss in the predictions; for a loss that is
    convex in them, such as cross-entropy and squared errors, the matrix has no negative curvature. The predictions are
    linearised once an update; a product costs about one forward and one backward pass. A mini-batch of n examples knows
    the curvature only so well, and λ stands for what it does not know: large mini-batches, of thousands, allow a small
    λ and long steps.

    Args:
      learning_rate: the share of p taken, or where the line search begins; above 0, or a schedule.
      damping: λ, or that of the first update if it is adapted; 0 or more, in units of curvature. 0.01 to 0.1 suits
        cross-entropy on mini-batches.
      adapt: None keeps λ; a number above 1 is the factor by which λ grows after a step whose fall is less than 1/4 of
        what the quadratic model promised, and falls after one of more than 3/4. For all data at once: on a mini-batch
        the model foretells its own examples too well, and λ falls too far.
      iterations: the most products for a direction, 1 or more.
      tolerance: ends when the residual falls to this share of |g|, 0 or more.
      memory: the search for a direction begins at this share of the last one, from 0, which keeps what earlier
        mini-batches found; 0 begins afresh.
      line_search: whether p is halved until the value of the mini-batch falls.

    Returns:
      An optax optimizer whose `update` needs `predict_fn` and `loss_fn`, which `pn.train_step`, `pn.train` and `pn.fit`
      supply.

    Raises:
      ShapeError: for a rate that is not above 0, or another option out of range.
      StructureError: if an option is not what it should be, or `update` lacks `params`, `predict_fn` or `loss_fn`.

    References:
      Schraudolph (2002), Fast curvature matrix-vector products for second-order gradient descent;
      Martens (2010), Deep learning via Hessian-free optimization.

    Example:
      >>> import jax, jax.numpy as jnp, purenet as pn
      >>> net, loss = pn.serial(pn.dense(8), pn.tanh, pn.dense(1)), pn.losses.half_squared_error
      >>> xs = jnp.linspace(-2, 2, 50)[:, None]
      >>> optimizer = pn.optim.gauss_newton(damping=0.1, adapt=1.5)
      >>> state = pn.train_state(net, optimizer, jax.random.key(0), pn.spec(1))
      >>> final, history = jax.jit(pn.train(net, loss, optimizer, epochs=40))(state, (xs, jnp.sin(2 * xs)))
      >>> bool(history["loss"][-1] < 1e-3)
      True
    """
    with by("gauss_newton"):
        expect_rate(learning_rate)
        expect_amounts(damping=damping, tolerance=tolerance, memory=memory)
        expect_counts(iterations=iterations)
        if adapt is not None:
            expect_positive(adapt=adapt)
            if known(adapt) and float(adapt) <= 1:
                raise ShapeError(f"expected adapt above 1, or None, got {float(adapt)}. The usual one is 1.5.")
    expect_flags("gauss_newton", line_search=line_search)

    def init(params: Tree) -> GaussNewtonState:
        dtype, none = dtype_of(params), jnp.zeros((), jnp.int32)
        first, one = jnp.asarray(damping).astype(dtype), jnp.ones((), dtype)
        count = sum(leaf.size for leaf in jax.tree.leaves(params))
        return GaussNewtonState(none, first, one, one, none, jnp.zeros(count, dtype))

    def update(
        grads: Tree,
        state: GaussNewtonState,
        params: Tree = None,
        *,
        grad: Tree = None,
        predict_fn: Any = None,
        loss_fn: Any = None,
        **_: Any,
    ) -> tuple[Tree, GaussNewtonState]:
        with by("gauss_newton"):
            expect_given(params, predict_fn=predict_fn, loss_fn=loss_fn)
        if not jax.tree.leaves(params):
            return grads, state._replace(count=state.count + 1)
        x, g, restore = flatten(params), flatten(grads, dtype_of(params)), restorer(params)

        def predict(x: jax.Array) -> Tree:
            return predict_fn(restore(x))

        def f(x: jax.Array) -> jax.Array:
            value: jax.Array = loss_fn(predict(x))
            return value.astype(x.dtype)

        outer = linearise(predict, loss_fn, x)
        start = jnp.asarray(memory).astype(x.dtype) * state.direction
        solution = truncated_cg(
            lambda v: outer.product(v) + state.damping * v, -g, iterations=iterations, tolerance=tolerance, start=start
        )
        step = scaled(solution.x, learning_rate, state.count)
        gain = (outer.value - f(x + step)) / _promised(step, solution, g, state.damping)
        size = jnp.ones((), x.dtype)
        if line_search:
            step, size = searched(step, x, outer.value, g if grad is None else flatten(seen(grad, params), x.dtype), f)
        new = state.damping if adapt is None else _adapted(state.damping, gain, jnp.asarray(adapt).astype(x.dtype))
        count = state.count + 1
        return restore(step), GaussNewtonState(count, new, gain, size, solution.products, solution.x)

    return optax.GradientTransformationExtraArgs(init, update)


def _promised(step: jax.Array, solution: Solution, g: jax.Array, damping: jax.Array) -> jax.Array:
    """The fall of the quadratic model, damping apart, along the step, which is a multiple of the solution."""
    p = solution.x
    bent = jnp.vdot(p, -g - solution.residual) - damping * jnp.vdot(p, p)  # pᵀGp, without another product
    square = jnp.vdot(p, p)
    share = jnp.vdot(step, p) / jnp.where(square > 0, square, 1)
    fall: jax.Array = -(share * jnp.vdot(g, p) + share**2 * bent / 2)
    return jnp.where(fall == 0, jnp.finfo(fall.dtype).tiny, fall)


def _adapted(damping: jax.Array, gain: jax.Array, factor: jax.Array) -> jax.Array:
    eps = jnp.finfo(damping.dtype).eps
    grown = jnp.where(gain > _GOOD, damping / factor, jnp.where(gain >= _POOR, damping, damping * factor))
    return jnp.clip(grown, eps, 1 / eps)
