"""Second-order methods: what a step with curvature is worth, and what it costs.

1. A quadratic: Newton's method is at the minimum after one step.
2. A logistic regression: Newton's method against gradient descent, in steps to within 1e-10 of the least loss.
3. A curve fit, a sum of two decays: Levenberg and Marquardt's method against Adam with five rates; and one run of Adam
   a hundred times as long.
4. With MNIST, 784-128-10: steps to a training loss of 0.01 and the time of one, for Adam, Gauss-Newton and K-FAC, all
   with mini-batches of 4,096. A mini-batch must be large to tell a network's curvature.

    python examples/newton.py                    some seconds, without MNIST; the figure goes to out/newton.png
    python examples/newton.py --data FOLDER      with the four MNIST files, some minutes; or set PURENET_DATA
"""

import argparse
import os
import time
from pathlib import Path
from typing import Any

import figures
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import purenet as pn

TARGET, BATCH, EVERY, MOST = 0.01, 4096, 10, 800
RACERS = {
    "Adam, rate 0.001": (optax.adam(1e-3), figures.SKY, ":"),
    "Adam, rate 0.01": (optax.adam(1e-2), figures.SKY, "--"),
    "Adam, rate 0.015": (optax.adam(1.5e-2), figures.BLUE, "-"),
    "Adam, rate 0.02": (optax.adam(2e-2), figures.BLUE, "--"),
    "Gauss-Newton": (pn.optim.gauss_newton(damping=0.01, iterations=20), figures.VERMILION, "-"),
    "K-FAC": (pn.optim.kfac(damping=0.003, every=3), figures.GREEN, "-."),
}
RATES = np.array([1e-3, 1e-2, 3e-2, 1e-1, 3e-1])  # of Adam on the curve


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the four MNIST files; default: PURENET_DATA, else none")
    parser.add_argument("--limit", type=int, help="race on the first so many digits only, and check nothing of it")
    parser.add_argument("--most", type=int, default=MOST, help="steps after which a racer gives up")
    parser.add_argument("--seed", type=int, default=0, help="of data and first weights")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the figure")
    args = parser.parse_args(argv)

    with jax.enable_x64(True):
        facts = {"distance": quadratic(args.seed), "logistic": logistic(args.seed), "curve": curve()}
    races = {}
    if args.data is not None or "PURENET_DATA" in os.environ:
        races = race(args)
    else:
        print("no race on MNIST: --data FOLDER or PURENET_DATA says where its four files are")
    draw(facts["logistic"], facts["curve"], races, args.out)
    check(facts, races, args)
    return {**facts, "races": races}


def quadratic(seed: int) -> float:
    """The distance to the minimum of ½ xᵀAx - bᵀx, of 50 variables, after one step."""
    random = np.random.default_rng(seed)
    root = random.normal(size=(50, 50))
    A, b = jnp.asarray(root @ root.T / 50 + 0.1 * np.eye(50)), jnp.asarray(random.normal(size=50))

    def value_fn(x: jax.Array) -> jax.Array:
        return x @ A @ x / 2 - b @ x

    optimizer, x = pn.optim.newton(), jnp.zeros(50)
    updates, _ = optimizer.update(jax.grad(value_fn)(x), optimizer.init(x), x, value_fn=value_fn)
    distance = float(jnp.linalg.norm(x + updates - jnp.linalg.solve(A, b)))
    print(f"a quadratic of 50 variables: {distance:.1e} from its minimum after one step of Newton's method")
    return distance


