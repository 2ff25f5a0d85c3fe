"""Examples that are in the training data and in the validation data."""

from typing import Any

import jax
import numpy as np

from purenet.contract import Tree
from purenet.insight.sampling import rows_of

_COLUMNS = 16  # compared first; only rows that agree in them are compared whole


def shares_found(data: Tree, validation: Tree, count: int, generator: np.random.Generator) -> tuple[float, float]:
    """Looks some validation examples up in the training data, and as many training examples in the rest of it.

    Args:
      data: the inputs of the training data, a pytree of arrays.
      validation: those of the validation data.
      count: how many examples are looked up.
      generator: draws them.

    Returns:
      The share of validation examples that are in the training data, and that of training examples that are in it
      more than once: data of few distinct inputs repeat themselves, which is no leak.
    """
    train, other = _matrix(data), _matrix(validation)
    if train is None or other is None or train.shape[1] != other.shape[1] or not train.shape[1]:
        return 0.0, 0.0
    chosen = other[_some(len(other), count, generator)]
    own = _some(len(train), count, generator)
    return _found(chosen, train, 1), _found(train[own], train, 2)


def _matrix(tree: Tree) -> np.ndarray | None:
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(rows_of(tree, slice(None)))]
    flat = [np.reshape(leaf, (len(leaf), -1)) for leaf in leaves]
    if not flat:
        return None
    return flat[0] if len(flat) == 1 else np.concatenate([a.astype(np.float64) for a in flat], axis=1)


def _some(n: int, count: int, generator: np.random.Generator) -> np.ndarray:
    return np.arange(n) if n <= count else generator.choice(n, count, replace=False)


def _found(rows: np.ndarray, table: np.ndarray, times: int) -> float:
    """The share of rows that are in the table at least so many times."""
    varying = np.argsort(-np.var(rows.astype(np.float64), axis=0), kind="stable")[:_COLUMNS]
    keys, wanted = _keys(table[:, varying]), _keys(rows[:, varying])
    order = np.argsort(keys, kind="stable")
    first = np.searchsorted(keys, wanted, "left", sorter=order)
    last = np.searchsorted(keys, wanted, "right", sorter=order)
    hits = 0
    for row, begin, end in zip(rows, first, last, strict=True):
        # a thousand that agree in all these columns stand for all
        same: Any = np.all(table[order[begin : min(end, begin + 1000)]] == row, axis=1)
        hits += int(np.sum(same) >= times)
    return hits / len(rows)


def _keys(columns: np.ndarray) -> np.ndarray:
    """One number for each row: equal for equal rows."""
    weights: np.ndarray = np.random.default_rng(0).standard_normal((columns.shape[1],))
    # column by column: a product with a matrix may round one row otherwise than another
    total = np.zeros(len(columns))
    for i, weight in enumerate(weights):
        total += columns[:, i].astype(np.float64) * weight
    return total
