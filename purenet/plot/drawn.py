"""What the drawings share: Matplotlib, imported when the first one is made, where to draw, and in which colours."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from purenet.errors import ShapeError, StructureError, by, describe, is_whole

# Okabe and Ito's colours, which people with any kind of colour vision tell apart (2008, Color universal design).
BLUE, VERMILION, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
ORANGE, SKY, YELLOW, BLACK = "#e69f00", "#56b4e9", "#f0e442", "#000000"
GREY = "#8c8c8c"
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK, YELLOW)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = ("-", "--", "-.", ":")
HATCHES = ("", "//", "..", "\\\\", "xx", "--", "||", "oo")
AMOUNTS = "cividis"  # from little to much
SIGNED = "PuOr_r"  # from negative, purple, through 0, white, to positive, orange


def with_matplotlib(caller: str) -> Any:
    """Gives `matplotlib.figure`, or says how to get it.

    Args:
      caller: the function's name.

    Returns:
      The module.

    Raises:
      ImportError: without Matplotlib.
    """
    try:
        import matplotlib.figure
    except ImportError as error:
        raise ImportError(f'plot.{caller}: expected Matplotlib, got none. Run pip install "purenet[plot]".') from error
    return matplotlib.figure


def axes_for(caller: str, ax: Any, size: tuple[float, float] = (5.2, 3.8), projection: str | None = None) -> Any:
    """Takes the axes to draw into, or makes a figure of this size in inches with some."""
    figures = with_matplotlib(caller)
    if ax is None:
        return figures.Figure(figsize=size, layout="constrained").add_subplot(projection=projection)
    from matplotlib.axes import Axes

    with by(f"plot.{caller}"):
        if not isinstance(ax, Axes):
            raise StructureError(
                f"expected ax to be Matplotlib axes, got {describe(ax)}. Leave it out, or pass one such as "
                "figure.axes[0]."
            )
        if (ax.name == "3d") != (projection == "3d"):
            kind, how = ("3-D", '"3d"') if projection else ("flat", "None")
            raise StructureError(
                f'expected {kind} axes, got axes of projection "{ax.name}". Use figure.add_subplot(projection={how}).'
            )
    return ax


def figure_for(caller: str, figure: Any, size: tuple[float, float]) -> Any:
    """Takes an empty figure to draw into, or makes one of this size in inches."""
    figures = with_matplotlib(caller)
    if figure is None:
        return figures.Figure(figsize=size, layout="constrained")
    if not isinstance(figure, figures.FigureBase):
        raise StructureError(
            f"expected figure to be a Matplotlib figure, got {describe(figure)}. Leave it out, or pass "
            'matplotlib.figure.Figure(layout="constrained").'
        )
    if figure.axes:
        raise ShapeError(
            f"expected an empty figure, got one with {len(figure.axes)} axes. Pass a new one, or call figure.clear()."
        )
    return figure


def inches(ax: Any) -> tuple[float, float]:
    """Width and height of axes with what stands beside them, such as a colour bar."""
    place, whole = ax.get_subplotspec(), ax.figure.get_window_extent()
    box = ax.get_position() if place is None else place.get_position(ax.figure)
    return float(box.width * whole.width / ax.figure.dpi), float(box.height * whole.height / ax.figure.dpi)


def font_for(ax: Any) -> float:
    """The size of letters in points: the usual one, and less in axes that are narrow."""
    import matplotlib

    return float(min(matplotlib.rcParams["font.size"], max(6.0, 2.7 * inches(ax)[0])))


def label(ax: Any, x: str, y: str, title: str | None = None) -> None:
    """Writes on the axes, in letters that fit, what they show."""
    font = font_for(ax)
    ax.set_xlabel(x, fontsize=font)
    ax.set_ylabel(y, fontsize=font)
    ax.tick_params(labelsize=0.9 * font)
    if ax.get_xscale() == "linear":  # room for some five letters each
        ax.locator_params(axis="x", nbins=max(2, int(72 * inches(ax)[0] / (4.5 * font))))
    if title:
        ax.set_title(title, fontsize=font)


def legend(ax: Any) -> None:
    """Puts the legend above the axes, where no data are, in as many columns as there is room for.

    What has the same label is one entry.
    """
    handles: dict[str, list[Any]] = {}
    for handle, text in zip(*ax.get_legend_handles_labels(), strict=True):
        handles.setdefault(text, []).append(handle)
    labels = list(handles)
    font = 0.9 * font_for(ax)
    ax.legend(
        [tuple(same) if len(same) > 1 else same[0] for same in handles.values()], labels,
        loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=_columns(labels, 72 * inches(ax)[0] / font), fontsize=font,
        frameon=False, borderaxespad=0.2, borderpad=0.4, handlelength=2.0, columnspacing=1.2,
    )  # fmt: skip


def _columns(labels: Sequence[str], width: float) -> int:
    """How many columns of a legend fit into a width in letters' sizes; they are filled one after the other."""
    for columns in range(len(labels), 1, -1):
        parts = np.array_split(np.array([len(text) for text in labels]), columns)  # as Matplotlib does
        if sum(0.56 * float(np.max(part)) + 4.0 for part in parts) <= width:
            return columns
    return 1


