"""Hypothesis strategies: specs, params and mini-batches that shrink towards small shapes and simple values.

They need Hypothesis, `pip install hypothesis`, and so `purenet.check` does not import them: import this module itself.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purenet.check import leaves
from purenet.contract import Layer, Spec, Tree, as_layer
from purenet.errors import ShapeError, StructureError, by, describe, is_whole

try:
    from hypothesis import strategies as st
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "purenet.check.strategies: expected Hypothesis to be installed, got none. Install it: pip install hypothesis.",
        name="hypothesis",
    ) from error

__all__ = ["batches", "params", "specs"]


def specs(
    *, min_rank: int = 0, max_rank: int = 3, max_size: int = 5, dtypes: Sequence[Any] = (jnp.float32,)
) -> st.SearchStrategy[jax.ShapeDtypeStruct]:
    """Specs of one example: small shapes, shrinking towards few axes of size 1 and the first dtype.

    Args:
      min_rank: the fewest axes, 0 or more.
      max_rank: the most axes, `min_rank` or more.
      max_size: of an axis, 1 or more.
      dtypes: to choose from.

    Returns:
      A strategy of `jax.ShapeDtypeStruct`.

    Raises:
      ShapeError: if a bound is out of range, or `dtypes` is empty.
      StructureError: if a bound is no whole number.

    Example:
      >>> import hypothesis, purenet as pn
      >>> from purenet.check.strategies import specs
      >>> hypothesis.find(specs(min_rank=1), lambda spec: True)
      ShapeDtypeStruct(shape=(1,), dtype=float32)
    """
    with by("specs"):
        _expect_bound("min_rank", min_rank, 0)
        _expect_bound("max_rank", max_rank, min_rank)
        _expect_bound("max_size", max_size, 1)
        if len(dtypes) == 0:
            raise ShapeError("expected dtypes to choose from, got none. Such as (jnp.float32,).")
    shapes = st.lists(st.integers(1, max_size), min_size=min_rank, max_size=max_rank).map(tuple)
    return st.builds(jax.ShapeDtypeStruct, shapes, st.sampled_from([np.dtype(dtype) for dtype in dtypes]))


def params(
    layer: Any, spec: Spec, *, low: float = -3.0, high: float = 3.0, dtype: Any = None
) -> st.SearchStrategy[Tree]:
    """Params of a layer: the tree of its `init`, with any values, shrinking towards zeros.

    Args:
      layer: a layer, or a plain function of one example.
      spec: of one example.
      low: the smallest value.
      high: the largest value, above `low`.
      dtype: of floats; that of `init` unless told.

    Returns:
      A strategy of pytrees of JAX arrays.

    Raises:
      ShapeError: if `high` is not above `low`.
      StructureError: if `layer` is no layer or `spec` no spec.

    Example:
      >>> import hypothesis, purenet as pn
      >>> from purenet.check.strategies import params
      >>> hypothesis.find(params(pn.dense(2), pn.spec(1)), lambda tree: True)["kernel"].tolist()
      [[0.0, 0.0]]
    """
    with by("params"):
        _expect_range(low, high)
        net: Layer = as_layer(layer)
        made, _ = jax.eval_shape(lambda key: net.init(key, spec), jax.random.key(0))
    return _trees(made, (), low, high, dtype)


def batches(
    spec: Spec,
    *,
    min_size: int = 1,
    max_size: int = 4,
    low: float = -3.0,
    high: float = 3.0,
    classes: int = 2,
    dtype: Any = None,
) -> st.SearchStrategy[Tree]:
    """Mini-batches of examples of a spec, shrinking towards one example of zeros.

    Args:
      spec: of one example, or a pytree of such.
      min_size: the fewest examples, 1 or more.
      max_size: the most examples, `min_size` or more.
      low: the smallest float.
      high: the largest float, above `low`.
      classes: integers are drawn from 0 to classes - 1.
      dtype: of floats; that of the spec unless told.

    Returns:
      A strategy of pytrees of JAX arrays with the examples along the first axis.

    Raises:
      ShapeError: if a bound is out of range.
      StructureError: if `spec` is none, or a bound no whole number.

    Example:
      >>> import hypothesis, purenet as pn
      >>> from purenet.check.strategies import batches
      >>> hypothesis.find(batches(pn.spec(2)), lambda xs: float(xs.max()) >= 1).tolist()
      [[0.0, 1.0]]
    """
    with by("batches"):
        _expect_range(low, high)
        _expect_bound("min_size", min_size, 1)
        _expect_bound("max_size", max_size, min_size)
        _expect_bound("classes", classes, 1)
        for leaf in jax.tree.leaves(spec) or [spec]:
            if not isinstance(leaf, jax.ShapeDtypeStruct):
                raise StructureError(f"expected the spec of one example, got {describe(leaf)}. Pass pn.spec(784).")
    return st.integers(min_size, max_size).flatmap(lambda size: _trees(spec, (size,), low, high, dtype, classes))


def _trees(
    spec: Spec, front: tuple[int, ...], low: float, high: float, dtype: Any, classes: int = 2
) -> st.SearchStrategy[Tree]:
    """Trees of arrays with these axes in front."""
    all_leaves, structure = jax.tree.flatten(spec)
    arrays = st.tuples(*(_arrays(leaf, front, low, high, dtype, classes) for leaf in all_leaves))
    return arrays.map(lambda drawn: jax.tree.unflatten(structure, list(drawn)))


def _arrays(
    leaf: Any, front: tuple[int, ...], low: float, high: float, dtype: Any, classes: int
) -> st.SearchStrategy[Any]:
    shape = (*front, *leaf.shape)
    wanted = np.dtype(dtype) if dtype is not None and leaves.is_float(leaf) else leaf.dtype
    if leaves.is_float(leaf):
        numbers: Any = st.floats(low, high, width=32, allow_subnormal=False)
    else:
        numbers = st.booleans() if leaf.dtype == np.bool_ else st.integers(0, classes - 1)
    count = math.prod(shape)
    return st.lists(numbers, min_size=count, max_size=count).map(
        lambda values: jnp.asarray(
            np.asarray(values, np.float64 if leaves.is_float(leaf) else None).reshape(shape).astype(wanted)
        )
    )


def _expect_bound(what: str, value: Any, least: int) -> None:
    if not is_whole(value):
        raise StructureError(f"expected {what} to be a whole number, got {describe(value)}. Give an int.")
    if value < least:
        raise ShapeError(f"expected {what} of {least} or more, got {value}. Give a larger int.")


def _expect_range(low: Any, high: Any) -> None:
    if not low < high:
        raise ShapeError(f"expected high above low, got low={low!r} and high={high!r}. Exchange them.")
