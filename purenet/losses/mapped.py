"""A loss over a sequence in one example: the mean along its first axis."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purenet.contract import Spec, Tree, example_spec
from purenet.errors import ShapeError
from purenet.losses.base import Loss, as_loss, loss


def each(part: Any) -> Loss:
    """Averages a loss over the first axis of every example, such as the positions of a sequence.

    Args:
      part: a `Loss`, or a function `(prediction, target) -> scalar`, of one position.

    Returns:
      A loss of predictions and targets whose leaves have one first axis more, of one size. Bad targets are counted on
      the host over the positions of all examples in a row.

    Raises:
      StructureError: if `part` is no loss.
      ShapeError: at trace time, if the first axes differ or are empty, and whatever `part` raises.

    Derivation:
      J = (1/T) Σ lₜ, and only lₜ depends on the prediction at t: its gradient there is that of lₜ, over T.

    References:
      Goodfellow, Bengio and Courville (2016), Deep Learning, section 10.2, on losses summed over time.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> loss = pn.losses.each(pn.losses.softmax_cross_entropy)
      >>> float(loss.value(jnp.zeros((5, 2)), jnp.zeros(5, jnp.int32)))  # log 2, for every one of 5 tokens
      0.693147...
    """
    one = as_loss(part)

    def check(prediction: Spec, target: Spec) -> None:
        leaves = jax.tree.leaves((prediction, target))
        shapes = [leaf.shape for leaf in leaves]
        if any(len(shape) == 0 or shape[0] == 0 for shape in shapes) or len({shape[0] for shape in shapes}) != 1:
            raise ShapeError(
                "expected prediction and target with one common first axis, the positions, got the shapes "
                f"{', '.join(map(str, shapes))}. Give one target to each position."
            )

    def value(prediction: Tree, target: Tree) -> jax.Array:
        return jnp.mean(jax.vmap(one.value)(prediction, target))

    def grad(prediction: Tree, target: Tree) -> Tree:
        grads = jax.vmap(one.grad)(prediction, target)
        return jax.tree.map(lambda g: g / g.shape[0], grads)

    def check_targets(prediction: Spec, targets: Any) -> None:
        flat = jax.tree.map(lambda a: np.reshape(a, (-1, *np.shape(a)[2:])), targets)
        one.check_targets(example_spec(prediction), flat)

    return loss(value, grad=grad if one.proven else None, name="each", check=check, check_targets=check_targets)
