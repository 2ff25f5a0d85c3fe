"""The figure of a film: its axes are made once, and each frame only changes what is in them."""

from typing import Any

import numpy as np

from purenet.plot.drawn import AMOUNTS, BLUE, COLOURS, GREY, MARKERS, SIGNED, VERMILION, whole_ticks
from purenet.plot.frames import Chart, Frames
from purenet.plot.frames_pictures import Functions, Maps
from purenet.plot.frames_scales import decades, is_log, limits
from purenet.plot.frames_weights import Tiles

_SIZE = (9.6, 5.4)  # inches
_LONGEST = 24  # letters of a layer's path
_PIXELS = 14  # of an image, at least, so that a gap of one is narrow
_ROWS = 12  # layers whose names have room
_LINES = {"training": (BLUE, "-", "o"), "validation": (VERMILION, "--", "s")}


class Stage:
    """A figure that shows one frame after the other.

    Attributes:
      figure: the Matplotlib figure.
    """

    def __init__(self, frames: Frames, title: str):
        from matplotlib.figure import Figure

        self.figure: Any = Figure(figsize=_SIZE, layout="constrained")
        self._frames = frames
        grid = self.figure.add_gridspec(2, 2, width_ratios=[1.15, 1])
        self._title = self.figure.suptitle(" ", fontsize=12)
        self._words = title if len(title) <= 100 else title[:99] + "…"
        self._picture = _Picture(self.figure, self.figure.add_subplot(grid[:, 0]), frames)
        upper, lower = self.figure.add_subplot(grid[0, 1]), self.figure.add_subplot(grid[1, 1])
        chart = next(iter(frames.charts), None)
        self._curves = None if chart is None else _Curves(upper, frames, chart)
        self._bars = _Bars(lower, frames) if frames.layers.paths else None
        for ax, part in ((upper, self._curves), (lower, self._bars)):
            if part is None:
                ax.set_axis_off()
        self.show(len(frames.epochs) - 1)
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")  # the axes stay where they are

    def show(self, number: int) -> None:
        """Shows a frame."""
        epochs = self._frames.epochs
        self._title.set_text(f"{self._words}\nepoch {epochs[number]} of {epochs[-1]}")
        for part in (self._picture, self._curves, self._bars):
            if part is not None:
                part.show(number)


class _Picture:
    def __init__(self, figure: Any, ax: Any, frames: Frames):
        self._picture = picture = frames.picture
        ax.set_title(frames.heading, fontsize=10, loc="left")
        if isinstance(picture, Maps):
            self._artist = _map(figure, ax, picture)
        elif isinstance(picture, Functions):
            ax.plot(*picture.points.T, "o", markersize=4, markerfacecolor="none", color=VERMILION, label="data")
            self._artist = ax.plot(picture.x, picture.ys[0], color=BLUE, linewidth=2, label="network")[0]
            ax.set(xlim=picture.xlim, ylim=picture.ylim, xlabel="input", ylabel="output")
            _legend_above(ax)
        elif isinstance(picture, Tiles):
            self._artist = _tiles(figure, ax, picture)
        else:
            self._artist = ax.imshow(picture.cells[0], aspect="auto", cmap=AMOUNTS, vmin=0, vmax=255)
            ax.set_yticks(range(len(picture.paths)), [_short(path) for path in picture.paths], fontsize=7)
            ax.set_xticks([0, picture.cells.shape[2] - 1], ["smallest", "largest"])
            ax.set_xlabel("weight; the lighter, the more of them")

    def show(self, number: int) -> None:
        picture = self._picture
        if isinstance(picture, Functions):
            self._artist.set_ydata(picture.ys[number])
        elif isinstance(picture, Maps) and picture.classes:
            self._artist.set_data(_tints(picture)[picture.cells[number]])
        elif isinstance(picture, Tiles):
            self._artist.set_data(_mosaic(picture.cells[number]))
        else:
            self._artist.set_data(picture.cells[number])


class _Curves:
    """Bright until the frame's epoch, pale after it."""

    def __init__(self, ax: Any, frames: Frames, chart: Chart):
        self._frames, self._chart = frames, chart
        self._lines = {}
        values = np.concatenate(list(chart.lines.values()))
        for name, line in chart.lines.items():
            colour, dash, mark = _LINES[name]
            ax.plot(frames.history_epochs, line, dash, color=colour, alpha=0.25)
            self._lines[name] = ax.plot([], [], dash, color=colour, label=name, marker=mark, markevery=[-1])[0]
        self._cursor = ax.axvline(0, color=GREY, linewidth=1)
        ax.set_title(chart.name.replace("_", " "), fontsize=10, loc="left")
        ax.set_xlabel("epoch")
        whole_ticks(ax.xaxis)
        ax.set_xlim(0, max(frames.epochs[-1], int(frames.history_epochs[-1]), 1))
        if is_log(values):
            ax.set_yscale("log")
            ax.set_ylim(*10 ** np.asarray(limits(np.log10(values))))
        else:
            ax.set_ylim(*limits(values))
        _legend_above(ax)

    def show(self, number: int) -> None:
        epoch = self._frames.epochs[number]
        until = int(np.sum(self._frames.history_epochs <= epoch))
        for name, line in self._lines.items():
            line.set_data(self._frames.history_epochs[:until], self._chart.lines[name][:until])
            line.set_markevery([until - 1] if until else [])
        self._cursor.set_xdata([epoch, epoch])


