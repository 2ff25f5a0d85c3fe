"""One layer that classifies: yes or no, one of several classes, several labels at once, and the perceptron beside them.

- Yes or no: one output z, p = σ(z), cross-entropy. The points of equal p lie on lines; p = ½ is the decision.
- One of three classes: three outputs, softmax, cross-entropy. The regions meet along straight lines.
- Several labels at once: one sigmoid for each, all trained together, each a yes or no of its own.
- Rosenblatt's perceptron: a step in place of the sigmoid, so there is no gradient to follow; its own rule is
  w ← w + (y - answer) x, point after point. On separable points it settles: a pass without a mistake changes nothing,
  so none follows. On XOR it never does: its weights, whole numbers, come back to where they were and go round for ever.

    python examples/logistic_regression.py                 some seconds; the figure goes to out/logistic_regression.png
    python examples/logistic_regression.py --steps 20      shorter, and then the accuracies are not checked
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import figures
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from matplotlib.colors import ListedColormap

import purenet as pn

STEPS, PASSES, PROMISE = 500, 1000, 0.9
COLOURS = (figures.BLUE, figures.VERMILION, figures.GREEN)
MARKERS = ("o", "s", "^")


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of gradient descent, on all points at once")
    parser.add_argument("--seed", type=int, default=0, help="of the points")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the figure")
    args = parser.parse_args(argv)
    random = np.random.default_rng(args.seed)

    figure, panels = plt.subplots(2, 3, figsize=(11, 7.2))
    accuracies = {
        "yes or no": yes_or_no(random, args.steps, panels[0, 0]),
        "one of three": one_of_three(random, args.steps, panels[0, 1]),
        "three labels": three_labels(random, args.steps, panels[0, 2]),
    }
    for name, accuracy in accuracies.items():
        print(f"{name}: {accuracy:.1%} of the answers right after {args.steps} steps")

    xs, ys = separable_points(np.random.default_rng(args.seed))
    weights, mistakes = perceptron(xs, ys)
    settles = int(np.argmax(mistakes == 0))
    print(f"perceptron, separable points: {mistakes.sum()} mistakes, none after pass {settles} of {PASSES}")
    corners = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    xor_weights, xor_mistakes = perceptron(corners, jnp.array([0.0, 1.0, 1.0, 0.0]))
    period = round_trip(xor_weights[:, -1])
    print(f"perceptron, XOR: {xor_mistakes.min()} mistakes or more in each of {PASSES} passes;")
    print(f"  the weights go round with a period of {period} pass{'es' * (period > 1)}, for ever")
    draw_perceptron(panels[1], xs, ys, weights[-1, -1], mistakes, xor_weights, xor_mistakes)
    figures.save(figure, args.out, "logistic_regression")

    if mistakes[settles:].any() or not xor_mistakes.all():
        raise SystemExit("logistic_regression: expected the perceptron to settle on separable points, and never on XOR")
    if args.steps < STEPS:
        print(f"the accuracies are checked from {STEPS} steps on")
    elif min(accuracies.values()) < PROMISE:
        raise SystemExit(f"logistic_regression: expected accuracies of {PROMISE:.0%} or more, got {accuracies}")
    return accuracies | {"mistakes": mistakes, "xor_mistakes": xor_mistakes, "period": period}


def yes_or_no(random: np.random.Generator, steps: int, axes: plt.Axes) -> float:
    """Two clouds that overlap a little."""
    classes = np.repeat([0, 1], 100)
    xs = cloud(random, np.array([[-1.0, -0.7], [1.0, 0.7]])[classes], 0.7)
    ys = classes[:, None].astype(np.float32)
    z, accuracy = train(1, pn.losses.sigmoid_cross_entropy, pn.metrics.binary_accuracy(), xs, ys, steps)
    grid, extent = plane()
    p = jax.nn.sigmoid(z(grid)[..., 0])
    axes.imshow(p, origin="lower", extent=extent, cmap="RdBu_r", vmin=-0.5, vmax=1.5, alpha=0.7, aspect="auto")
    lines = axes.contour(*np.moveaxis(grid, -1, 0), z(grid)[..., 0], [0], colors=figures.BLACK)
    axes.clabel(lines, fmt="p = ½", manual=[(1.2, -2.0)])
    scatter(axes, xs, classes)
    axes.set_title(f"Yes or no: {accuracy:.1%} right")
    return accuracy


def one_of_three(random: np.random.Generator, steps: int, axes: plt.Axes) -> float:
    """Three clouds."""
    classes = np.repeat([0, 1, 2], 70).astype(np.int32)
    xs = cloud(random, np.array([[-1.2, -0.8], [1.2, -0.8], [0.0, 1.2]])[classes], 0.6)
    z, accuracy = train(3, pn.losses.softmax_cross_entropy, pn.metrics.accuracy, xs, classes, steps)
    grid, extent = plane()
    regions = z(grid).argmax(axis=-1)
    axes.imshow(regions, origin="lower", extent=extent, cmap=ListedColormap(COLOURS), alpha=0.25, aspect="auto")
    scatter(axes, xs, classes)
    axes.set_title(f"One of three classes: {accuracy:.1%} right")
    return accuracy


def three_labels(random: np.random.Generator, steps: int, axes: plt.Axes) -> float:
    """Points with any of three labels: right of a line, above a line, outside of a third."""
    xs = random.uniform(-2, 2, (200, 2)).astype(np.float32)
    truth = np.stack([xs[:, 0] > 0.5, xs[:, 1] > -0.3, xs[:, 0] + xs[:, 1] < 0.8], axis=1)
    ys = truth.astype(np.float32)
    z, accuracy = train(3, pn.losses.sigmoid_cross_entropy, pn.metrics.binary_accuracy(), xs, ys, steps)
    grid, _ = plane()
    places = ((0.5, 2.1), (-2.0, -0.3), (2.0, -1.2))
    for label, (name, colour, place) in enumerate(zip("ABC", COLOURS, places, strict=True)):
        logits = z(grid)[..., label]
        axes.contourf(*np.moveaxis(grid, -1, 0), logits, [0, np.inf], colors=[colour], alpha=0.2)
        lines = axes.contour(*np.moveaxis(grid, -1, 0), logits, [0], colors=[colour])
        axes.clabel(lines, fmt=f"{name}: p = ½", manual=[place], fontsize=8)
    names = ["".join(np.array(list("ABC"))[row]) or "–" for row in truth[:60]]
    for point, name in zip(xs, names, strict=False):
        axes.text(*point, name, fontsize=7, ha="center", va="center")
    axes.set(xlabel="$x_1$", ylabel="$x_2$", xlim=(-2.6, 2.6), ylim=(-2.6, 2.6))
    axes.set_title(f"Any of the labels A, B, C: {accuracy:.1%} right")
    return accuracy


def train(
    outputs: int, loss: pn.losses.Loss, metric: pn.metrics.Metric, xs: np.ndarray, ys: np.ndarray, steps: int
) -> tuple[Callable[[np.ndarray], np.ndarray], float]:
    """Trains one dense layer; gives the function from points to its outputs, and its accuracy."""
    net, optimizer = pn.dense(outputs), optax.sgd(1.0)
    run = jax.jit(pn.train(net, loss, optimizer, epochs=steps))
    final, _ = run(pn.train_state(net, optimizer, jax.random.key(0), pn.spec(2)), (xs, ys))
    accuracy = pn.evaluate(net, final.params, (xs, ys), metrics={"accuracy": metric})["accuracy"]
    on_rows = jax.vmap(net.apply, (None, 0))
    return lambda points: np.asarray(jax.vmap(on_rows, (None, 0))(final.params, points)), float(accuracy)


def perceptron(xs: jax.Array, ys: jax.Array) -> tuple[np.ndarray, np.ndarray]:
    """Rosenblatt's rule. Gives the weights w₁, w₂, b after every point of every pass, and the mistakes by pass."""

    def see(weights: jax.Array, example: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        x, y = example
        x = jnp.append(x, 1.0)  # the bias is the weight of an input that is always 1
        error = y - pn.step.apply((), jnp.dot(weights, x))
        weights = weights + error * x
        return weights, (weights, error != 0)

    @jax.jit
    def run(start: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        return jax.lax.scan(lambda weights, _: jax.lax.scan(see, weights, (xs, ys)), start, length=PASSES)

    _, (weights, wrong) = run(jnp.zeros(3))
    return np.asarray(weights), np.asarray(wrong).sum(axis=1)


def round_trip(visited: np.ndarray) -> int:
    """How many passes ago the last weights had been there before; what followed then must follow again."""
    before = np.flatnonzero((visited[:-1] == visited[-1]).all(axis=1))
    if not len(before):
        raise SystemExit("logistic_regression: expected the perceptron's weights on XOR to come back, but they did not")
    return int(len(visited) - 1 - before[-1])


def separable_points(random: np.random.Generator) -> tuple[jax.Array, jax.Array]:
    """Points on both sides of x₂ = x₁ / 2 + 0.3, none nearer to it than 0.05 along x₂."""
    xs = random.uniform(-2, 2, (120, 2)).astype(np.float32)
    height = xs[:, 1] - xs[:, 0] / 2 - 0.3
    kept = np.abs(height) > 0.05
    return jnp.asarray(xs[kept]), jnp.asarray((height[kept] > 0).astype(np.float32))


def draw_perceptron(panels, xs, ys, settled, mistakes, xor_weights, xor_mistakes) -> None:
    """Draws the settled line, the mistakes of both runs pass by pass, and the weights on XOR going round."""
    points, by_pass, around = panels
    w1, w2, b = settled
    ends = np.array([-2.6, 2.6])
    points.plot(ends, -(w1 * ends + b) / w2, color=figures.BLACK)
    scatter(points, np.asarray(xs), np.asarray(ys).astype(int))
    points.set_title("Perceptron on separable points")

    shown = np.arange(int(np.argmax(mistakes == 0)) + 5)
    by_pass.bar(shown + 0.8, mistakes[shown], 0.38, color=figures.BLUE, label="separable points: settles")
    by_pass.bar(shown + 1.2, xor_mistakes[shown], 0.38, color=figures.VERMILION, label="XOR: never")
    by_pass.set(xlabel="pass over the points", ylabel="mistakes", title="Its mistakes")
    by_pass.xaxis.get_major_locator().set_params(integer=True)
    by_pass.legend()

    steps = np.concatenate([np.zeros((1, 3)), xor_weights[:6].reshape(-1, 3)])
    for values, name, colour, shift in zip(steps.T, ("$w_1$", "$w_2$", "$b$"), COLOURS, (-0.03, 0, 0.03), strict=True):
        around.step(np.arange(len(steps)), values + shift, where="post", color=colour, label=name)
    around.set(xlabel="points seen, four in a pass", ylabel="weight", title="Its weights on XOR go round")
    around.set(xticks=np.arange(0, len(steps), 4), yticks=(-1, 0, 1), ylim=(-1.2, 1.6))
    around.legend(ncols=3, loc="upper right")


def cloud(random: np.random.Generator, centres: np.ndarray, spread: float) -> np.ndarray:
    return random.normal(centres, spread).astype(np.float32)


def plane() -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """A grid of points, and the corners of the picture that they fill."""
    ticks = np.linspace(-2.6, 2.6, 131, dtype=np.float32)
    return np.stack(np.meshgrid(ticks, ticks), axis=-1), (-2.6, 2.6, -2.6, 2.6)


def scatter(axes: plt.Axes, xs: np.ndarray, classes: np.ndarray) -> None:
    for label in np.unique(classes):
        axes.scatter(
            *xs[classes == label].T, s=14, color=COLOURS[label], marker=MARKERS[label], edgecolors="white", lw=0.4
        )
    axes.set(xlabel="$x_1$", ylabel="$x_2$", xlim=(-2.6, 2.6), ylim=(-2.6, 2.6))


if __name__ == "__main__":
    main()
