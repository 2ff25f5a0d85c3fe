"""Programs that known-broken compilers get wrong, compared with float64 NumPy before anything is timed."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Canary(NamedTuple):
    """How one program came out.

    Attributes:
      name: what it computes, and where its failure is reported.
      error: the largest error, relative; None if it is not a number.
      tolerance: the largest error allowed.
    """

    name: str
    error: float | None
    tolerance: float

    @property
    def alive(self) -> bool:
        """Whether the compiler got it right."""
        return self.error is not None and self.error <= self.tolerance


def vmapped_products() -> Canary:
    """Runs the sum of squares of a vmapped small product, which jaxlib 0.10.2 computes wrong by 0.8 % on CPU.

    Returns:
      How it came out.

    References:
      jax-ml/jax#39103.
    """
    rows = np.zeros((32_769, 3), np.float32)
    rows[:, 0] = np.arange(len(rows))
    # On CPU exactly the program that failed; an accelerator would round the product to fewer bits unless told.
    precision = None if jax.default_backend() == "cpu" else jax.lax.Precision.HIGHEST

    def squares(row: jax.Array) -> jax.Array:
        return jnp.sum(jnp.square(jnp.matmul(jnp.eye(3, dtype=jnp.float32), row, precision=precision)))

    name = "vmapped products, squared and summed (jax-ml/jax#39103)"
    return compare_with_float64(name, jax.jit(jax.vmap(squares))(rows), np.sum(rows.astype(np.float64) ** 2, axis=1))


def single_operators() -> Canary:
    """Runs common operators one by one, as some releases compute single ones wrong on some accelerators.

    Returns:
      How the worst of them came out.

    References:
      jax-ml/jax#40633.
    """
    rows = np.linspace(-3, 3, 4_096, dtype=np.float32).reshape(64, 64)
    exact = rows.astype(np.float64)
    positive, exactly = np.abs(rows) + 0.5, np.abs(exact) + 0.5
    highest = jax.lax.Precision.HIGHEST
    pairs = {
        "exp": (jnp.exp(rows), np.exp(exact)),
        "log": (jnp.log(positive), np.log(exactly)),
        "tanh": (jnp.tanh(rows), np.tanh(exact)),
        "sqrt": (jnp.sqrt(positive), np.sqrt(exactly)),
        "divide": (rows / positive, exact / exactly),
        "sum": (jnp.sum(positive, axis=1), np.sum(exactly, axis=1)),
        "maximum": (jnp.max(rows, axis=0), np.max(exact, axis=0)),
        "cumulative sum": (jnp.cumsum(positive, axis=1), np.cumsum(exactly, axis=1)),
        "sort": (jnp.sort(jnp.sin(rows), axis=1), np.sort(np.sin(exact), axis=1)),
        "gather": (jnp.asarray(rows)[jnp.arange(63, -1, -1)], exact[::-1]),
        "product": (jnp.matmul(rows, rows.T, precision=highest), exact @ exact.T),
    }
    found = [compare_with_float64(name, got, wanted, 1e-5) for name, (got, wanted) in pairs.items()]
    worst = max(found, key=lambda one: np.inf if one.error is None else one.error)
    return worst._replace(name=f"{len(pairs)} operators one by one, the worst of them {worst.name} (jax-ml/jax#40633)")


def compare_with_float64(name: str, got: Any, reference: Any, tolerance: float = 1e-6) -> Canary:
    """Finds the largest error, relative to the reference where that is above 1.

    Args:
      name: the canary's.
      got: what the compiled program gave.
      reference: what NumPy gave in float64.
      tolerance: the largest error allowed.

    Returns:
      The canary.
    """
    error = float(np.max(np.abs(np.asarray(got, np.float64) - reference) / np.maximum(np.abs(reference), 1.0)))
    return Canary(name, error if np.isfinite(error) else None, tolerance)


CANARIES: tuple[Callable[[], Canary], ...] = (vmapped_products, single_operators)
