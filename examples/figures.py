"""What the examples share: a line for every epoch, and of figures colours, a plain style, curves, and saving."""

from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

try:
    import matplotlib
except ImportError as error:
    raise SystemExit(
        'This example draws a figure with Matplotlib, which is missing: pip install "purenet[examples]"'
    ) from error

matplotlib.use("Agg")  # draws to files, also where there is no screen
import matplotlib.pyplot as plt

# Okabe and Ito (2008), Color universal design: the colours stay apart for colour-blind people.
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
GREY = "#999999"

plt.rcParams.update(
    {
        "figure.constrained_layout.use": True,
        "savefig.dpi": 150,
        "font.size": 10,
        "axes.titlesize": 11,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "lines.linewidth": 2,
        "legend.frameon": False,
    }
)


def save(figure: plt.Figure, folder: Path, name: str) -> Path:
    """Writes `folder/name.png`, making the folder if need be, and says so."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    figure.savefig(path)
    plt.close(figure)
    print(f"figure: {path}")
    return path


def learning_curves(loss_axes: plt.Axes, accuracy_axes: plt.Axes, history: dict, held_out: str) -> None:
    """Draws loss and accuracy by epoch, in training and on the held-out examples, from `fit`'s history."""
    epochs = np.arange(1, len(history["loss"]) + 1)
    for prefix, label, colour in (("", "training", BLUE), ("val_", held_out, VERMILION)):
        loss_axes.semilogy(epochs, history[f"{prefix}loss"], color=colour, label=label)
        accuracy_axes.plot(epochs, 100 * history[f"{prefix}accuracy"], color=colour, label=label)
    loss_axes.set(xlabel="epoch", ylabel="cross-entropy (nats)", title="Loss")
    accuracy_axes.set(xlabel="epoch", ylabel="accuracy (%)", title="Accuracy")
    loss_axes.legend()
    accuracy_axes.legend(loc="lower right")


def image(axes: plt.Axes, pixels: np.ndarray, title: str = "", **options) -> None:
    """Draws one image without axes, black on white unless told otherwise."""
    axes.imshow(pixels, **{"cmap": "gray_r", **options})
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()


def print_epoch(end: Any) -> None:
    """Prints a line after every epoch, above the progress bar where there is one: a callback of `fit`."""
    last = end.numbers
    tqdm.write(
        f"epoch {end.epoch:2d}   loss {last['loss']:.4f}   accuracy {last['accuracy']:7.2%}"
        f"   held out: loss {last['val_loss']:.4f}   accuracy {last['val_accuracy']:7.2%}"
    )


def curves_and_mistakes(history: dict, logits: np.ndarray, test: tuple, folder: Path, name: str) -> None:
    """Draws the learning curves, and the surest mistakes, from the logits for held-out digits."""
    images, labels = test
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    answers = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(answers != labels)
    surest = wrong[np.argsort(-probabilities[wrong, answers[wrong]])][:20]

    figure = plt.figure(figsize=(9, 6.5))
    top, bottom = figure.subfigures(2, 1, height_ratios=[3, 2.6])
    learning_curves(*top.subplots(1, 2), history, "held out")
    bottom.suptitle(
        f"{len(wrong)} of {len(labels)} held-out digits misread; the surest mistakes: what it is → what was read",
        fontsize=11,
    )
    for axes, i in zip(bottom.subplots(2, 10).flat, [*surest, *[None] * 20], strict=False):
        axes.set_axis_off()
        if i is not None:
            image(axes, images[i], f"{labels[i]} → {answers[i]}")
    save(figure, folder, name)
