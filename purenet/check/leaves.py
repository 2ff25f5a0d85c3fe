"""Trees of arrays: which leaves can move, how they are named, and how floats are cast."""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purenet.contract import Tree


def is_float(leaf: Any) -> bool:
    """Whether this is an array, or the spec of one, of floating dtype."""
    return hasattr(leaf, "dtype") and bool(jnp.issubdtype(leaf.dtype, jnp.floating))


def is_none(leaf: Any) -> bool:
    """For `jax.tree` functions that shall see a None."""
    return leaf is None


def widened(tree: Tree, dtype: Any = np.float64) -> Tree:
    """Gives floats, or the specs of floats, this dtype; all else stays."""

    def wide(leaf: Any) -> Any:
        if not is_float(leaf):
            return leaf
        if isinstance(leaf, jax.ShapeDtypeStruct):
            return jax.ShapeDtypeStruct(leaf.shape, dtype)
        return np.asarray(leaf).astype(dtype)

    return jax.tree.map(wide, tree)


def cast(tree: Tree, dtype: Any) -> Tree:
    """Gives floats this dtype, as arrays of JAX; all else becomes an array of its own dtype."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype) if is_float(leaf) else jnp.asarray(leaf), tree)


def entries(**trees: Tree) -> list[tuple[str, Any]]:
    """Every leaf of these trees with its name, such as `params['kernel']`, tree after tree as they are given."""
    return [
        (name + jax.tree_util.keystr(path), leaf)
        for name, tree in trees.items()
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ]


def alike(one: Tree, other: Tree) -> bool:
    """Whether two trees have one structure."""
    structure: Any = jax.tree.structure(one)
    return bool(structure == jax.tree.structure(other))


def floats(tree: Tree) -> tuple[Any, ...]:
    """The leaves of floating dtype."""
    return tuple(leaf for leaf in jax.tree.leaves(tree) if is_float(leaf))


def part(tree: Tree) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Parts the leaves of a tree into those of floating dtype and, with None in their places, the others."""
    leaves = jax.tree.leaves(tree)
    return floats(leaves), tuple(None if is_float(leaf) else leaf for leaf in leaves)


def join(structure: Any, moving: Sequence[Any], rest: Sequence[Any]) -> Tree:
    """Puts together what `part` parted."""
    moved = iter(moving)
    return jax.tree.unflatten(structure, [next(moved) if leaf is None else leaf for leaf in rest])


def sizes(leaves: Sequence[Any]) -> list[int]:
    """How many numbers each leaf holds."""
    return [int(np.prod(np.shape(leaf), dtype=np.int64)) for leaf in leaves]


def unflat(flat: Any, leaves: Sequence[Any]) -> tuple[Any, ...]:
    """Cuts a vector into arrays of the shapes of these leaves."""
    ends = list(itertools.accumulate(sizes(leaves)))
    return tuple(
        flat[end - size : end].reshape(np.shape(leaf))
        for leaf, size, end in zip(leaves, sizes(leaves), ends, strict=True)
    )


def flat(leaves: Sequence[Any]) -> Any:
    """One vector of all numbers in these leaves."""
    return jnp.concatenate([jnp.reshape(leaf, -1) for leaf in leaves]) if leaves else jnp.zeros(0)


def stacked(trees: Sequence[Tree]) -> Tree:
    """Stacks trees of one structure along a new first axis."""
    return jax.tree.map(lambda *leaves: _stack(leaves), *trees)


def pick(tree: Tree, index: Any) -> Tree:
    """Gives one entry of the first axis of every leaf."""
    return jax.tree.map(lambda leaf: leaf[index], tree)


def _stack(leaves: Sequence[Any]) -> Any:
    if any(isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in leaves):
        return jnp.stack(leaves)
    return np.stack([np.asarray(leaf) for leaf in leaves])
