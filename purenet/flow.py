"""Boxes and arrows: which layer's result goes into which layer, read from a network's traced program."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax

from purenet.calls import Program, as_net, calls_in, inside, number_of, numbers_by_path, trace_calls
from purenet.contract import Spec

Sources = tuple[int, ...]


class Box(NamedTuple):
    """What a drawing shows as one box.

    Attributes:
      kind: `input`, `layer`, `merge` (an operation of a combinator's own on several results) or `output`.
      text: the layer's name, the operation or the input's place.
      path: the layer's place; empty for the others.
      shape: of what comes out.
      params: the numbers in the layer's params.
    """

    kind: str
    text: str
    path: str
    shape: str
    params: int


class Arrow(NamedTuple):
    """From box to box, by their places in the list, with the shape of what goes there."""

    start: int
    end: int
    shape: str


class Flow(NamedTuple):
    """A drawing's boxes, in an order in which all arrows go forward, and its arrows."""

    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]


def flow_of(net: Any, spec: Spec) -> Flow:
    """Traces a network and finds its boxes: layers that are made of others are opened, a `repeat` stays one box."""
    net = as_net(net, spec)
    program = trace_calls(net, spec)
    params = {path: count for path, _, count, _ in numbers_by_path(net, program.params, program.state)}
    return _Tracer(program, params).flow(spec)


class _Tracer:
    """Walks through a program and remembers which boxes each value comes from."""

    def __init__(self, program: Program, params: dict[str, int]):
        self.program, self.params = program, params
        self.boxes: list[Box] = []
        self.arrows: dict[Arrow, None] = {}

    def flow(self, spec: Spec) -> Flow:
        jaxpr = self.program.jaxpr
        first = len(jax.tree.leaves(self.program.params))
        sources: list[Sources] = [()] * len(jaxpr.invars)
        for i, (place, leaf) in enumerate(jax.tree_util.tree_leaves_with_path(spec)):
            text = "x" + jax.tree_util.keystr(place)
            sources[first + i] = (self.add(Box("input", text, "", _shape(leaf), 0)),)
        ends = self.walk(jaxpr, sources)
        shapes = "; ".join(dict.fromkeys(_shape(var.aval) for var in jaxpr.outvars))
        self.add(Box("output", "y", "", shapes, 0), zip(ends, jaxpr.outvars, strict=True))
        return Flow(tuple(self.boxes), tuple(self.arrows))

    def add(self, box: Box, given: Iterable[tuple[Sources, Any]] = ()) -> int:
        """Adds a box, with an arrow from wherever its operands come from."""
        self.boxes.append(box)
        end = len(self.boxes) - 1
        for starts, atom in given:
            for start in starts:
                self.arrows[Arrow(start, end, _shape(atom.aval))] = None
        return end

    def walk(self, jaxpr: Any, sources: Sequence[Sources]) -> list[Sources]:
        """Goes through a program's operations and tells where its results come from."""
        known = dict(zip(jaxpr.invars, sources, strict=True))

        def look(atom: Any) -> Sources:
            return () if hasattr(atom, "val") else known.get(atom, ())

        for eqn in jaxpr.eqns:
            outs = self.operation(eqn, [look(atom) for atom in eqn.invars])
            known.update(zip(eqn.outvars, outs, strict=True))
        return [look(atom) for atom in jaxpr.outvars]

    def operation(self, eqn: Any, given: Sequence[Sources]) -> Sequence[Sources]:
        """Adds what an operation shows, and tells where each of its results comes from."""
        number, held = number_of(eqn, self.program.mark), inside(eqn)
        calls = [found for inner in held for found in calls_in(inner, self.program.mark)]
        is_loop = any(times > 1 for _, _, times in calls) or len(held) > 1
        body = getattr(held[0], "jaxpr", held[0]) if held else None
        if calls and not is_loop and body is not None and len(body.invars) == len(eqn.invars):
            return self.walk(body, given)
        everything = tuple(dict.fromkeys(source for sources in given for source in sources))
        operands = list(zip(given, eqn.invars, strict=True))
        if number is not None:
            box = self.layer(number, eqn, calls)
            return [(self.add(box, operands),)] * len(eqn.outvars)
        if len(everything) > 1 and not calls:
            shape = _shape(eqn.outvars[0].aval)
            everything = (self.add(Box("merge", _SIGNS.get(_name(eqn), _name(eqn)), "", shape, 0), operands),)
        return [everything] * len(eqn.outvars)

    def layer(self, number: int, eqn: Any, calls: Sequence[tuple[int, Any, int]]) -> Box:
        path = self.program.paths[number]
        text = path.rpartition(".")[2].rpartition("]")[2]
        if calls:
            inner = self.program.paths[calls[0][0]].rpartition(".")[2]
            text = f"{text}: {calls[0][2]} × {inner}"
        shapes = "; ".join(dict.fromkeys(_shape(var.aval) for var in eqn.outvars))
        return Box("layer", text, path, shapes, self.params.get(path, 0))


_SIGNS = {"add": "+", "add_any": "+", "sub": "-", "mul": "×", "div": "÷"}


def _name(eqn: Any) -> str:
    return str(eqn.params.get("name", eqn.primitive.name))


def _shape(leaf: Any) -> str:
    return str(tuple(leaf.shape))
