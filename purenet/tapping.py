"""Taps on the dense layers of a network: what flows in forward and back, of which a mini-batch's curvature is made."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import get_opaque_trace_state
from jax.flatten_util import ravel_pytree

from purenet.contract import Layer, Tree
from purenet.errors import ShapeError
from purenet.gradients import Batch, shares_of
from purenet.losses.base import Loss
from purenet.recording import Call, recording

_NUMBERS = 2**28  # in the Hessians of a mini-batch's losses: 1 GiB of float32


class Tap(NamedTuple):
    """One call of a dense layer in a mini-batch.

    Attributes:
      kernel, bias: its params, the very arrays; bias is None without.
      inputs: shape (rows, n), what went in; rows are examples, times the places of an `each`.
      deltas: shape (rows, m), dJ/d(output) of each row, for the cotangents of the predictions that were sent back.
      examples: the number of examples in the mini-batch.
    """

    kernel: jax.Array
    bias: jax.Array | None
    inputs: jax.Array
    deltas: jax.Array
    examples: int


class _Listener:
    """Hears the calls of dense layers that happen in this very trace, not inside a loop, and their pullbacks."""

    def __init__(self) -> None:
        self.here = get_opaque_trace_state()
        self.forward = True
        self.calls: list[tuple[Tree, jax.Array]] = []
        self.deltas: dict[int, jax.Array] = {}

    def hear(self, call: Call, run: Callable[..., Any]) -> Any:
        result = run(*call.args)
        name = call.path.rpartition(".")[2].rpartition("]")[2]
        if not self.forward or call.kind != "vjp" or name != "dense" or get_opaque_trace_state() != self.here:
            return result
        ys, state, pullback = result
        number = len(self.calls)
        self.calls.append(call.args[:2])
        return ys, state, jax.tree_util.Partial(functools.partial(self.back, number), pullback)

    def back(self, number: int, pullback: Any, dys: jax.Array) -> Any:
        if get_opaque_trace_state() == self.here:  # not where a layer looks at the shapes of a pullback's results
            self.deltas[number] = dys
        return pullback(dys)


def tap_dense(net: Layer, loss: Loss, params: Tree, state: Tree, batch: Batch, keys: Any) -> list[Tap]:
    """Sends random cotangents back, whose covariance is the Hessian of each example's loss by its predictions.

    Then the mean of inputs ⊗ deltas, squared, is the generalised Gauss-Newton matrix of the layer's params, which for
    cross-entropies and squared errors is the Fisher information. The hand rules of all layers on the way are used.

    Args:
      net: a layer.
      loss: a loss; where it is not convex in the predictions, the convex part of its Hessian.
      params: the network's.
      state: the network's.
      batch: the mini-batch; an example's delta is scaled by the root of its share, times the number of examples.
      keys: two: for what is random in the network, and for the cotangents.

    Returns:
      The taps, in the order of the calls.

    References:
      Martens and Grosse (2015), Optimizing neural networks with Kronecker-factored approximate curvature, section 5.
    """
    listener = _Listener()
    with recording(listener.hear):
        predictions, _, pullback = net.vjp(params, batch.xs, state, keys[0])
    listener.forward = False
    roots = _roots(loss, predictions, batch)
    noise = jax.random.normal(keys[1], roots.shape[:2], roots.dtype)
    cotangents = jnp.einsum("bij,bj->bi", roots, noise)
    one = jax.tree.map(lambda a: a[0], predictions)
    unravel = ravel_pytree(one)[1]
    pullback(jax.vmap(unravel)(cotangents))
    return [
        Tap(kept["kernel"], kept.get("bias"), xs, listener.deltas[number], batch.size)
        for number, (kept, xs) in enumerate(listener.calls)
        if number in listener.deltas
    ]


def _roots(loss: Loss, predictions: Tree, batch: Batch) -> jax.Array:
    """Matrices L, shape (B, C, C), with L Lᵀ = the Hessian of an example's loss, times its share and their number."""
    flat = jax.vmap(lambda p: ravel_pytree(p)[0])(predictions)
    unravel = ravel_pytree(jax.tree.map(lambda a: a[0], predictions))[1]
    count, outputs = flat.shape
    if count * outputs**2 > _NUMBERS:
        raise ShapeError(
            f"expected at most {int((_NUMBERS / count) ** 0.5)} numbers in a prediction with {count} examples a "
            f"mini-batch, got {outputs}: the Hessian of every example's loss is needed. Use pn.optim.gauss_newton."
        )

    def hessian(p: jax.Array, y: Tree) -> jax.Array:
        matrix: jax.Array = jax.hessian(lambda p: loss.value(unravel(p), y))(p)
        return matrix

    # The part without negative eigenvalues, by which a loss that is not convex counts as flat where it bends down; a
    # softmax's Hessian is singular, and rounding alone makes some eigenvalues negative.
    values, vectors = jnp.linalg.eigh(jax.vmap(hessian)(flat, batch.ys))
    roots: jax.Array = vectors * jnp.sqrt(jnp.maximum(values, 0))[:, None, :]
    if batch.weights is not None:
        scale = jnp.sqrt(count * shares_of(batch.weights, roots.dtype))
        roots = roots * scale.astype(roots.dtype)[:, None, None]
    return roots
