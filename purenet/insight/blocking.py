"""Why a layer has no gradient: does the loss depend on it?"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purenet.contract import Layer, Tree
from purenet.gradients import Batch, objective
from purenet.insight.places import Place
from purenet.losses.base import Loss
from purenet.streams import stream
from purenet.updates import TrainState

_MOST = 16  # layers asked about


def blocked_layers(
    net: Layer, loss: Loss, state: TrainState, examples: Batch, places: list[Place], grad_norm: np.ndarray
) -> dict[str, bool]:
    """Finds the layers that have no gradient, even when every array of zeros is disturbed.

    Args:
      net: the network.
      loss: the loss.
      state: the run.
      examples: a mini-batch.
      places: the arrays of its params.
      grad_norm: the norms of their gradients; only layers where all are 0 are asked about.

    Returns:
      By path, whether the loss depends on the layer.
    """
    layers: dict[str, list[int]] = {}
    for number, place in enumerate(places):
        layers.setdefault(place.path, []).append(number)
    asked = {path: numbers for path, numbers in layers.items() if not np.any(grad_norm[numbers])}
    if not asked:
        return {}
    probe = _probe(net, loss)
    nothing = np.zeros(len(places), bool)
    before, grads = probe(state, examples, nothing)
    norms = np.asarray(grads)
    found = {}
    for path, numbers in list(asked.items())[:_MOST]:
        if not np.any(norms[numbers]):
            moved = nothing.copy()
            moved[numbers] = True
            found[path] = bool(np.asarray(probe(state, examples, moved)[0]) != np.asarray(before))
    return found


@functools.lru_cache(maxsize=16)
def _probe(net: Layer, loss: Loss) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """Compiles loss and gradient norms with zeros disturbed, and with the marked arrays moved on top."""

    def run(state: TrainState, examples: Batch, moved: Any) -> tuple[jax.Array, jax.Array]:
        key = stream(state.key, "forward", state.step)
        leaves, tree = jax.tree.flatten(state.params)
        noise = [0.1 * jax.random.normal(jax.random.fold_in(key, i), a.shape, a.dtype) for i, a in enumerate(leaves)]
        params = jax.tree.unflatten(
            tree,
            [a + jnp.where(moved[i] | ~jnp.any(a != 0), 1, 0).astype(a.dtype) * noise[i] for i, a in enumerate(leaves)],
        )

        def value(params: Tree) -> jax.Array:
            return objective(net, loss, params, state.state, examples, key).value

        before, grads = jax.value_and_grad(value)(params)
        return before, jnp.stack([jnp.max(jnp.abs(g)).astype("float32") for g in jax.tree.leaves(grads)])

    return jax.jit(run)
