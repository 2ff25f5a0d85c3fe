"""How the nodes of a graph hang together: their order, their layers, and what is refused."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax

from purenet.contract import Layer, Tree
from purenet.errors import ShapeError, StructureError, describe
from purenet.nodes import Node


class Step(NamedTuple):
    """One node's computation.

    Attributes:
      part: the index of its layer.
      owner: the index of the layer whose params it uses, most often `part` itself.
      takes: the slots of its inputs; the graph's inputs have the first slots, then each step has one.
    """

    part: int
    owner: int
    takes: tuple[int, ...]


class Wiring(NamedTuple):
    """A graph's layers, its steps in topological order, and the slots and trees of inputs and outputs."""

    parts: tuple[Layer, ...]
    steps: tuple[Step, ...]
    names: tuple[str, ...]
    inputs: Any
    outputs: Any
    results: tuple[int, ...]


def wire(inputs: Tree, outputs: Tree) -> Wiring:
    """Orders the nodes between inputs and outputs: depth first from the outputs, what a node takes from the left.

    Args:
      inputs: a node without a layer, or a pytree of such.
      outputs: a node, or a pytree of nodes.

    Returns:
      The wiring, which only refers to places in order.

    Raises:
      ShapeError: if there is no node, an input is listed twice, unused or missing, or nodes go round in a circle.
      StructureError: if a leaf is not a node, a node's layer not a layer, or an owner not in the graph.
    """
    sources, input_tree = _nodes("inputs", inputs)
    ends, output_tree = _nodes("outputs", outputs)
    _expect_sources(sources)
    order = _sorted(ends, lambda node: node.inputs)
    first_use: dict[Layer, Node] = {}
    for node in order:
        if node.layer is not None:
            first_use.setdefault(node.layer, node)
    _expect_owners(first_use)
    if any(part.owner for part in first_use):  # an owner's params are made before others use them
        order = _sorted(ends, lambda node: (*node.inputs, *_owners_node(node, first_use)))
    _expect_connected(sources, order)
    slots = {node: slot for slot, node in enumerate(sources)}
    parts: dict[Layer, int] = {}
    steps = []
    for node in order:
        if node.layer is not None:
            slots[node] = len(slots)
            part = parts.setdefault(node.layer, len(parts))
            owner = part if node.layer.owner is None else parts[node.layer.owner]
            steps.append(Step(part, owner, tuple(slots[given] for given in node.inputs)))
    names = tuple(node.name for node in sources)
    return Wiring(tuple(parts), tuple(steps), names, input_tree, output_tree, tuple(slots[end] for end in ends))


def _nodes(what: str, tree: Tree) -> tuple[list[Node], Any]:
    leaves, structure = jax.tree.flatten(tree, is_leaf=lambda leaf: leaf is None or isinstance(leaf, Layer))
    if not leaves:
        raise ShapeError(f"graph: expected {what} with at least one node, got none. Make inputs with pn.node('x').")
    for leaf in leaves:
        if not isinstance(leaf, Node):
            raise StructureError(
                f"graph: expected {what} to be a node or a tuple or dict of nodes, got {describe(leaf)}. "
                "Make inputs with pn.node('x') and the others by calling layers on nodes, such as pn.dense(3)(x)."
            )
    return leaves, structure


def _expect_sources(sources: Sequence[Node]) -> None:
    for place, source in enumerate(sources):
        if source.layer is not None:
            raise StructureError(
                f"graph: expected inputs without a layer, got {source}. Make inputs with pn.node('x')."
            )
        if source in sources[:place]:
            raise ShapeError(f"graph: expected every input once, got {source} twice. Use the one node several times.")


def _sorted(ends: Sequence[Node], before: Callable[[Node], Iterable[Node]]) -> list[Node]:
    """Depth-first order in which every node stands behind those `before` it; without recursion, as nets are deep."""
    done: dict[Node, None] = {}
    for end in ends:
        trail: dict[Node, Any] = {}
        if end not in done:
            trail[end] = iter(_taken(end, before))
        while trail:
            node, following = next(reversed(trail.items()))
            given = next((given for given in following if given not in done), None)
            if given is None:
                del trail[node]
                done[node] = None
            elif given in trail:
                _refuse_circle([*trail], given)
            else:
                trail[given] = iter(_taken(given, before))
    return list(done)


def _taken(node: Node, before: Callable[[Node], Iterable[Node]]) -> Iterable[Node]:
    if not isinstance(node, Node) or not (node.layer is None or isinstance(node.layer, Layer)):
        raise StructureError(
            f"graph: expected nodes made by pn.node or by calling a layer, got {describe(node)}"
            f"{f' of {describe(node.layer)}' if isinstance(node, Node) else ''}. Such as pn.dense(3)(pn.node('x'))."
        )
    if (node.layer is None) != (not node.inputs):
        raise StructureError(
            f"graph: expected an input without nodes before it and a layer with some, got {node!r} with "
            f"{len(node.inputs)}. Make nodes with pn.node or by calling a layer."
        )
    return before(node)


def _refuse_circle(trail: list[Node], again: Node) -> None:
    circle = [node.name for node in trail[trail.index(again) :]][::-1]
    raise ShapeError(
        f"graph: expected nodes without a circle, got {' -> '.join([*circle, circle[0]])}. "
        "A node can only use nodes that were made before it, and the params of a layer used before it."
    )


def _expect_owners(used: dict[Layer, Node]) -> None:
    for part in used:
        if part.owner is not None and (part.owner not in used or part.owner.owner is not None):
            raise StructureError(
                f"graph: expected {part.owner!r}, whose params {part!r} uses, among the graph's layers with params of "
                "their own, got a graph without it. Call that very layer on a node of this graph."
            )


def _owners_node(node: Node, first_use: dict[Layer, Node]) -> Iterable[Node]:
    return (first_use[node.layer.owner],) if node.layer is not None and node.layer.owner is not None else ()


def _expect_connected(sources: Sequence[Node], order: Sequence[Node]) -> None:
    used = set(order)
    for source in sources:
        if source not in used:
            raise ShapeError(f"graph: expected every input to be used, got {source}, which no output needs. Drop it.")
    for node in order:
        if node.layer is None and node not in sources:
            user = next((f"{user}, which needs" for user in order if node in user.inputs), "an output,")
            raise ShapeError(
                f"graph: expected all inputs to be listed, got {user} the node {node.name!r}, which is not. "
                "Add that very node to the inputs."
            )
