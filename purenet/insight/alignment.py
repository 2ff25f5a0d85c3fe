"""Whether labels belong to the inputs beside them: a quick look with class means."""

import jax
import jax.numpy as jnp

RUN = 16  # neighbours in a row
SHIFTS = (0, 1, -1)


def skills(xs: jax.Array, labels: jax.Array, classes: int) -> jax.Array:
    """How well class means tell the labels, as they are and shifted by one example either way.

    Half of the runs of neighbours make the class means, the other half is told by the nearest one.

    Args:
      xs: inputs of shape (n, …), n at least 32, in the order of the data, in runs of 16 neighbours.
      labels: integers of shape (n,), from 0 to `classes` - 1.
      classes: how many classes there are.

    Returns:
      For each of `SHIFTS`, how many standard deviations the share told right lies above that of the commonest class.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> labels = jax.random.randint(jax.random.key(0), (256,), 0, 2)
      >>> xs = jnp.stack([jnp.roll(labels, 1), jnp.ones(256)], axis=1) * 1.0  # each beside its neighbour's label
      >>> [bool(skill > 8) for skill in skills(xs, labels, 2)]
      [False, False, True]
    """
    runs = len(labels) // RUN
    flat = jnp.reshape(xs[: runs * RUN], (runs * RUN, -1)).astype(jnp.float32)
    flat = flat - jnp.mean(flat, axis=0, keepdims=True)
    deviation = jnp.sqrt(jnp.mean(jnp.square(flat), axis=0, keepdims=True))
    flat = jnp.reshape(flat / (deviation + 1e-6), (runs, RUN, -1))
    cut = jnp.reshape(labels[: runs * RUN], (runs, RUN))
    # inside each run; what has no neighbour there counts for nothing
    shifted = jnp.stack([jnp.roll(cut, -shift, axis=1) for shift in SHIFTS])
    places = jnp.arange(RUN)[None] + jnp.array(SHIFTS)[:, None]
    counts = jnp.broadcast_to(((places >= 0) & (places < RUN))[:, None], shifted.shape)
    return jax.vmap(lambda y, weights: _skill(flat, y, weights.astype(jnp.float32), classes))(shifted, counts)


def _skill(xs: jax.Array, labels: jax.Array, weights: jax.Array, classes: int) -> jax.Array:
    """Compares x[i] with label[i], of weight 0 or 1."""
    one_hot = jax.nn.one_hot(labels, classes) * weights[..., None]
    seen_x, told_x = (jnp.reshape(xs[half::2], (-1, xs.shape[-1])) for half in (0, 1))
    seen_y, told_y = (jnp.reshape(one_hot[half::2], (-1, classes)) for half in (0, 1))
    counts = jnp.sum(seen_y, axis=0)
    means = seen_y.T @ seen_x / jnp.maximum(counts, 1)[:, None]
    # |x - m|² without the part that is the same for all classes; classes not seen are never chosen
    offset = 0.5 * jnp.sum(jnp.square(means), axis=1) + jnp.where(counts > 0, 0, jnp.inf)
    chosen = jax.nn.one_hot(jnp.argmax(told_x @ means.T - offset[None], axis=1), classes)
    total = jnp.maximum(jnp.sum(told_y), 1)
    right = jnp.sum(told_y * chosen) / total
    commonest = jnp.max(jnp.sum(told_y, axis=0)) / total
    return (right - commonest) / jnp.maximum(jnp.sqrt(commonest * (1 - commonest) / total), 1e-3)
