"""Where the laws look: params, state and mini-batches drawn in float64, at random and at points where kinks lie."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from purenet.check import leaves
from purenet.check.subjects import Draws, Given, stack_draws
from purenet.contract import Layer, Spec, Tree
from purenet.errors import StructureError, describe
from purenet.streams import generator_of

# Inputs all alike, where the usual activations have their kinks and maxima their ties.
LEVELS = (0.0, 1.0, -1.0, 3.0, -3.0, 6.0)
EXTREME = 1e4


@dataclasses.dataclass(frozen=True)
class Source:
    """Draws what a layer takes, around what its `init` gives.

    Attributes:
      spec: of one example, floats in float64.
      inputs: `key -> x`, or None for normal floats, integers of 0 and 1, and fair truth values.
      params, state: what `init` gives, floats in float64.
      batch: how many examples.
      key: for the keys of the draws.
      rng: for the numbers.
    """

    spec: Spec
    inputs: Callable[[Any], Tree] | None
    params: Tree
    state: Tree
    batch: int
    key: Any
    rng: np.random.Generator

    def many(self, count: int) -> list[Given]:
        """Draws everything, several times."""
        keys = jax.random.split(self.key, count)
        return [
            Given(
                jax.tree.map(self.around, self.params),
                self.examples(keys[i]),
                jax.tree.map(self.above, self.state),
                jax.random.fold_in(keys[i], 1),
            )
            for i in range(count)
        ]

    def around(self, leaf: Any) -> Any:
        """Values around those of `init`: a bias of zero or a scale of one would hide what they do."""
        if not leaves.is_float(leaf):
            return leaf
        spread = 0.5 * float(np.sqrt(np.mean(leaf**2))) if leaf.size else 0.0
        return leaf + (spread or 0.3) * self.rng.uniform(-1, 1, leaf.shape)

    def above(self, leaf: Any) -> Any:
        """Values above those of `init`, as running variances must be."""
        if not leaves.is_float(leaf):
            return leaf
        return np.asarray(leaf) + self.rng.uniform(0.1, 0.5, leaf.shape).astype(leaf.dtype)

    def examples(self, key: Any) -> Tree:
        """Draws a mini-batch."""
        if self.inputs is None:
            return jax.tree.map(lambda leaf: plain(self.rng, leaf, (self.batch, *leaf.shape)), self.spec)
        return leaves.stacked([drawn("x", self.inputs(one), self.spec) for one in jax.random.split(key, self.batch)])


def make_source(layer: Layer, spec: Spec, inputs: Any, batch: int, key: Any) -> Source:
    """Initialises the layer in float64."""
    wide = leaves.widened(spec)
    params, state = layer.init(key, wide)
    rng = generator_of(key)
    return Source(wide, inputs, leaves.widened(params), state, batch, jax.random.fold_in(key, 1), rng)


def plain(rng: np.random.Generator, leaf: Any, shape: tuple[int, ...]) -> Any:
    """Draws normal floats, integers of 0 and 1, fair truth values."""
    if leaves.is_float(leaf):
        return rng.normal(size=shape).astype(leaf.dtype)
    return rng.integers(0, 2, shape).astype(leaf.dtype)


def drawn(what: str, x: Tree, spec: Spec) -> Tree:
    """Takes what a user's function drew, with the dtypes of the spec; refuses other shapes."""
    if not leaves.alike(x, spec):
        raise StructureError(f"expected inputs to give {what} like the spec, got {describe(x)}. Draw one example.")
    for leaf, wanted in zip(jax.tree.leaves(x), jax.tree.leaves(spec), strict=True):
        if np.shape(leaf) != wanted.shape:
            raise StructureError(
                f"expected inputs to give {what} of shape {wanted.shape}, that of the spec, got {np.shape(leaf)}. "
                "Draw one example."
            )
    return jax.tree.map(lambda leaf, wanted: np.asarray(leaf).astype(wanted.dtype), x, spec)


def special(source: Source, one: Given, small: bool) -> list[tuple[str, Given]]:
    """Points where layers have kinks: inputs all alike, small whole numbers, and params of zero."""
    found: list[tuple[str, Given]] = []
    if source.inputs is None and leaves.floats(one.xs):
        levels = LEVELS if small else LEVELS[:2]
        found += [(f"x = {level:g}", one._replace(xs=_filled(one.xs, level))) for level in levels]
        whole = jax.tree.map(
            lambda a: source.rng.integers(-2, 3, a.shape).astype(a.dtype) if leaves.is_float(a) else a, one.xs
        )
        found.append(("x of small whole numbers", one._replace(xs=whole)))
    if leaves.floats(one.params) and small:
        found.append(("params = 0", one._replace(params=_filled(one.params, 0.0))))
    return found


def draws_of(outputs: Any, given: list[tuple[str, Given]], rng: np.random.Generator) -> Draws:
    """Makes the gradient laws' draws: cotangents are normal, and at special points those of a single output."""
    count = sum(leaves.sizes(outputs))
    rows = []
    for label, one in given:
        moving, rest = leaves.part((one.params, one.xs))
        vector = rng.normal(size=count) if not label else np.eye(1, count, rng.integers(count)).ravel()
        pieces = leaves.unflat(vector, outputs)
        cotangents = tuple(a.astype(out.dtype) for a, out in zip(pieces, outputs, strict=True))
        rows.append((moving, (rest, one.state, one.key), cotangents))
    return stack_draws(rows, [label for label, _ in given])


def _filled(tree: Tree, level: float) -> Tree:
    return jax.tree.map(lambda a: np.full_like(a, level) if leaves.is_float(a) else a, tree)
