"""What is static in a correlation: sizes, steps, pads and groups."""

from typing import NamedTuple

from purenet.layers.windows import Pads


class Geometry(NamedTuple):
    """What is static in a correlation, one entry an axis of space.

    Attributes:
      space: the sizes of x.
      window: the sizes of the kernel.
      stride: the step from one window to the next.
      dilation: the step from one tap to the next.
      pads: zeros before and behind x.
      groups: how many groups the channels fall into; each group of features sees one group of channels.
    """

    space: tuple[int, ...]
    window: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: Pads
    groups: int = 1

    @property
    def rank(self) -> int:
        """The number of axes of space."""
        return len(self.window)

    @property
    def reach(self) -> tuple[int, ...]:
        """The distance between the window's first and last tap."""
        return tuple((size - 1) * step for size, step in zip(self.window, self.dilation, strict=True))

    @property
    def out(self) -> tuple[int, ...]:
        """The sizes of y."""
        return tuple(
            (n + low + high - reach - 1) // stride + 1
            for n, (low, high), reach, stride in zip(self.space, self.pads, self.reach, self.stride, strict=True)
        )

    @property
    def spreading(self) -> Pads:
        """What pads y, after `stride` - 1 zeros between its elements, so that the flipped kernel goes over all of x."""
        return tuple(
            (reach - low, n + low - (out - 1) * stride - 1)
            for n, (low, _), reach, out, stride in zip(
                self.space, self.pads, self.reach, self.out, self.stride, strict=True
            )
        )

    @property
    def seen(self) -> Pads:
        """The pads of x without what no window reaches; negative where x itself ends behind the last window."""
        return tuple(
            (low, reach + (out - 1) * stride + 1 - n - low)
            for n, (low, _), reach, out, stride in zip(
                self.space, self.pads, self.reach, self.out, self.stride, strict=True
            )
        )
