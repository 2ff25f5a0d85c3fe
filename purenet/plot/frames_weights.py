"""A network's weights, drawn for each snapshot: those of the first layer as images, those of all as histograms."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purenet.contract import Layer
from purenet.errors import ShapeError, StructureError, describe, is_whole
from purenet.insight.places import places_of
from purenet.plot.frames_scales import BUDGET, Span, limits, picks

_UNITS, _FEWEST, _PIXELS, _BINS = 64, 16, 64, 48
_STRONGEST = 0.5  # percent of the weights; a scale up to the very largest would leave all others pale


class Tiles(NamedTuple):
    """The first layer's weights as images.

    Attributes:
      cells: a byte per weight, of shape (frames, images, rows, columns): 128 is 0, 1 and 255 are ∓scale.
      scale: where the colours end; few |weights| are larger.
      path: the layer.
      what: what one image is, such as "unit".
    """

    cells: np.ndarray
    scale: float
    path: str
    what: str


class Histograms(NamedTuple):
    """How the weights of each layer are spread.

    Attributes:
      paths: of the layers.
      spans: the smallest and largest weight of each layer, over all frames.
      cells: a byte per bin, of shape (frames, layers, bins): its weights' share, 255 for the fullest of the layer.
    """

    paths: tuple[str, ...]
    spans: tuple[Span, ...]
    cells: np.ndarray


def histograms_of(net: Layer, paths: Sequence[str], snapshots: Sequence[Any]) -> Histograms:
    """Counts each layer's weights, one snapshot at a time: a large network's take much memory.

    Args:
      net: a layer.
      paths: the layers in it.
      snapshots: with `params`.

    Returns:
      The histograms.
    """
    places = [place.path for place in places_of(net, snapshots[0].params)]

    def numbers(shot: Any, path: str) -> np.ndarray:
        leaves = [leaf for place, leaf in zip(places, jax.tree.leaves(shot.params), strict=True) if place == path]
        flat = np.concatenate([np.ravel(np.asarray(leaf, np.float64)) for leaf in leaves])
        return flat[np.isfinite(flat)]

    spans, cells = [], np.zeros((len(snapshots), len(paths), _BINS))
    for i, path in enumerate(paths):
        ends = [(np.min(found), np.max(found)) for shot in snapshots if len(found := numbers(shot, path))]
        spans.append(limits(ends, margin=0.0))
        for frame, shot in enumerate(snapshots):
            cells[frame, i] = np.histogram(numbers(shot, path), _BINS, spans[i])[0]
        cells[:, i] /= max(np.max(cells[:, i]), 1)
    return Histograms(tuple(paths), tuple(spans), np.ceil(255 * cells).astype(np.uint8))


def tiles_of(net: Layer, x: Any, snapshots: Sequence[Any], shape: Any) -> tuple[Tiles | None, Sequence[Any], list[str]]:
    """Cuts the first layer's weights into images.

    Args:
      net: a layer.
      x: the spec of one example.
      snapshots: with `params`.
      shape: of an image; None takes that of the examples, or a square.

    Returns:
      The images, None if these weights are none; the snapshots that have them; and what was left out, in sentences.

    Raises:
      StructureError, ShapeError: for a shape that does not fit.
    """
    places = places_of(net, snapshots[0].params)
    first = next((i for i, place in enumerate(places) if place.is_weight), None)
    sizes = None if shape is None else _expect_shape(shape)
    if first is None:
        if sizes is not None:
            raise ShapeError("expected a net with weights for shape, got none. Leave shape out.")
        return None, snapshots, []
    kernels = [np.asarray(jax.tree.leaves(shot.params)[first]) for shot in snapshots]
    cut = _cut_of(kernels[0], x, sizes)
    if cut is None:
        return None, snapshots, []
    notes = []
    steps = [math.ceil(size / _PIXELS) for size in cut.sizes]
    thin = tuple(math.ceil(size / step) for size, step in zip(cut.sizes, steps, strict=True))
    if thin != cut.sizes:
        notes.append(f"Images of {_times(cut.sizes)} weights are thinned out to {_times(thin)}.")
    count = min(cut.total, _UNITS, max(_FEWEST, BUDGET // (math.prod(thin) * len(snapshots))))
    count -= count % 4 if _FEWEST < count < cut.total else 0  # they fill their rows
    if count < cut.total:
        notes.append(f"The first {count} of {cut.total} {cut.what}s are shown.")
    frames = picks(len(snapshots), max(2, BUDGET // (math.prod(thin) * count)))
    images = [cut.images(kernels[i])[:count, :: steps[0], :: steps[1]] for i in frames]
    stacks = np.asarray(images, np.float64)
    scale = _scale(stacks)
    cells = np.clip(128 + np.rint(127 * np.nan_to_num(stacks / scale, posinf=0, neginf=0)), 1, 255).astype(np.uint8)
    return Tiles(cells, scale, places[first].path, cut.what), [snapshots[i] for i in frames], notes


class _Cut(NamedTuple):
    """How a kernel is cut into images: of which sizes, how many and of what, and the first of them as an array."""

    sizes: tuple[int, int]
    total: int
    what: str
    images: Callable[[np.ndarray], np.ndarray]


def _cut_of(kernel: np.ndarray, x: Any, sizes: tuple[int, int] | None) -> _Cut | None:
    """None if the kernel is no images."""
    if kernel.ndim == 4 and math.prod(kernel.shape[:2]) > 1 and sizes is None:  # rows, columns, channels in and out
        rows, columns, channels, filters = kernel.shape
        what = "filter" if channels == 1 else "filter's channel"
        return _Cut(
            (rows, columns),
            channels * filters,
            what,
            lambda k: np.transpose(k[..., :_UNITS], (3, 2, 0, 1)).reshape(-1, rows, columns),
        )
    if sizes is not None and kernel.ndim != 2:
        raise ShapeError(f"expected a first layer with a matrix of weights for shape, got {describe(kernel)}.")
    if sizes is not None and math.prod(sizes) != kernel.shape[0]:
        raise ShapeError(
            f"expected shape to have {kernel.shape[0]} pixels, the inputs of the first layer, got {sizes}."
        )
    found = sizes or (_shape_of(kernel.shape[0], x) if kernel.ndim == 2 else None)
    if found is None:
        return None
    return _Cut(found, kernel.shape[1], "unit", lambda k: np.transpose(k[:, :_UNITS]).reshape(-1, *found))


def _shape_of(inputs: int, x: Any) -> tuple[int, int] | None:
    """That of the examples, if they are what comes in and are images; a square, if they are flat."""
    if not hasattr(x, "shape") or not jnp.issubdtype(x.dtype, jnp.floating) or math.prod(x.shape) != inputs:
        return None
    sizes, side = [size for size in x.shape if size != 1], math.isqrt(inputs)
    if len(sizes) == 2:
        return sizes[0], sizes[1]
    return (side, side) if len(sizes) == 1 and side * side == inputs and side > 2 else None


def _times(sizes: tuple[int, ...]) -> str:
    return "×".join(map(str, sizes))


def _scale(weights: np.ndarray) -> float:
    known = np.abs(weights[np.isfinite(weights)])
    return float(np.percentile(known, 100 - _STRONGEST) or known.max() or 1.0) if known.size else 1.0


def _expect_shape(shape: Any) -> tuple[int, int]:
    if not isinstance(shape, (tuple, list)) or len(shape) != 2 or not all(is_whole(size) for size in shape):
        raise StructureError(f"expected shape to be (rows, columns), got {describe(shape)}. Such as (28, 28).")
    if min(shape) < 1:
        raise ShapeError(f"expected rows and columns of 1 or more, got {tuple(shape)}. Such as (28, 28).")
    return int(shape[0]), int(shape[1])
