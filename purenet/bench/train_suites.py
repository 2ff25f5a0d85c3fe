"""The suites `train-…`: a step of training, beside the same step written by hand in JAX."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from purenet.bench.contests import Contender, Contest, Race, Settings, Suite
from purenet.bench.problems import (
    Case,
    Problem,
    arguments_by_hand,
    cost_of,
    make_problem,
    products_of,
    run_by_hand,
    run_of_train,
    scaled,
)
from purenet.chunks import make_chunks

# The promise: a compiled step costs what the hand-written one costs (DESIGN.md).
_AT_MOST = 1.05

# Wanted of the large network: at least 75 % of the rate of its own products.
_OF_PRODUCTS = 1 / 0.75

# Of the mean loss of the last epoch. In float32 rounding changed it by at most 4e-5, another order of the examples by
# at least 2e-4. In 16 bits one step of a loss is 4e-3 already: there only coarser mistakes show.
_TOLERANCE = {"float32": 1.5e-4, "float64": 1.5e-4}
_COARSE = 8e-3

# One call takes 0.1 to 0.3 s on two cores.
TINY = Case((2, 16, 1), 4, 4_096, 96)
DIGITS = Case((64, 32, 10), 32, 32_768, 16)
MLP = Case((784, 128, 10), 128, 12_800, 10)
LARGE = Case((784, 512, 512, 10), 512, 12_800, 2)

# Peers take a hundred times as long for the smallest networks: fewer epochs. What is wanted of them comes from
# measurements on two cores.
RACES = {
    TINY: Race(
        TINY._replace(epochs=2),
        {"Keras fit": 40, "PyTorch": 80, "PyTorch, torch.compile": 80, "Equinox": 100, "Flax NNX": 200},
        make_problem,
    ),
    DIGITS: Race(
        DIGITS._replace(epochs=2),
        {"Keras fit": 5, "PyTorch": 5, "PyTorch, torch.compile": 5, "Equinox": 5, "Flax NNX": 5, "scikit-learn": 4},
        make_problem,
    ),
    MLP: Race(
        MLP._replace(epochs=3),
        {"Keras fit": 2, "PyTorch": 2, "PyTorch, torch.compile": 2, "Equinox": 2, "Flax NNX": 2, "scikit-learn": 3.5},
        make_problem,
    ),
    LARGE: Race(
        LARGE._replace(epochs=2),
        {"Keras fit": 1, "PyTorch": 1, "PyTorch, torch.compile": 1, "Equinox": 1, "Flax NNX": 1, "scikit-learn": 1},
        make_problem,
    ),
}


def train_suite(summary: str, *cases: Case) -> Suite:
    """Makes a suite of these cases.

    Args:
      summary: one line for `--list`.
      *cases: networks and data, keys of `RACES`.

    Returns:
      The suite.
    """

    def contests(settings: Settings) -> Iterator[Contest]:
        for case in cases:
            yield make_contest(scaled(case, settings))
            if min(case.widths[1:-1]) >= 512:
                yield products_contest(scaled(case, settings))

    return Suite(summary, contests, races=lambda settings: [RACES[case] for case in cases])


def make_contest(case: Case) -> Contest:
    """Makes the contest of one case: by hand, `pn.train` with either gradient, and the chunks that `fit` runs.

    Args:
      case: network, data and length.

    Returns:
      The contest.
    """
    problem = make_problem(case)
    return Contest(
        case=case.name,
        per="step",
        per_call=problem.updates,
        agreement="mean loss of the last epoch",
        tolerance=_TOLERANCE.get(case.dtype, _COARSE),
        contenders=(
            Contender("hand-written JAX", _by_hand(problem), _last_epoch),
            Contender("pn.train, autodiff", _train(problem, "autodiff"), _last_epoch, _AT_MOST),
            Contender("pn.train, backprop", _train(problem, "backprop"), _last_epoch, _AT_MOST),
            Contender("fit's chunks", _chunks(problem), _last_epoch),
        ),
        cost=cost_of(problem),
        dtype=case.dtype,
    )


def products_contest(case: Case) -> Contest:
    """Makes the contest of `pn.train` with nothing but the matrix products of its steps.

    Args:
      case: network, data and length.

    Returns:
      The contest.
    """
    problem = make_problem(case)
    return Contest(
        case=f"{case.name}, beside its products",
        per="step",
        per_call=problem.updates,
        agreement=None,
        tolerance=0.0,
        contenders=(
            Contender("its products alone", _products(problem), None),
            Contender("pn.train, autodiff", _train(problem, "autodiff"), None, _OF_PRODUCTS),
        ),
        cost=cost_of(problem),
        dtype=case.dtype,
    )


def _by_hand(problem: Problem) -> Callable[[], jax.Array]:
    program, arguments = jax.jit(run_by_hand(problem)), arguments_by_hand(problem)
    return lambda: program(*arguments)[1]


def _train(problem: Problem, gradient: str) -> Callable[[], jax.Array]:
    program, data = jax.jit(run_of_train(problem, gradient)), (problem.data.xs, problem.data.ys)
    return lambda: program(problem.start, data)[1]["step_loss"]


def _chunks(problem: Problem) -> Callable[[], Any]:
    """An epoch is as many chunks as it needs, each waited for, as in `fit`; without bar, history and checks."""
    chunks = make_chunks(problem.net, problem.loss, problem.optimizer, "autodiff", (), problem.plan)

    def call() -> Any:
        state, losses = problem.start, list[Any]()
        for _ in range(problem.case.epochs):
            left, losses = problem.plan.steps, []
            while left:
                count = min(left, chunks.longest)
                chunk = jax.block_until_ready(chunks.run(state, {}, problem.data, count))
                state, left = chunk.state, left - count
                losses.append(chunk.losses[:count])
        return losses

    return call


def _products(problem: Problem) -> Callable[[], Any]:
    """Every product of a step, of matrices that are there; as often as there are steps."""
    draw = functools.partial(jax.random.normal, jax.random.key(0), dtype=problem.case.dtype)
    pairs = [(draw(left), draw(right)) for left, right in products_of(problem.case)]
    program = jax.jit(lambda pairs: [left @ right for left, right in pairs])

    def call() -> Any:
        outs = None
        for _ in range(problem.updates):
            outs = program(pairs)
        return outs

    return call


def _last_epoch(losses: Any) -> float:
    """The mean loss of the last epoch's updates, from those of all epochs or from its parts."""
    parts = losses if isinstance(losses, list) else [losses[-1]]
    return float(np.mean(np.concatenate([np.asarray(part, np.float64) for part in parts])))


TRAIN_TINY = train_suite("a training step of 2-16-1, B=4, against the same step written by hand", TINY)
TRAIN_DIGITS = train_suite("a training step of 64-32-10, B=32, against the same step written by hand", DIGITS)
TRAIN_MLP = train_suite("the same of 784-128-10, B=128, and 784-512-512-10, B=512, and its products alone", MLP, LARGE)
