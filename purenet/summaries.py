"""summary: what a network is made of, what its parts give, hold and cost."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

from purenet.calls import Program, as_net, bytes_of, calls_in, numbers_by_path, trace_calls
from purenet.contract import Spec
from purenet.errors import StructureError, by
from purenet.flop_counting import count_jaxpr
from purenet.flop_rules import Flops


class SummaryRow(NamedTuple):
    """One layer of a network.

    Attributes:
      path: its place, such as `serial[1].residual[0].dense`.
      name: its name.
      depth: the number of layers that it is in; 0 for the network itself.
      calls: how often it runs on one example; above 1 in a `repeat`, or used at several nodes of a `graph`.
      output: the spec of what one call gives, inside `pn.each` of all slices together; None if it is not called.
      params: the numbers in its params; 0 where it uses those of another.
      state: the numbers in its state.
      flops: floating-point operations of all its calls on one example; None if an operation of unknown cost is in it.
      activations: bytes per example of the outputs of all its calls; for a layer made of layers, of all of theirs.
    """

    path: str
    name: str
    depth: int
    calls: int
    output: Spec
    params: int
    state: int
    flops: Flops | None
    activations: int


class Summary(NamedTuple):
    """What `summary` gives: its text, by `str` or `print`, is a table.

    Attributes:
      rows: one for each layer, from the outside in; the first one is the whole network and holds the totals.

    Example:
      >>> import purenet as pn
      >>> pn.summary(pn.dense(3), pn.spec(2)).total.params
      9
    """

    rows: tuple[SummaryRow, ...]

    @property
    def total(self) -> SummaryRow:
        """The row of the whole network."""
        return self.rows[0]

    def __str__(self) -> str:
        head = ("layer", "output", "params", "state", "flops", "activations")
        return _table([head, *map(_cells, self.rows), ("total", *_cells(self.total)[1:])])

    def __repr__(self) -> str:
        return f"Summary({len(self.rows)} rows, {self.total.params:,} params)"


def summary(net: Any, spec: Spec) -> Summary:
    """Tells what a network is made of: each layer's output, params, state, operations and memory, on one example.

    The network is traced at inference (`apply`) and nothing is computed, so that the size does not matter. A layer
    that a graph uses several times is counted once in params, and each time in operations and memory.

    Args:
      net: a layer, or a plain function of one example.
      spec: that of one example, such as `pn.spec(784)`, or a pytree of them.

    Returns:
      The rows and totals; `print` shows them as a table, layers in layers indented.

    Raises:
      StructureError: if `net` is no layer or `spec` no spec.
      ShapeError: if the network does not take such examples.

    Example:
      >>> import purenet as pn
      >>> print(pn.summary(pn.serial(pn.dense(128), pn.relu, pn.dense(10)), pn.spec(784)))
      layer        output   params  state    flops  activations
      ---------------------------------------------------------
      serial       (10,)   101,770      0  203,530      1,064 B
        [0] dense  (128,)  100,480      0  200,832        512 B
        [1] relu   (128,)        0      0      128        512 B
        [2] dense  (10,)     1,290      0    2,570         40 B
      ---------------------------------------------------------
      total        (10,)   101,770      0  203,530      1,064 B
    """
    with by("summary"):
        net = as_net(net, spec)
    program = trace_calls(net, spec)
    measured: dict[str, _Measured] = {}
    _measure(program, program.jaxpr, 1, measured)
    nothing = _Measured(0, None, Flops(0, 0), 0)
    rows = []
    for path, part, params, state in numbers_by_path(net, program.params, program.state):
        found = measured.get(path, nothing)
        depth = path.count("[")
        rows.append(SummaryRow(path, part.name, depth, found.calls, found.output, params, state, *found[2:]))
    return Summary(tuple(rows))


class _Measured(NamedTuple):
    calls: int
    output: Spec
    flops: Flops | None
    activations: int

    def and_more(self, other: "_Measured") -> "_Measured":
        flops = None if self.flops is None or other.flops is None else self.flops + other.flops
        return _Measured(self.calls + other.calls, self.output, flops, self.activations + other.activations)


def _measure(program: Program, jaxpr: Any, times: int, measured: dict[str, _Measured]) -> int:
    """Notes every call in a program under its path, and gives the bytes of their outputs together."""
    total = 0
    for number, eqn, inner_times in calls_in(jaxpr, program.mark, times):
        body = eqn.params["jaxpr"].jaxpr
        inner = _measure(program, body, inner_times, measured)
        made = any(True for _ in calls_in(body, program.mark))
        activations = inner if made else inner_times * bytes_of(eqn.outvars)
        specs = [jax.ShapeDtypeStruct(var.aval.shape, var.aval.dtype) for var in eqn.outvars]
        output = jax.tree.unflatten(program.outs[number], specs)
        one = _Measured(inner_times, output, _flops(body, inner_times), activations)
        path = program.paths[number]
        measured[path] = measured[path].and_more(one) if path in measured else one
        total += activations
    return total


def _flops(jaxpr: Any, times: int) -> Flops | None:
    try:
        return times * count_jaxpr(jaxpr)
    except (StructureError, ValueError):  # an operation of unknown cost, or a loop of unknown length
        return None


def _cells(row: SummaryRow) -> tuple[str, ...]:
    place = row.path.rpartition("[")[2].partition("]")[0] if row.depth else ""
    often = f" × {row.calls}" if row.calls > 1 else ""
    first = "  " * row.depth + (f"[{place}] " if row.depth else "") + row.name + often
    flops = "?" if row.flops is None else f"{row.flops.total:,}"
    return first, _shapes(row.output), f"{row.params:,}", f"{row.state:,}", flops, f"{row.activations:,} B"


def _shapes(spec: Spec) -> str:
    """The shapes of a spec as text; dtypes where they are not float32."""
    if spec is None:
        return "not called"

    def text(leaf: Any) -> str:
        return str(leaf.shape) + ("" if leaf.dtype == "float32" else f" {leaf.dtype}")

    if isinstance(spec, dict):
        return "{" + ", ".join(f"{key}: {_shapes(value)}" for key, value in spec.items()) + "}"
    if isinstance(spec, (tuple, list)):
        return "; ".join(map(_shapes, spec))
    return text(spec) if isinstance(spec, jax.ShapeDtypeStruct) else "; ".join(map(text, jax.tree.leaves(spec)))


def _table(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    texts = [
        "  ".join(
            [cell.ljust(width) for cell, width in zip(line[:2], widths[:2], strict=True)]
            + [cell.rjust(width) for cell, width in zip(line[2:], widths[2:], strict=True)]
        ).rstrip()
        for line in lines
    ]
    rule = "-" * max(map(len, texts))
    return "\n".join([texts[0], rule, *texts[1:-1], rule, texts[-1]])
