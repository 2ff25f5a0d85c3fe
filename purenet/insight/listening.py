"""Listening to a network's hand rules: what every layer's call was given and gave, forward and backward."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from purenet.contract import Tree
from purenet.insight.formulas import formula_of
from purenet.recording import Call


class ExplainRow(NamedTuple):
    """One call of a layer.

    Attributes:
      path: its place, such as `serial[1].relu`.
      name: its name.
      depth: the number of layers that it is called in.
      parts: how many calls of layers it makes itself.
      shown: whether the text shows it: a layer made of others shows as these, unless it has params beside theirs.
      params: its params.
      input: what it was given; for an activation this is z.
      output: what it made of it, a.
      delta: dJ/d(output); None if the backward pass did not come by.
      gradient: dJ/d(params), like params; None where delta is.
      input_gradient: dJ/d(input); None where delta is.
      formula: by which it goes back.
    """

    path: str
    name: str
    depth: int
    parts: int
    shown: bool
    params: Tree
    input: Tree
    output: Tree
    delta: Tree
    gradient: Tree
    input_gradient: Tree
    formula: str


class Heard:
    """A call, with what the backward pass adds to it."""

    def __init__(self, call: Call, run: Callable[..., Any], depth: int):
        self.call, self.run, self.depth = call, run, depth
        self.inside: list[Heard] = []
        self.output: Tree = None
        self.backward: tuple[Tree, Tree, Tree] = (None, None, None)

    def row(self, strip: Callable[[Tree], Tree]) -> ExplainRow:
        """The call as a row."""
        params, xs = self.call.args[:2]
        name = self.call.path.rpartition(".")[2].rpartition("]")[2]
        delta, gradient, dxs = self.backward
        return ExplainRow(
            self.call.path,
            name,
            self.depth,
            len(self.inside),
            self.is_shown,
            params,
            strip(xs),
            strip(self.output),
            strip(delta),
            gradient,
            strip(dxs),
            formula_of(self.run, name),
        )

    @property
    def is_shown(self) -> bool:
        """Whether it calls no layers, or holds params that they do not have as they are."""
        params = self.call.args[0]
        entries = params if isinstance(params, tuple) else (params,)
        theirs = {jax.tree.structure(heard.call.args[0]) for heard in self.inside}
        return not theirs or any(
            jax.tree.leaves(entry) and jax.tree.structure(entry) not in theirs for entry in entries
        )


class Listener:
    """Hears every call of a hand rule, and of its pullback, with numbers in them."""

    def __init__(self) -> None:
        self.calls: list[Heard] = []
        self.inside: list[Heard] = []
        self.backing: list[int] = []

    def hear(self, call: Call, run: Callable[..., Any]) -> Any:
        """Writes a call down."""
        if call.kind != "vjp" or _is_traced(call.args):
            return run(*call.args)
        number = self.again(call)
        if number is None:
            number = len(self.calls)
            self.calls.append(Heard(call, run, len(self.inside)))
            for outer in self.inside[-1:]:
                outer.inside.append(self.calls[number])
        heard = self.calls[number]
        self.inside.append(heard)
        try:
            ys, state, pullback = run(*call.args)
        finally:
            self.inside.pop()
        heard.output = ys
        # The number is an array so that a loop can stack the pullbacks of its turns, which then differ in arrays alone.
        return ys, state, jax.tree_util.Partial(self.back, np.asarray(number), pullback)

    def again(self, call: Call) -> int | None:
        """Finds the call that a backward pass repeats, as that of `remat` does: its path begins inside that layer."""
        for start in self.backing[-1:]:
            outer = self.calls[start]
            for number in range(start + 1, len(self.calls)):
                found = self.calls[number]
                if found.depth <= outer.depth:
                    break
                inner = found.call.path.removeprefix(outer.call.path)
                if found.backward[0] is None and re.sub(r"^\[\d+\]\.", "", inner) == call.path:
                    return number
        return None

    def back(self, number: Any, pullback: Any, dys: Tree) -> Any:
        """Runs a pullback and writes down what came and went."""
        if _is_traced((number, dys)):
            return pullback(dys)
        self.backing.append(int(number))
        try:
            dparams, dxs = result = pullback(dys)
        finally:
            self.backing.pop()
        if not _is_traced(result):
            self.calls[int(number)].backward = (dys, dparams, dxs)
        return result


def _is_traced(tree: Tree) -> bool:
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))
