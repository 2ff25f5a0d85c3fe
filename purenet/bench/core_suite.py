"""The suite `core`: what `pn.train` adds to the same training written by hand."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import purenet as pn
from purenet.bench import by_hand
from purenet.bench.contests import Contender, Contest, Suite
from purenet.chunks import make_chunks
from purenet.gradients import Batch
from purenet.losses.base import Loss
from purenet.updates import Plan, order_of_epoch, plan_epochs

# The promise: a compiled step costs what the hand-written one costs (DESIGN.md).
_AT_MOST = 1.05

# A wrong order of the examples changes the last mini-batch's loss by some ten percent. Rounding, in another order
# of summation, changed it by 0.16 % at most in 16,384 steps.
_TOLERANCE = 0.01


class Case(NamedTuple):
    """A network and its data: layer widths, batch size, examples and epochs; `batch` divides `n`."""

    widths: tuple[int, int, int]
    batch: int
    n: int
    epochs: int


class Work(NamedTuple):
    """What all contenders of a case are given."""

    case: Case
    plan: Plan
    net: pn.Layer
    loss: Loss
    loss_by_hand: by_hand.Loss
    optimizer: optax.GradientTransformation
    start: pn.TrainState
    data: Batch


# One call takes 0.1 to 0.3 s on two cores. The labels are noisy enough that no loss goes to zero.
CASES = (
    Case((2, 16, 1), 4, 4_096, 96),
    Case((64, 32, 10), 32, 32_768, 16),
    Case((784, 128, 10), 128, 12_800, 10),
)


def contests(quick: bool) -> Iterator[Contest]:
    """Makes the contest of every case.

    Args:
      quick: whether to train for a quarter of the epochs.

    Yields:
      One contest after the other.
    """
    for case in CASES:
        yield make_contest(case._replace(epochs=max(1, case.epochs // 4)) if quick else case)


def make_contest(case: Case) -> Contest:
    """Makes the contest of one case: by hand, `pn.train` with either gradient, and the chunks that `fit` runs.

    Args:
      case: network, data and length.

    Returns:
      The contest.
    """
    work = make_work(case)
    return Contest(
        case=f"{'-'.join(map(str, case.widths))} B={case.batch}",
        per="step",
        per_call=case.epochs * work.plan.steps,
        agreement="last loss",
        tolerance=_TOLERANCE,
        contenders=(
            Contender("hand-written JAX", _by_hand(work), _last),
            Contender("pn.train, autodiff", _train(work, "autodiff"), _last, _AT_MOST),
            Contender("pn.train, backprop", _train(work, "backprop"), _last, _AT_MOST),
            Contender("fit's chunks", _chunks(work), _last),
        ),
    )


def make_work(case: Case) -> Work:
    """Draws the data and the first weights of a case, always the same.

    Args:
      case: network, data and length.

    Returns:
      What its contenders are given.
    """
    inputs, hidden, outputs = case.widths
    rng = np.random.default_rng(0)
    xs = rng.normal(size=(case.n, inputs)).astype(np.float32)
    if outputs == 1:
        activation, loss, loss_by_hand = pn.tanh, pn.losses.half_squared_error, by_hand.squared_error
        ys = (np.sin(xs.sum(axis=1, keepdims=True)) + 0.5 * rng.normal(size=(case.n, 1))).astype(np.float32)
    else:
        activation, loss, loss_by_hand = pn.relu, pn.losses.softmax_cross_entropy, by_hand.cross_entropy
        logits = xs @ rng.normal(size=(inputs, outputs)) / np.sqrt(inputs)
        ys = np.argmax(logits + rng.gumbel(size=logits.shape), axis=1).astype(np.int32)
    net = pn.serial(pn.dense(hidden), activation, pn.dense(outputs))
    optimizer = optax.adam(1e-3)
    start = pn.train_state(net, optimizer, jax.random.key(0), pn.spec(inputs))
    data = Batch(jnp.asarray(xs), jnp.asarray(ys), None)
    return Work(case, plan_epochs(case.n, case.batch), net, loss, loss_by_hand, optimizer, start, data)


def _by_hand(work: Work) -> Callable[[], jax.Array]:
    weights = [(params["kernel"], params["bias"]) for params in work.start.params if params]
    order = functools.partial(order_of_epoch, work.plan)
    run = by_hand.make_training(
        work.loss_by_hand, work.optimizer, order, batch_size=work.case.batch, epochs=work.case.epochs
    )
    program, opt_state = jax.jit(run), work.optimizer.init(weights)
    return lambda: program(weights, opt_state, work.start.key, work.data.xs, work.data.ys)[1]


def _train(work: Work, gradient: str) -> Callable[[], jax.Array]:
    run = pn.train(
        work.net,
        work.loss,
        work.optimizer,
        batch_size=work.case.batch,
        epochs=work.case.epochs,
        gradient=gradient,
    )
    program, data = jax.jit(run), (work.data.xs, work.data.ys)
    return lambda: program(work.start, data)[1]["step_loss"]


def _chunks(work: Work) -> Callable[[], Any]:
    """An epoch is as many chunks as it needs, each waited for, as in `fit`; without bar, history and checks."""
    chunks = make_chunks(work.net, work.loss, work.optimizer, "autodiff", (), work.plan)

    def call() -> Any:
        state, last = work.start, None
        for _ in range(work.case.epochs):
            left = work.plan.steps
            while left:
                count = min(left, chunks.longest)
                chunk = jax.block_until_ready(chunks.run(state, {}, work.data, count))
                state, last, left = chunk.state, chunk.losses[count - 1], left - count
        return last

    return call


def _last(losses: Any) -> float:
    """The last update's loss, that of one mini-batch: a number that knows the order of the examples."""
    return float(np.ravel(losses)[-1])


CORE = Suite("a training step of pn.train against the same step written by hand in JAX", contests)
