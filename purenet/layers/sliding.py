"""What slides over a mini-batch: each tap of a window as one array over all windows, and the way back."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from purenet.contract import Spec
from purenet.errors import ShapeError
from purenet.layers.windows import Pads, Windows, expect_space, make_windows

# Up to so many taps a window is taken at once, a larger one an axis at a time. Value and gradient of the largest on two
# cores, in ms: 2×2 at 128×28×28×16 1.7 at once and 2.5 by axes, 3×3 3.9 and 3.7, 7×7 at 4×40×40×8 3.0 and 0.5.
_AT_ONCE = 9


def pooling_windows(name: str, window: Any, stride: Any, padding: Any) -> Windows:
    """Takes what a user wrote for a pooling, whose stride is the window unless told.

    Args:
      name: the layer's, for errors.
      window: one to three sizes; a whole number is one axis.
      stride: one for each axis or for all; None for the window itself.
      padding: "valid", "same", "causal", or whole numbers.

    Returns:
      The windows, each of which sees one element at least that is no padding.

    Raises:
      ShapeError: as `make_windows`; for circular padding, and for padding as wide as the window.
      StructureError: as `make_windows`.
    """
    windows = make_windows(name, window, window if stride is None else stride, padding=padding)
    if windows.padding == "circular":
        raise ShapeError(
            f"{name}: expected padding of 'valid', 'same', 'causal' or whole numbers, got 'circular'. "
            "Only convolutions go round."
        )
    if not isinstance(windows.padding, str):
        for size, pair in zip(windows.size, windows.padding, strict=True):
            if max(pair) >= size:
                raise ShapeError(
                    f"{name}: expected padding below the window's size {size}, got {max(pair)}. "
                    "A window of nothing but padding has no value."
                )
    return windows


def expect_windows(x: Spec, windows: Windows) -> None:
    """Raises unless a pooling's windows fit on an example."""
    expect_space(x, windows)
    if 0 in x.shape[:-1]:
        raise ShapeError(f"expected x with space of 1 or more along each axis, got {x.shape}. Drop empty examples.")


def padded(xs: jax.Array, pads: Pads, value: float) -> jax.Array:
    """Puts `value` around the space of a mini-batch."""
    if not any(map(any, pads)):
        return xs
    around = ((0, 0, 0), *((low, high, 0) for low, high in pads), (0, 0, 0))
    return lax.pad(xs, jnp.asarray(value, xs.dtype), around)


def cropped(dxs: jax.Array, pads: Pads) -> jax.Array:
    """Takes the padding away again."""
    starts = [0, *(low for low, _ in pads), 0]
    ends = [0, *(high for _, high in pads), 0]
    return lax.slice(dxs, starts, [n - end for n, end in zip(dxs.shape, ends, strict=True)])


def stages(windows: Windows) -> list[Windows]:
    """Cuts a window of many taps, without its padding, into one for each axis, the last axis first.

    In this order the first of equals along each axis in turn is the first in row-major order.
    """
    whole = windows._replace(padding="valid")
    if math.prod(windows.size) <= _AT_ONCE:
        return [whole]
    return by_axis(whole)


def by_axis(windows: Windows) -> list[Windows]:
    """One window for each axis, the last axis first."""

    def only(axis: int, sizes: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(n if i == axis else 1 for i, n in enumerate(sizes))

    axes = reversed(range(windows.rank))
    return [windows._replace(size=only(a, windows.size), stride=only(a, windows.stride)) for a in axes]


def taps(xs: jax.Array, windows: Windows) -> list[jax.Array]:
    """Gives what stands at each place of the window, for all windows together, in row-major order.

    Args:
      xs: a mini-batch, padded, of shape (examples, space…, channels).
      windows: how the window slides.

    Returns:
      For each place an array of shape (examples, windows…, channels).
    """
    out = windows.out(xs.shape[1:-1])

    def one(place: Sequence[int]) -> jax.Array:
        ends = [first + (n - 1) * step + 1 for first, n, step in zip(place, out, windows.stride, strict=True)]
        return lax.slice(xs, (0, *place, 0), (xs.shape[0], *ends, xs.shape[-1]), (1, *windows.stride, 1))

    return [one(place) for place in itertools.product(*map(range, windows.size))]


def untaps(dtaps: Sequence[jax.Array], windows: Windows, space: Sequence[int]) -> jax.Array:
    """Adds up, at each element, what comes back to it from every window that saw it: the transpose of `taps`.

    Elements whose positions leave the same remainder by the stride are added up densely, and interleaved at the end:
    zeros between the elements of each tap would have to be added, too.

    Args:
      dtaps: the cotangents of what `taps` gave.
      windows: how the window slides.
      space: that of the padded mini-batch.

    Returns:
      The cotangents of the padded mini-batch.
    """
    lengths = [-(-n // step) for n, step in zip(space, windows.stride, strict=True)]
    out = dtaps[0].shape[1:-1]
    zero = jnp.zeros((), dtaps[0].dtype)
    sums: dict[Any, jax.Array] = {}
    for place, dtap in zip(itertools.product(*map(range, windows.size)), dtaps, strict=True):
        skipped = [at // step for at, step in zip(place, windows.stride, strict=True)]
        rest = tuple(at % step for at, step in zip(place, windows.stride, strict=True))
        behind = [length - skip - n for length, skip, n in zip(lengths, skipped, out, strict=True)]
        moved = lax.pad(dtap, zero, ((0, 0, 0), *((a, b, 0) for a, b in zip(skipped, behind, strict=True)), (0, 0, 0)))
        sums[rest] = sums[rest] + moved if rest in sums else moved
    nothing = jnp.zeros_like(next(iter(sums.values())))
    together = _interleaved(sums, nothing, windows.stride, ())
    return lax.slice(together, [0] * together.ndim, (together.shape[0], *space, together.shape[-1]))


def _interleaved(sums: dict[Any, jax.Array], nothing: jax.Array, stride: Sequence[int], rest: Any) -> jax.Array:
    if len(rest) == len(stride):
        return sums.get(rest, nothing)
    axis = 1 + len(rest)
    found = [_interleaved(sums, nothing, stride, (*rest, i)) for i in range(stride[axis - 1])]
    if len(found) == 1:
        return found[0]
    return interleaved(found, axis)


def interleaved(arrays: Sequence[jax.Array], axis: int) -> jax.Array:
    """Puts arrays of one shape into one, their elements along `axis` by turns."""
    stacked = jnp.stack(arrays, axis=axis + 1)
    shape = stacked.shape
    return jnp.reshape(stacked, (*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :]))


def wide(xs: jax.Array) -> jax.Array:
    """Gives 16-bit numbers 32 bits, to take sums of them."""
    return xs.astype(jnp.float32) if xs.dtype.itemsize < 4 else xs
