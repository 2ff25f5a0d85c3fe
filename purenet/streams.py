"""Random streams: every use of the one key folds in a stream's name and counters, so nothing is drawn twice."""

import zlib
from typing import Any

import jax

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
