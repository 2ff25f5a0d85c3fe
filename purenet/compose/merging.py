"""Layers that make one array of several: add, multiply, concatenate."""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purenet.contract import Layer, Spec, Tree, layer
from purenet.errors import ShapeError, StructureError, describe, expect_array, is_whole


def _several(x: Any) -> tuple[Spec, ...]:
    """Gives the specs of the arrays, after refusing anything but a tuple of two or more."""
    if not isinstance(x, tuple) or len(x) < 2:
        raise StructureError(
            f"expected x to be a tuple of two or more arrays, got {describe(x)}. "
            "Call it on several nodes of a graph, or put pn.branch or pn.parallel before it."
        )
    return x


def _alike(params: Tree, x: Spec) -> None:
    """The check of `add` and `multiply`: floating arrays of one shape and dtype."""
    specs = _several(x)
    for i, one in enumerate(specs):
        expect_array(one, f"x[{i}]")
        _expect_dtype(i, one, specs[0])
        if one.shape != specs[0].shape:
            raise ShapeError(
                f"expected arrays of one shape, got {specs[0].shape} and {one.shape}. "
                "Nothing broadcasts: bring them to one shape first, such as by pn.dense."
            )


def _expect_dtype(i: int, one: Spec, first: Spec) -> None:
    if one.dtype != first.dtype:
        raise StructureError(
            f"expected x[{i}] of dtype {first.dtype}, that of x[0], got {one.dtype}. Cast one of them with astype."
        )


def _merging(name: str, operation: Callable[[Any, Any], Any], rule: Callable[..., Any], doc: str) -> Layer:
    def apply(params: Tree, x: Any) -> jax.Array:
        made: jax.Array = functools.reduce(operation, x)
        return made

    def forward(params: Tree, xs: Any, state: Tree, key: Any) -> tuple[jax.Array, Tree]:
        return apply(params, xs), state

    def vjp(params: Tree, xs: Any, state: Tree, key: Any) -> Any:
        return apply(params, xs), state, rule(xs)

    apply.__doc__ = doc
    return layer(apply, forward=forward, vjp=vjp, check=_alike, name=name)


@functools.cache  # one function a number of arrays, so that equal pullbacks have equal tree structures
def _copies(number: int) -> Callable[[jax.Array], tuple[Tree, Any]]:
    return lambda dys: ((), (dys,) * number)


def _others(xs: Sequence[jax.Array], dys: jax.Array) -> tuple[Tree, Any]:
    """δ times the product of all others, from the products of those before and those behind."""
    before = list(itertools.accumulate((dys, *xs[:-1]), jnp.multiply))
    behind = list(itertools.accumulate(xs[:0:-1], jnp.multiply))[::-1]
    return (), (*map(jnp.multiply, before[:-1], behind), before[-1])


add = _merging(
    "add",
    jnp.add,
    lambda xs: jax.tree_util.Partial(_copies(len(xs))),
    """The sum of several arrays, y = x₁ + x₂ + …, from the left.

    A layer, not a call: from a tuple of two or more arrays of one shape and floating dtype to one such; no params.

    Raises:
      StructureError: at trace time, if x is no tuple of two or more floating arrays of one dtype.
      ShapeError: at trace time, if their shapes differ: nothing broadcasts.

    Derivation:
      ∂y/∂xᵢ is the identity: every summand receives dJ/dxᵢ = dJ/dy.

    References:
      He, Zhang, Ren and Sun (2016), Deep residual learning for image recognition, eq. 1.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> pn.add.apply((), (jnp.array([1.0, 2.0]), jnp.array([10.0, 20.0]))).tolist()
      [11.0, 22.0]
    """,
)
multiply = _merging(
    "multiply",
    jnp.multiply,
    lambda xs: jax.tree_util.Partial(_others, xs),
    """The product of several arrays, element by element, y = x₁ ∘ x₂ ∘ …, such as of values and their gates.

    A layer, not a call: from a tuple of two or more arrays of one shape and floating dtype to one such; no params.

    Raises:
      StructureError: at trace time, if x is no tuple of two or more floating arrays of one dtype.
      ShapeError: at trace time, if their shapes differ: nothing broadcasts.

    Derivation:
      dy = Σᵢ dxᵢ ∘ ∏_{j≠i} xⱼ, so dJ/dxᵢ = dJ/dy ∘ ∏_{j≠i} xⱼ. The products of all others come from those of all
      before and all behind, 3n products for n factors, and not from y / xᵢ, which a zero would spoil.

    References:
      Griewank and Walther (2008), Evaluating Derivatives, section 3.3, Speelpenning's product.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> pn.multiply.apply((), (jnp.array([1.0, 2.0]), jnp.array([10.0, 0.0]))).tolist()
      [10.0, 0.0]
    """,
)


