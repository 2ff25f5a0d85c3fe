"""A line through ten points by gradient descent: one point at a time, five at a time, and all ten.

The fewer points an update looks at, the noisier its step and the sooner it is made: in its first epoch the first run
makes ten updates, the last run one. Rates: 0.1 for one point, 0.05 for five, 0.025 for all ten, of the errors summed
over the points of an update; purenet averages over them, so the optimizer gets the rate times their number. All fall as
1 / √(1 + epoch): so slowly that they add up to any distance, and yet to zero, so that the noise dies out. Hence all
three end at the least-squares line, which `numpy.linalg.lstsq` computes directly.

The loop is written out with `pn.train_step` and `jax.lax.scan`, to keep the line after every single update.

    python examples/linear_regression.py                  some seconds; the figure goes to out/linear_regression.png
    python examples/linear_regression.py --epochs 100     shorter, and then the end is not checked
"""

import argparse
import time
from pathlib import Path

import figures
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import purenet as pn

EPOCHS, PROMISE = 10_000, 1e-3
RUNS = {1: 0.1, 5: 0.05, 10: 0.025}  # points per update: rate of the first epoch

net, loss = pn.dense(1), pn.losses.half_squared_error


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="passes over the ten points, 10 or more")
    parser.add_argument("--seed", type=int, default=0, help="of the points and their order")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the figure")
    args = parser.parse_args(argv)
    if args.epochs < 10:
        parser.error(f"expected --epochs of 10 or more, for the figure, got {args.epochs}")

    random = np.random.default_rng(args.seed)
    x = np.linspace(-2, 2, 10, dtype=np.float32)
    y = (0.8 * x + 1 + random.normal(0, 0.4, 10)).astype(np.float32)
    columns = np.stack([x, np.ones(10)], axis=1)
    best, *_ = np.linalg.lstsq(columns, y.astype(np.float64))
    print(f"least squares: slope {best[0]:.5f}, intercept {best[1]:.5f}")

    lines, gaps = {}, {}
    for batch_size, rate in RUNS.items():
        start = time.perf_counter()
        lines[batch_size] = descend(jnp.array(x[:, None]), jnp.array(y[:, None]), batch_size, rate, args)
        end = lines[batch_size][-1, -1]
        gaps[batch_size] = float(np.abs(end - best).max())
        print(
            f"{batch_size:2} points per update, {args.epochs} epochs: slope {end[0]:.5f}, intercept {end[1]:.5f}, "
            f"{gaps[batch_size]:.1e} from least squares   ({time.perf_counter() - start:.1f} s)"
        )
    draw(x, y, best, lines, args.out)

    if args.epochs < EPOCHS:
        print(f"the end is checked from {EPOCHS} epochs on")
    elif max(gaps.values()) > PROMISE:
        raise SystemExit(f"linear_regression: expected to end within {PROMISE} of least squares, got {gaps}")
    return {"best": best, "gaps": gaps, "lines": lines}


def descend(xs: jax.Array, ys: jax.Array, batch_size: int, rate: float, args: argparse.Namespace) -> np.ndarray:
    """Slope and intercept after every update of every epoch, as an array (epochs, updates, 2)."""
    updates = pn.steps_per_epoch(len(xs), batch_size)
    optimizer = optax.sgd(lambda step: rate * batch_size / jnp.sqrt(1 + step // updates))
    step = pn.train_step(net, loss, optimizer)
    key = jax.random.key(args.seed)

    def update(state: pn.TrainState, rows: jax.Array) -> tuple[pn.TrainState, jax.Array]:
        state, _ = step(state, (xs[rows], ys[rows]))
        return state, jnp.stack([state.params["kernel"][0, 0], state.params["bias"][0]])

    def epoch(state: pn.TrainState, number: jax.Array) -> tuple[pn.TrainState, jax.Array]:
        order = pn.shuffle(jax.random.fold_in(key, number), len(xs))
        return jax.lax.scan(update, state, order.reshape(updates, batch_size))

    flat = {"kernel": jnp.zeros((1, 1)), "bias": jnp.zeros(1)}
    start = pn.train_state(net, optimizer, key, pn.spec(1), params=flat)
    _, lines = jax.jit(lambda state: jax.lax.scan(epoch, state, jnp.arange(args.epochs)))(start)
    return np.asarray(lines)


def draw(x: np.ndarray, y: np.ndarray, best: np.ndarray, lines: dict[int, np.ndarray], folder: Path) -> None:
    """Draws, for each run, its lines among the points, and its way over the landscape of the cost."""
    figure, panels = plt.subplots(2, len(lines), figsize=(11, 7), sharex="row", sharey="row")
    colours = plt.get_cmap("viridis_r")(np.linspace(0.1, 1, 5))
    ends = np.array([-2.3, 2.3])
    slopes, intercepts = np.meshgrid(np.linspace(-0.2, 1.4, 81), np.linspace(-0.2, 1.7, 81))
    costs = np.mean((slopes[..., None] * x + intercepts[..., None] - y) ** 2, axis=-1) / 2
    for (batch_size, line), among, above in zip(lines.items(), panels[0], panels[1], strict=True):
        title = "one point" if batch_size == 1 else f"{batch_size} points"
        among.set_title(f"{title} per update, rate {RUNS[batch_size]}")
        for slope, intercept in line[0]:
            among.plot(ends, slope * ends + intercept, color=figures.GREY, linewidth=0.8)
        above.contour(slopes, intercepts, costs, 16, colors=figures.GREY, linewidths=0.6)
        path = np.concatenate([np.zeros((1, 2)), line[:9].reshape(-1, 2)])
        above.plot(*path.T, color=figures.GREY, linewidth=1.2)
        for colour, number in zip(colours, (1, 3, 5, 7, 9), strict=True):
            slope, intercept = line[number - 1, -1]
            among.plot(ends, slope * ends + intercept, color=colour, label=f"after epoch {number}")
            above.plot(slope, intercept, "o", color=colour)
        among.plot(ends, best[0] * ends + best[1], "--", color=figures.BLACK, label="least squares")
        among.scatter(x, y, color=figures.VERMILION, zorder=3)
        above.plot(*best, "*", color=figures.BLACK, markersize=12)
        among.set(xlabel="x")
        above.set(xlabel="slope")
    panels[0, 0].plot([], [], color=figures.GREY, linewidth=0.8, label="each update of epoch 1")
    panels[0, 0].set(ylabel="y")
    panels[1, 0].set(ylabel="intercept")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=7, fontsize=9)
    figures.save(figure, folder, "linear_regression")


if __name__ == "__main__":
    main()
