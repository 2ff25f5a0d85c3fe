"""The kernels in a layer's params: what reparametrisations find, take out and put back."""

from collections.abc import Sequence
from typing import Any

import jax

from purenet.contract import Layer, Tree
from purenet.errors import StructureError, describe

SPLIT = ("direction", "gain")


def kernels_of(params: Tree) -> list[Any]:
    """Gives what stands under the name "kernel", in the order of the leaves; split ones as the dicts that they are."""
    leaves = jax.tree_util.tree_leaves_with_path(params, is_leaf=is_split)
    return [leaf for path, leaf in leaves if _is_kernel(path)]


def with_kernels(params: Tree, kernels: Sequence[Any]) -> Tree:
    """Puts others in their place, in the same order."""
    others = iter(kernels)
    leaves, tree = jax.tree_util.tree_flatten_with_path(params, is_leaf=is_split)
    return jax.tree.unflatten(tree, [next(others) if _is_kernel(path) else leaf for path, leaf in leaves])


def is_split(node: Any) -> bool:
    """Tells whether this is a kernel as direction and gain."""
    return isinstance(node, dict) and sorted(node) == list(SPLIT)


def expect_kernels(params: Tree) -> None:
    """Raises unless freshly made params hold a kernel that is one array."""
    found = kernels_of(params)
    if not found or any(is_split(kernel) for kernel in found):
        came = "a kernel that is split already" if found else f"{describe(params)} without one"
        raise StructureError(
            f"expected a layer whose params hold an array named 'kernel', got {came}. "
            "Put it around the layer that has the kernel, such as pn.dense(3), once."
        )


def expect_unrepeated(name: str, part: Layer) -> None:
    """Refuses a layer with `repeat` in it, which stacks the kernels of many layers in one array."""
    if part.name == "repeat":
        raise StructureError(
            f"{name}: expected a layer with an array for each kernel, got repeat, which stacks them. "
            f"Put it inside: pn.repeat(pn.{name}(…), times)."
        )
    for inner in part.parts:
        expect_unrepeated(name, inner)


def _is_kernel(path: Any) -> bool:
    return bool(path) and getattr(path[-1], "key", None) == "kernel"
