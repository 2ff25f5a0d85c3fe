"""Two runs of one thing: where their arrays differ most."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purenet.check import leaves
from purenet.check.reports import Failure
from purenet.contract import Tree


def compare(law: str, expected: Tree, got: Tree, tolerance: float, reason: str) -> tuple[list[Failure], float]:
    """Compares two trees of arrays leaf by leaf.

    Args:
      law: its name.
      expected: a dict of trees, whose keys begin the leaves' paths.
      got: the same of the other run.
      tolerance: allowed difference relative to a leaf's largest number; 0 asks for the same bits.
      reason: what the law says when it is broken.

    Returns:
      One failure for each leaf that differs, and the largest relative difference.
    """
    if not leaves.alike(expected, got):
        text = f"{jax.tree.structure(expected)}", f"{jax.tree.structure(got)}"
        return [Failure(law, "", None, *text, "The trees differ.")], float("inf")
    failures, worst = [], 0.0
    others = leaves.entries(**{name: got[name] for name in expected})
    for (path, a), (_, b) in zip(leaves.entries(**expected), others, strict=True):
        if a.dtype == jax.dtypes.float0 or jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            continue
        if a.shape != b.shape or a.dtype != b.dtype:
            failures.append(Failure(law, path, None, _kind(a), _kind(b), reason))
            continue
        gap, index = _gap(np.asarray(a), np.asarray(b))
        worst = max(worst, gap)
        if not gap <= tolerance:
            failures.append(Failure(law, path, index, np.asarray(a)[index].item(), np.asarray(b)[index].item(), reason))
    return failures, worst


def _kind(a: Any) -> str:
    return f"{a.dtype} of shape {a.shape}"


def _gap(a: Any, b: Any) -> tuple[float, tuple[int, ...]]:
    """The largest difference relative to the largest number, and where it is."""
    if a.size == 0:
        return 0.0, ()
    size = 1.0
    if leaves.is_float(a):
        a, b = a.astype(np.float64), b.astype(np.float64)
        with np.errstate(all="ignore"):
            apart = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
        apart = np.where(np.isnan(apart), np.inf, apart)
        # An absolute difference where everything is nearly zero: sums of ones cancel to 1e-16, not to 0.
        size = max(float(np.max(np.abs(a)[np.isfinite(a)], initial=0)), 1e-3)
    else:
        apart = (a != b).astype(np.float64)
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(apart)), a.shape))
    return float(apart[index]) / size, index
