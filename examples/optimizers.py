"""A race of optimizers on the same nets, with the same first weights and the same mini-batches.

Each takes part with the best of a few learning rates: all rates and seeds are one program, vmapped. Two problems: a
net that reads scans of handwritten digits, in mini-batches; and a linear one whose inputs have scales from 1 to 0.03,
all examples at once, where the steepest way down is hardly ever the way to the bottom. The loss is that of the training
data, for this is about descending, not about unseen digits. Times are those of one run without compilation: compare
them only on a machine that does nothing else.

    python examples/optimizers.py                        some minutes
    python examples/optimizers.py --only Adam L-BFGS     these alone
    python examples/optimizers.py --share 0.1            a tenth of the steps, and then nothing is promised
"""

import argparse
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
from tqdm import tqdm

import purenet as pn

SEEDS = 3


class Contender(NamedTuple):
    """An optimizer by its learning rate, the rates to choose from, and where its answer is if not in the params."""

    make: Callable[[Any], Any]
    rates: np.ndarray
    answer: Callable[[Any, Any], Any] = lambda opt_state, params: params


def rates(low: float, high: float) -> np.ndarray:
    """Five rates from one power of ten to another."""
    return np.geomspace(low, high, 5).astype(np.float32)


# One line each; the rates are centred on what the optimizer usually gets.
CONTENDERS = {
    "SGD": Contender(optax.sgd, rates(1e-2, 1)),
    "momentum": Contender(lambda rate: optax.sgd(rate, 0.9), rates(1e-3, 0.3)),
    "Nesterov": Contender(lambda rate: optax.sgd(rate, 0.9, nesterov=True), rates(1e-3, 0.3)),
    "Adagrad": Contender(optax.adagrad, rates(1e-2, 3)),
    "Adadelta": Contender(optax.adadelta, rates(1, 100)),
    "RMSprop": Contender(optax.rmsprop, rates(1e-3, 0.3)),
    "Adam": Contender(optax.adam, rates(1e-3, 0.3)),
    "AMSGrad": Contender(optax.amsgrad, rates(1e-3, 0.3)),
    "Adamax": Contender(optax.adamax, rates(1e-3, 0.3)),
    "Nadam": Contender(optax.nadam, rates(1e-3, 0.3)),
    "AdamW": Contender(optax.adamw, rates(1e-3, 0.3)),
    "Lion": Contender(lambda rate: optax.lion(rate, weight_decay=0.0), rates(3e-4, 0.1)),
    "Muon": Contender(optax.contrib.muon, rates(3e-3, 0.3)),
    "schedule-free": Contender(
        optax.contrib.schedule_free_adamw, rates(1e-3, 0.3), optax.contrib.schedule_free_eval_params
    ),
    "L-BFGS": Contender(optax.lbfgs, rates(0.1, 1)),
    "FTRL": Contender(pn.optim.ftrl, rates(0.1, 10)),
    "Gauss-Newton": Contender(pn.optim.gauss_newton, rates(0.1, 1)),
    "K-FAC": Contender(pn.optim.kfac, rates(3e-3, 0.3)),
}


class Problem(NamedTuple):
    """A net to train, on what, for how long, and which loss counts as reached."""

    net: Any
    loss: Any
    data: tuple[Any, Any]
    spec: Any
    batch_size: int | None
    epochs: int
    goal: float


def problems(share: float) -> dict[str, Problem]:
    """Digits in mini-batches, and a linear net whose inputs have very different scales."""
    train, _ = pn.data.digits()
    reader = pn.serial(pn.flatten, pn.dense(32), pn.relu, pn.dense(10))
    rng = np.random.default_rng(0)
    plain = rng.normal(size=(100, 10)).astype(np.float32)
    scaled = plain * np.geomspace(1, 0.03, 10, dtype=np.float32)
    epochs = [max(1, round(share * epochs)) for epochs in (20, 400)]
    return {
        "digits": Problem(
            reader, pn.losses.softmax_cross_entropy, train, pn.spec((8, 8)), 64, epochs[0], 0.05
        ),
        "ill-conditioned": Problem(
            pn.dense(1, bias=False), pn.losses.half_squared_error, (scaled, plain.sum(axis=1, keepdims=True)),
            pn.spec(10), None, epochs[1], 0.01,
        ),
    }  # fmt: skip


