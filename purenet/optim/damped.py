"""levenberg_marquardt: least squares by Gauss-Newton steps that are shortened until the value falls."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from purenet.contract import Tree
from purenet.errors import ShapeError, by
from purenet.optim.checking import expect_counts, expect_given, expect_positive, expect_room
from purenet.optim.curvature import Outer, linearise, matrix_of
from purenet.optim.flattening import dtype_of, flatten, restorer
from purenet.optim.solving import solve_positive, truncated_cg

SOLVERS = ("dense", "cg")
# Beyond so many parameters the dense system, of d products and d³/3 operations, is left to conjugate gradients.
_DENSE = 2000
# The damping is relative to the curvature; beyond 1e8 a step is too short to matter.
_MOST = 1e8

Solver = Callable[[jax.Array], tuple[jax.Array, jax.Array]]


class LevenbergMarquardtState(NamedTuple):
    """What Levenberg and Marquardt's method tells of itself.

    Attributes:
      count: updates made.
      damping: λ for the next update.
      gain: the fall of the value over the fall that the quadratic model promised, at the last attempt.
      attempts: how many steps the last update tried.
      accepted: whether one of them lowered the value.
    """

    count: jax.Array  # type: ignore[assignment]
    damping: jax.Array
    gain: jax.Array
    attempts: jax.Array
    accepted: jax.Array

    @property
    def wants(self) -> tuple[str, ...]:
        """What training is to tell."""
        return ("predict_fn", "loss_fn")


def levenberg_marquardt(
    *,
    damping: float | jax.Array = 1e-2,
    attempts: int | jax.Array = 8,
    solver: str | None = None,
    iterations: int | jax.Array = 100,
    tolerance: float | jax.Array = 1e-8,
    max_bytes: int | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Levenberg and Marquardt's method, for least squares on all data at once: (G + λD) p = -g.

    G = JᵀLJ has the Jacobian J of the predictions and the Hessian L of the loss in them, a multiple of the unit matrix
    for squared errors. A step that does not lower the value is refused, and λ grows until one does; the better the
    quadratic model foretells the fall, the smaller λ becomes, down to the Gauss-Newton step. It is meant for curve fits
    and small networks with squared errors and the full batch (`batch_size=None`), where it is hard to beat; any loss
    that is convex in the predictions works. D is the diagonal of G, so that the units of the parameters do not matter,
    or, with "cg", the unit matrix times the curvature along g.

    Args:
      damping: λ of the first step, relative to the curvature, above 0.
      attempts: steps tried in an update before the params are left as they are, 1 or more.
      solver: "dense" makes G and factorises it, d products and d³/3 operations for d parameters; "cg" needs only
        products; None takes "dense" up to 2,000 parameters.
      iterations: of "cg", the most products for a step.
      tolerance: of "cg", ends when the residual falls to this share of |g|.
      max_bytes: the largest matrix that "dense" makes; None for 2³⁰, 1 GiB. More is refused by `init`.

    Returns:
      An optax optimizer whose `update` needs `predict_fn` and `loss_fn`, which `pn.train_step`, `pn.train` and `pn.fit`
      supply. Where the loss is not finite the updates are NaN.

    Raises:
      ShapeError: for an option out of range, or, by `init`, a matrix above `max_bytes`.
      StructureError: if an option is not what it should be, or `update` lacks `params`, `predict_fn` or `loss_fn`.

    References:
      Marquardt (1963), An algorithm for least-squares estimation of nonlinear parameters;
      Nielsen (1999), Damping parameter in Marquardt's method.

    Example:
      >>> import jax, jax.numpy as jnp, purenet as pn
      >>> net = pn.layer(lambda p, t: p[0] * jnp.exp(-p[1] * t), init=lambda key, spec: (jnp.ones(2), ()))
      >>> loss, optimizer = pn.losses.half_squared_error, pn.optim.levenberg_marquardt()
      >>> t = jnp.linspace(0, 2, 20)[:, None]
      >>> state = pn.train_state(net, optimizer, jax.random.key(0), pn.spec(1))
      >>> final, _ = jax.jit(pn.train(net, loss, optimizer, epochs=15))(state, (t, 3 * jnp.exp(-2 * t)))
      >>> [round(p, 4) for p in final.params.tolist()]
      [3.0, 2.0]
    """
    with by("levenberg_marquardt"):
        expect_positive(damping=damping, tolerance=tolerance)
        expect_counts(attempts=attempts, iterations=iterations)
        if max_bytes is not None:
            expect_counts(max_bytes=max_bytes)
        if solver not in (*SOLVERS, None):
            raise ShapeError(f"expected solver to be one of {SOLVERS} or None, got {solver!r}. Choose one of them.")

    def is_dense(params: Tree) -> bool:
        return solver == "dense" or (solver is None and sum(leaf.size for leaf in jax.tree.leaves(params)) <= _DENSE)

    def init(params: Tree) -> LevenbergMarquardtState:
        if is_dense(params):
            with by("levenberg_marquardt"):
                expect_room(params, max_bytes, 'Use solver="cg", which needs no matrix, or raise max_bytes.')
        dtype, none = dtype_of(params), jnp.zeros((), jnp.int32)
        first = jnp.asarray(damping).astype(dtype)
        return LevenbergMarquardtState(none, first, jnp.zeros((), dtype), none, jnp.zeros((), bool))

    def update(
        grads: Tree,
        state: LevenbergMarquardtState,
        params: Tree = None,
        *,
        predict_fn: Any = None,
        loss_fn: Any = None,
        **_: Any,
    ) -> tuple[Tree, LevenbergMarquardtState]:
        with by("levenberg_marquardt"):
            expect_given(params, predict_fn=predict_fn, loss_fn=loss_fn)
        if not jax.tree.leaves(params):
            return grads, state._replace(count=state.count + 1)
        x, g, restore = flatten(params), flatten(grads, dtype_of(params)), restorer(params)
        outer = linearise(lambda x: predict_fn(restore(x)), loss_fn, x)
        solve = _dense(outer, g) if is_dense(params) else _by_products(outer, g, iterations, tolerance)
        step, new = _attempt(
            solve, outer.value, lambda p: loss_fn(predict_fn(restore(x + p))).astype(x.dtype), g, state, attempts
        )
        return restore(step), new

    return optax.GradientTransformationExtraArgs(init, update)


