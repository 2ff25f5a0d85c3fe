"""What combinators share: parts, and their entries in params, state and keys."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from purenet.contract import Check, Layer, Spec, Tree, as_layer
from purenet.errors import ShapeError, StructureError, at, describe, expect_key


def as_parts(name: str, layers: Sequence[Any]) -> tuple[Layer, ...]:
    """Turns a combinator's arguments into layers; plain functions become layers without parameters."""
    if not layers:
        raise ShapeError(f"{name}: expected at least one layer, got none. Give layers, such as pn.{name}(pn.dense(3)).")
    parts = []
    for i, value in enumerate(layers):
        with at(f"{name}[{i}]"):
            parts.append(as_layer(value))
    return tuple(parts)


def expect_parts(what: str, value: Tree, parts: Sequence[Layer]) -> None:
    """Raises unless `value` is a tuple with one entry per part."""
    if not isinstance(value, tuple) or len(value) != len(parts):
        raise StructureError(
            f"expected {what} to be a tuple of {len(parts)}, one entry per part, got {describe(value)}. "
            f"Pass the {what} that this network's init made."
        )


def check_parts(parts: Sequence[Layer]) -> Check:
    """Makes the check of a combinator: its params have one entry per part."""

    def check(params: Tree, x: Spec) -> None:
        expect_parts("params", params, parts)

    return check


def states_of(parts: Sequence[Layer], state: Tree) -> tuple[Tree, ...]:
    """Gives each part's state; None, or () for a network without state, reaches every part as None."""
    if state is None or (isinstance(state, tuple) and not state):
        return (None,) * len(parts)
    expect_parts("state", state, parts)
    return tuple(state)


def key_of(key: Any, index: int) -> Any:
    """Gives each part a key of its own; None reaches every part."""
    if key is None:
        return None
    expect_key(key)
    return jax.random.fold_in(key, index)


def add_cotangents(one: Tree, other: Tree) -> Tree:
    """Adds two cotangents of one value; integers' cotangents (float0) carry nothing and stay."""
    return jax.tree.map(lambda a, b: a if a.dtype == jax.dtypes.float0 else jnp.add(a, b), one, other)
