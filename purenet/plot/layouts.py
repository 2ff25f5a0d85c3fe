"""Where a drawing's boxes go: in rows from top to bottom, with few crossings, and arrows around boxes."""

import itertools
import statistics
from collections.abc import Sequence
from typing import NamedTuple

Arrow = tuple[int, int]


class Layout(NamedTuple):
    """Places in the unit of the boxes' sizes; y grows downwards.

    Attributes:
      places: the middle (x, y) of each box.
      routes: for each arrow, the points that it goes through, from the bottom of its start to the top of its end.
      width, height: of all together; x and y go from 0 to these.
    """

    places: tuple[tuple[float, float], ...]
    routes: tuple[tuple[tuple[float, float], ...], ...]
    width: float
    height: float


def arrange(sizes: Sequence[tuple[float, float]], arrows: Sequence[Arrow], gaps: tuple[float, float]) -> Layout:
    """Arranges boxes in rows, each below all that lead to it.

    An arrow over several rows has a narrow place of its own in each of them, so that no box lies on it. A row's order
    is that of the mean places of the neighbours in the row before, and back again, some times over.

    Args:
      sizes: width and height of each box; boxes stand in an order in which all arrows go forward.
      arrows: pairs of boxes.
      gaps: between boxes of a row, and between rows.

    Returns:
      The layout.

    References:
      Sugiyama, Tagawa and Toda (1981), Methods for visual understanding of hierarchical system structures.
    """
    rows_of = _rows_of(len(sizes), arrows)
    sizes, chains = list(sizes), []
    for start, end in arrows:
        between = range(rows_of[start] + 1, rows_of[end])
        chains.append([start, *range(len(sizes), len(sizes) + len(between)), end])
        rows_of.extend(between)
        sizes.extend([(0.0, 0.0)] * len(between))
    links = [pair for chain in chains for pair in itertools.pairwise(chain)]
    rows = _ordered(rows_of, links)
    widths = [sum(sizes[i][0] for i in row) + gaps[0] * (len(row) - 1) for row in rows]
    width, y, places = max(widths), 0.0, [(0.0, 0.0)] * len(sizes)
    heights = [max(sizes[i][1] for i in row) for row in rows]
    for row, row_width, height in zip(rows, widths, heights, strict=True):
        x = (width - row_width) / 2
        for i in row:
            places[i] = (x + sizes[i][0] / 2, y + height / 2)
            x += sizes[i][0] + gaps[0]
        y += height + gaps[1]
    routes = tuple(_route(chain, places, sizes, [heights[rows_of[i]] for i in chain]) for chain in chains)
    count = len(sizes) - sum(len(chain) - 2 for chain in chains)
    return Layout(tuple(places[:count]), routes, width, y - gaps[1])


def _rows_of(count: int, arrows: Sequence[Arrow]) -> list[int]:
    """The longest way to each box; a box without arrows to it stands right above the first that it leads to."""
    rows = [0] * count
    for start, end in sorted(arrows, key=lambda arrow: arrow[1]):
        rows[end] = max(rows[end], rows[start] + 1)
    led_to = {end for _, end in arrows}
    for box in range(count):
        followers = [rows[end] for start, end in arrows if start == box]
        if box not in led_to and followers:
            rows[box] = min(followers) - 1
    return rows


def _ordered(rows_of: Sequence[int], links: Sequence[Arrow]) -> list[list[int]]:
    rows: list[list[int]] = [[] for _ in range(max(rows_of) + 1)]
    for i, row in enumerate(rows_of):
        rows[row].append(i)
    before: dict[int, list[int]] = {i: [] for i in range(len(rows_of))}
    behind: dict[int, list[int]] = {i: [] for i in range(len(rows_of))}
    for start, end in links:
        before[end].append(start)
        behind[start].append(end)
    for _ in range(4):  # more sweeps change little
        _sweep(rows, rows, before)
        _sweep(rows, rows[::-1], behind)
    return rows


def _sweep(rows: list[list[int]], order: list[list[int]], neighbours: dict[int, list[int]]) -> None:
    """Sorts every row by the mean place of each box's neighbours; a box without any stays where it is."""
    place = {i: (k + 0.5) / len(row) for row in rows for k, i in enumerate(row)}
    for row in order:
        means = {i: statistics.fmean([place[j] for j in neighbours[i]] or [place[i]]) for i in row}
        row.sort(key=means.__getitem__)
        place.update({i: (k + 0.5) / len(row) for k, i in enumerate(row)})


def _route(
    chain: Sequence[int],
    places: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    heights: Sequence[float],
) -> tuple[tuple[float, float], ...]:
    """Straight from row to row, and upright within each row that it passes."""
    (x, y), points = places[chain[0]], []
    points.append((x, y + sizes[chain[0]][1] / 2))
    for i, height in zip(chain[1:-1], heights[1:-1], strict=True):
        x, y = places[i]
        points += [(x, y - height / 2), (x, y + height / 2)]
    x, y = places[chain[-1]]
    return (*points, (x, y - sizes[chain[-1]][1] / 2))
