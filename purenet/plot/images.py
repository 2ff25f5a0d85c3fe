"""weights: the first layer's weights as small images."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purenet.errors import ShapeError, StructureError, by, describe, is_whole
from purenet.plot.drawn import SIGNED, colour_bar, expect_count, expect_params, figure_for, font_for, with_matplotlib

_MOST = 4096  # images


def weights(kernel: Any, shape: Sequence[int] | None = None, columns: int | None = None, figure: Any = None) -> Any:
    """Draws the weights that lead to each unit as a small image: orange above 0, purple below, white at 0.

    All images share one scale, which reaches as far below 0 as above. With several input channels each has an image
    of its own: a row for each channel, a column for each unit.

    Args:
      kernel: of a dense layer, shape (inputs, units), or a convolution, (…, channels, filters); or params, of which
        the first kernel is taken.
      shape: of a dense layer's input, (height, width) or (height, width, channels).
      columns: images in a row; left out, so many that the picture is about square.
      figure: an empty Matplotlib figure to draw into; left out, one is made.

    Returns:
      The figure.

    Raises:
      ImportError: without Matplotlib.
      ShapeError: if shape does not fit or is needed, for more than two axes in space, too many images, or weights
        that are not finite.
      StructureError: if there is no kernel.

    Example:
      >>> import numpy as np, purenet as pn
      >>> figure = pn.plot.weights(np.array([[1.0, -2.0], [0.5, 0.0]]), shape=(1, 2))
      >>> figure.axes[0].images[0].get_clim()
      (-2.0, 2.0)
    """
    with_matplotlib("weights")
    with by("plot.weights"):
        expect_params(kernel)
        images, word = _images(_kernel(kernel), shape)
        channels, units, height, width = images.shape
        if channels * units > _MOST:
            raise ShapeError(
                f"expected {_MOST} images or fewer, got {channels * units}. Pick some, such as kernel[..., :64]."
            )
        if not np.all(np.isfinite(images)):
            raise ShapeError("expected finite weights, got nan or inf among them. Has training diverged?")
        by_channel = channels > 1 and columns is None
        across = units if by_channel else _columns(columns, channels * units, height, width)
        rows = -(-channels * units // across)
        is_flat = rows * height < 0.5 * across * width
        figure = figure_for("weights", figure, (4.8, 2.6 if is_flat else 4.4))
        _keep_shape(figure)
        ax = figure.add_subplot()
        scale = max(1, round(12 / max(height, width)))  # large pixels, so that the gaps are narrow
        picture = _mosaic(
            images.repeat(scale, 2).repeat(scale, 3).reshape(-1, height * scale, width * scale), rows, across
        )
        largest = float(np.abs(images).max()) or 1.0
        drawn = ax.imshow(picture, cmap=SIGNED, vmin=-largest, vmax=largest, interpolation="nearest")
        ax.set_facecolor("#b0b0b0")
        _ticks(ax, (rows, height * scale + 1), (across, width * scale + 1), word, by_channel=by_channel)
        many = f"{units} {word}{'s' if units > 1 else ''}"
        title = f"{many} of {height} × {width}{f' × {channels}' if channels > 1 else ''} weights"
        ax.set_title(title, fontsize=font_for(ax))
        colour_bar(ax, drawn, "weight", orientation="horizontal" if is_flat else "vertical")
    return figure


def _keep_shape(figure: Any) -> None:
    """The constrained layout cuts labels of axes whose pixels are to be square; its compressed form does not."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    if hasattr(figure, "set_layout_engine") and isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine):
        figure.set_layout_engine("compressed")


def _kernel(kernel: Any) -> np.ndarray:
    """The first array with two axes or more."""
    found = [np.asarray(leaf) for leaf in jax.tree.leaves(kernel) if np.ndim(leaf) >= 2]
    if not found or not jnp.issubdtype(found[0].dtype, jnp.floating):
        raise StructureError(
            f"expected a kernel or params with one, got {describe(kernel)}. Pass that of a dense or a conv layer."
        )
    return found[0].astype(np.float64)


def _images(kernel: np.ndarray, shape: Sequence[int] | None) -> tuple[np.ndarray, str]:
    """Images of shape (channels, units, height, width), and the word for a unit."""
    if kernel.ndim == 2:
        inputs, units = kernel.shape
        side = round(inputs**0.5)
        likely = f"({side}, {side})" if side * side == inputs else "(height, width)"
        if shape is None:
            raise ShapeError(
                f"expected the shape of the inputs for a dense kernel {kernel.shape}, got None. Pass shape={likely}."
            )
        sizes = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
        if len(sizes) not in (2, 3) or not all(is_whole(n) and n > 0 for n in sizes) or np.prod(sizes) != inputs:
            raise ShapeError(
                f"expected shape (height, width) or (height, width, channels) of {inputs} inputs, got {shape}. "
                f"Such as shape={likely}."
            )
        cube = kernel.reshape(*sizes, *[1] * (3 - len(sizes)), units)
        return np.moveaxis(cube, (2, 3), (0, 1)), "unit"
    if shape is not None:
        raise ShapeError(
            f"expected no shape for a kernel {kernel.shape}, got {shape}. It has its own: leave shape out."
        )
    if kernel.ndim == 3:  # one axis in space: images of one row
        kernel = kernel[None]
    if kernel.ndim != 4:
        raise ShapeError(
            f"expected one or two axes in space, got a kernel of shape {kernel.shape}. Draw a slice of it."
        )
    return np.moveaxis(kernel, (2, 3), (0, 1)), "filter"


def _columns(columns: int | None, count: int, height: int, width: int) -> int:
    if columns is None:
        return int(min(count, max(1, round((count * (height + 1) / (width + 1)) ** 0.5))))
    expect_count("columns", columns, 1)
    return min(int(columns), count)


def _mosaic(images: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Puts images side by side, a pixel of nothing between them."""
    _, height, width = images.shape
    picture = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    for number, image in enumerate(images):
        top, left = number // columns * (height + 1), number % columns * (width + 1)
        picture[top : top + height, left : left + width] = image
    return picture


def _ticks(ax: Any, down: tuple[int, int], across: tuple[int, int], word: str, *, by_channel: bool) -> None:
    """Numbers the images; of rows and columns come how many there are and how many pixels one takes."""
    font = font_for(ax)
    rows, columns = (np.arange(0, count, -(-count // 8)) for count, _ in (down, across))
    ax.set_xticks((columns + 0.5) * across[1] - 1, [str(i) for i in columns])
    ax.set_yticks((rows + 0.5) * down[1] - 1, [str(i) for i in (rows if by_channel else rows * across[0])])
    ax.tick_params(labelsize=0.8 * font, length=2)
    ax.set_xlabel(word if by_channel else f"{word}, counted from the row's first", fontsize=font)
    ax.set_ylabel("input channel" if by_channel else f"first {word} of the row", fontsize=font)
