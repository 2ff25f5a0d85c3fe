"""Taps on the dense layers of a network: what flows in forward and back, of which a mini-batch's curvature is made."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import get_opaque_trace_state

from purenet.contract import Layer, Tree
from purenet.errors import ShapeError
from purenet.gradients import Batch, shares_of
from purenet.layers.linear import dense
from purenet.losses.base import Loss
from purenet.optim.flattening import dtype_of, flatten, restorer
from purenet.recording import Call, recording

_NUMBERS = 2**28  # in the Hessians of a mini-batch's losses: 1 GiB of float32


class Tap(NamedTuple):
    """One call of a dense layer in a mini-batch.

    Attributes:
      place: of its kernel among the network's params, as `jax.tree_util.keystr` writes it.
      inputs: shape (rows, n), what went in; rows are examples, times the places of an `each`.
      deltas: shape (rows, m), dJ/d(output) of each row, for the cotangents of the predictions that were sent back.
      examples: the number of examples in the mini-batch, whose rows follow each other.
      shares: each example's share of the loss, shape (examples,); None if all are equal.
    """

    place: str
    inputs: jax.Array
    deltas: jax.Array
    examples: int
    shares: jax.Array | None


class _Listener:
    """Hears the calls of dense layers that happen in this very trace, not inside a loop, and their pullbacks."""

    def __init__(self) -> None:
        self.here = get_opaque_trace_state()
        self.forward = True
        self.calls: list[tuple[Tree, jax.Array]] = []
        self.deltas: dict[int, jax.Array] = {}

    def hear(self, call: Call, run: Callable[..., Any]) -> Any:
        result = run(*call.args)
        is_dense = call.kind == "vjp" and getattr(run, "__module__", "") == dense.__module__
        if not self.forward or not is_dense or get_opaque_trace_state() != self.here:
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
    params = jax.tree.map(jnp.copy, params)  # so that no two leaves are one array
    places = {id(leaf): jax.tree_util.keystr(path) for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
    with recording(listener.hear):
        predictions, _, pullback = net.vjp(params, batch.xs, state, keys[0])
    listener.forward = False
    roots = _roots(loss, predictions, batch)
    noise = jax.random.normal(keys[1], roots.shape[:2], roots.dtype)
    cotangents = jnp.einsum("bij,bj->bi", roots, noise)
    restore = restorer(jax.tree.map(lambda a: a[0], predictions))
    pullback(jax.vmap(restore)(cotangents))
    shares = None if batch.weights is None else _shares(batch.weights, roots.dtype)
    return [
        Tap(places[id(kept["kernel"])], xs, listener.deltas[number], batch.size, shares)
        for number, (kept, xs) in enumerate(listener.calls)
        if number in listener.deltas and id(kept["kernel"]) in places
    ]


def _roots(loss: Loss, predictions: Tree, batch: Batch) -> jax.Array:
    """Matrices L, shape (B, C, C), with L Lᵀ = the Hessian of an example's loss, times its share and their number."""
    dtype = dtype_of(predictions)
    flat = jax.vmap(lambda p: flatten(p, dtype))(predictions)
    restore = restorer(jax.tree.map(lambda a: a[0], predictions))
    count, outputs = flat.shape
    if count * outputs**2 > _NUMBERS:
        raise ShapeError(
            f"expected at most {int((_NUMBERS / count) ** 0.5)} numbers in a prediction with {count} examples a "
            f"mini-batch, got {outputs}: the Hessian of every example's loss is needed. Use pn.optim.gauss_newton."
        )

    def hessian(p: jax.Array, y: Tree) -> jax.Array:
        matrix: jax.Array = jax.hessian(lambda p: loss.value(restore(p), y).astype(dtype))(p)
        return matrix

    roots: jax.Array = _root(jax.vmap(hessian)(flat, batch.ys))
    if batch.weights is not None:
        scale = jnp.sqrt(count * _shares(batch.weights, roots.dtype))
        roots = roots * scale.astype(roots.dtype)[:, None, None]
    return roots


def _shares(weights: jax.Array, dtype: Any) -> jax.Array:
    """Shares of the weights; of none, where the examples looked at have no weight."""
    shares = shares_of(weights, dtype)
    return jnp.where(jnp.isfinite(shares), shares, 0)


@jax.custom_jvp
def _root(matrices: jax.Array) -> jax.Array:
    """The symmetric roots of symmetric matrices' parts without negative eigenvalues.

    By this a loss that is not convex counts as flat where it bends down; a softmax's Hessian is singular, and rounding
    alone makes some eigenvalues negative.
    """
    _, roots, vectors = _spectrum(matrices)
    return (vectors * roots[:, None, :]) @ jnp.matrix_transpose(vectors)


@_root.defjvp
def _root_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    """With eigenvalues w and roots s the tangent, in the eigenvectors' basis, is that of H times (sᵢ - sⱼ)/(wᵢ - wⱼ).

    Eigenvectors themselves have no derivative where eigenvalues agree, as those of a squared error's Hessian do.
    """
    values, roots, vectors = _spectrum(primals[0])
    back, below = jnp.matrix_transpose(vectors), jnp.maximum(-values, 0)
    sums, lows = roots[:, :, None] + roots[:, None, :], below[:, :, None] + below[:, None, :]
    apart = jnp.square(sums) + lows
    slopes = sums / jnp.where(apart == 0, 1, apart)
    return (vectors * roots[:, None, :]) @ back, vectors @ (slopes * (back @ tangents[0] @ vectors)) @ back


def _spectrum(matrices: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    values, vectors = jnp.linalg.eigh(matrices)
    return values, jnp.sqrt(jnp.maximum(values, 0)), vectors
