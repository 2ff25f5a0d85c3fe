"""Contests of larger networks: `pn.train` beside the same step written by hand, and several networks at once."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from purenet.bench.contests import Contender, Contest
from purenet.bench.networks import Task, make_problem
from purenet.bench.problems import Problem, arguments_by_hand, cost_of, run_by_hand, run_of_train
from purenet.updates import order_of_epoch

# Of the mean loss of the last epoch; in float32 rounding changed it by less.
TOLERANCE = 1e-3
_COARSE = 2e-2


def step_contest(task: Task, at_most: float, *, scanned: bool) -> Contest:
    """Makes the contest of a training step: jitted step by step on ready mini-batches by hand, and `pn.train`.

    Args:
      task: network, data and length.
      at_most: the longest time wanted of `pn.train`, as a multiple of the jitted step's.
      scanned: whether the hand-written step takes part inside of a scan, too.

    Returns:
      The contest.
    """
    problem = make_problem(task)
    by_scan = (Contender("hand-written JAX, scan", _scanned(problem), _mean),) if scanned else ()
    return Contest(
        case=task.name,
        per="step",
        per_call=problem.updates,
        agreement="mean loss of the last epoch",
        tolerance=tolerance(task),
        contenders=(
            Contender("hand-written JAX, jit per step", _jitted(problem), _mean),
            *by_scan,
            Contender("pn.train, autodiff", train(problem, "autodiff"), _mean, at_most),
            Contender("pn.train, backprop", train(problem, "backprop"), _mean, at_most),
        ),
        cost=cost_of(problem),
        dtype=task.dtype,
        slowness=6,
    )


def many_contest(task: Task, count: int, at_most: float) -> Contest:
    """Makes the contest of training several networks: one after the other, and together in one program.

    Args:
      task: network, data and length.
      count: how many networks.
      at_most: the longest time wanted together, as a multiple of that one after the other.

    Returns:
      The contest.
    """
    problem = make_problem(task)
    data, run = (problem.data.xs, problem.data.ys), run_of_train(problem, "autodiff")
    starts = jax.vmap(lambda seed: problem.start._replace(key=jax.random.key(seed)))(jnp.arange(count))
    singly = [problem.start._replace(key=jax.random.key(seed)) for seed in range(count)]

    def last(start: Any, data: Any) -> Any:
        return run(start, data)[1]["step_loss"]

    one, over_vmap = jax.jit(last), jax.jit(jax.vmap(last, (0, None)))
    over_map = jax.jit(lambda starts, data: jax.lax.map(lambda start: last(start, data), starts))

    return Contest(
        case=f"{count} of {task.name}",
        per="network-step",
        per_call=count * problem.updates,
        agreement="mean loss of all steps",
        tolerance=tolerance(task),
        contenders=(
            Contender("pn.train, one after the other", lambda: [one(start, data) for start in singly], _mean_of_all),
            Contender("jax.lax.map of pn.train", lambda: over_map(starts, data), _mean_of_all, at_most),
            Contender("jax.vmap of pn.train", lambda: over_vmap(starts, data), _mean_of_all),
        ),
        cost=cost_of(problem),
        dtype=task.dtype,
        slowness=8,
    )


def tolerance(task: Task) -> float:
    """By how much losses may differ: in 16 bits only coarse mistakes show."""
    return TOLERANCE if task.dtype in ("float32", "float64") else _COARSE


def train(problem: Problem, gradient: str) -> Callable[[], Any]:
    """Makes a call of the whole run by `pn.train`, which gives the losses of its steps."""
    program, data = jax.jit(run_of_train(problem, gradient)), (problem.data.xs, problem.data.ys)
    return lambda: program(problem.start, data)[1]["step_loss"]


def _scanned(problem: Problem) -> Callable[[], Any]:
    program, arguments = jax.jit(run_by_hand(problem)), arguments_by_hand(problem)
    return lambda: program(*arguments)[1]


def _jitted(problem: Problem) -> Callable[[], Any]:
    """The same updates one by one, the mini-batches ready on the device: the best case of the usual loop."""
    plan, optimizer = problem.plan, problem.optimizer
    orders = [order_of_epoch(plan, problem.start.key, epoch * plan.steps) for epoch in range(problem.case.epochs)]
    rows = np.concatenate([np.asarray(order).reshape(-1, plan.size) for order in orders])
    batches = [(problem.data.xs[row], problem.data.ys[row]) for row in rows]

    @jax.jit
    def step(weights: Any, opt_state: Any, xs: jax.Array, ys: jax.Array) -> tuple[Any, Any, jax.Array]:
        value, grads = jax.value_and_grad(problem.loss_by_hand)(weights, xs, ys)
        updates, opt_state = optimizer.update(grads, opt_state, weights)
        return optax.apply_updates(weights, updates), opt_state, value

    def call() -> list[Any]:
        weights, opt_state = problem.weights, optimizer.init(problem.weights)
        losses = []
        for xs, ys in batches:
            weights, opt_state, value = step(weights, opt_state, xs, ys)
            losses.append(value)
        return [losses[-plan.steps :]]

    return call


def _mean(losses: Sequence[Any]) -> float:
    return float(np.mean(np.asarray(losses[-1], np.float64)))


def _mean_of_all(losses: Sequence[Any]) -> float:
    return float(np.mean([np.mean(np.asarray(one, np.float64)) for one in losses]))