def logistic(seed: int) -> dict[str, np.ndarray]:
    """By method, how far the loss of a logistic regression is above the least one, at every step."""
    random = np.random.default_rng(seed)
    xs = random.normal(size=(400, 10)) * np.geomspace(1, 5, 10)
    ys = (random.random(400) < 1 / (1 + np.exp(-xs @ random.normal(size=10) / 5))).astype(np.float64)[:, None]
    net, loss = pn.dense(1), pn.losses.sigmoid_cross_entropy

    def losses(optimizer: Any, steps: int) -> np.ndarray:
        state = pn.train_state(net, optimizer, jax.random.key(seed), pn.spec(10, jnp.float64))
        _, history = jax.jit(pn.train(net, loss, optimizer, epochs=steps))(state, (jnp.asarray(xs), jnp.asarray(ys)))
        return np.asarray(history["loss"])

    # Twice the reciprocal of the largest curvature, at most ¼ λ(xxᵀ), is where gradient descent begins to diverge.
    ones = np.concatenate([xs, np.ones((400, 1))], axis=1)
    rate = 4 / np.linalg.eigvalsh(ones.T @ ones / 400)[-1]
    runs = {"Newton": losses(pn.optim.newton(), 20), "gradient descent": losses(optax.sgd(rate), 1000)}
    least = min(run.min() for run in runs.values())
    gaps = {name: run - least for name, run in runs.items()}
    for name, gap in gaps.items():
        print(f"logistic regression, {name}: {told(steps_to(gap, 1e-10))} steps to within 1e-10 of the least loss")
    return gaps


def curve() -> dict[str, np.ndarray]:
    """By method, the root mean square of the residuals of a curve fit at every step; of Adam, the best rate's."""
    times = jnp.linspace(0, 4, 40)[:, None]
    net = pn.layer(
        lambda p, t: p[0] * jnp.exp(-p[1] * t) + p[2] * jnp.exp(-p[3] * t),
        init=lambda key, spec: (jnp.array([0.5, 0.1, 1.0, 1.0]), ()),
        name="decays",
    )
    data = times, net.apply(jnp.array([1.0, 0.3, 2.0, 1.5]), times)

    def residuals(optimizer: Any, steps: int) -> jax.Array:
        state = pn.train_state(net, optimizer, jax.random.key(0), pn.spec(1, jnp.float64))
        _, history = pn.train(net, pn.losses.half_squared_error, optimizer, epochs=steps)(state, data)
        return jnp.sqrt(2 * history["loss"])

    runs = {"Levenberg-Marquardt": np.asarray(jax.jit(lambda: residuals(pn.optim.levenberg_marquardt(), 12))())}
    needed = steps_to(runs["Levenberg-Marquardt"], 1e-8)
    adams = jax.jit(jax.vmap(lambda rate: residuals(optax.adam(rate), 100 * (needed or 12))))(jnp.asarray(RATES))
    best = int(jnp.argmin(adams.min(axis=1)))
    runs[f"Adam, rate {RATES[best]:g}"] = np.asarray(adams[best])
    for name, run in runs.items():
        print(
            f"curve fit, {name}: {told(steps_to(run, 1e-8))} steps to residuals of 1e-8, "
            f"least {run.min():.1e} of {len(run)} steps"
        )
    return runs


def race(args: argparse.Namespace) -> dict[str, dict]:
    """By racer, the loss over all training digits every few steps, the steps to the target, and the time of one."""
    (images, labels), _ = pn.data.mnist(args.data)
    xs, ys = jnp.asarray(images[: args.limit]).reshape(-1, 784), jnp.asarray(labels[: args.limit])
    races = {}
    print(f"MNIST, 784-128-10, {len(xs)} digits in mini-batches of {min(BATCH, len(xs))}, to a loss of {TARGET}:")
    print(f"{'':20}{'steps':>8}{'ms a step':>12}{'seconds':>10}{'loss':>10}")
    for name, (optimizer, *_) in RACERS.items():
        races[name] = row = run(optimizer, xs, ys, args)
        steps = told(row["steps"] if row["losses"][-1] <= TARGET else None)
        print(f"{name:20}{steps:>8}{row['ms']:12.1f}{row['ms'] * row['steps'] / 1e3:10.1f}{row['losses'][-1]:10.4f}")
    return races


