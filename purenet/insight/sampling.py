"""Which examples are looked at, and what their labels are."""

from typing import Any, NamedTuple

import jax
import numpy as np

from purenet.contract import Tree
from purenet.gradients import Batch

_BLOCK = 16  # rows looked at come in runs, so that labels can be compared with their neighbours'
_MOST = 2**20  # labels counted


class Sample(NamedTuple):
    """Examples drawn from the data.

    Attributes:
      examples: in the order of the data, in runs of neighbours.
      order: a random order of them.
    """

    examples: Batch
    order: np.ndarray

    def some(self, count: int) -> Batch:
        """The first examples in random order."""
        chosen: Batch = rows_of(self.examples, self.order[:count])
        return chosen


def rows_of(tree: Tree, rows: np.ndarray | slice) -> Tree:
    """Gathers examples on the host; what lies on another device comes from there."""

    def gather(a: Any) -> Any:
        if isinstance(a, jax.Array) and any(device.platform != "cpu" for device in a.devices()):
            return np.asarray(a[rows])
        return np.asarray(a)[rows]

    return jax.tree.map(gather, tree)


def draw_sample(data: Batch, count: int, generator: np.random.Generator) -> Sample:
    """Draws `count` examples in runs of 16, or takes all if there are no more."""
    n = data.size
    if n <= count:
        chosen = np.arange(n)
    else:
        runs = -(-count // _BLOCK)
        starts = np.sort(generator.choice(n // _BLOCK, runs, replace=False)) if n >= 2 * count else np.arange(runs)
        chosen = (starts[:, None] * _BLOCK + np.arange(_BLOCK)).ravel()[:count]
    return Sample(rows_of(data, chosen), generator.permutation(len(chosen)).astype(np.int32))


def labels_of(ys: Any, outputs: tuple[tuple[int, ...], ...], loss_name: str) -> np.ndarray | None:
    """Reads class labels from targets: integers, one-hot rows, or the zeros and ones of one output; else None."""
    if not hasattr(ys, "dtype") or len(outputs) != 1:
        return None
    shape, output = tuple(np.shape(ys)[1:]), outputs[0]
    kind = np.dtype(ys.dtype).kind if np.dtype(ys.dtype).kind in "iub" else "f"
    some = rows_of(ys, slice(0, max(1, _MOST // max(1, int(np.prod(shape))))))
    if kind != "f" and shape == output[:-1]:
        return np.asarray(some).ravel()
    if "softmax" in loss_name or "categorical" in loss_name:
        return np.argmax(some, axis=-1).ravel() if shape == output and shape[-1:] > (1,) else None
    if any(word in loss_name for word in ("sigmoid", "binary", "hinge")) and np.prod(shape) == 1:
        return (np.asarray(some, np.float32).ravel() > 0.5).astype(np.int32)
    return None
