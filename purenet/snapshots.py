"""Snapshots of a run: its params epoch by epoch, on the host, for pictures of how it learned."""

from typing import Any, NamedTuple

import jax
import numpy as np

from purenet.contract import Tree
from purenet.updates import TrainState


class Snapshot(NamedTuple):
    """What a network was at the end of an epoch.

    Attributes:
      epoch: from 1; 0 is the start.
      params: as NumPy arrays.
      state: the network's, as NumPy arrays.
    """

    epoch: int
    params: Tree
    state: Tree


class Album:
    """Keeps a snapshot of the start, of every so many epochs, and of the end; none if `every` is None."""

    def __init__(self, every: int | None):
        self._every = every
        self._kept: list[Snapshot] = []
        self._last: tuple[int, TrainState] | None = None

    def add(self, epoch: int, state: TrainState) -> None:
        """Takes a picture at the end of an epoch, if its turn has come."""
        if self._every is None:
            return
        self._last = epoch, state
        if epoch % self._every == 0:
            self._kept.append(_snapshot(epoch, state))

    def pages(self) -> tuple[Snapshot, ...]:
        """All of them, and that of the last epoch."""
        if self._last is None or self._last[0] == self._kept[-1].epoch:
            return tuple(self._kept)
        return (*self._kept, _snapshot(*self._last))


def _snapshot(epoch: int, state: TrainState) -> Snapshot:
    return Snapshot(epoch, *jax.tree.map(_on_host, (state.params, state.state)))


def _on_host(leaf: Any) -> Any:
    return leaf if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key) else np.asarray(leaf)
