"""What recurrent layers take: a sequence, with its length and an initial carry where they were asked for."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purenet.contract import Spec, Tree
from purenet.errors import ShapeError, StructureError, describe, expect_array, expect_shape, is_whole

_OURS = "Pass the params that this network's init made."


class Sequence(NamedTuple):
    """The input of a recurrent layer, of one example or of a mini-batch.

    Attributes:
      x: shape (T, n).
      length: int32 of shape (), or None.
      carry: arrays of shape (h,), or None.
    """

    x: Any
    length: Any
    carry: Any


class Options(NamedTuple):
    """What a recurrent layer was made with.

    Attributes:
      name: the layer's.
      features: h.
      gates: how many blocks of h the kernel has.
      carried: how many arrays the carry has.
      outputs: "all" or "last".
      lengths: whether a length comes with x.
      carry: whether an initial carry comes with x, and the final one goes out with y.
      names: those of the params.
    """

    name: str
    features: int
    gates: int
    carried: int
    outputs: str
    lengths: bool
    carry: bool
    names: tuple[str, ...]

    @property
    def form(self) -> str:
        """How the input is written, for messages."""
        parts = ("x", *["length"] * self.lengths, *["carry"] * self.carry)
        return f"({', '.join(parts)})" if len(parts) > 1 else "x"

    def read(self, given: Tree) -> Sequence:
        """Takes the input apart, after refusing another structure."""
        if not (self.lengths or self.carry):
            return Sequence(given, None, None)
        many = 1 + self.lengths + self.carry
        if not isinstance(given, tuple) or len(given) != many:
            raise StructureError(
                f"expected the input to be a tuple {self.form}, got {describe(given)}. "
                f"{self.name} was made with {self._asked}."
            )
        carry = given[-1] if self.carry else None
        if self.carry and self.carried == 1:
            carry = (carry,)
        if self.carry and (not isinstance(carry, tuple) or len(carry) != self.carried):
            raise StructureError(
                f"expected carry to be a tuple (h, c) of arrays, got {describe(carry)}. "
                "Begin with zeros, or with the carry that came out before."
            )
        return Sequence(given[0], given[1] if self.lengths else None, carry)

    def write(self, y: Any, carry: Any) -> Tree:
        """Puts outputs, or cotangents of inputs, together again."""
        if not self.carry:
            return y
        return y, carry[0] if self.carried == 1 else tuple(carry)

    @property
    def _asked(self) -> str:
        return " and ".join([*["lengths=True"] * self.lengths, *["carry=True"] * self.carry])

    def expect_spec(self, spec: Spec) -> Any:
        """Gives the spec of x, after refusing what is no sequence, length or carry."""
        x, length, carry = self.read(spec)
        expect_array(x)
        if len(x.shape) != 2 or x.shape[0] == 0:
            raise ShapeError(
                f"expected x of shape (T, n) with T of 1 or more, got {x.shape}. "
                "One example is one sequence; leave the mini-batch axis out, or use jax.vmap(net.apply, (None, 0))."
            )
        if self.lengths:
            _expect_length_spec(length)
        for a, name in zip(carry or (), "hc", strict=False):
            expect_shape(a, (self.features,), x.dtype, "carry" if self.carried == 1 else f"carry {name}")
        return x

    def check(self, params: Tree, spec: Spec) -> None:
        """Raises unless params and the spec of one example fit each other."""
        kernel = self._expect_params(params)
        x = self.expect_spec(spec)
        expect_shape(x, (x.shape[0], kernel.shape[0]), kernel.dtype)

    def _expect_params(self, params: Tree) -> Any:
        if not isinstance(params, dict) or sorted(params) != sorted(self.names):
            came = f"a dict of {sorted(params)}" if isinstance(params, dict) else describe(params)
            raise StructureError(f"expected params to be a dict of {sorted(self.names)}, got {came}. {_OURS}")
        h, wide = self.features, self.gates * self.features
        shapes = {"kernel": ("n", wide), "recurrent": (h, wide), "bias": (wide,), "recurrent_bias": (h,)}
        for name in self.names:
            expected, shape = shapes[name], jnp.shape(params[name])
            if len(shape) != len(expected) or shape[name == "kernel" :] != expected[name == "kernel" :]:
                shown = f"({', '.join(map(str, expected))}{',' if len(expected) == 1 else ''})"
                raise ShapeError(f"expected params[{name!r}] of shape {shown}, got {shape}. {_OURS}")
            if params[name].dtype != params["kernel"].dtype:
                raise StructureError(
                    f"expected params[{name!r}] of dtype {params['kernel'].dtype}, that of the kernel, got "
                    f"{params[name].dtype}. Cast all parameters to one dtype."
                )
        return params["kernel"]


def expect_visible(length: Any, steps: int) -> None:
    """Raises if lengths that can be seen, outside of jit and vmap, are not within 1 and T."""
    if length is None or isinstance(length, jax.core.Tracer) or not getattr(length, "is_fully_addressable", True):
        return
    values = np.asarray(length)
    wrong = values[(values < 1) | (values > steps)]
    if wrong.size:
        raise ShapeError(
            f"expected 1 <= length <= {steps}, the number of steps, got {wrong.flat[0]}. "
            "Drop empty sequences, and cut longer ones."
        )


def checked_features(name: str, features: Any) -> int:
    """Gives the number of features, after refusing what is none."""
    if not is_whole(features):
        raise StructureError(f"{name}: expected features to be a whole number, got {features!r}. Give an int.")
    if features < 1:
        raise ShapeError(f"{name}: expected features of 1 or more, got {features}. Give the number of outputs.")
    return int(features)


def expect_choice(name: str, what: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raises unless the value is one of the words."""
    if not isinstance(value, str):
        raise StructureError(
            f"{name}: expected {what} to be one of {', '.join(map(repr, choices))}, got {describe(value)}. Give a str."
        )
    if value not in choices:
        raise ShapeError(
            f"{name}: expected {what} to be one of {', '.join(map(repr, choices))}, got {value!r}. Choose one of them."
        )


def _expect_length_spec(length: Any) -> None:
    if not isinstance(length, jax.ShapeDtypeStruct) or length.dtype != jnp.int32:
        came = length.dtype if isinstance(length, jax.ShapeDtypeStruct) else describe(length)
        raise StructureError(
            f"expected length to be an int32, got {came}. Convert it, such as length.astype(jnp.int32)."
        )
    if length.shape != ():
        raise ShapeError(
            f"expected length of shape (), one number for an example, got {length.shape}. "
            "For a mini-batch use jax.vmap(net.apply, (None, 0))."
        )
