"""Data is a pytree of arrays with one leading axis: its leaves by name, and their common length."""

from typing import Any

import jax
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any] | jax.Array


def named_leaves(data: Any, caller: str, where: str) -> list[tuple[str, Array]]:
    """Lists every leaf with its path, such as `data[0]['image']`, and refuses what is not an array."""
    # Without this JAX would drop None silently and take a list of numbers for that many scalars.
    pairs = jax.tree_util.tree_flatten_with_path(data, is_leaf=lambda node: node is None or isinstance(node, list))[0]
    if not pairs:
        raise ValueError(f"{caller}: expected at least one array in {where}, got none. Pass (xs, ys).")
    named = [(where + jax.tree_util.keystr(path), leaf) for path, leaf in pairs]
    for name, leaf in named:
        _expect_array(name, leaf, caller)
    return named


def _expect_array(name: str, leaf: Any, caller: str) -> None:
    remedy = None
    if isinstance(leaf, np.ma.MaskedArray):
        remedy = "Fill its gaps with .filled(value), or leave those examples out."
    elif hasattr(leaf, "to_numpy"):
        remedy = "Convert it with .to_numpy()."
    elif leaf is None:
        remedy = "Leave it out."
    elif isinstance(leaf, list):
        remedy = "Convert it with np.asarray, or make it a tuple if it groups arrays."
    elif not isinstance(leaf, np.ndarray | np.generic | jax.Array):
        remedy = "Convert it with np.asarray."
    if remedy:
        raise TypeError(f"{caller}: expected a NumPy or JAX array in {name}, got {type(leaf).__name__}. {remedy}")
    if leaf.ndim == 0:
        raise ValueError(
            f"{caller}: expected an array with a leading axis of examples in {name}, got a scalar. "
            "Give each example its value."
        )


def common_length(named: list[tuple[str, Array]], caller: str) -> int:
    """Returns the leading length that all leaves share, which is at least 1."""
    first, n = named[0][0], len(named[0][1])
    for name, leaf in named:
        if len(leaf) != n:
            raise ValueError(
                f"{caller}: expected equal leading lengths, got {n} in {first} and {len(leaf)} in {name}. "
                "Give every example one row in each array."
            )
    for name, leaf in named:
        if leaf.size == 0:
            raise ValueError(
                f"{caller}: expected at least one value in {name}, got shape {leaf.shape}. "
                "Check how the data was selected."
            )
    return n
