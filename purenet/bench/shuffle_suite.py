"""The suite `shuffle`: `pn.shuffle` against `jax.random.permutation`."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

import purenet as pn
from purenet.bench.contests import Contender, Contest, Settings, Suite

SIZES = (4_096, 60_000, 1_000_000)

# Wanted of 60,000, an epoch of MNIST: a twentieth of the time.
_AT_MOST = {60_000: 1 / 20}


def contests(settings: Settings) -> Iterator[Contest]:
    """Makes the contest of every size.

    Args:
      settings: a quick run leaves the largest size out.

    Yields:
      One contest after the other.
    """
    for n in SIZES[:-1] if settings.quick else SIZES:
        yield Contest(
            case=f"n={n:,}",
            per="order",
            per_call=1,
            agreement="number of distinct indices",
            tolerance=0.0,
            dtype=None,
            contenders=(
                Contender("jax.random.permutation", _orders(jax.random.permutation, n), _distinct),
                Contender("pn.shuffle", _orders(pn.shuffle, n), _distinct, _AT_MOST.get(n)),
            ),
        )


def _orders(function: Callable[..., jax.Array], n: int) -> Callable[[], jax.Array]:
    program, key = jax.jit(function, static_argnums=1), jax.random.key(0)
    return lambda: program(key, n)


def _distinct(order: Any) -> float:
    """Counts those of 0..n-1 that occur."""
    order = np.asarray(order)
    return float(np.unique(order[(order >= 0) & (order < order.size)]).size)


SHUFFLE = Suite("a random order of n examples, pn.shuffle against jax.random.permutation", contests)