def concatenate(axis: int = -1) -> Layer:
    """Several arrays one behind the other along an axis, y = [x₁ x₂ …].

    Args:
      axis: the axis of one example, from 0, or from the last axis back as -1.

    Returns:
      A layer from a tuple of two or more arrays of any one dtype, whose shapes differ at most along the axis, to
      one array; no params.

    Raises:
      StructureError: if `axis` is not a whole number; at trace time, if x is no tuple of two or more arrays, or
        their dtypes differ.
      ShapeError: at trace time, if an array has no such axis, or other axes differ.

    Derivation:
      Every element of an xᵢ stands in y once: dJ/dxᵢ is the part of dJ/dy where xᵢ stands, so the pullback of
      concatenation is splitting.

    References:
      Huang, Liu, van der Maaten and Weinberger (2017), Densely connected convolutional networks, eq. 2.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> pn.concatenate().apply((), (jnp.array([1, 2]), jnp.array([3]))).tolist()
      [1, 2, 3]
    """
    if not is_whole(axis):
        raise StructureError(f"concatenate: expected axis to be a whole number, got {axis!r}. Give an int.")
    axis_of_batch = axis + 1 if axis >= 0 else axis

    def check(params: Tree, x: Spec) -> None:
        specs = _several(x)
        for i, one in enumerate(specs):
            if not isinstance(one, jax.ShapeDtypeStruct):
                raise StructureError(f"expected x[{i}] to be one array, got {describe(one)}. Pick one.")
            if not -len(one.shape) <= axis < len(one.shape):
                raise ShapeError(
                    f"expected x[{i}] with an axis {axis}, got shape {one.shape}. "
                    "Give the axis of one example, without the mini-batch axis."
                )
            _expect_dtype(i, one, specs[0])
            if _without(one.shape, axis) != _without(specs[0].shape, axis):
                raise ShapeError(
                    f"expected arrays that differ only along axis {axis}, got {specs[0].shape} and {one.shape}. "
                    "Choose another axis, or reshape one of them."
                )

    def apply(params: Tree, x: Any) -> jax.Array:
        return jnp.concatenate(x, axis)

    def forward(params: Tree, xs: Any, state: Tree, key: Any) -> tuple[jax.Array, Tree]:
        return jnp.concatenate(xs, axis_of_batch), state

    def vjp(params: Tree, xs: Any, state: Tree, key: Any) -> Any:
        pullback = _splits(axis_of_batch, tuple(x.shape[axis_of_batch] for x in xs))
        return *forward(params, xs, state, key), jax.tree_util.Partial(pullback)

    return layer(apply, forward=forward, vjp=vjp, check=check, name="concatenate")


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, tuple[int, ...]]:
    place = axis % len(shape)
    return len(shape), (*shape[:place], *shape[place + 1 :])


@functools.cache  # one function an axis and sizes, so that equal pullbacks have equal tree structures
def _splits(axis: int, sizes: tuple[int, ...]) -> Callable[[Any], tuple[Tree, Any]]:
    bounds = [*itertools.accumulate(sizes)][:-1]

    def pullback(dys: Any) -> tuple[Tree, Any]:
        split = np.split if dys.dtype == jax.dtypes.float0 else jnp.split  # integers' cotangents live in NumPy
        return (), tuple(split(dys, bounds, axis))

    return pullback