class _Bars:
    def __init__(self, ax: Any, frames: Frames):
        self._norms = frames.layers.gradients
        paths = frames.layers.paths
        low, high = decades(self._norms)
        self._low = 10.0**low
        self._bars = ax.barh(range(len(paths)), [self._low] * len(paths), color=BLUE)
        ax.set_title("gradient of each layer", fontsize=10, loc="left")
        ax.set_xscale("log")
        ax.set_xlim(self._low, 10.0**high)
        ax.set_ylim(len(paths) - 0.4, -0.6)
        every = -(-len(paths) // _ROWS)
        ax.set_yticks(range(0, len(paths), every), [_short(path) for path in paths[::every]], fontsize=8)
        ax.set_xlabel("Euclidean norm")

    def show(self, number: int) -> None:
        for bar, norm in zip(self._bars, self._norms[number], strict=True):
            bar.set_width(norm if np.isfinite(norm) and norm > 0 else self._low)


def _map(figure: Any, ax: Any, picture: Maps) -> Any:
    extent = (*picture.xlim, *picture.ylim)
    first = _tints(picture)[picture.cells[0]] if picture.classes else picture.cells[0]
    artist = ax.imshow(
        first, origin="lower", extent=extent, aspect="auto", interpolation="bilinear", cmap=AMOUNTS, vmin=0, vmax=255
    )
    ax.set(xlim=picture.xlim, ylim=picture.ylim, xlabel="first input", ylabel="second input")
    if picture.classes:
        for number, name in enumerate(picture.classes):
            here = picture.points[picture.targets == number]
            colour, mark = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
            ax.plot(*here.T, mark, markersize=5, color=colour, markeredgecolor="white", markeredgewidth=0.6, label=name)
        _legend_above(ax)
        return artist
    low, high = picture.span
    points = {"c": picture.targets, "vmin": low, "vmax": high, "cmap": AMOUNTS} if picture.targets is not None else {}
    ax.scatter(*picture.points.T, s=18, edgecolors="black", linewidths=0.6, **(points or {"facecolors": "white"}))
    _bar(figure, ax, low, high, AMOUNTS, "output")
    return artist


def _tints(picture: Maps) -> np.ndarray:
    """The colour of each byte: a class's own, mixed into white the more, the less sure."""
    from matplotlib.colors import to_rgb

    cells = np.arange(256)
    own = np.array([to_rgb(COLOURS[kind % len(COLOURS)]) for kind in range(256)])[cells // picture.levels]
    share = 0.1 + 0.5 * (cells % picture.levels)[:, None] / max(picture.levels - 1, 1)
    tints: np.ndarray = 1 + share * (own - 1)
    return tints


def _tiles(figure: Any, ax: Any, picture: Tiles) -> Any:
    mosaic = _mosaic(picture.cells[0])
    artist = ax.imshow(mosaic, cmap=SIGNED, vmin=1, vmax=255, interpolation="nearest")
    ax.set_axis_off()
    _bar(figure, ax, -picture.scale, picture.scale, SIGNED, "weight")
    return artist


def _mosaic(cells: np.ndarray) -> np.ndarray:
    """Images side by side, with gaps that stay empty."""
    larger = -(-_PIXELS // min(cells.shape[1:]))
    cells = cells.repeat(larger, axis=1).repeat(larger, axis=2)
    count, rows, columns = cells.shape
    across = max(1, round(float(np.sqrt(count * rows / columns))))
    gap = max(1, min(rows, columns) // _PIXELS)
    down = -(-count // across)
    whole = np.ma.masked_all((down * (rows + gap) - gap, across * (columns + gap) - gap), np.uint8)
    for i, image in enumerate(cells):
        top, left = i // across * (rows + gap), i % across * (columns + gap)
        whole[top : top + rows, left : left + columns] = image
    return whole


def _bar(figure: Any, ax: Any, low: float, high: float, colours: str, label: str) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    figure.colorbar(ScalarMappable(Normalize(low, high), colours), ax=ax, label=label, shrink=0.8)


def _legend_above(ax: Any) -> None:
    """At the right of the title, where nothing is covered; in its place if it is long."""
    names = ax.get_legend_handles_labels()[1]
    long = sum(len(name) + 4 for name in names) > 26
    ax.legend(
        loc="lower left" if long else "lower right", bbox_to_anchor=(0, 1) if long else (1, 1), fontsize=8,
        ncols=min(5, len(names)), frameon=False, borderaxespad=0.2, handlelength=1.8, columnspacing=1.0,
    )  # fmt: skip
    if long:
        ax.set_title("", loc="left")


def _short(path: str) -> str:
    head = _LONGEST * 3 // 5  # numbers tell layers apart, and they stand in front
    return path if len(path) <= _LONGEST else f"{path[:head]}…{path[head + 1 - _LONGEST :]}"
