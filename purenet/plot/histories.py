"""history: loss, metrics and learning rate, epoch by epoch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from purenet.errors import ShapeError, StructureError, by, describe
from purenet.plot.drawn import BLACK, BLUE, GREY, VERMILION, figure_for, font_for, label, legend, whole_ticks

_DECADES = 1.5  # from so many powers of ten between the smallest and the largest on, a logarithmic axis shows more
_MARKED = 20  # up to so many epochs each has its marker


def history(history: Any, names: Sequence[str] | None = None, figure: Any = None) -> Any:
    """Draws a run: one panel for the loss, one for each metric, one for the learning rate, over the epochs.

    Training is a solid line with dots, validation a dashed one with squares. An axis is logarithmic where the numbers
    are positive and spread over more than a factor of 30. Of a `FitResult` that did not end with its best epoch, a
    dotted line marks that one.

    Args:
      history: what `fit` returns, its `history`, or that of `pn.train`.
      names: what to draw, in this order, training and validation together; left out, everything that has one number
        an epoch. With "step_loss" among them, the losses of the single updates are a pale line behind the loss.
      figure: an empty Matplotlib figure to draw into; left out, one is made.

    Returns:
      The figure; `figure.savefig("history.png")` writes it to a file, `figure.axes` are its panels.

    Raises:
      ImportError: without Matplotlib.
      ShapeError: if a name is not in the history or has not one number an epoch, there is no epoch in it, or the
        figure is not empty.
      StructureError: if it is no history.

    Example:
      >>> import numpy as np, purenet as pn
      >>> figure = pn.plot.history({"loss": np.array([2.0, 1.0]), "val_loss": np.array([2.5, 1.5])})
      >>> [(line.get_label(), line.get_ydata().tolist()) for line in figure.axes[0].lines]
      [('training', [2.0, 1.0]), ('validation', [2.5, 1.5])]
    """
    with by("plot.history"):
        table = _table(history)
        wanted, with_steps = _wanted(table, names)
        columns = 2 if len(wanted) == 4 else min(3, len(wanted))
        figure = figure_for("history", figure, (4.2 * columns, 3.0 * -(-len(wanted) // columns)))
        columns = max(1, min(columns, int(_width(figure) // 1.5)))
        rows, said = -(-len(wanted) // columns), {"learning rate"}
        epochs = len(
            next(value for value in (table.get(wanted[0]), table.get(f"val_{wanted[0]}")) if value is not None)
        )
        best = getattr(history, "best_epoch", epochs)
        for number, name in enumerate(wanted):
            ax = figure.add_subplot(rows, columns, number + 1)
            if name == "loss" and with_steps:
                _draw_steps(ax, table["step_loss"].ravel(), epochs)
            _draw(ax, table, name)
            if 0 < best < epochs:
                ax.axvline(best, color=BLACK, linestyle=":", linewidth=1.0, label=f"best epoch, {best}")
            _finish(ax, name, epochs, with_steps and name == "loss")
            texts = set(ax.get_legend_handles_labels()[1])
            if texts - said:  # what an earlier panel says goes for all
                legend(ax)
            said |= texts
    return figure


def _width(figure: Any) -> float:
    return float(figure.get_window_extent().width / figure.dpi)


def _table(history: Any) -> dict[str, np.ndarray]:
    history = getattr(history, "history", history)
    if not isinstance(history, Mapping):
        raise StructureError(
            f"expected a FitResult or a history, got {describe(history)}. Pass what fit returns, or the second of what "
            "pn.train's function does."
        )
    table = {str(name): np.asarray(values) for name, values in history.items()}
    for name, values in table.items():
        if values.dtype.kind not in "biufV":  # V: bfloat16 and its like
            raise StructureError(f"expected numbers in {name!r}, got {values.dtype}. Leave it out.")
    return table


def _wanted(table: dict[str, np.ndarray], names: Sequence[str] | None) -> tuple[list[str], bool]:
    """The panels, and whether the losses of the updates are wanted; every panel has one number an epoch."""
    known = dict.fromkeys(name.removeprefix("val_") for name in table)
    if names is None:
        plain = [name for name in known if name != "step_loss" and _of(table, name).ndim == 1 and len(_of(table, name))]
        wanted, steps = plain, False
        if "learning_rate" in wanted:
            wanted = [name for name in wanted if name != "learning_rate"] + ["learning_rate"]
        if not wanted and "loss" in known:
            wanted = ["loss"]
    else:
        if not isinstance(names, (str, list, tuple)):
            raise StructureError(f'expected names to be a list of strings, got {describe(names)}. Such as ["loss"].')
        names = [str(name) for name in ([names] if isinstance(names, str) else names)]
        names = [name.removeprefix("val_") for name in names]
        wanted = list(dict.fromkeys("loss" if name == "step_loss" else name for name in names))
        steps = "step_loss" in names and "step_loss" in table
        for name in names:
            if name not in known:
                raise ShapeError(f"expected names among {sorted(known)}, got {name!r}. Leave it out.")
    if not wanted:
        raise ShapeError(f"expected something with one number an epoch, got {sorted(known)}. Train for an epoch.")
    for name in wanted:
        shape = _of(table, name).shape
        if len(shape) != 1:
            raise ShapeError(
                f"expected {name!r} to have one number an epoch, got shape {shape}. Pass a part with one axis, such as "
                f"{{{name!r}: history[{name!r}][0]}} for the first of several runs."
            )
        if shape == (0,):
            raise ShapeError("expected one epoch or more, got none. Train for an epoch.")
    return wanted, steps


def _of(table: dict[str, np.ndarray], name: str) -> np.ndarray:
    return table[name] if name in table else table[f"val_{name}"]


def _draw(ax: Any, table: dict[str, np.ndarray], name: str) -> None:
    if name in table:
        text = "learning rate" if name == "learning_rate" else "training"
        _curve(ax, table[name], color=BLUE, linestyle="-", marker="o", label=text, zorder=3)
    if f"val_{name}" in table:
        _curve(ax, table[f"val_{name}"], color=VERMILION, linestyle="--", marker="s", label="validation", zorder=4)


def _curve(ax: Any, values: np.ndarray, marker: str, **how: Any) -> None:
    marker = marker if len(values) <= _MARKED else ""
    ax.plot(np.arange(1, len(values) + 1), values, marker=marker, markersize=4, linewidth=1.6, **how)


def _draw_steps(ax: Any, losses: np.ndarray, epochs: int) -> None:
    """The losses of all updates, spread evenly over the epochs; an epoch's number stands at its last update."""
    places = np.arange(1, len(losses) + 1) * (epochs / max(1, len(losses)))
    ax.plot(places, losses, color=GREY, alpha=0.6, linewidth=0.7, label="each update", zorder=1)


def _finish(ax: Any, name: str, epochs: int, with_steps: bool) -> None:
    drawn = np.concatenate([np.asarray(line.get_ydata(), float) for line in ax.lines if line.get_linestyle() != ":"])
    finite = drawn[np.isfinite(drawn)]
    if len(finite) and finite.min() > 0 and np.log10(finite.max()) - np.log10(finite.min()) > _DECADES:
        ax.set_yscale("log")
    start = 0.0 if with_steps else 1.0
    room = 0.03 * (epochs - start) if epochs > start else 0.5
    ax.set_xlim(start - room, epochs + room)
    label(ax, "epoch", name.replace("_", " "))
    whole_ticks(ax.xaxis)
    ax.tick_params(which="minor", labelsize=0.75 * font_for(ax))
    ax.grid(alpha=0.25)
