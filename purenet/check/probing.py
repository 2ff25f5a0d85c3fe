"""The one compiled program of the gradient laws: the value along many directions, and every rule's gradient.

A direction is three whole numbers (begin, end, seed): the coordinates from begin to end, all with sign plus for seed 0,
else with signs from a hash. One coordinate is (i, i + 1, 0). So all directions, and all steps along them, are one batch
of one function, cut into pieces that fit the memory.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purenet.check import leaves
from purenet.check.compiling import quick
from purenet.check.subjects import Draws, Moving, Subject

# Numbers held at once by the batched value, and numbers touched by all of its calls: 64 MB, and a second.
_HELD, _TOUCHED = 2**23, 2**27
_FEWEST = 16
_QUICK = 2**26


class Probes(NamedTuple):
    """Directions, the coordinates first.

    Attributes:
      table: of shape (C, 3): begin, end, seed.
      coordinates: how many of them are single coordinates.
      whole: whether these are all coordinates there are.
    """

    table: Any
    coordinates: int
    whole: bool


class Measured(NamedTuple):
    """What the program found, for D draws, C directions, O steps and n coordinates.

    Attributes:
      rises: (D, C, O): how much the value rose after each step.
      sizes: (D,): the size of the sums that the value is made of, which bounds their rounding.
      lengths: (D, C): of the directions.
      slopes: by rule: (D, C): what it says the slopes are.
      gradients: by rule: (D, n).
    """

    rises: Any
    sizes: Any
    lengths: Any
    slopes: dict[str, Any]
    gradients: dict[str, Any]


def make_probes(moving: Moving, draws: int, steps: int, rng: np.random.Generator) -> Probes:
    """Chooses directions: every coordinate if that is affordable, else some of every leaf; then wider ones."""
    counts = leaves.sizes(moving)
    ends = np.cumsum([0, *counts])
    n = int(ends[-1])
    affordable = max(_FEWEST, _TOUCHED // max(1, n * draws * steps))
    if n <= affordable:
        singles = np.arange(n)
    else:
        share = [max(2, round(affordable * count / n)) for count in counts]
        picked = [
            begin + rng.choice(count, min(many, count), replace=False)
            for begin, count, many in zip(ends, counts, share, strict=False)
            if count
        ]
        singles = np.sort(np.concatenate(picked))
    wide = [(begin, end, 0) for begin, end in itertools.pairwise(ends) if end - begin > 1]
    wide += [(0, n, seed) for seed in range(1, 3 if n <= affordable else 7)] if n > 1 else []
    table = [(i, i + 1, 0) for i in singles] + wide
    return Probes(np.array(table, np.int64).reshape(-1, 3), len(singles), len(singles) == n)


def measure(subject: Subject, draws: Draws, probes: Probes, steps: Any) -> Measured:
    """Compiles and runs the program; `steps` are multiples of a direction."""
    n = sum(leaves.sizes(leaves.pick(draws.moving, 0)))
    many, width = len(draws.labels), len(probes.table)
    rows = np.array([(d, c, o) for d in range(many) for c in range(width) for o in range(len(steps))], np.int32)
    rows = rows.reshape(-1, 3)

    def program(draws: Draws, table: Any, rows: Any, steps: Any) -> Any:
        def at_draw(d: Any) -> Any:
            return leaves.pick((draws.moving, draws.fixed, draws.cotangents), d)

        def start(d: Any) -> Any:
            moving, fixed, cotangents = at_draw(d)
            ys = subject.value(moving, fixed)
            size = sum(jnp.sum(jnp.abs(dy) * (1 + jnp.abs(y))) for y, dy in zip(ys, cotangents, strict=True))
            grads = {name: leaves.flat(rule(moving, fixed, cotangents)) for name, rule in subject.rules.items()}

            def along(row: Any) -> Any:
                direction = _direction(leaves.flat(moving), row)
                slopes = {name: jnp.sum(jnp.where(direction == 0, 0, grad * direction)) for name, grad in grads.items()}
                return jnp.sqrt(jnp.sum(direction**2)), slopes

            lengths, slopes = _mapped(along, table, n)
            return ys, size, lengths, slopes, grads

        starts, sizes, lengths, slopes, grads = _mapped(start, jnp.arange(many), 8 * n)

        def rise(row: Any) -> Any:
            moving, fixed, cotangents = at_draw(row[0])
            vector = leaves.flat(moving)
            moved = vector + steps[row[2]] * _direction(vector, table[row[1]])
            ys, before = subject.value(leaves.unflat(moved, moving), fixed), leaves.pick(starts, row[0])
            return sum(
                jnp.sum(jnp.where(dy == 0, 0, dy * (y - old)))
                for y, old, dy in zip(ys, before, cotangents, strict=True)
            )

        return _mapped(rise, rows, 4 * n), sizes, lengths, slopes, grads

    given = draws._replace(labels=())
    rises, *rest = jax.device_get(quick(program, len(rows) * n < _QUICK)(given, probes.table, rows, np.asarray(steps)))
    return Measured(np.reshape(rises, (many, width, len(steps))), *rest)


def _direction(vector: Any, row: Any) -> Any:
    """The direction's vector: steps are relative to coordinates larger than 1."""
    places = jnp.arange(vector.shape[0], dtype=jnp.uint32)
    begin, end, seed = (row[i].astype(jnp.uint32) for i in range(3))
    mixed = (places + 1) * (seed * jnp.uint32(2654435761) + jnp.uint32(40503))
    mixed = (mixed ^ (mixed >> 15)) * jnp.uint32(2246822519)
    signs = jnp.where((seed > 0) & ((mixed >> 16) % 2 == 1), -1.0, 1.0)
    inside = (places >= begin) & (places < end)
    size = jnp.maximum(1.0, jnp.abs(vector)) / jnp.sqrt((end - begin).astype(vector.dtype))
    return jnp.where(inside, signs * size, 0.0)


def _mapped(function: Callable[[Any], Any], xs: Any, size: int) -> Any:
    """Maps over the first axis, as many at once as fit."""
    length = len(xs)
    at_once = max(1, min(length, _HELD // max(1, size)))
    pieces = math.ceil(length / at_once)
    if pieces <= 1:
        return jax.vmap(function)(jnp.asarray(xs))
    places = np.minimum(np.arange(pieces * at_once), length - 1).reshape(pieces, at_once)
    out = jax.lax.map(jax.vmap(function), jnp.asarray(xs)[places])
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:length], out)
