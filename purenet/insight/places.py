"""Which layer each array of a network's parameters belongs to."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np

from purenet.contract import Layer, Tree
from purenet.recording import joined

# What leaves beside the weights are called, in purenet and elsewhere.
_NOT_WEIGHTS = ("bias", "offset", "scale", "beta", "gamma", "b", "epsilon", "alpha")


class Place(NamedTuple):
    """One array of parameters.

    Attributes:
      path: the layer that has it, such as `serial[0].dense`.
      leaf: its place in the layer's params, such as `['kernel']`.
      size: how many numbers it has.
      is_weight: whether it is a matrix or more, and not called a bias or a scale.
    """

    path: str
    leaf: str
    size: int
    is_weight: bool


def places_of(net: Layer, params: Tree) -> list[Place]:
    """Lists the arrays of params, in the order of their leaves."""
    return list(_places(net, params, ""))


def layers_in(net: Layer, place: str = "") -> Iterator[tuple[str, Layer]]:
    """Lists a network and its parts, from the outside in: path and layer."""
    path = joined(place, net.name)
    yield path, net
    for i, part in enumerate(net.parts):
        yield from layers_in(part, f"{path}[{i}]")


def _places(net: Layer, params: Tree, place: str) -> Iterator[Place]:
    path = joined(place, net.name)
    if net.parts and isinstance(params, tuple) and len(params) == len(net.parts):
        for i, part in enumerate(net.parts):
            yield from _places(part, params[i], f"{path}[{i}]")
        return
    for keys, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = jax.tree_util.keystr(keys)
        last = str(getattr(keys[-1], "key", "")) if keys else ""
        yield Place(path, name, int(np.size(leaf)), np.ndim(leaf) > 1 and last not in _NOT_WEIGHTS)
