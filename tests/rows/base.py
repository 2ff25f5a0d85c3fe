"""What a row of the cross-check table says of a layer or combinator."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import purenet as pn


class LayerRow(NamedTuple):
    """A layer or combinator.

    Attributes:
      name: the public name.
      make: makes the layer.
      shapes: shapes of one example, at most four; for layers of one array.
      low, high: the domain that inputs are drawn from, uniformly.
      inputs: instead of shapes, domain and all: functions `(rng, many) -> xs` that draw a tree of NumPy arrays with
        the axes `many` in front of one example's; floats take the dtype of the test, integers are int32, bools stay.
      kinks: `(point, derivative)` pairs: where the derivative jumps, and what both rules choose there.
      reference: `(params, xs, state, key) -> ys` in plain JAX where training differs from `vmap(apply)`.
      random: whether `forward` draws from its key.
      integers: whether it also takes integers.
      rounding: how many times the tolerance a layer may take in float32 that does many operations on end.
    """

    name: str
    make: Callable[[], pn.Layer]
    shapes: tuple[tuple[int, ...], ...] = ((5,), (3, 4))
    low: float = -3.0
    high: float = 3.0
    inputs: tuple[Callable[[np.random.Generator, tuple[int, ...]], Any], ...] = ()
    kinks: tuple[tuple[float, float], ...] = ()
    reference: Callable[..., Any] | None = None
    random: bool = False
    integers: bool = False
    rounding: float = 1.0

    @property
    def id(self) -> str:
        """The row's name in the tests."""
        return self.name

    @property
    def cases(self) -> tuple[Any, ...]:
        """What the laws draw from: the functions of `inputs`, or uniform draws of `shapes`."""
        return self.inputs or tuple(_uniform(shape, self.low, self.high) for shape in self.shapes)


@functools.cache  # one function for equal draws, so that what is known of it is found again
def _uniform(shape: tuple[int, ...], low: float, high: float) -> Callable[..., Any]:
    def draw(rng: np.random.Generator, many: tuple[int, ...]) -> np.ndarray:
        return rng.uniform(low, high, (*many, *shape))

    draw.__name__ = str(shape)
    return draw
