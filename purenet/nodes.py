"""Nodes: the values that flow through a graph of layers, before there are any."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from purenet.errors import StructureError, describe


@dataclasses.dataclass(frozen=True, eq=False)
class Node:
    """A value in a graph: an input, or what a layer makes of other nodes. Compares by identity.

    Make inputs with `node`; calling a layer on nodes makes the others; `graph` makes a layer of them.

    Attributes:
      layer: what computes it; None for an input.
      inputs: the nodes that the layer is given, in its order.
      name: shown in paths and drawings.

    Example:
      >>> import purenet as pn
      >>> x = pn.node("x")
      >>> pn.dense(3)(x)
      dense(x)
    """

    layer: Any
    inputs: "tuple[Node, ...]"
    name: str

    def __repr__(self) -> str:
        if self.layer is None:
            return self.name
        given = ", ".join(node.name if node.layer is None else f"{node.name}(…)" for node in self.inputs)
        return f"{self.name}({given})"


def node(name: str = "x") -> Node:
    """Makes an input of a graph.

    Args:
      name: shown in errors, summaries and drawings.

    Returns:
      A node without a layer.

    Raises:
      StructureError: if the name is not a string.

    Example:
      >>> import purenet as pn
      >>> image, age = pn.node("image"), pn.node("age")
      >>> image
      image
    """
    if not isinstance(name, str):
        raise StructureError(f"node: expected name to be a string, got {describe(name)}. Such as pn.node('image').")
    return Node(None, (), name)


def is_nodes(values: Sequence[Any]) -> bool:
    """Tells whether there are values and all of them are nodes."""
    return bool(values) and all(isinstance(value, Node) for value in values)
