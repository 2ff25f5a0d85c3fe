"""Data cut into parts, every example in exactly one."""

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import jax
import numpy as np

from purenet.data.leaves import common_length, named_leaves


def split(data: Any, sizes: Sequence[float], *, key: jax.Array | None = None) -> tuple[Any, ...]:
    """Cuts data into parts, every example in exactly one of them.

    With fractions f₁, f₂, … the cuts are at n·f₁, n·(f₁+f₂), … rounded to the nearest integer, halves up:
    a part's length is within 1 of its share, and the lengths sum to n.

    Args:
        data: Pytree, usually `(xs, ys)`, of NumPy or JAX arrays of shape (n, ...) with one n.
        sizes: Fractions that sum to 1 (floats), or numbers of examples that sum to n (integers).
        key: Random key of the shuffle before cutting. Default: the examples stay in order; NumPy parts
            are then views.

    Returns:
        One pytree like `data` for each size, of the same kinds of arrays.

    Raises:
        TypeError: A leaf is not an array, or sizes mix fractions and counts.
        ValueError: Lengths differ, sizes do not sum to the whole, or a part would be empty.

    Example:
        >>> train, test = split((np.arange(5), np.arange(5) ** 2), (0.6, 0.4))
        >>> test
        (array([3, 4]), array([ 9, 16]))
        >>> train, test = split(np.arange(5), (4, 1), key=jax.random.key(0))
        >>> len(train), sorted([*train, *test]) == [0, 1, 2, 3, 4]
        (4, True)
    """
    n = common_length(named_leaves(data, "split", "data"), "split")
    cuts = list(pairwise([0, *_ends(sizes, n)]))
    if key is None:
        return tuple(jax.tree.map(lambda leaf, a=a, b=b: leaf[a:b], data) for a, b in cuts)
    order = jax.random.permutation(key, n)
    return tuple(jax.tree.map(lambda leaf, a=a, b=b: leaf[order[a:b]], data) for a, b in cuts)


def _ends(sizes: Sequence[float], n: int) -> list[int]:
    """Returns where each part ends."""
    if all(isinstance(size, int | np.integer) for size in sizes):
        rule, exact, unit = f"numbers of examples that sum to {n}", sum(sizes) == n, 1
    elif all(isinstance(size, float) for size in sizes):
        rule, exact, unit = "fractions that sum to 1", math.isclose(math.fsum(sizes), 1, rel_tol=1e-9), n
    else:
        raise TypeError(
            "split: expected sizes to be all floats (fractions) or all integers (numbers of examples), "
            f"got {sizes}. Write (0.8, 0.2) or (800, 200)."
        )
    if not exact:
        raise ValueError(f"split: expected {rule}, got {sizes}. Name the rest as a part too.")
    ends = [*(math.floor(unit * end + 0.5) for end in accumulate(sizes[:-1])), n]
    if any(a >= b for a, b in pairwise([0, *ends])):
        raise ValueError(
            f"split: expected at least one example in each part, got {sizes} of {n} examples. "
            "Use fewer or larger parts."
        )
    return ends
