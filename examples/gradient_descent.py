"""Gradient descent on a curve with two minima, where the rate decides in which it ends; and what other searches cost.

The curve has a wide valley with its lowest point at −2.45, a narrow one at 1.87, and a hilltop between them at 0.41:

    f(x) = x² − 400 exp(−((x + 2.5) / 2.75)²) − 250 exp(−((x − 2) / 1.25)²)

With a rate that is halved at each step, every descent settles somewhere. With a constant one too large for both
valleys it bounces for ever. In d dimensions, where neighbours pull at each other,

    F(x) = Σ f(xᵢ) + 5 Σ (xᵢ − xᵢ₊₁)²,

searches without a gradient need more and more evaluations to come within 1 % of the least value. A point with its
gradient is counted as four evaluations, which is what backpropagation costs at most. Descent with a small rate ends in
the valley where it happened to begin, one of 2ᵈ, and has to begin again and again. A rate that falls from 0.02 to 0.005
begins once: a valley holds a descent once the rate is below 2 / f″, which is 0.019 for the wide one and 0.007 for the
narrow one, too late. That the wide valley is the deep one too is luck of this curve, if a common one.

    python examples/gradient_descent.py                   some seconds
    python examples/gradient_descent.py --budget 2000     shorter: a search that takes more has failed
    python examples/gradient_descent.py --plot out.png    draws the descents (pip install "purenet[plot]")
"""

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import purenet as pn

LEFT, HILLTOP, RIGHT = -2.454, 0.412, 1.871
DIMENSIONS, SEEDS, BUDGET = (2, 3, 5, 10), 5, 100_000
LOW, HIGH = -5.0, 5.0
GRID = np.linspace(LOW, HIGH, 21)
GRADIENT = 4  # evaluations that a value with its gradient costs at most (Baur and Strassen, 1983)


def curve(x: Any, xp: Any = jnp) -> Any:
    """The curve, in JAX or in NumPy."""
    wide = 400 * xp.exp(-(((x + 2.5) / 2.75) ** 2))
    narrow = 250 * xp.exp(-(((x - 2) / 1.25) ** 2))
    return x**2 - wide - narrow


class Run(NamedTuple):
    """Where a descent begins, its first rate, whether that is halved at each step, and what happens."""

    start: float
    rate: float
    halved: bool
    steps: int
    story: str


RUNS = {
    "a": Run(0.1, 0.025, True, 40, "settles near −2.5"),
    "b": Run(-3.5, 0.025, True, 40, "overshoots that minimum and comes back to it"),
    "c": Run(1.0, 0.025, True, 40, "oscillates into the other one"),
    "d": Run(-3.5, 0.05, True, 40, "leaps over the near minimum, where b stays"),
    "e": Run(-3.5, 0.05, False, 1000, "bounces for ever and never settles"),
}


def descents() -> dict[str, pn.Descent]:
    """All runs; those of one length together, vmapped over starts and rates."""
    made = {}
    for steps in {run.steps for run in RUNS.values()}:
        names = [name for name, run in RUNS.items() if run.steps == steps]
        starts = jnp.array([RUNS[name].start for name in names])
        rates = np.array([[RUNS[n].rate * (0.5**t if RUNS[n].halved else 1) for t in range(steps)] for n in names])
        many = jax.jit(jax.vmap(lambda x0, rate, steps=steps: pn.descend(curve, x0, rate, steps)))(
            starts, jnp.asarray(rates, starts.dtype)
        )
        made |= {name: jax.tree.map(lambda a, i=i: np.asarray(a[i]), many) for i, name in enumerate(names)}
    return {name: made[name] for name in RUNS}


def crossings(path: np.ndarray, place: float) -> int:
    """How often a path goes from one side of a place to the other."""
    return int(np.sum(np.diff(np.sign(path - place)) != 0))


class Done(Exception):  # noqa: N818 - no error
    """Ends a search; says after how many evaluations it came near enough, None if it did not."""


class Evaluations:
    """Evaluates F and counts, until a value is within 1 % of the least one or the budget is spent."""

    def __init__(self, dimension: int, budget: int):
        self.goal = 0.99 * dimension * float(curve(np.float64(LEFT), np))
        self.budget, self.used = budget, 0

    def __call__(self, points: np.ndarray, cost: int = 1) -> np.ndarray:
        """Gives F at points of shape (n, d), each counted as `cost`."""
        values = landscape(points, np)
        reached = np.flatnonzero(values <= self.goal)
        spent = self.used + cost * (int(reached[0]) + 1 if len(reached) else len(points))
        if len(reached) or spent > self.budget:
            raise Done(spent if spent <= self.budget else None)
        self.used = spent
        return values


def landscape(x: Any, xp: Any = jnp) -> Any:
    """F over the last axis."""
    return xp.sum(curve(x, xp), axis=-1) + 5 * xp.sum((x[..., 1:] - x[..., :-1]) ** 2, axis=-1)


def random_search(rng: np.random.Generator, dimension: int, evaluate: Evaluations) -> None:
    while True:
        evaluate(rng.uniform(LOW, HIGH, (100, dimension)))


def coordinate_descent(rng: np.random.Generator, dimension: int, evaluate: Evaluations) -> None:
    """Takes the best of 21 values of one coordinate after the other; where none helps, it begins elsewhere."""
    while True:
        x, value, before = rng.uniform(LOW, HIGH, dimension), math.inf, math.inf
        while value < before or before == math.inf:
            before = value
            for i in range(dimension):
                line = np.tile(x, (len(GRID), 1))
                line[:, i] = GRID
                values = evaluate(line)
                x, value = line[np.argmin(values)], float(np.min(values))


