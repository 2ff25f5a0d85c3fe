"""How noisy a mini-batch's gradient is, from the gradients of several small mini-batches."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purenet.contract import Tree
from purenet.metrics.base import summing


class Noise(NamedTuple):
    """What the gradients of `count` mini-batches of `size` tell.

    Attributes:
      signal: an unbiased estimate of |G|², the squared norm of the true gradient; rounding and chance can make it
        negative.
      spread: an unbiased estimate of tr Σ, the variance of one example's gradient.
    """

    signal: Any
    spread: Any

    @property
    def scale(self) -> float:
        """The noise scale tr Σ / |G|², in examples; infinite where the signal drowns."""
        return float(self.spread / self.signal) if float(self.signal) > 0 else float("inf")


def gradient_noise(gradient: Callable[[Any, jax.Array], Tree], batches: Any, count: int, size: int) -> Noise:
    """Estimates signal and spread of gradients, B_simple = tr Σ / |G|² being their ratio.

    A mean over B examples has E|g|² = |G|² + tr Σ / B. Mini-batches of b give one equation, their mean the other.

    Args:
      gradient: `(batch, number) -> gradient`, of the mean loss of a mini-batch.
      batches: a pytree whose leaves have the axes (count, size) in front.
      count: how many mini-batches there are, 2 or more.
      size: examples in each.

    Returns:
      The estimates.

    References:
      McCandlish, Kaplan, Amodei et al. (2018), An empirical model of large-batch training, appendix A.1.

    Example:
      >>> import jax.numpy as jnp
      >>> batches = jnp.array([[1.0], [3.0]])  # two gradients of one example each: variance 2, mean 2
      >>> noise = gradient_noise(lambda batch, i: jnp.mean(batch), batches, 2, 1)
      >>> float(noise.spread), float(noise.signal)
      (2.0, 3.0)
    """

    def step(total: Tree, item: Any) -> tuple[Tree, jax.Array]:
        number, batch = item
        grads = gradient(batch, number)
        return jax.tree.map(jnp.add, total, grads), squared_norm(grads)

    shapes = jax.eval_shape(gradient, jax.tree.map(lambda a: a[0], batches), jnp.zeros((), jnp.int32))
    start = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
    total, norms = jax.lax.scan(step, start, (jnp.arange(count), batches))
    small, large = jnp.mean(norms), squared_norm(total) / count**2
    spread = (small - large) * size / (1 - 1 / count)
    return Noise(small - spread / size, spread)


def squared_norm(tree: Tree) -> jax.Array:
    """Sums the squares of all numbers in a tree, in 32 bits or more."""
    leaves = [jnp.sum(jnp.square(leaf.astype(summing(leaf.dtype)))) for leaf in jax.tree.leaves(tree)]
    total: jax.Array = sum(leaves, jnp.zeros((), leaves[0].dtype if leaves else "float32"))
    return total
