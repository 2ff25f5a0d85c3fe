"""Params as one vector, of 32 bits or more, and back: what second-order methods compute with."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from purenet.contract import Tree
from purenet.metrics.base import summing

Function = Callable[[jax.Array], jax.Array]


def dtype_of(tree: Tree) -> Any:
    """Gives the dtype that holds all of a tree: float32, or float64 if a leaf has it."""
    return summing(*(leaf.dtype for leaf in jax.tree.leaves(tree)))


def flatten(tree: Tree, dtype: Any = None) -> jax.Array:
    """Puts a tree's arrays into one vector.

    Args:
      tree: a pytree of floating arrays, one or more.
      dtype: of the vector; None for `dtype_of(tree)`.

    Returns:
      The numbers in the order of the leaves. `ravel_pytree` would not do: it mixes dtypes by promotion, which may be
      forbidden, and keeps 16 bits, which no factorisation takes.
    """
    dtype = dtype_of(tree) if dtype is None else dtype
    return jnp.concatenate([jnp.ravel(leaf).astype(dtype) for leaf in jax.tree.leaves(tree)])


def seen(tree: Tree, params: Tree) -> Tree:
    """Gives the part of a tree, such as the gradient, that an optimizer sees to which a mask leaves these params."""

    def is_masked(node: Any) -> bool:
        return isinstance(node, optax.MaskedNode)

    return jax.tree.map(lambda p, leaf: p if is_masked(p) else leaf, params, tree, is_leaf=is_masked)


def restorer(tree: Tree) -> Callable[[jax.Array], Tree]:
    """Makes the way back: vector ↦ a tree of the shapes and dtypes of this one."""
    leaves, structure = jax.tree.flatten(tree)
    kinds = [(jnp.shape(leaf), leaf.dtype) for leaf in leaves]

    def restore(vector: jax.Array) -> Tree:
        made, begin = [], 0
        for shape, dtype in kinds:
            end = begin + math.prod(shape)
            made.append(jnp.reshape(vector[begin:end], shape).astype(dtype))
            begin = end
        return jax.tree.unflatten(structure, made)

    return restore


def on_vectors(value_fn: Callable[[Tree], Any], params: Tree) -> Function:
    """Makes of a scalar function of params that of their vector, in the vector's dtype."""
    restore, dtype = restorer(params), dtype_of(params)
    return lambda x: jnp.asarray(value_fn(restore(x))).astype(dtype)
