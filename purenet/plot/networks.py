"""network: a network's layers as boxes, and arrows for what goes from one to the other."""

from typing import Any

from purenet.contract import Spec
from purenet.errors import by
from purenet.flow import Box, Flow, flow_of
from purenet.plot.drawn import with_matplotlib
from purenet.plot.layouts import Layout, arrange

# Okabe and Ito's colours, which people with any kind of colour vision tell apart, as tints behind black text.
_COLOURS = {"input": "#f5d8a0", "output": "#f5d8a0", "merge": "#ffffff", "layer": "#ffffff", "params": "#b3dcf2"}
_LINE, _GAPS, _MARGIN = 1.25, (2.2, 2.0), 1.0  # in the unit of the font's size
_FONT = 10.0  # points, at most


def network(net: Any, spec: Spec, ax: Any = None) -> Any:
    r"""Draws a network: a box for each layer, with the shape of what it gives, and arrows for what goes where.

    Layers that are made of others are opened, but for `repeat`, which is one box. Layers with params are blue, inputs
    and outputs orange; a round box is an operation of a combinator's own, such as the sum in `pn.residual`.

    Args:
      net: a layer, or a plain function of one example.
      spec: that of one example, or a pytree of them.
      ax: the Matplotlib axes to fill, in the size that they have; left out, a new figure of the right size is made.

    Returns:
      The axes; `ax.figure.savefig("network.png")` writes the drawing to a file.

    Raises:
      ImportError: without Matplotlib.
      StructureError: if `net` is no layer or `spec` no spec.
      ShapeError: if the network does not take such examples.

    References:
      Okabe and Ito (2008), Color universal design, for the colours.

    Example:
      >>> import matplotlib, purenet as pn
      >>> matplotlib.use("agg")
      >>> ax = pn.plot.network(pn.residual(pn.dense(2)), pn.spec(2))
      >>> sorted(text.get_text() for text in ax.texts)
      ['+', 'dense\n(2,)', 'x\n(2,)', 'y\n(2,)']
    """
    figures = with_matplotlib("network")
    with by("plot.network"):
        flow = flow_of(net, spec)
    texts = [_text(box) for box in flow.boxes]
    sizes = [_size(box, text) for box, text in zip(flow.boxes, texts, strict=True)]
    layout = arrange(sizes, list(dict.fromkeys((arrow.start, arrow.end) for arrow in flow.arrows)), _GAPS)
    width, height = layout.width + 2 * _MARGIN, layout.height + 2 * _MARGIN
    if ax is None:
        inches = (width * _FONT / 72, height * _FONT / 72)
        ax = figures.Figure(figsize=inches).add_axes((0.0, 0.0, 1.0, 1.0))
    font = _fit(ax, width, height)
    _draw(ax, flow, layout, texts, sizes, font)
    return ax


def _text(box: Box) -> str:
    return box.text if box.kind == "merge" else f"{box.text}\n{box.shape}"


def _size(box: Box, text: str) -> tuple[float, float]:
    """Width and height of a box around its text, in the unit of the font's size."""
    from matplotlib.textpath import TextPath

    lines = text.split("\n")
    width = max(TextPath((0, 0), line, size=1).get_extents().width for line in lines)
    height = len(lines) * _LINE + 0.6
    return (max(width + 0.8, height), height) if box.kind == "merge" else (max(width + 1.4, 4.0), height)


def _fit(ax: Any, width: float, height: float) -> float:
    """Sets the limits so that one unit is the font's size, centred, and gives that size in points."""
    box = ax.get_position()
    inches = ax.figure.get_size_inches()
    points = 72 * inches[0] * box.width, 72 * inches[1] * box.height
    font = min(points[0] / width, points[1] / height, _FONT)
    spare = points[0] / font - width, points[1] / font - height
    ax.set_xlim(-_MARGIN - spare[0] / 2, width - _MARGIN + spare[0] / 2)
    ax.set_ylim(height - _MARGIN + spare[1] / 2, -_MARGIN - spare[1] / 2)
    ax.set_axis_off()
    return float(font)


def _draw(ax: Any, flow: Flow, layout: Layout, texts: Any, sizes: Any, font: float) -> None:
    from matplotlib import patches

    line = 0.08 * font
    for route in layout.routes:
        ax.plot(*zip(*route[:-1], strict=True), color="black", linewidth=line, zorder=1, solid_joinstyle="round")
        head = f"-|>,head_length={0.4 * font / 10},head_width={0.2 * font / 10}"
        ax.add_patch(
            patches.FancyArrowPatch(
                route[-2], route[-1], arrowstyle=head, mutation_scale=10, shrinkA=0, shrinkB=0, color="black",
                linewidth=line, zorder=1,
            )
        )  # fmt: skip
    for box, (x, y), (width, height), text in zip(flow.boxes, layout.places, sizes, texts, strict=True):
        round_by = height / 2 if box.kind != "layer" else 0.3
        corner = (x - width / 2, y - height / 2)
        style = f"round,pad=0,rounding_size={min(round_by, width / 2)}"
        colour = _COLOURS["params" if box.params else box.kind]
        ax.add_patch(
            patches.FancyBboxPatch(
                corner, width, height, boxstyle=style, facecolor=colour, edgecolor="black", linewidth=line, zorder=2
            )
        )
        ax.text(x, y, text, fontsize=font, ha="center", va="center", linespacing=1.1, zorder=3)
