"""Random streams: every use of the one key folds in a stream's name and counters, so nothing is drawn twice."""

import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purenet.errors import expect_key


def stream(key: Any, name: str, *counts: Any) -> jax.Array:
    """Derives the key of one use of randomness.

    Args:
      key: the run's key, which never changes.
      name: what the stream is for, such as "shuffle".
      *counts: whole numbers, traced or not, such as the epoch or the step.

    Returns:
      A key.

    Raises:
      StructureError: if `key` is not a JAX random key.

    Example:
      >>> import jax
      >>> a, b = (stream(jax.random.key(0), "forward", step) for step in (0, 1))
      >>> bool((jax.random.key_data(a) == jax.random.key_data(b)).all())
      False
    """
    expect_key(key)
    folded = jax.random.fold_in(key, zlib.crc32(name.encode()))
    for count in counts:
        folded = jax.random.fold_in(folded, count)
    return folded


def generator_of(key: Any) -> np.random.Generator:
    """Makes a generator of NumPy's that follows from a key: its draws need no program to be compiled.

    Args:
      key: a JAX random key.

    Returns:
      The generator.

    Raises:
      StructureError: if `key` is not a JAX random key.
    """
    expect_key(key)
    words = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    return np.random.default_rng(np.asarray(words).ravel())
