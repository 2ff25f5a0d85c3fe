"""What the examples' figures share: colours, a plain style, learning curves, and saving."""

from pathlib import Path

import numpy as np

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
