"""Early stopping: which epoch was the best, and when to give up."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from purenet.errors import ShapeError
from purenet.metrics import Metric
from purenet.updates import TrainState, expect_count


class Best(NamedTuple):
    """The best epoch so far, from 1."""

    epoch: int
    value: float
    state: TrainState


class Stopper(NamedTuple):
    """Watches one number of the history."""

    patience: int
    monitor: str
    sign: int

    def note(self, best: Best | None, epoch: int, row: Mapping[str, Any], state: TrainState) -> Best:
        """Keeps the better epoch; a NaN is never better, and of equals the first stays."""
        value = self.sign * float(row[self.monitor])
        if best is None or value < best.value or (np.isnan(best.value) and not np.isnan(value)):
            return Best(epoch, value, state)
        return best


def make_stopper(
    patience: int | None, monitor: str | None, validated: bool, measures: Mapping[str, Metric]
) -> Stopper | None:
    """Makes what watches `monitor`, after checking that the history will have it and which way is better."""
    if patience is None:
        if monitor is not None:
            raise ShapeError(f"expected patience with monitor={monitor!r}, got none. Such as patience=3.")
        return None
    monitor = monitor or "val_loss"
    expect_count("patience", patience)
    better = {"loss": "lower", **{name: metric.better for name, metric in measures.items()}}
    if validated:
        better |= {f"val_{name}": way for name, way in better.items()}
    ordered = [name for name, way in better.items() if way is not None]
    if monitor not in ordered:
        remedy = (
            "Choose one of them." if validated else "Choose one of them, or pass validation=(xs, ys) for val_ ones."
        )
        raise ShapeError(f"expected monitor to be one of {ordered}, got {monitor!r}. {remedy}")
    return Stopper(patience, monitor, -1 if better[monitor] == "higher" else 1)
