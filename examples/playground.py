"""Watch a small net learn: two classes of points in the plane, and a page with a slider over the epochs.

`spiral` winds the classes around each other, `circles` puts one around the other, `moons` hooks one into the other. All
are synthetic, of the given seed. Half of the points are held out. The page is one file that any browser opens, without
a server or a network: move the slider, or press play.

    python examples/playground.py                                  some seconds; the page goes to out/playground.html
    python examples/playground.py --data moons --layers 4          other data, another net
    python examples/playground.py --activation relu --film out/playground.gif
    python examples/playground.py --epochs 20                      shorter, and then the accuracy is not checked
"""

import argparse
import time
from pathlib import Path

import jax
import numpy as np
import optax

import purenet as pn

EPOCHS, BATCH, RATE, PROMISE = 100, 32, 2e-2, 0.97
ACTIVATIONS = {"tanh": pn.tanh, "relu": pn.relu, "sigmoid": pn.sigmoid, "gelu": pn.gelu}

loss = pn.losses.softmax_cross_entropy


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=SHAPES, default="spiral", help="how the two classes lie")
    parser.add_argument(
        "--points", type=int, default=800, help="of both classes together, 40 or more; half is held out"
    )
    parser.add_argument("--noise", type=float, default=0.05, help="standard deviation added to every coordinate")
    parser.add_argument("--layers", type=int, nargs="*", default=[16, 16], help="hidden units of each layer")
    parser.add_argument("--activation", choices=ACTIVATIONS, default="tanh", help="behind each hidden layer")
    parser.add_argument("--rate", type=float, default=RATE, help="learning rate of Adam")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="passes over the points to learn from")
    parser.add_argument("--seed", type=int, default=0, help="of points, first weights and order")
    parser.add_argument("--out", type=Path, default=Path("out/playground.html"), help="the page")
    parser.add_argument("--film", type=Path, help="a film beside it: .gif, or .mp4 where ffmpeg is installed")
    args = parser.parse_args(argv)
    if args.points < 40:
        parser.error(f"expected --points of 40 or more, got {args.points}")

    xs, labels = SHAPES[args.data](np.random.default_rng(args.seed), args.points, args.noise)
    train, held_out = (xs[::2], labels[::2]), (xs[1::2], labels[1::2])
    hidden = [part for width in args.layers for part in (pn.dense(width), ACTIVATIONS[args.activation])]
    net = pn.serial(*hidden, pn.dense(2))
    start = time.perf_counter()
    result = pn.fit(
        net,
        train,
        loss=loss,
        optimizer=optax.adam(args.rate),
        key=jax.random.key(args.seed),
        batch_size=min(BATCH, len(train[0])),
        epochs=args.epochs,
        validation=held_out,
        metrics={"accuracy": pn.metrics.accuracy},
        snapshots=max(1, args.epochs // 100),
    )
    accuracy = float(result.history["val_accuracy"][-1])
    print(f"{args.data}: held-out accuracy {accuracy:.1%}, after {time.perf_counter() - start:.1f} s of training")

    told = {"net": net, "loss": loss, "data": train, "title": f"{args.data}: {net!r}"}
    for write, path, what in ((pn.plot.report, args.out, "page"), (pn.plot.film, args.film, "film")):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            print(f"{what}: {write(result, path, **told)}")

    changeable = ("points", "noise", "layers", "activation", "rate")
    if args.epochs < EPOCHS or any(getattr(args, name) != parser.get_default(name) for name in changeable):
        print(
            f"the promise of {PROMISE:.0%} is checked without options for points, net and rate, from {EPOCHS} epochs on"
        )
    elif accuracy < PROMISE:
        raise SystemExit(f"playground: expected a held-out accuracy of {PROMISE:.0%} or more, got {accuracy:.1%}")
    return {"accuracy": accuracy, "result": result}


def spiral(random: np.random.Generator, points: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Two arms, half a turn apart, that wind once and a half around the middle."""
    labels = classes(points)
    radius = 3 * np.sqrt(random.uniform(0.02, 1, points))
    angle = np.pi * (radius + labels)
    return scattered(random, radius * np.cos(angle), radius * np.sin(angle), noise), labels


def circles(random: np.random.Generator, points: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """A circle around another."""
    labels = classes(points)
    radius, angle = np.where(labels == 0, 1.0, 2.0), random.uniform(0, 2 * np.pi, points)
    return scattered(random, radius * np.cos(angle), radius * np.sin(angle), 3 * noise), labels


def moons(random: np.random.Generator, points: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Two half circles, each with one end inside the other."""
    labels = classes(points)
    angle, side = random.uniform(0, np.pi, points), 1 - 2 * labels
    return scattered(random, side * np.cos(angle) + labels, side * np.sin(angle) + labels / 2, 2 * noise), labels


def classes(points: int) -> np.ndarray:
    """0, 0, 1, 1, 0, 0, …, so that both halves have both."""
    return (np.arange(points) // 2 % 2).astype(np.int32)


def scattered(random: np.random.Generator, x: np.ndarray, y: np.ndarray, noise: float) -> np.ndarray:
    """Points (x, y), each moved a bit."""
    exact = np.stack([x, y], axis=1)
    return (exact + random.normal(0, noise, exact.shape)).astype(np.float32)


SHAPES = {"spiral": spiral, "circles": circles, "moons": moons}


if __name__ == "__main__":
    main()
