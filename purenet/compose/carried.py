"""The inputs of recurrent layers, as combinators take them apart: sequence, length and carry."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from purenet.contract import Tree
from purenet.errors import StructureError, describe


class Given(NamedTuple):
    """An input taken apart.

    Attributes:
      x: the sequence.
      length: a tuple of the length, or an empty one.
      carry: a tuple of the carry, or an empty one.
    """

    x: Any
    length: tuple[Any, ...]
    carry: tuple[Any, ...]

    def to(self, x: Any, carry: Any) -> Tree:
        """Writes the input of a part."""
        rest = (*self.length, *([carry] if self.carry else []))
        return (x, *rest) if rest else x

    def carries(self, many: int) -> tuple[Any, ...]:
        """Gives each part its carry."""
        if not self.carry:
            return (None,) * many
        (carry,) = self.carry
        if not isinstance(carry, tuple) or len(carry) != many:
            raise StructureError(
                f"expected carry to be a tuple of {many}, one entry per recurrent layer, got {describe(carry)}. "
                "Give each layer's initial carry, or those that came out before."
            )
        return carry


def read(given: Tree) -> Given:
    """Tells a length, which is an array of integers, from a carry."""
    if not isinstance(given, tuple):
        return Given(given, (), ())
    if not 1 < len(given) < 4:
        raise StructureError(
            f"expected the input to be x, (x, length), (x, carry) or (x, length, carry), got {describe(given)}. "
            "Give what the recurrent layers take."
        )
    dtype = getattr(given[1], "dtype", None)
    if len(given) == 2 and not (dtype is not None and jnp.issubdtype(dtype, jnp.integer)):
        return Given(given[0], (), given[1:])
    return Given(given[0], given[1:2], given[2:])


def parted(out: Tree, given: Given) -> tuple[Any, Any]:
    """Takes a part's output, or the cotangent of one, apart: outputs and carry."""
    return out if given.carry else (out, None)
