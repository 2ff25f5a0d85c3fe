"""The main job: a network learns to read handwritten digits, and is tested on digits that it has never seen.

1,348 scans of 8×8 pixels to learn from, 449 held out; nothing is downloaded. The held-out ones are only watched: they
choose nothing. Ends with a held-out accuracy of at least 97.5 %, or with an error.

    python examples/digits.py               some seconds; the figure goes to out/digits.png
    python examples/digits.py --seed 7      other first weights and another order; the same held-out digits
    python examples/digits.py --epochs 3    shorter, and then the accuracy is not checked
"""

import argparse
from pathlib import Path

import figures
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from tqdm import tqdm

import purenet as pn

EPOCHS, BATCH, RATE, PROMISE = 30, 64, 0.01, 0.975

net = pn.serial(pn.flatten, pn.dense(128), pn.relu, pn.dense(10))
loss = pn.losses.softmax_cross_entropy


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="passes over the training digits")
    parser.add_argument("--seed", type=int, default=0, help="of the first weights and the order of the digits")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the figure")
    args = parser.parse_args(argv)

    train, test = pn.data.digits()
    steps = args.epochs * pn.steps_per_epoch(len(train[0]), BATCH)
    result = pn.fit(
        net,
        train,
        loss=loss,
        optimizer=optax.adam(optax.cosine_decay_schedule(RATE, steps)),  # the rate falls to 0 along a cosine
        key=jax.random.key(args.seed),
        batch_size=BATCH,
        epochs=args.epochs,
        validation=test,
        metrics={"accuracy": pn.metrics.accuracy},
        callbacks=[report],
    )
    accuracy = float(result.history["val_accuracy"][-1])
    print(f"held-out accuracy: {accuracy:.2%}")

    # The gradient, twice: by the rules derived by hand, and by automatic differentiation.
    batch = jax.tree.map(lambda a: a[:BATCH], train)
    (_, _), by_hand = jax.jit(pn.backprop(net, loss))(result.params, result.state, batch)
    (_, _), by_jax = jax.jit(pn.value_and_grad(net, loss))(result.params, result.state, batch)
    difference = max(jax.tree.leaves(jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), by_hand, by_jax)))
    largest = max(float(jnp.abs(a).max()) for a in jax.tree.leaves(by_jax))
    print(
        f"hand-derived backpropagation and jax.grad: largest difference {difference:.1e}, largest entry {largest:.1e}"
    )

    draw(result, test, args.out)
    if args.epochs < EPOCHS:
        print(f"accuracy of {PROMISE:.1%} not checked: it takes {EPOCHS} epochs")
    elif accuracy < PROMISE:
        raise SystemExit(f"digits: expected a held-out accuracy of {PROMISE:.1%} or more, got {accuracy:.2%}")
    return {"accuracy": accuracy, "difference": difference, "history": result.history}


def report(end: pn.EpochEnd) -> None:
    """Prints a line after the first and every fifth epoch, above the progress bar where there is one."""
    if end.epoch == 1 or end.epoch % 5 == 0:
        last = end.numbers
        tqdm.write(
            f"epoch {end.epoch:3d}   loss {last['loss']:.4f}   accuracy {last['accuracy']:7.2%}"
            f"   held out: loss {last['val_loss']:.4f}   accuracy {last['val_accuracy']:7.2%}"
        )


def draw(result: pn.FitResult, test: tuple[np.ndarray, np.ndarray], folder: Path) -> None:
    """Draws the learning curves, the digits that were misread, and what the first layer looks for."""
    images, labels = test
    answers = np.asarray(jax.vmap(net.apply, (None, 0))(result.params, images).argmax(axis=-1))
    wrong = np.flatnonzero(answers != labels)

    figure = plt.figure(figsize=(9, 6.5))
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=[3, 1.3, 1.1])
    figures.learning_curves(*top.subplots(1, 2), result.history, "held out")
    middle.suptitle(f"{len(wrong)} of {len(labels)} held-out digits misread: what it is → what was read", fontsize=11)
    for axes, i in zip(middle.subplots(1, 10), [*wrong[:10], *[None] * 10], strict=False):
        axes.set_axis_off()
        if i is not None:
            figures.image(axes, images[i], f"{labels[i]} → {answers[i]}")
    bottom.suptitle("Weights of ten hidden units: pixels that excite (red) and inhibit (blue)", fontsize=11)
    kernel = np.asarray(result.params[1]["kernel"])
    strongest = np.argsort(-np.linalg.norm(kernel, axis=0))[:10]
    for axes, unit in zip(bottom.subplots(1, 10), strongest, strict=True):
        limit = np.abs(kernel[:, unit]).max()
        figures.image(axes, kernel[:, unit].reshape(8, 8), cmap="RdBu_r", vmin=-limit, vmax=limit)
    figures.save(figure, folder, "digits")


if __name__ == "__main__":
    main()
