"""XOR: what one layer cannot do, what two can, and how often training finds it.

1. Known weights of a two-layer ReLU net answer exactly 0, 1, 1, 0. Its hidden layer moves the four points so that one
   line separates them.
2. One layer, trained, answers ½ everywhere; its half squared error cannot fall below 1/8.
3. 1,000 nets of each of three widths, trained at once by `jax.vmap` of `pn.train`, differ only in their first weights.
   Success means: all four answers within 0.1 of the truth. The others are stuck at a handful of losses.
4. At (½, ½) XOR says nothing. What a net answers there depends on the weights it began with.

    python examples/xor.py                 some seconds; the figure goes to out/xor.png
    python examples/xor.py --steps 100     shorter, and then the training results are not checked
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

STEPS, WIDTHS, PROMISE = 1000, (2, 4, 8), 0.8

xs = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
ys = jnp.array([[0.0], [1.0], [1.0], [0.0]])
loss = pn.losses.half_squared_error


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of training, on all four examples at once")
    parser.add_argument("--nets", type=int, default=1000, help="nets of each width")
    parser.add_argument("--seed", type=int, default=0, help="of all first weights")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the figure")
    args = parser.parse_args(argv)
    key = jax.random.key(args.seed)

    codes, known = known_weights()
    print(f"known weights: hidden codes {codes.tolist()}, answers {known.ravel().tolist()}")
    one_layer, error = train_one_layer(key, args.steps)
    print(f"one layer, trained: answers {one_layer.ravel().round(4).tolist()}, half squared error {error:.6f}")
    found = {}
    for width in WIDTHS:
        start = time.perf_counter()
        found[width] = _, middle, success = train_many(key, width, args.nets, args.steps)
        print(
            f"{args.nets} nets with {width} hidden units: {success.mean():.1%} learn XOR; at (½, ½) these answer from "
            f"{np.min(middle[success], initial=np.inf):.2f} to {np.max(middle[success], initial=-np.inf):.2f}, "
            f"{np.mean(middle[success] < 0.5):.0%} of them below ½   ({time.perf_counter() - start:.1f} s)"
        )
    draw(codes, found, args.out)

    if args.steps < STEPS:
        print(f"the training results are checked from {STEPS} steps on")
    elif abs(error - 1 / 8) > 1e-6 or (share := found[8][2].mean()) < PROMISE:
        raise SystemExit(f"xor: expected an error of 1/8 and {PROMISE:.0%} successes, got {error} and {share:.1%}")
    return {"codes": codes, "known": known, "one_layer": one_layer, "error": error, "found": found}


def known_weights() -> tuple[np.ndarray, np.ndarray]:
    """The solution of Goodfellow, Bengio and Courville (2016), Deep learning, section 6.1."""
    net = pn.serial(pn.dense(2), pn.relu, pn.dense(1))
    params = (
        {"kernel": jnp.ones((2, 2)), "bias": jnp.array([0.0, -1.0])},
        (),
        {"kernel": jnp.array([[1.0], [-2.0]]), "bias": jnp.zeros(1)},
    )
    hidden = pn.serial(*net.parts[:2])
    codes = jax.vmap(hidden.apply, (None, 0))(params[:2], xs)
    return np.asarray(codes), np.asarray(jax.vmap(net.apply, (None, 0))(params, xs))


def train_one_layer(key: jax.Array, steps: int) -> tuple[np.ndarray, float]:
    """Answers and error of a net without a hidden layer."""
    net, optimizer = pn.dense(1), optax.sgd(1.0)
    train = jax.jit(pn.train(net, loss, optimizer, epochs=steps))
    final, _ = train(pn.train_state(net, optimizer, key, pn.spec(2)), (xs, ys))
    error = pn.evaluate(net, final.params, (xs, ys), loss=loss)["loss"]
    return np.asarray(jax.vmap(net.apply, (None, 0))(final.params, xs)), float(error)


def train_many(key: jax.Array, width: int, nets: int, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Final losses, answers at (½, ½), and successes of many nets, trained in one program."""
    net, optimizer = pn.serial(pn.dense(width), pn.relu, pn.dense(1)), optax.adam(0.03)
    train = pn.train(net, loss, optimizer, epochs=steps)

    def experiment(key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        final, _ = train(pn.train_state(net, optimizer, key, pn.spec(2)), (xs, ys))
        answers = jax.vmap(net.apply, (None, 0))(final.params, xs)
        errors = jax.vmap(loss.value)(answers, ys)
        return errors.mean(), net.apply(final.params, jnp.array([0.5, 0.5]))[0], jnp.abs(answers - ys).max() < 0.1

    return tuple(map(np.asarray, jax.jit(jax.vmap(experiment))(jax.random.split(key, nets))))


def draw(codes: np.ndarray, found: dict, folder: Path) -> None:
    """Draws the points, what the hidden layer makes of them, and how the trained nets end."""
    figure, ((before, after), (ends, middles)) = plt.subplots(2, 2, figsize=(9, 7.5))
    for axes, points in ((before, np.asarray(xs)), (after, codes)):
        for label, colour, marker in ((0, figures.BLUE, "o"), (1, figures.VERMILION, "s")):
            axes.scatter(*points[np.asarray(ys)[:, 0] == label].T, s=140, color=colour, marker=marker, zorder=3)
    before.set(xlabel="$x_1$", ylabel="$x_2$", title="XOR: no line separates 0 (blue) from 1 (red)")
    before.set(xlim=(-0.5, 1.5), ylim=(-0.5, 1.5), xticks=(0, 1), yticks=(0, 1), aspect="equal")
    line = np.array([-0.5, 2.5])
    after.plot(line, line / 2 - 0.25, "--", color=figures.BLACK, label="$h_1 - 2\\,h_2 = ½$")
    after.annotate("(0, 1) and (1, 0)", (1.1, -0.05), (1.3, -0.35), fontsize=9, arrowprops={"arrowstyle": "->"})
    after.set(xlabel="$h_1$", ylabel="$h_2$", title="The known hidden codes: one line does")
    after.set(xlim=(-0.5, 2.5), ylim=(-0.6, 1.5), xticks=(0, 1, 2), yticks=(0, 1), aspect="equal")
    after.legend(loc="upper left")

    levels = {"solved": 0, "1/16": 1 / 16, "1/12": 1 / 12, "1/8": 1 / 8}
    nearest = {
        width: np.abs(losses[:, None] - [*levels.values()]).argmin(axis=1) for width, (losses, *_) in found.items()
    }
    for i, ((width, level), colour) in enumerate(
        zip(nearest.items(), (figures.SKY, figures.ORANGE, figures.GREEN), strict=True)
    ):
        shares = 100 * np.bincount(level, minlength=len(levels)) / len(level)
        ends.bar(np.arange(len(levels)) + (i - 1) * 0.27, shares, 0.25, color=colour, label=f"{width} hidden units")
        _, middle, success = found[width]
        middles.hist(
            middle[success], np.linspace(-0.5, 1.5, 41), histtype="step", linewidth=2, color=colour,
            label=f"{width} hidden units",
        )  # fmt: skip
    ends.set_xticks(range(len(levels)), levels)
    ends.set(xlabel="nearest level of the final half squared error", ylabel="share of the nets (%)")
    ends.set_title("Where training ends")
    ends.legend()
    middles.set_xticks(np.arange(-0.5, 2, 0.5))
    middles.set(xlabel="answer at (½, ½)", ylabel="nets", title="Nets that learnt XOR, asked between the points")
    middles.legend()
    figures.save(figure, folder, "xor")


if __name__ == "__main__":
    main()
