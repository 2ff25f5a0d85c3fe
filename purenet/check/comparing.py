"""Two runs of one thing: where their arrays differ most; and what a run must not hold."""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purenet.check import leaves
from purenet.check.reports import Failure, LawResult, verdict
from purenet.contract import Tree
from purenet.errors import describe


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
            failures.append(Failure(law, path, None, describe(a), describe(b), reason))
            continue
        gap, index = _gap(np.asarray(a), np.asarray(b))
        worst = max(worst, gap)
        if not gap <= tolerance:
            failures.append(Failure(law, path, index, np.asarray(a)[index].item(), np.asarray(b)[index].item(), reason))
    return failures, worst


def compare_each(
    law: str, alone: Iterable[Tree], together: Tree, tolerance: float, reason: str, note: str
) -> LawResult:
    """Compares runs one by one with one run of all, whose leaves have them along the first axis; tells of one."""
    failures: list[Failure] = []
    worst = 0.0
    for index, one in enumerate(alone):
        found, gap = compare(law, one, leaves.pick(together, index), tolerance, reason)
        failures, worst = failures or found, max(worst, gap)
    return verdict(law, failures, worst, note)


def not_numbers(law: str, trees: dict[str, Tree], reason: str) -> list[Failure]:
    """The first NaN of every leaf of floats that has one."""
    failures = []
    for path, leaf in leaves.entries(**trees):
        wrong = np.isnan(np.asarray(leaf, np.float64)) if leaves.is_float(leaf) else np.zeros(())
        if wrong.any():
            index = tuple(int(i) for i in np.argwhere(wrong)[0])
            failures.append(Failure(law, path, index, "a number", float("nan"), reason))
    return failures


def traced_again(traces: int, reason: str) -> list[Failure]:
    """The failure of a program that JAX traced more than once."""
    return [Failure("retrace", "", None, "1 trace", f"{traces} traces", reason)] if traces > 1 else []


def unlike(law: str, what: str, made: Tree, wanted: Tree, reason: str) -> list[Failure]:
    """Where structure, shape or dtype of `made` are others than wanted; float0, that of whole numbers, may be."""
    if not leaves.alike(made, wanted):
        texts = str(jax.tree.structure(wanted)), str(jax.tree.structure(made))
        return [Failure(law, what, None, *texts, "The tree differs.")]
    return [
        Failure(law, path, None, describe(a), describe(b), reason)
        for (path, a), b in zip(leaves.entries(**{what: wanted}), jax.tree.leaves(made), strict=True)
        if a.shape != b.shape or b.dtype not in (a.dtype, jax.dtypes.float0)
    ]


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
