"""The networks that the training suites train, with data and first weights that are always the same."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import purenet as pn
from purenet.bench import by_hand
from purenet.bench.contests import Cost, Settings
from purenet.gradients import Batch
from purenet.losses.base import Loss
from purenet.updates import Plan, order_of_epoch, plan_epochs

RATE = 1e-3


class Case(NamedTuple):
    """A network and its data.

    Attributes:
      widths: inputs, hidden units, …, outputs; one output is a regression with tanh, more are classes with ReLU.
      batch: examples per mini-batch; it divides `n`.
      n: the number of examples.
      epochs: how often one call goes through them.
      dtype: of weights and data.
    """

    widths: tuple[int, ...]
    batch: int
    n: int
    epochs: int
    dtype: str = "float32"

    @property
    def name(self) -> str:
        """Such as "784-128-10 B=128"; equal layers are counted, "8x1024 B=512"."""
        widths = self.widths
        if len(widths) > 4 and len(set(widths)) == 1:
            return f"{len(widths) - 1}x{widths[0]} B={self.batch}"
        return f"{'-'.join(map(str, widths))} B={self.batch}"


class Problem(NamedTuple):
    """What all contenders of a case are given.

    Attributes:
      case: a `Case`, or a `networks.Task`: both have a name, a batch, a number of examples, epochs and a dtype.
      kind: the network's, as in `bench/peers/yardsticks.py`.
      loss_name: the loss's, as the peers know it.
      weights: the first ones, as the hand-written form has them: a tuple of arrays a layer.
    """

    case: Any
    kind: str
    loss_name: str
    plan: Plan
    net: pn.Layer
    loss: Loss
    loss_by_hand: by_hand.Loss
    optimizer: optax.GradientTransformation
    start: pn.TrainState
    weights: by_hand.Weights
    data: Batch

    @property
    def updates(self) -> int:
        """How many updates one call makes."""
        return int(self.case.epochs) * self.plan.steps


def make_problem(case: Case) -> Problem:
    """Draws the data and the first weights of a case.

    The labels are noisy, so that no loss goes to zero.

    Args:
      case: network, data and length.

    Returns:
      What its contenders are given.
    """
    inputs, *hidden, outputs = case.widths
    x_key, teacher_key, noise_key = jax.random.split(jax.random.key(0), 3)
    xs = jax.random.normal(x_key, (case.n, inputs), case.dtype)
    if outputs == 1:
        activation, loss, loss_by_hand = pn.tanh, pn.losses.half_squared_error, by_hand.squared_error
        noise = jax.random.normal(noise_key, (case.n, 1), case.dtype)
        ys = jnp.sin(jnp.sum(xs, axis=1, keepdims=True)) + 0.5 * noise
    else:
        activation, loss, loss_by_hand = pn.relu, pn.losses.softmax_cross_entropy, by_hand.cross_entropy
        teacher = jax.random.normal(teacher_key, (inputs, outputs), case.dtype) / inputs**0.5
        ys = jnp.argmax(xs @ teacher + jax.random.gumbel(noise_key, (case.n, outputs), case.dtype), axis=1)
        ys = ys.astype(jnp.int32)
    parts = [part for width in hidden for part in (pn.dense(width), activation)]
    net, optimizer = pn.serial(*parts, pn.dense(outputs)), optax.adam(RATE)
    start = pn.train_state(net, optimizer, jax.random.key(0), pn.spec(inputs, case.dtype))
    weights: by_hand.Weights = [(params["kernel"], params["bias"]) for params in start.params if params]
    plan, data = plan_epochs(case.n, case.batch), Batch(xs, ys, None)
    return Problem(case, "mlp", loss.name, plan, net, loss, loss_by_hand, optimizer, start, weights, data)


def scaled(case: Case, settings: Settings) -> Case:
    """Fits a case to what was asked for.

    Args:
      case: network, data and length.
      settings: a quick run goes through the data a quarter as often; a dtype replaces the case's own.

    Returns:
      The case.
    """
    epochs = max(1, case.epochs // 4) if settings.quick else case.epochs
    return case._replace(epochs=epochs, dtype=settings.dtype or case.dtype)


def run_by_hand(problem: Problem) -> Callable[..., Any]:
    """Makes the whole run as written by hand, not compiled; a new function every time.

    Args:
      problem: from `make_problem`.

    Returns:
      A pure function of what `arguments_by_hand` gives.
    """
    return by_hand.make_training(
        problem.loss_by_hand,
        problem.optimizer,
        functools.partial(order_of_epoch, problem.plan),
        batch_size=problem.case.batch,
        epochs=problem.case.epochs,
    )


def arguments_by_hand(problem: Problem) -> tuple[Any, ...]:
    """Gives what the run by hand begins with.

    Args:
      problem: from `make_problem`.

    Returns:
      Weights, optimizer state, key, inputs and targets.
    """
    weights = problem.weights
    return weights, problem.optimizer.init(weights), problem.start.key, problem.data.xs, problem.data.ys


def run_of_train(problem: Problem, gradient: str) -> Callable[..., Any]:
    """Makes the same run by `pn.train`, not compiled; a new function every time.

    Args:
      problem: from `make_problem`.
      gradient: "autodiff" or "backprop".

    Returns:
      A pure function of `problem.start` and the data.
    """
    return pn.train(
        problem.net,
        problem.loss,
        problem.optimizer,
        batch_size=problem.case.batch,
        epochs=problem.case.epochs,
        gradient=gradient,
    )


def cost_of(problem: Problem, optimizer: optax.GradientTransformation | None = None) -> Cost:
    """Counts what an update takes.

    Args:
      problem: from `make_problem`.
      optimizer: another than the problem's.

    Returns:
      The cost of one update: weights and optimizer read and written once, the mini-batch read once.
    """
    size, (params, state) = problem.case.batch, problem.start[:2]
    batch = (problem.data.xs[:size], problem.data.ys[:size])
    opt_state = problem.start.opt_state if optimizer is None else optimizer.init(params)
    flops = pn.flops(pn.value_and_grad(problem.net, problem.loss), params, state, batch).matmul
    return Cost(size, flops, 2 * _bytes((params, opt_state)) + _bytes(batch))


def products_of(case: Case) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Names the shapes of an update's matrix products: forward, for the weights, and for the layer before.

    Args:
      case: network and data.

    Yields:
      The shapes of the left and of the right matrix.
    """
    for i, (width, after) in enumerate(zip(case.widths[:-1], case.widths[1:], strict=True)):
        yield (case.batch, width), (width, after)
        yield (width, case.batch), (case.batch, after)
        if i > 0:
            yield (case.batch, after), (after, width)


def _bytes(tree: pn.contract.Tree) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))
