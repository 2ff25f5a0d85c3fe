"""How the laws draw: many values of params, inputs and cotangents, to be vmapped through one program."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rows.base import LayerRow
from specs import LAYERS, LOSSES, LossRow

LAYER_CASES = [
    pytest.param(row, case, id=f"{index}-{row.id}-{case.__name__}")
    for index, row in enumerate(LAYERS)
    for case in row.cases
]
LAYER_ROWS = [pytest.param(row, id=f"{index}-{row.id}") for index, row in enumerate(LAYERS)]
LOSS_ROWS = [pytest.param(row, id=f"{index}-{row.id}") for index, row in enumerate(LOSSES)]
BATCH = 3


class Draw(NamedTuple):
    """Everything that a layer's rules take."""

    params: Any
    state: Any
    xs: jax.Array
    dys: Any
    key: jax.Array


def draw(layer: Any, case: Any, dtype: Any, seed: int, many: tuple[int, ...] = ()) -> Draw:
    """Draws params, a mini-batch, cotangents and a key; with `many`, so many of each along axes in front.

    NumPy draws, so that no program but the law's own is compiled. A state's numbers are drawn around 1, as variances.
    """
    rng, key = np.random.default_rng(seed), jax.random.key(seed)
    xs = jax.tree.map(lambda a: cast(a, dtype), case(rng, (*many, BATCH)))
    params, state, out = _shapes(layer, case, str(jnp.dtype(dtype)))
    params, dys = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=(*many, *a.shape)), dtype), (params, out))
    state = jax.tree.map(lambda a: jnp.asarray(rng.uniform(0.5, 1.5, (*many, *a.shape)), a.dtype), state)
    return Draw(params, state, xs, dys, jax.random.split(key, many) if many else key)


@functools.cache
def _shapes(layer: Any, case: Any, dtype: str) -> tuple[Any, Any, Any]:
    """Gives shapes and dtypes of params, state and a mini-batch's outputs."""
    xs = jax.tree.map(lambda a: cast(a, dtype), case(np.random.default_rng(0), (BATCH,)))
    spec = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), xs)
    key = jax.random.key(0)
    params, state = jax.eval_shape(lambda key: layer.init(key, spec), key)
    out = jax.eval_shape(
        lambda params, state, key, xs: layer.forward(params, xs, state, key)[0], params, state, key, xs
    )
    return params, state, out


@functools.cache
def made(row: LayerRow) -> Any:
    """Makes a row's layer, once for all laws, so that what JAX traced of it is found again."""
    return row.make()


def cast(a: Any, dtype: Any) -> jax.Array:
    """Gives floats the dtype of the test and integers 32 bits; truth values stay."""
    kind = np.asarray(a).dtype.kind
    return jnp.asarray(a, {"f": dtype, "b": bool}.get(kind, jnp.int32))


def draw_pair(row: LossRow, dtype: Any, seed: int, many: tuple[int, ...] = ()) -> tuple[Any, Any]:
    """Draws a prediction and a target; with `many`, so many of each along axes in front."""
    drawn = row.draw(np.random.default_rng(seed), many)
    return jax.tree.map(lambda a: cast(a, dtype), drawn)


def plain(row: LayerRow, layer: Any, state: Any, key: Any) -> Any:
    """The function `(params, xs) -> ys` that a hand rule is compared with: never one that installs that rule."""
    if row.reference is not None:
        return lambda params, xs: row.reference(params, xs, state, key)
    return lambda params, xs: jax.vmap(lambda x: layer.apply(params, x, state))(xs)


def relative_gap(one: Any, other: Any) -> jax.Array:
    """The largest difference between two trees, relative to the largest entry of the second."""
    pairs = list(zip(floats(one), floats(other), strict=True))
    if not pairs:
        return jnp.zeros(())
    gap = jnp.max(jnp.array([jnp.max(jnp.abs(a - b), initial=0) for a, b in pairs]))
    size = jnp.max(jnp.array([jnp.max(jnp.abs(b), initial=0) for _, b in pairs]))
    return gap / jnp.maximum(size, jnp.finfo(size.dtype).tiny)


@functools.cache
def runner(row: LayerRow) -> Any:
    """Compiles all four functions of a row's layer, once for all laws."""
    layer = made(row)
    return jax.jit(lambda given: everything(layer, given))


def floats(tree: Any) -> list[jax.Array]:
    """The leaves that are numbers: the cotangents of integers (float0) carry nothing."""
    return [leaf for leaf in jax.tree.leaves(tree) if leaf.dtype != jax.dtypes.float0]


def everything(layer: Any, given: Draw) -> tuple[Any, Any, Any, Any]:
    """Runs all four functions of a layer: what apply, forward, vjp and its pullback give."""
    ys, _, pullback = layer.vjp(given.params, given.xs, given.state, given.key)
    return (
        jax.vmap(lambda x: layer.apply(given.params, x, given.state))(given.xs),
        layer.forward(given.params, given.xs, given.state, given.key)[0],
        ys,
        floats(pullback(given.dys)),
    )


def pick(tree: Any, index: int) -> Any:
    """Gives one entry of the first axis of every leaf."""
    return jax.tree.map(lambda a: a[index], tree)
