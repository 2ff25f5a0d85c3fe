"""Windows that slide over the space of an example: their sizes, steps and paddings, for convolution and pooling."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from purenet.contract import Spec
from purenet.errors import ShapeError, StructureError, expect_array, is_whole

KINDS = ("same", "valid", "causal", "circular")

Pads = tuple[tuple[int, int], ...]


class Windows(NamedTuple):
    """How a window slides over an example of shape (space…, channels), one entry an axis of space.

    Attributes:
      size: the window's extent in taps.
      stride: the step from one window to the next.
      dilation: the step from one tap to the next.
      padding: one of `KINDS`, or what is added before and behind each axis.
    """

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: str | Pads

    @property
    def rank(self) -> int:
        """The number of axes of space."""
        return len(self.size)

    @property
    def extent(self) -> tuple[int, ...]:
        """What the window covers, gaps between taps counted in."""
        return tuple((size - 1) * step + 1 for size, step in zip(self.size, self.dilation, strict=True))

    def pads(self, space: Sequence[int]) -> Pads:
        """What is added before and behind each axis of an example of this space."""
        if not isinstance(self.padding, str):
            return self.padding
        if self.padding == "valid":
            return ((0, 0),) * self.rank
        if self.padding == "causal":
            return tuple((extent - 1, 0) for extent in self.extent)
        pads = []
        for n, extent, stride in zip(space, self.extent, self.stride, strict=True):
            total = max(0, (-(-n // stride) - 1) * stride + extent - n)
            pads.append((total // 2, total - total // 2))
        return tuple(pads)

    def out(self, space: Sequence[int]) -> tuple[int, ...]:
        """How many windows there are along each axis."""
        padded = [n + low + high for n, (low, high) in zip(space, self.pads(space), strict=True)]
        return tuple(
            (n - extent) // stride + 1 for n, extent, stride in zip(padded, self.extent, self.stride, strict=True)
        )


def make_windows(
    name: str, window: Any, stride: Any = 1, dilation: Any = 1, padding: Any = "same", *, what: str = "window"
) -> Windows:
    """Takes what a user wrote.

    Args:
      name: the layer's, for errors.
      window: the sizes, one to three whole numbers in a tuple; a whole number is one axis.
      stride: a whole number for all axes, or one for each.
      dilation: likewise.
      padding: "same", "valid", "causal" (one axis only), "circular", a whole number for all sides, or for each axis
        one or a pair (before, behind).
      what: how the layer calls the window.

    Returns:
      The windows.

    Raises:
      ShapeError: for sizes out of range, a wrong number of them, or an unknown padding.
      StructureError: for what is not whole numbers.
    """
    size = as_sizes(name, what, window)
    if len(size) > 3:
        raise ShapeError(f"{name}: expected {what} of one to three axes, got {window!r}. Leave the channels out.")
    rank = len(size)
    steps = as_sizes(name, "stride", stride, rank), as_sizes(name, "dilation", dilation, rank)
    return Windows(size, *steps, _as_padding(name, padding, rank))


def as_sizes(name: str, what: str, value: Any, rank: int | None = None, least: int = 1) -> tuple[int, ...]:
    """Takes a whole number or a tuple of them, each `least` or more; with `rank`, one for all axes or one for each."""
    many = isinstance(value, (tuple, list))
    sizes = tuple(value) if many else (value,) * (rank or 1)
    if not sizes or not all(map(is_whole, sizes)):
        raise StructureError(
            f"{name}: expected {what} to be a whole number or a tuple of them, got {value!r}. Such as (3, 3)."
        )
    if rank is not None and len(sizes) != rank:
        raise ShapeError(
            f"{name}: expected {what} with {rank} sizes, one for each axis, got {value!r}. "
            "Give as many as the window has, or one number for all."
        )
    if min(sizes) < least:
        raise ShapeError(
            f"{name}: expected {what} of {least} or more, got {value!r}. Give {least} or more for each axis."
        )
    return tuple(map(int, sizes))


def _as_padding(name: str, padding: Any, rank: int) -> str | Pads:
    if isinstance(padding, str):
        if padding not in KINDS:
            raise ShapeError(
                f"{name}: expected padding to be one of {KINDS} or whole numbers, got {padding!r}. Choose one of them."
            )
        if padding == "causal" and rank > 1:
            raise ShapeError(
                f"{name}: expected padding='causal' with one axis, got {rank} axes. Give each axis (before, behind)."
            )
        return padding
    axes = padding if isinstance(padding, (tuple, list)) else (padding,) * rank
    pairs = [pair if isinstance(pair, (tuple, list)) else (pair, pair) for pair in axes]
    if not all(len(pair) == 2 and all(map(is_whole, pair)) for pair in pairs):
        raise StructureError(
            f"{name}: expected padding to be one of {KINDS} or whole numbers, got {padding!r}. "
            "Give for each axis one number or (before, behind)."
        )
    if len(pairs) != rank or any(min(pair) < 0 for pair in pairs):
        raise ShapeError(
            f"{name}: expected padding of 0 or more for each of {rank} axes, got {padding!r}. "
            "Give for each axis one number or (before, behind)."
        )
    return tuple((int(low), int(high)) for low, high in pairs)


def expect_space(x: Spec, windows: Windows, what: str = "x") -> None:
    """Raises unless the example has the windows' axes of space, then channels, and one window at least fits in."""
    expect_axes(x, windows.rank, what)
    space = x.shape[:-1]
    if windows.padding == "circular":
        pads = windows.pads(space)
        if any(max(pair) > n for n, pair in zip(space, pads, strict=True)):
            raise ShapeError(
                f"expected a window that goes round {space} at most once, got one that covers {windows.extent}. "
                "Use a smaller window or dilation."
            )
    if min(windows.out(space)) < 1:
        raise ShapeError(
            f"expected {what} with room for a window of {windows.extent}, got space of {space} padded by "
            f"{windows.pads(space)}. Use a smaller window or dilation, or padding='same'."
        )


def expect_axes(x: Spec, rank: int, what: str = "x") -> None:
    """Raises unless the example is one floating array with so many axes of space, then channels."""
    expect_array(x, what)
    if len(x.shape) != rank + 1:
        raise ShapeError(
            f"expected {what} of {rank + 1} axes, {rank} of space and the channels last, got {x.shape}. "
            + _rank_remedy(x.shape, rank)
        )


def _rank_remedy(shape: tuple[int, ...], rank: int) -> str:
    if len(shape) == rank:
        return f"For one channel put pn.reshape({(*shape, 1)}) before it."
    if len(shape) == rank + 2:
        return "For a mini-batch use jax.vmap(net.apply, (None, 0)); for a sequence in one example, pn.each."
    return "Give the window as many axes as an example has beside its channels."
