"""Layers with a state that moves from step to step, and what combines them."""

from typing import Any

import numpy as np

import purenet as pn
from rows.base import LayerRow


def _drawer(name: str, length: bool = False, carries: int = 0, tree: Any = None, steps: int = 3, n: int = 2) -> Any:
    """Makes a function that draws sequences, with lengths and with carries of two numbers."""

    def draw(rng: np.random.Generator, many: tuple[int, ...]) -> Any:
        x = rng.uniform(-2, 2, (*many, steps, n))
        lengths = (rng.integers(1, steps + 1, many),) if length else ()
        start = [rng.uniform(-1, 1, (*many, 2)) for _ in range(carries)]
        return (x, *lengths, *((tree(*start),) if carries else ())) if length or carries else x

    draw.__name__ = name
    return draw


def _pair(h: Any, c: Any) -> Any:
    return h, c


_X = _drawer("x")
_ONE_STEP = _drawer("one_step", steps=1, n=1)
_LENGTH = _drawer("length", length=True)

ROWS = (
    LayerRow("rnn", lambda: pn.rnn(2), inputs=(_X, _ONE_STEP)),
    LayerRow("rnn", lambda: pn.rnn(2, activation="sigmoid", outputs="last", lengths=True), inputs=(_LENGTH,)),
    LayerRow("lstm", lambda: pn.lstm(2), inputs=(_X,)),
    LayerRow(
        "lstm",
        lambda: pn.lstm(2, lengths=True, carry=True),
        inputs=(_drawer("length_carry", length=True, carries=2, tree=_pair),),
    ),
    LayerRow("gru", lambda: pn.gru(2), inputs=(_X,)),
    LayerRow(
        "gru",
        lambda: pn.gru(2, lengths=True, carry=True),
        inputs=(_drawer("length_carry", length=True, carries=1, tree=lambda h: h),),
    ),
    LayerRow("bidirectional", lambda: pn.bidirectional(pn.rnn(2)), inputs=(_X,)),
    LayerRow(
        "bidirectional",
        lambda: pn.bidirectional(pn.gru(2, lengths=True, carry=True)),
        inputs=(_drawer("length_carries", length=True, carries=2, tree=_pair),),
    ),
    LayerRow(
        "stacked",
        lambda: pn.stacked(
            pn.rnn(2, lengths=True), pn.rnn(1, activation="identity", lengths=True, outputs="last"), between=pn.softplus
        ),
        inputs=(_LENGTH,),
    ),
    LayerRow(
        "stacked",
        lambda: pn.stacked(pn.gru(2, carry=True), pn.rnn(2, carry=True)),
        inputs=(_drawer("carries", carries=2, tree=_pair),),
    ),
)
