"""Curvature as products with vectors, of the Hessian or of its Gauss-Newton part, and as a matrix of such products."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purenet.contract import Tree

Product = Callable[[jax.Array], jax.Array]
# So many products at once: each keeps what it computes on the mini-batch in memory.
_TOGETHER = 128


def hessian_product(value: Callable[[Any], jax.Array], x: Any) -> Callable[[Any], Any]:
    """Makes v ↦ Hv with the Hessian H of `value` at `x`: the gradient, differentiated along v.

    Args:
      value: a scalar function.
      x: where, a pytree of floating arrays.

    Returns:
      The product; what does not depend on v is computed once for all products.

    References:
      Pearlmutter (1994), Fast exact multiplication by the Hessian.
    """
    _, product = jax.linearize(jax.grad(value), x)
    linear: Callable[[Any], Any] = product
    return linear


class Outer(NamedTuple):
    """A loss of predictions, linearised where the predictions are.

    Attributes:
      value: the loss.
      forth: v ↦ Jv, with the Jacobian J of the predictions.
      middle: u ↦ Lu, with the Hessian L of the loss in the predictions.
      back: u ↦ Jᵀu.
    """

    value: jax.Array
    forth: Callable[[jax.Array], Tree]
    middle: Callable[[Tree], Tree]
    back: Callable[[Tree], jax.Array]

    def product(self, v: jax.Array) -> jax.Array:
        """JᵀLJ v, the product with the Gauss-Newton matrix."""
        return self.back(self.middle(self.forth(v)))


def linearise(predict: Callable[[jax.Array], Tree], loss: Callable[[Tree], jax.Array], x: jax.Array) -> Outer:
    """Linearises predictions and loss once, for all products.

    The way forth is the transpose of the way back: layers with a rule of their own for the backward pass have none for
    the forward one.

    Args:
      predict: a vector ↦ a pytree of predictions.
      loss: predictions ↦ a scalar.
      x: where.

    Returns:
      The loss and its products.

    References:
      Schraudolph (2002), Fast curvature matrix-vector products for second-order gradient descent.
    """
    predictions, back = jax.vjp(predict, x)
    _, forth = jax.vjp(lambda u: back(u)[0], jax.tree.map(jnp.zeros_like, predictions))
    value = jnp.asarray(loss(predictions)).astype(x.dtype)
    return Outer(value, lambda v: forth(v)[0], hessian_product(loss, predictions), lambda u: back(u)[0])


def matrix_of(product: Product, like: jax.Array) -> jax.Array:
    """Makes the symmetric matrix whose products these are.

    Args:
      product: v ↦ Av, linear.
      like: a vector of the shape and dtype of v.

    Returns:
      A, of shape (n, n).
    """
    unit = jnp.eye(like.size, dtype=like.dtype)
    rows = jax.vmap(product)(unit) if like.size <= _TOGETHER else jax.lax.map(product, unit, batch_size=_TOGETHER)
    return (rows + rows.T) / 2