def _dense(outer: Outer, g: jax.Array) -> Solver:
    """Factorises G + λD, in units in which D is 1, for one λ after the other.

    G squares the condition of J, but each step begins from an exact gradient and so corrects the last: residuals came
    to 1e-8 in 23 steps where that of J was 1e11, a polynomial of degree 15. No factorisation of J itself is needed.
    """
    matrix = matrix_of(outer.product, g)
    diagonal = jnp.diagonal(matrix)
    # a parameter without influence gets the unit 1, and stays
    unit = jnp.where(diagonal > 0, jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1)), 1)
    scaled, eye = matrix / unit[:, None] / unit[None, :], jnp.eye(g.size, dtype=g.dtype)

    def solve(damping: jax.Array) -> tuple[jax.Array, jax.Array]:
        z, _ = solve_positive(scaled + damping * eye, -g / unit)
        return z / unit, -(jnp.vdot(g / unit, z) + jnp.vdot(z, scaled @ z) / 2)

    return solve


def _by_products(outer: Outer, g: jax.Array, iterations: Any, tolerance: Any) -> Solver:
    """Solves with G + λσ by conjugate gradients, with the curvature σ = gᵀGg / gᵀg."""
    square = jnp.vdot(g, g)
    sigma = jnp.vdot(g, outer.product(g)) / jnp.where(square > 0, square, 1)

    def solve(damping: jax.Array) -> tuple[jax.Array, jax.Array]:
        shift = damping * sigma
        solution = truncated_cg(lambda v: outer.product(v) + shift * v, -g, iterations=iterations, tolerance=tolerance)
        p = solution.x
        undamped = -g - solution.residual - shift * p  # G p, without another product
        return p, -(jnp.vdot(g, p) + jnp.vdot(p, undamped) / 2)

    return solve


def _attempt(
    solve: Solver,
    value: jax.Array,
    value_after: Callable[[jax.Array], jax.Array],
    g: jax.Array,
    state: LevenbergMarquardtState,
    attempts: Any,
) -> tuple[jax.Array, LevenbergMarquardtState]:
    """Tries steps with more and more damping until the value falls; then Nielsen's rule says how much is next."""
    least = jnp.finfo(g.dtype).eps

    def turn(carry: Any) -> Any:
        _, growth, now = carry
        p, promised = solve(now.damping)
        fall = value - value_after(p)
        accepted = fall > 0  # of NaN no
        gain = fall / jnp.where(promised > 0, promised, 1)
        shrink = jnp.maximum(1 / 3, 1 - (2 * gain - 1) ** 3)
        damping = jnp.clip(now.damping * jnp.where(accepted, shrink, growth), least, _MOST).astype(g.dtype)
        now = LevenbergMarquardtState(now.count, damping, gain, now.attempts + 1, accepted)
        return jnp.where(accepted, p, 0), growth * 2, now

    none = jnp.zeros((), jnp.int32)
    start = state._replace(count=state.count + 1, attempts=none, accepted=jnp.zeros((), bool))
    step, _, new = jax.lax.while_loop(
        lambda carry: ~carry[2].accepted & (carry[2].attempts < attempts),
        turn,
        (jnp.zeros_like(g), jnp.full((), 2, g.dtype), start),
    )
    return jnp.where(jnp.isfinite(value), step, jnp.nan), new
