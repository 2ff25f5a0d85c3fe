"""Checks of many targets at once, on the host with NumPy: what tracing cannot see."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from purenet.contract import Spec
from purenet.errors import ShapeError
from purenet.losses.guards import tolerance


def check_class_targets(prediction: Spec, targets: Any) -> None:
    """Raises for integer labels out of range, and for soft labels that are no distributions."""
    targets = np.asarray(targets)
    if jnp.issubdtype(targets.dtype, jnp.integer):
        check_labels(prediction.shape[-1], targets)
    else:
        check_distributions(prediction, targets)


def check_labels(classes: int, labels: np.ndarray) -> None:
    """Raises for labels outside 0..classes-1."""
    bad = (labels < 0) | (labels >= classes)
    if not bad.any():
        return
    low, high = int(labels.min()), int(labels.max())
    if low >= 1 and high == classes:
        remedy = f"The labels run from {low} to {high}: subtract 1."
    elif low == -1 and high == 1 and classes == 2 and labels.all():
        remedy = "The labels are -1 and 1: use (labels + 1) // 2."
    elif low < 0:
        remedy = "A negative label is not skipped: leave its examples out, or give it a class of its own."
    else:
        remedy = f"The labels run from {low} to {high}: give the network {high + 1} outputs, or renumber the labels."
    _refuse(f"labels from 0 to {classes - 1}", labels, bad, remedy)


def check_distributions(prediction: Spec, targets: Any) -> None:
    """Raises for targets with an entry below 0, or that do not sum to 1 along the last axis."""
    targets = np.asarray(targets)
    if targets.ndim < 2 or not jnp.issubdtype(targets.dtype, jnp.floating):
        return  # tracing refuses these by shape and dtype
    _refuse(
        "probabilities of 0 or more", targets, ~(targets >= 0), "Give each class its probability, or integer labels."
    )
    totals = targets.sum(axis=-1, dtype=np.float64)
    close = np.abs(totals - 1) <= tolerance(targets.dtype)
    _refuse("probabilities that sum to 1", totals, ~close, "Divide each target by its sum.")


def check_probabilities(prediction: Spec, targets: Any) -> None:
    """Raises for targets outside 0..1."""
    targets = np.asarray(targets)
    signs = bool((np.abs(targets) == 1).all())
    remedy = "The targets are -1 and 1: use (targets + 1) / 2." if signs else "Scale them to 0..1."
    _refuse("targets from 0 to 1", targets, ~((targets >= 0) & (targets <= 1)), remedy)


def check_signs(prediction: Spec, targets: Any) -> None:
    """Raises for targets other than -1 and 1."""
    targets = np.asarray(targets)
    binary = bool(((targets == 0) | (targets == 1)).all())
    remedy = "The targets are 0 and 1: use 2 * targets - 1." if binary else "Give each output the sign of its class."
    _refuse("targets of -1 or 1", targets, ~(np.abs(targets) == 1), remedy)


def check_counts(prediction: Spec, targets: Any) -> None:
    """Raises for targets below 0 or infinite."""
    targets = np.asarray(targets)
    bad = ~((targets >= 0) & (targets < np.inf))
    _refuse("finite targets of 0 or more", targets, bad, "Give the counts as they were counted, not standardised.")


def _refuse(rule: str, values: np.ndarray, bad: np.ndarray, remedy: str) -> None:
    """Raises if any is bad; the message counts them and shows the first."""
    if not bad.any():
        return
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape))
    shown = index[0] if len(index) == 1 else index
    raise ShapeError(
        f"expected {rule}, got {int(bad.sum())} of {bad.size} otherwise: the first is {values[index]!s} "
        f"at index {shown}. {remedy}"
    )