class Result(NamedTuple):
    """How an optimizer did at its best rate, averaged over the seeds."""

    name: str
    rate: float
    loss: float
    steps: float
    seconds: float


def race(name: str, contender: Contender, problem: Problem) -> Result:
    """Runs all rates and seeds as one program, then times one run at the best rate."""
    data = jax.tree.map(jnp.asarray, problem.data)
    length = pn.steps_per_epoch(len(data[0]), problem.batch_size)

    def run(rate: Any, key: Any) -> tuple[jax.Array, jax.Array]:
        optimizer = contender.make(rate)
        state = pn.train_state(problem.net, optimizer, key, problem.spec)
        train = pn.train(problem.net, problem.loss, optimizer, batch_size=problem.batch_size, epochs=problem.epochs)
        final, history = train(state, data)
        params = contender.answer(final.opt_state, final.params)
        outputs = jax.vmap(problem.net.apply, (None, 0))(params, data[0])
        loss = jnp.mean(jax.vmap(problem.loss.value)(outputs, data[1]))
        return loss, history["step_loss"].reshape(-1)

    keys = jax.random.split(jax.random.key(0), SEEDS)
    losses, courses = jax.jit(jax.vmap(jax.vmap(run, (None, 0)), (0, None)))(contender.rates, keys)
    means = np.nan_to_num(np.mean(losses, axis=1), nan=np.inf)
    best = int(np.argmin(means))
    reached = [_reached(course, length, problem.goal) for course in np.asarray(courses[best])]

    program = jax.jit(run).lower(contender.rates[best], keys[0]).compile()
    times = []
    for _ in range(3):
        began = time.perf_counter()
        jax.block_until_ready(program(contender.rates[best], keys[0]))
        times.append(time.perf_counter() - began)
    return Result(name, float(contender.rates[best]), means[best], np.mean(reached), min(times) / courses.shape[-1])


def _reached(course: np.ndarray, length: int, goal: float) -> float:
    """The first step after which the losses of the last epoch's steps have a mean below the goal."""
    means = np.convolve(course, np.ones(length) / length, "valid")
    below = np.flatnonzero(means <= goal)
    return below[0] + length if len(below) else np.inf


def main(argv: list[str] | None = None) -> dict[str, list[Result]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), metavar="NAME")
    parser.add_argument("--share", type=float, default=1.0, help="of the steps")
    args = parser.parse_args(argv)

    results = {}
    for title, problem in problems(args.share).items():
        steps = problem.epochs * pn.steps_per_epoch(len(problem.data[0]), problem.batch_size)
        print(f"\n{title}: {steps} steps, mean of {SEEDS} seeds")
        goal = f"steps to {problem.goal}"
        print(f"{'optimizer':>15}{'best rate':>12}{'loss at the end':>18}{goal:>18}{'µs a step':>12}")
        rows = [race(name, CONTENDERS[name], problem) for name in tqdm(args.only, disable=None, leave=False)]
        for row in sorted(rows, key=lambda row: row.loss):
            reached = "never" if row.steps == np.inf else f"{row.steps:.0f}"
            print(f"{row.name:>15}{row.rate:>12.2g}{row.loss:>18.2e}{reached:>18}{1e6 * row.seconds:>12.0f}")
        results[title] = rows
    if args.share < 1 or len(args.only) < len(CONTENDERS):
        print("\nnothing is promised of a shorter race")
    else:
        _expect_promises({title: {row.name: row for row in rows} for title, rows in results.items()})
    return results


def _expect_promises(found: dict[str, dict[str, Result]]) -> None:
    """What the whole race shows, or an error."""
    quick = [row for row in found["digits"].values() if row.steps < np.inf]
    if len(quick) < len(CONTENDERS) / 2:
        raise SystemExit(f"optimizers: expected half of them to reach the loss on digits, got {len(quick)}")
    ill = {name: row.loss for name, row in found["ill-conditioned"].items()}
    if not (ill["L-BFGS"] < 1e-9 and ill["Adam"] < ill["SGD"] / 1000):
        raise SystemExit(f"optimizers: expected L-BFGS at the bottom and Adam far below SGD, got {ill}")


if __name__ == "__main__":
    main()
