"""The suite `gradient`: the chain of hand-derived rules against `jax.grad`, with nothing but plain descent."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax

import purenet as pn
from purenet.bench.contests import Contender, Contest, Settings, Suite
from purenet.bench.problems import Case, Problem, cost_of, make_problem, scaled
from purenet.bench.train_suites import DIGITS, LARGE, TINY

# The hand rules cost what autodiff costs.
_AT_MOST = 1.05

# Rounding, in another order of summation.
_TOLERANCE = {"float32": 1e-3, "float64": 1e-9}
_COARSE = 0.1

# Small enough that the weights stay near where they began, on which the rate of the work does not depend.
_RATE = 1e-4

CASES = (TINY, DIGITS, LARGE)


def contests(settings: Settings) -> Iterator[Contest]:
    """Makes the contest of every case.

    Args:
      settings: a quick run goes through the data less often, and leaves the last case out.

    Yields:
      One contest after the other.
    """
    for case in CASES[:-1] if settings.quick else CASES:
        yield make_contest(scaled(case, settings))


def make_contest(case: Case) -> Contest:
    """Makes the contest of one case: descent over the mini-batches as they lie, in one program.

    Args:
      case: network, data and length.

    Returns:
      The contest.
    """
    problem = make_problem(case)
    params, state = problem.start.params, problem.start.state
    by_hand = jax.value_and_grad(problem.loss_by_hand)
    autodiff, backprop = (make(problem.net, problem.loss) for make in (pn.value_and_grad, pn.backprop))
    return Contest(
        case=case.name,
        per="gradient",
        per_call=problem.updates,
        agreement="last loss",
        tolerance=_TOLERANCE.get(case.dtype, _COARSE),
        contenders=(
            Contender("jax.grad by hand", _descent(problem, problem.weights, lambda w, b: by_hand(w, *b)), float),
            Contender("pn.value_and_grad", _descent(problem, params, _ours(autodiff, state)), float, _AT_MOST),
            Contender("pn.backprop", _descent(problem, params, _ours(backprop, state)), float, _AT_MOST),
        ),
        cost=cost_of(problem, optax.sgd(_RATE)),
        dtype=case.dtype,
    )


def _ours(gradient: Any, state: Any) -> Callable[[Any, Any], tuple[jax.Array, Any]]:
    def run(params: Any, batch: Any) -> tuple[jax.Array, Any]:
        (value, _), grads = gradient(params, state, batch)
        return value, grads

    return run


def _descent(
    problem: Problem, start: Any, gradient: Callable[[Any, Any], tuple[jax.Array, Any]]
) -> Callable[[], jax.Array]:
    """Descends from the same weights, and gives the last mini-batch's loss."""
    plan, epochs = problem.plan, problem.case.epochs
    cut = [jnp.reshape(a, (plan.full, plan.size, *a.shape[1:])) for a in (problem.data.xs, problem.data.ys)]

    def step(weights: Any, batch: Any) -> tuple[Any, jax.Array]:
        value, grads = gradient(weights, batch)
        return jax.tree.map(lambda w, g: w - jnp.asarray(_RATE, w.dtype) * g, weights, grads), value

    @jax.jit
    def program(weights: Any, batches: Any) -> jax.Array:
        _, values = jax.lax.scan(lambda w, _: jax.lax.scan(step, w, batches), weights, length=epochs)
        return values[-1, -1]

    return lambda: program(start, tuple(cut))


GRADIENT = Suite("a gradient and a plain descent step: hand-derived rules against jax.grad", contests)
