"""Embeddings, positions, attention and the transformer's block."""

from typing import Any

import numpy as np

import purenet as pn
from rows.base import LayerRow


def _words(shape: tuple[int, ...]) -> Any:
    def words(rng: np.random.Generator, many: tuple[int, ...]) -> np.ndarray:
        return rng.integers(0, 4, (*many, *shape))

    words.__name__ = f"words{shape}"
    return words


def _masked(rng: np.random.Generator, many: tuple[int, ...]) -> Any:
    return rng.normal(size=(*many, 3, 4)), rng.random((*many, 3, 3)) < 0.5


def _masked_memory(rng: np.random.Generator, many: tuple[int, ...]) -> Any:
    return rng.normal(size=(*many, 3, 4)), rng.normal(size=(*many, 2, 3)), rng.random((*many, 3, 2)) < 0.5


def _tied() -> pn.Layer:
    table, words = pn.embedding(4, 3), pn.node("words")
    return pn.graph(words, pn.unembed(table)(pn.tanh(table(words))))


ROWS = (
    LayerRow("embedding", lambda: pn.embedding(4, 3), inputs=(_words((3,)), _words(()))),
    LayerRow("unembed", _tied, inputs=(_words((3,)), _words(()))),
    LayerRow("sinusoidal_positions", pn.sinusoidal_positions, shapes=((3, 4),)),
    LayerRow("learned_positions", lambda: pn.learned_positions(4), shapes=((4, 2), (3, 2))),
    LayerRow("rotary", lambda: pn.rotary(base=20.0), shapes=((3, 4),)),
    LayerRow("attention", lambda: pn.attention(2), shapes=((3, 4),)),
    LayerRow("attention", lambda: pn.attention(2, causal=True, bias=False, rotary=20.0), shapes=((3, 4),)),
    LayerRow("attention", lambda: pn.attention(2, kv_heads=1, mask=True, features=3), inputs=(_masked,)),
    LayerRow("attention", lambda: pn.attention(2, cross=True, mask=True, head_features=1), inputs=(_masked_memory,)),
    LayerRow("transformer_block", lambda: pn.transformer_block(4, 2, hidden=2), shapes=((3, 4),), rounding=4),
)
