"""How fit keeps in touch with the terminal: the length of its chunks, and the progress bar."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np
from tqdm.auto import tqdm

# Between a bar that stutters and a Ctrl-C that waits; a chunk's fixed cost of about 1 ms stays below 1 %.
_SECONDS = 0.2
_FIRST = 1
_GROWTH = 8


class Pace:
    """Says how many updates to run next so that a chunk takes about 0.2 s; results never depend on it."""

    def __init__(self, longest: int):
        self._longest = longest
        self._compiled = False
        self.count = min(_FIRST, longest)

    def note(self, done: int, seconds: float) -> None:
        """Learns from a chunk of `done` updates that took `seconds`; the first one was mostly compilation."""
        if not self._compiled:
            self._compiled = True
            return
        fitting = int(_SECONDS * done / max(seconds, 1e-9))
        self.count = max(1, min(fitting, self.count * _GROWTH, self._longest))


class Bar:
    """A progress bar over all updates of a run, with the latest numbers behind it."""

    def __init__(self, epochs: int, steps: int, shown: bool | None):
        self._epochs = epochs
        disable = None if shown is None else not shown  # None: tqdm draws on terminals alone
        self._bar = tqdm(total=epochs * steps, unit="step", disable=disable, dynamic_ncols=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        self._bar.close()

    def advance(self, epoch: int, done: int, loss: float) -> None:
        """Moves on by `done` updates of this epoch, the last of which had this loss."""
        self._bar.set_description(f"epoch {epoch}/{self._epochs}", refresh=False)
        self._bar.set_postfix(loss=f"{loss:.4g}", refresh=False)
        self._bar.update(done)

    def close_epoch(self, row: Mapping[str, np.ndarray]) -> None:
        """Shows the scalars of a finished epoch."""
        self._bar.set_postfix({name: f"{float(value):.4g}" for name, value in row.items() if np.ndim(value) == 0})
