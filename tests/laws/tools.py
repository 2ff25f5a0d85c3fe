"""How the laws draw: many values of params, inputs and cotangents, to be vmapped through one program."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pytest
from specs import LAYERS, LOSSES, LayerRow

LAYER_CASES = [
    pytest.param(row, shape, id=f"{index}-{row.id}-{shape}") for index, row in enumerate(LAYERS) for shape in row.shapes
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


def draw(row: LayerRow, layer: Any, shape: tuple[int, ...], dtype: Any, key: Any) -> Draw:
    """Draws params, a mini-batch, cotangents and a key; pure, so that it can be vmapped over keys."""
    init_key, noise_key, x_key, dy_key, run_key = jax.random.split(key, 5)
    params, state = layer.init(init_key, jax.ShapeDtypeStruct(shape, dtype))
    params = scattered(noise_key, params)
    xs = jax.random.uniform(x_key, (BATCH, *shape), dtype, row.low, row.high)
    out = jax.eval_shape(lambda: layer.forward(params, xs, state, run_key)[0])
    dys = jax.tree.map(lambda a: jax.random.normal(dy_key, a.shape, a.dtype), out)
    return Draw(params, state, xs, dys, run_key)


def scattered(key: Any, tree: Any) -> Any:
    """Adds noise to every leaf, so that no bias is exactly zero."""
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(key, max(len(leaves), 1))
    noisy = [a + jax.random.normal(k, a.shape, a.dtype) / 2 for k, a in zip(keys, leaves, strict=False)]
    return jax.tree.unflatten(structure, noisy)


def plain(row: LayerRow, layer: Any, state: Any, key: Any) -> Any:
    """The function `(params, xs) -> ys` that a hand rule is compared with: never one that installs that rule."""
    if row.reference is not None:
        return lambda params, xs: row.reference(params, xs, state, key)
    return lambda params, xs: jax.vmap(lambda x: layer.apply(params, x, state))(xs)


def relative_gap(one: Any, other: Any) -> jax.Array:
    """The largest difference between two trees, relative to the largest entry of the second."""
    pairs = list(zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))
    if not pairs:
        return jnp.zeros(())
    gap = jnp.max(jnp.array([jnp.max(jnp.abs(a - b), initial=0) for a, b in pairs]))
    size = jnp.max(jnp.array([jnp.max(jnp.abs(b), initial=0) for _, b in pairs]))
    return gap / jnp.maximum(size, jnp.finfo(size.dtype).tiny)


def pick(tree: Any, index: int) -> Any:
    """Gives one entry of the first axis of every leaf."""
    return jax.tree.map(lambda a: a[index], tree)
