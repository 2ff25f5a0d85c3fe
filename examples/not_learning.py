"""A network that does not learn, and `pn.diagnose`, which says why: mistake by mistake, until it reads digits.

The script that we begin with has three mistakes, each of a kind that raises no error: pixels of 0 to 255, a softmax in
front of a loss that takes logits, and a learning rate far too large. In every round it trains, asks for the diagnosis
of its start, and mends what the first alarm names. Ends with at least 95 % of unseen digits read rightly, or with an
error.

    python examples/not_learning.py             under a minute; the figure goes to out/not_learning.png
    python examples/not_learning.py --epochs 2  shorter, and then the accuracy is not checked
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import figures
import jax
import matplotlib.pyplot as plt
import numpy as np
import optax

import purenet as pn

EPOCHS, BATCH, PROMISE = 15, 32, 0.95


class Script(NamedTuple):
    """What one could have written."""

    brightest: float = 255.0
    softmax: bool = True
    rate: float = 100.0


# What each alarm tells us to mend.
REMEDIES: dict[str, Callable[[Script], Script]] = {
    "inputs_unscaled": lambda script: script._replace(brightest=1.0),
    "probabilities_as_logits": lambda script: script._replace(softmax=False),
    "rate_too_high": lambda script: script._replace(rate=script.rate / 10),
}


def main(argv: list[str] | None = None) -> dict[str, list]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the figure")
    args = parser.parse_args(argv)

    script, named, accuracies = Script(), [], []
    while True:
        accuracy, diagnosis = attempt(script, args.epochs)
        accuracies.append(accuracy)
        print(f"{script}\nheld-out accuracy {accuracy:.1%}\n{diagnosis}\n")
        if diagnosis.healthy:
            break
        alarm = diagnosis.findings[0].name
        if alarm not in REMEDIES or len(named) > 10:
            raise SystemExit(f"not_learning: no remedy in this script for {alarm}")
        named.append(alarm)
        script = REMEDIES[alarm](script)

    draw(named, accuracies, args.out)
    if args.epochs < EPOCHS:
        print(f"accuracy of {PROMISE:.0%} not checked: it takes {EPOCHS} epochs")
    elif accuracies[-1] < PROMISE:
        raise SystemExit(f"not_learning: expected an accuracy of {PROMISE:.0%} or more, got {accuracies[-1]:.2%}")
    return {"named": named, "accuracies": accuracies}


def attempt(script: Script, epochs: int) -> tuple[float, pn.Diagnosis]:
    """Trains as the script says: the held-out accuracy, 0 if that fails, and the diagnosis of its start."""
    train, test = ((images * np.float32(script.brightest), labels) for images, labels in pn.data.digits())
    net = pn.serial(pn.flatten, pn.dense(64), pn.relu, pn.dense(10), *([pn.softmax] if script.softmax else []))
    loss, optimizer, key = pn.losses.softmax_cross_entropy, optax.sgd(script.rate), jax.random.key(0)
    state = pn.train_state(net, optimizer, key, pn.spec((8, 8)))
    diagnosis = pn.diagnose(net, loss, state, train, optimizer=optimizer, batch_size=BATCH)
    try:
        result = pn.fit(
            net, train, loss=loss, optimizer=optimizer, key=key, batch_size=BATCH, epochs=epochs, validation=test,
            metrics={"accuracy": pn.metrics.accuracy},
        )  # fmt: skip
    except pn.DivergedError as error:
        print(error)
        return 0.0, diagnosis
    return float(result.history["val_accuracy"][-1]), diagnosis


def draw(named: list[str], accuracies: list[float], folder: Path) -> None:
    """Draws what each remedy brought."""
    figure, axes = plt.subplots(figsize=(7, 3.2))
    rounds = ["as written", *(f"{name}\nmended" for name in named)]
    axes.bar(range(len(rounds)), accuracies, color=[*[figures.SKY] * len(named), figures.GREEN])
    for i, accuracy in enumerate(accuracies):
        axes.annotate(f"{accuracy:.0%}", (i, accuracy), (0, 3), textcoords="offset points", ha="center")
    axes.set_xticks(range(len(rounds)), rounds, fontsize=7.5)
    axes.set_ylim(0, 1.1)
    axes.set_ylabel("held-out accuracy")
    axes.set_title("A network that does not learn, mended alarm by alarm")
    figures.save(figure, folder, "not_learning")


if __name__ == "__main__":
    main()
