"""What calls what in a network: one abstract run of it, in which every layer's call is an operation with a number.

JAX traces `apply` while a recorder wraps each call into a jitted function of its own name. In the traced program all
else follows from the operations: how often a call runs, on which shapes, what it costs and where its results go,
whatever combinators, loops and maps lie around it.
"""

import uuid
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
from jax.extend.core import jaxprs_in_params

from purenet.contract import Layer, Spec, Tree, as_layer, spec_of
from purenet.errors import StructureError, describe
from purenet.recording import Call, joined, recording


class Program(NamedTuple):
    """A traced network.

    Attributes:
      jaxpr: of the network on one example: params, example and state are its arguments, in this order.
      paths: of the layers called, by the number of the call.
      outs: the structures of what they gave.
      mark: what the names of this program's calls begin with. JAX may give back a part of another one, traced before,
        in which calls have numbers, too.
      params, state: their specs.
    """

    jaxpr: Any
    paths: tuple[str, ...]
    outs: tuple[Any, ...]
    mark: str
    params: Tree
    state: Tree


def trace_calls(net: Layer, spec: Spec) -> Program:
    """Traces `apply` on an example of this spec; nothing is computed and no array is made."""
    params, state = jax.eval_shape(lambda: net.init(jax.random.key(0), spec))
    paths: list[str] = []
    outs: list[Any] = []
    prefix = f"purenet_{uuid.uuid4().hex}_"

    def mark(call: Call, run: Callable[..., Any]) -> Any:
        number = len(paths)
        paths.append(call.path)
        outs.append(None)

        def marked(*args: Any) -> Any:
            y = run(*args)
            outs[number] = jax.tree.structure(y)
            return y

        marked.__name__ = f"{prefix}{number}"
        return jax.jit(marked)(*call.args)

    with recording(mark):
        traced = jax.make_jaxpr(lambda *args: net.apply(*args))(params, spec, state)
    return Program(traced.jaxpr, tuple(paths), tuple(outs), prefix, params, state)


def number_of(eqn: Any, mark: str) -> int | None:
    """The number of the call that an operation is, in the program with this mark; None for any other operation."""
    name = str(eqn.params.get("name", ""))
    return int(name[len(mark) :]) if name.startswith(mark) else None


def inside(eqn: Any) -> list[Any]:
    """The programs in an operation, be it a call, a loop or a choice."""
    return list(jaxprs_in_params(eqn.params))


def calls_in(jaxpr: Any, mark: str, times: int = 1) -> Iterator[tuple[int, Any, int]]:
    """Finds the outermost calls in a program: number, operation, and how often it runs."""
    for eqn in jaxpr.eqns:
        number = number_of(eqn, mark)
        if number is not None:
            yield number, eqn, times
            continue
        trips = int(eqn.params["length"]) if eqn.primitive.name == "scan" else 1
        for inner in inside(eqn):
            yield from calls_in(inner, mark, times * trips)


def as_net(net: Any, spec: Spec) -> Layer:
    """Takes a network, after refusing a spec that is none."""
    for leaf in jax.tree.leaves(spec, is_leaf=lambda leaf: leaf is None) or [spec]:
        if not isinstance(leaf, jax.ShapeDtypeStruct):
            raise StructureError(
                f"expected the spec of one example, got {describe(leaf)}. "
                "Pass pn.spec(784), pn.spec((28, 28)) or a tree of such."
            )
    return as_layer(net)


def numbers_by_path(net: Layer, params: Tree, state: Tree, place: str = "") -> Iterator[tuple[str, Layer, int, int]]:
    """Lists a network and its parts, from the outside in: path, layer, and the numbers in its params and state."""
    path = joined(place, net.name)
    yield path, net, _numbers(params), _numbers(state)
    entries = params if _has_entries(params, net) else ((),) * len(net.parts)
    states = state if _has_entries(state, net) else ((),) * len(net.parts)
    for i, part in enumerate(net.parts):
        yield from numbers_by_path(part, entries[i], states[i], f"{path}[{i}]")


def _has_entries(tree: Tree, net: Layer) -> bool:
    return isinstance(tree, tuple) and len(tree) == len(net.parts)


def _numbers(tree: Tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def bytes_of(atoms: Any) -> int:
    """What these results of an operation take in memory."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(spec_of([atom.aval for atom in atoms])))