def run(optimizer: Any, xs: jax.Array, ys: jax.Array, args: argparse.Namespace) -> dict:
    """One racer, until the target or the end."""
    net, loss = pn.serial(pn.dense(128), pn.relu, pn.dense(10)), pn.losses.softmax_cross_entropy
    step, n = pn.train_step(net, loss, optimizer), len(xs)
    size = min(BATCH, n)

    @jax.jit
    def some(state: pn.TrainState) -> pn.TrainState:
        def one(state: pn.TrainState, _: None) -> tuple[pn.TrainState, None]:
            epoch, place = state.step // (n // size), state.step % (n // size)
            rows = pn.shuffle(jax.random.fold_in(state.key, epoch), n, place * size + jnp.arange(size))
            return step(state, (xs[rows], ys[rows]))[0], None

        return jax.lax.scan(one, state, length=EVERY)[0]

    @jax.jit
    def loss_of(params: Any) -> jax.Array:
        return jnp.mean(jax.vmap(loss.value)(jax.vmap(net.apply, (None, 0))(params, xs), ys))

    state = pn.train_state(net, optimizer, jax.random.key(args.seed), pn.spec(784))
    jax.block_until_ready(some(state))  # compiled before the clock starts
    losses, seconds = [float(loss_of(state.params))], 0.0
    while losses[-1] > TARGET and int(state.step) < args.most:
        start = time.perf_counter()
        state = jax.block_until_ready(some(state))
        seconds += time.perf_counter() - start
        losses.append(float(loss_of(state.params)))
    return {"losses": np.array(losses), "steps": int(state.step), "ms": 1e3 * seconds / max(1, int(state.step))}


def steps_to(losses: np.ndarray, target: float) -> int | None:
    """How many updates come before the first loss at or below the target; None if there is none."""
    below = np.flatnonzero(losses <= target)
    return int(below[0]) if len(below) else None


def told(steps: int | None) -> str:
    """A number of steps, or that there is none."""
    return "–" if steps is None else str(steps)


def draw(logistic: dict, curve: dict, races: dict, folder: Path) -> None:
    """Draws the loss by step: of the regression, the fit, and the race if there was one."""
    figure, panels = plt.subplots(1, 2 + bool(races), figsize=(5 * (2 + bool(races)), 4), squeeze=False)
    looks = ((figures.VERMILION, "-"), (figures.BLUE, "--"))
    titles = ("Logistic regression", "loss above the least"), ("Fit of two decays", "root mean square of the residuals")
    for axes, runs, (title, label) in zip(panels[0], (logistic, curve), titles, strict=False):
        for (name, losses), (colour, dash) in zip(runs.items(), looks, strict=True):
            axes.loglog(1 + np.arange(len(losses)), np.maximum(losses, 1e-16), dash, color=colour, label=name)
        axes.set(xlabel="step", ylabel=label, title=title)
        axes.legend()
    for name, row in races.items():
        _, colour, dash = RACERS[name]
        steps = EVERY * np.arange(len(row["losses"]))
        panels[0, 2].semilogy(steps, row["losses"], dash, color=colour, label=f"{name}: {row['ms']:.0f} ms a step")
    if races:
        panels[0, 2].axhline(TARGET, color=figures.GREY, linewidth=1)
        panels[0, 2].set(xlabel="step", ylabel="training loss (nats)", title=f"MNIST, mini-batches of {BATCH}")
        panels[0, 2].legend()
    figures.save(figure, folder, "newton")


def check(facts: dict, races: dict, args: argparse.Namespace) -> None:
    """Ends with an error where a promise is not kept."""
    newton, descent = (steps_to(gap, 1e-10) for gap in facts["logistic"].values())
    marquardt, adam = (steps_to(run, 1e-8) for run in facts["curve"].values())
    fewer = newton is not None and (descent is None or newton <= descent / 20) and marquardt is not None
    if facts["distance"] > 1e-10 or not fewer or adam is not None:
        raise SystemExit(f"newton: expected far fewer steps than gradient descent's and Adam's, got {facts}")
    if not races or args.limit is not None or args.most < MOST:
        print(f"that K-FAC takes a quarter of Adam's steps is checked on all of MNIST with up to {MOST} steps")
        return
    steps = {name: row["steps"] if row["losses"][-1] <= TARGET else np.inf for name, row in races.items()}
    adam = min(steps[name] for name in steps if name.startswith("Adam"))
    best = min(steps["Gauss-Newton"], steps["K-FAC"])
    if best > adam / 4:
        raise SystemExit(f"newton: expected a quarter of Adam's {adam} steps or fewer, got {best}")


if __name__ == "__main__":
    main()