def annealing(rng: np.random.Generator, dimension: int, evaluate: Evaluations) -> None:
    """Goes uphill by h with probability exp(−h / T), while the temperature T falls; then it begins anew."""
    while True:
        x = rng.uniform(LOW, HIGH, dimension)
        value = evaluate(x[None])[0]
        for temperature in np.geomspace(300, 3, 1000):
            near = np.clip(x + rng.normal(size=dimension) * 0.5, LOW, HIGH)
            new = evaluate(near[None])[0]
            if new < value or rng.random() < math.exp((value - new) / temperature):
                x, value = near, new


def genetic(rng: np.random.Generator, dimension: int, evaluate: Evaluations) -> None:
    """Forty points: the better of two become parents, children mix their coordinates and mutate; the best one stays."""
    while True:
        points = rng.uniform(LOW, HIGH, (40, dimension))
        values = evaluate(points)
        for _ in range(50):
            rivals = rng.integers(0, 40, (2, 2, 40))
            parents = np.where(values[rivals[0]] < values[rivals[1]], rivals[0], rivals[1])
            children = np.where(rng.random((40, dimension)) < 0.5, points[parents[0]], points[parents[1]])
            children += rng.normal(size=children.shape) * 0.5 * (rng.random(children.shape) < 0.3)
            children[0] = points[np.argmin(values)]
            points = np.clip(children, LOW, HIGH)
            values = evaluate(points)


def gradient_descent(rate: Any) -> Callable[[np.random.Generator, int, Evaluations], None]:
    """Twenty steps with `pn.descend`, again and again from elsewhere, eight starts at a time."""
    paths = jax.jit(jax.vmap(lambda x0: pn.descend(landscape, x0, rate, 20).path))

    def search(rng: np.random.Generator, dimension: int, evaluate: Evaluations) -> None:
        while True:
            for path in np.asarray(paths(jnp.asarray(rng.uniform(LOW, HIGH, (8, dimension)), jnp.float32))):
                evaluate(path, cost=GRADIENT)

    return search


SEARCHES: dict[str, Callable[[np.random.Generator, int, Evaluations], None]] = {
    "random search": random_search,
    "coordinate descent": coordinate_descent,
    "simulated annealing": annealing,
    "genetic search": genetic,
    "descent, small rate": gradient_descent(0.005),
    "descent, rate falls": gradient_descent(optax.exponential_decay(0.02, 20, 0.25)),
}


def needed(search: Callable[..., None], dimension: int, budget: int) -> list[int | None]:
    """The evaluations that a search takes, for each of a few seeds."""
    counts: list[int | None] = []
    for seed in range(SEEDS):
        try:
            search(np.random.default_rng(seed), dimension, Evaluations(dimension, budget))
        except Done as done:
            counts.append(done.args[0])
    return counts


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=int, default=BUDGET, help="evaluations after which a search has failed")
    parser.add_argument("--plot", type=Path, help="file to draw the descents into, such as out.png")
    args = parser.parse_args(argv)

    made = descents()
    for name, run in RUNS.items():
        rate = f"{run.rate} halved each step" if run.halved else f"{run.rate} throughout"
        first = ", ".join(f"{x:.2f}" for x in made[name].path[:7])
        print(f"{name}: from {run.start}, rate {rate}: {run.story}\n   {first}, …, {made[name].path[-1]:.3f}")
    settled = {"a": LEFT, "b": LEFT, "c": RIGHT, "d": RIGHT}
    for name, place in settled.items():
        if abs(made[name].path[-1] - place) > 0.05:
            raise SystemExit(f"gradient_descent: expected {name} to settle at {place}, got {made[name].path[-1]:.3f}")

    print(f"\nevaluations to come within 1% of the least value in d dimensions, median of {SEEDS} runs")
    print(f"{'d':>20}" + "".join(f"{dimension:>20}" for dimension in DIMENSIONS))
    grid = {dimension: len(GRID) ** dimension for dimension in DIMENSIONS}
    print(f"{'grid, 21 values each':>20}" + "".join(f"{count:>20,}" for count in grid.values()))
    counts: dict[str, dict[int, list[int | None]]] = {}
    for name, search in SEARCHES.items():
        counts[name] = {dimension: needed(search, dimension, args.budget) for dimension in DIMENSIONS}
        medians = [sorted(math.inf if n is None else n for n in runs)[SEEDS // 2] for runs in counts[name].values()]
        cells = [f"more than {args.budget:,}" if median == math.inf else f"{median:,}" for median in medians]
        print(f"{name:>20}" + "".join(f"{cell:>20}" for cell in cells))
    if args.plot is not None:
        draw(made, args.plot)
    return {"descents": made, "grid": grid, "evaluations": counts}


def draw(made: dict[str, pn.Descent], file: Path) -> None:
    """Draws the curve with what settles, what the rate decides, and what never settles."""
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(12, 4.2), layout="constrained")
    panels = {
        "rate 0.025, halved at each step": ("a", "b", "c"),
        "the same start, twice the rate": ("b", "d"),
        "0.05 throughout": ("e",),
    }
    for ax, (title, names) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        shown = [jax.tree.map(lambda a: a[:30], made[name]) for name in names]
        labels = [f"from {RUNS[name].start}, {RUNS[name].rate}" for name in names]
        pn.plot.descent(curve, *shown, ax=ax, labels=labels, span=(-9.0, 7.0) if names == ("e",) else (-5.0, 5.0))
        ax.set_title(title, pad=36)  # above the legend
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150)
    print(f"drawn: {file}")


if __name__ == "__main__":
    main()
