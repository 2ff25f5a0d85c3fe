"""graph: layers wired in any topology, with several inputs and outputs."""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from purenet.compose.parts import add_cotangents, expect_parts, key_of, states_of
from purenet.compose.wiring import Step, Wiring, wire
from purenet.contract import Layer, Spec, Tree, layer, out_spec
from purenet.errors import StructureError, at, describe


def graph(inputs: Any, outputs: Any) -> Layer:
    """Layers wired in any topology: values flow from nodes to nodes, every node yₙ = fₙ(those it was called on).

    Make inputs with `pn.node`, and call layers on nodes to make others; a layer called on several nodes gets the
    tuple of their values. A layer called several times is one layer: one entry in params, used at each of its
    nodes, and its state goes from one node to the next in their order. Each node has a random key of its own. A
    layer with an `owner` uses the params of that layer, which must be in the graph, and has none itself.

    Args:
      inputs: a node, or a tuple or dict of nodes: the structure of one example.
      outputs: a node, or a tuple, dict or other pytree of nodes: the structure of the prediction. Inputs and nodes
        that other layers use may be among them.

    Returns:
      A layer; params and state are tuples with one entry per distinct layer, in the order of its first node: depth
      first from the outputs, what a node takes from left to right. `parts` are those layers.

    Raises:
      ShapeError: if there is no input or output, an input is listed twice, unused, or missing, or nodes go round in
        a circle.
      StructureError: if inputs or outputs hold anything but nodes, or an owner is not in the graph; at trace time,
        for an input of another structure, and for params or state of another network.

    Derivation:
      The reverse sweep. From the last node to the first, δₙ = dJ/dyₙ is the sum over all places where yₙ goes:
      into an output, dJ/dy of that output; into node m, its share of (∂fₘ/∂x)ᵀδₘ. Likewise the gradient of a
      layer's params is the sum over the nodes that use them.

    References:
      Griewank and Walther (2008), Evaluating Derivatives, section 3.2, the reverse mode on a computational graph.
      Baydin, Pearlmutter, Radul and Siskind (2018), Automatic differentiation in machine learning, section 3.2.

    Example:
      >>> import jax, jax.numpy as jnp, purenet as pn
      >>> x, shared = pn.node("x"), pn.dense(2)
      >>> h = pn.tanh(shared(x))
      >>> net = pn.graph(x, {"twice": shared(h), "code": h})
      >>> params, state = net.init(jax.random.key(0), pn.spec(2))
      >>> net, len(params)
      (graph(dense, tanh), 2)
      >>> sorted(net.apply(params, jnp.ones(2)))
      ['code', 'twice']
    """
    wiring = wire(inputs, outputs)
    parts = wiring.parts

    def init(key: Any, spec: Spec) -> tuple[Tree, Tree]:
        params: list[Tree] = [()] * len(parts)
        states: list[Tree] = [()] * len(parts)
        made: set[int] = set()

        def call(number: int, step: Step, x: Spec) -> Spec:
            part = parts[step.part]
            if part.owner is None and step.part not in made:
                params[step.part], states[step.part] = part.init(key_of(key, step.part), x)
                made.add(step.part)
            return out_spec(part, params[step.owner], x, states[step.part])

        _sweep(wiring, spec, call)
        return tuple(params), tuple(states)

    def check(params: Tree, x: Spec) -> None:
        expect_parts("params", params, parts)

    def apply(params: Tree, x: Tree, state: Tree) -> Tree:
        states = states_of(parts, state)

        def call(number: int, step: Step, x: Tree) -> Tree:
            return parts[step.part].apply(params[step.owner], x, states[step.part])

        return _sweep(wiring, x, call)

    def forward(params: Tree, xs: Tree, state: Tree, key: Any) -> tuple[Tree, Tree]:
        states = list(states_of(parts, state))

        def call(number: int, step: Step, xs: Tree) -> Tree:
            part, i = parts[step.part], step.part
            ys, states[i] = part.forward(params[step.owner], xs, states[i], key_of(key, number))
            return ys

        return _sweep(wiring, xs, call), tuple(states)

    def vjp(params: Tree, xs: Tree, state: Tree, key: Any) -> Any:
        states, pullbacks = list(states_of(parts, state)), []

        def call(number: int, step: Step, xs: Tree) -> Tree:
            part, i = parts[step.part], step.part
            ys, states[i], pullback = part.vjp(params[step.owner], xs, states[i], key_of(key, number))
            pullbacks.append(pullback)
            return ys

        return _sweep(wiring, xs, call), tuple(states), jax.tree_util.Partial(reverse, pullbacks)

    def reverse(pullbacks: Sequence[Any], dys: Tree) -> tuple[Tree, Tree]:
        return _reverse_sweep(wiring, pullbacks, dys)

    return layer(apply, init=init, forward=forward, vjp=vjp, name="graph", parts=parts, check=check)


def _sweep(wiring: Wiring, x: Tree, call: Callable[[int, Step, Tree], Tree]) -> Tree:
    """Calls every step on what it takes, in order, and gives the outputs."""
    values = _split(wiring, x)
    for number, step in enumerate(wiring.steps):
        taken = tuple(values[slot] for slot in step.takes)
        with at(f"[{step.part}]"):
            values.append(call(number, step, taken if len(taken) > 1 else taken[0]))
    return jax.tree.unflatten(wiring.outputs, [values[slot] for slot in wiring.results])


def _reverse_sweep(wiring: Wiring, pullbacks: Sequence[Any], dys: Tree) -> tuple[Tree, Tree]:
    first = len(wiring.names)
    cotangents: list[Tree] = [None] * (first + len(wiring.steps))
    dparams: list[Tree] = [None if part.owner is None else () for part in wiring.parts]
    for slot, dy in zip(wiring.results, wiring.outputs.flatten_up_to(dys), strict=True):
        _collect(cotangents, slot, dy)
    for number in reversed(range(len(wiring.steps))):
        step = wiring.steps[number]
        dparam, dxs = pullbacks[number](cotangents[first + number])
        _collect(dparams, step.owner, dparam)
        for slot, dx in zip(step.takes, dxs if len(step.takes) > 1 else (dxs,), strict=True):
            _collect(cotangents, slot, dx)
    return tuple(dparams), jax.tree.unflatten(wiring.inputs, cotangents[:first])


def _collect(sums: list[Tree], place: int, more: Tree) -> None:
    sums[place] = more if sums[place] is None else add_cotangents(sums[place], more)


def _split(wiring: Wiring, x: Tree) -> list[Tree]:
    """Gives the value of each input, which may be a tree itself."""
    try:
        values: list[Tree] = wiring.inputs.flatten_up_to(x)
    except (ValueError, TypeError):
        example = jax.tree.unflatten(wiring.inputs, wiring.names)
        raise StructureError(
            f"expected x of the structure of the graph's inputs, {example!r}, got {describe(x)}. "
            "Give each input its value."
        ) from None
    return values