def colour_bar(ax: Any, mappable: Any, text: str, **options: Any) -> Any:
    """Puts a labelled colour bar beside the axes."""
    font = font_for(ax)
    bar = ax.figure.colorbar(mappable, ax=ax, **options)
    bar.set_label(text, fontsize=font)
    bar.ax.tick_params(labelsize=0.9 * font)
    return bar


def halo(width: float) -> list[Any]:
    """A white rim, so that a line or letter stands out from whatever lies under it."""
    from matplotlib import patheffects

    return [patheffects.withStroke(linewidth=width, foreground="white")]


def whole_ticks(axis: Any) -> None:
    """Ticks at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def shades(colour: str, count: int) -> np.ndarray:
    """From a pale tint of a colour to the colour itself: shape (count, 3)."""
    from matplotlib.colors import to_rgb

    shares = np.linspace(0.3, 1.0, count)[:, None] if count > 1 else np.ones((1, 1))
    mixed: np.ndarray = 1 - shares * (1 - np.array(to_rgb(colour)))
    return mixed


def interval(span: Any, what: str = "span") -> tuple[float, float]:
    """Takes a pair (low, high) of finite numbers."""
    try:
        numbers = np.asarray(span, np.float64)
    except (TypeError, ValueError):
        numbers = np.zeros(0)
    if numbers.shape != (2,) or not np.all(np.isfinite(numbers)) or not numbers[0] < numbers[1]:
        shown = span if isinstance(span, (tuple, list)) else describe(span)
        raise ShapeError(
            f"expected {what} to be finite numbers (low, high) with low < high, got {shown}. Set both ends."
        )
    return float(numbers[0]), float(numbers[1])


def intervals(span: Any) -> tuple[tuple[float, float], tuple[float, float]]:
    """Takes (low, high) for both axes, or one such pair for each."""
    if isinstance(span, (tuple, list, np.ndarray)) and len(span) == 2 and np.ndim(span[0]) == 1:
        return interval(span[0], "span[0]"), interval(span[1], "span[1]")
    both = interval(span)
    return both, both


def around(numbers: Any, margin: float = 0.1) -> tuple[float, float]:
    """An interval with all of these finite numbers and some room beside them."""
    if not np.size(numbers):
        raise ShapeError("expected finite values somewhere in the picture, got none. Choose another span.")
    low, high = float(np.min(numbers)), float(np.max(numbers))
    room = margin * (high - low) or max(abs(low), 1.0)
    return low - room, high + room


def expect_params(params: Any) -> None:
    """Refuses what holds params among other things, such as a result or a state of training."""
    if hasattr(params, "params"):
        raise StructureError(f"expected params, got {describe(params)}. Pass its field params.")


def expect_count(what: str, value: Any, least: int) -> None:
    """Raises unless this is a whole number that is not too small."""
    if not is_whole(value) or value < least:
        raise ShapeError(f"expected {what} to be a whole number of {least} or more, got {describe(value)}. Raise it.")


def expect_names(what: str, names: Sequence[str] | None, count: int) -> list[str] | None:
    """Takes one name for each of so many things, or None."""
    if names is None:
        return None
    if isinstance(names, str) or len(names) != count:
        raise ShapeError(
            f"expected {what} to be {count} names, one for each, got {describe(names)}. Give a list of {count} strings."
        )
    return [str(name) for name in names]
