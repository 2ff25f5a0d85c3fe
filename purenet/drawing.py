"""graphviz: a network's layers as text in the DOT language."""

from typing import Any

from purenet.contract import Spec
from purenet.errors import by
from purenet.flow import Box, flow_of

_LOOKS = {"input": "shape=oval", "output": "shape=oval", "merge": "shape=circle", "layer": "shape=box"}


def graphviz(net: Any, spec: Spec) -> str:
    r"""Draws a network as DOT text: a box for each layer, an arrow for each result with its shape.

    Layers that are made of others are opened, but for `repeat`, which is one box. Paths are the boxes' tooltips.
    Write the text to a file and run `dot -Tsvg`, or use any viewer of Graphviz; `pn.plot.network` needs neither.

    Args:
      net: a layer, or a plain function of one example.
      spec: that of one example, or a pytree of them.

    Returns:
      The text.

    Raises:
      StructureError: if `net` is no layer or `spec` no spec.
      ShapeError: if the network does not take such examples.

    References:
      Gansner, Koutsofios, North and Vo (1993), A technique for drawing directed graphs.

    Example:
      >>> import purenet as pn
      >>> print(pn.graphviz(pn.residual(pn.dense(2)), pn.spec(2)))
      digraph "residual" {
        node [fontname="Helvetica"];
        edge [fontname="Helvetica", fontsize=10];
        n0 [label="x", shape=oval];
        n1 [label="dense\n6 params", tooltip="residual[0].dense", shape=box];
        n2 [label="+", shape=circle];
        n3 [label="y", shape=oval];
        n0 -> n1 [label="(2,)"];
        n1 -> n2 [label="(2,)"];
        n0 -> n2 [label="(2,)"];
        n2 -> n3 [label="(2,)"];
      }
    """
    with by("graphviz"):
        flow = flow_of(net, spec)
    boxes = [f"n{i} [{_attributes(box)}];" for i, box in enumerate(flow.boxes)]
    arrows = [f"n{arrow.start} -> n{arrow.end} [label={_quoted(arrow.shape)}];" for arrow in flow.arrows]
    lines = ['node [fontname="Helvetica"];', 'edge [fontname="Helvetica", fontsize=10];', *boxes, *arrows]
    name = getattr(net, "name", getattr(net, "__name__", "network"))
    return "\n".join([f"digraph {_quoted(name)} {{", *(f"  {line}" for line in lines), "}"])


def _attributes(box: Box) -> str:
    label = box.text + (f"\n{box.params:,} params" if box.params else "")
    tooltip = f"tooltip={_quoted(box.path)}, " if box.path else ""
    return f"label={_quoted(label)}, {tooltip}{_LOOKS[box.kind]}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
