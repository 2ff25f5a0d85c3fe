"""Dead and saturated units: what every activation of a network gives, summed up while the network runs."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.extend
import jax.numpy as jnp

from purenet.contract import Layer, Tree
from purenet.recording import Call, recording

# Slopes as functions of the output, divided by their largest; exactly 0 where nothing is learned.
_FLAT: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": lambda y: y > 0,
    "relu6": lambda y: (y > 0) & (y < 6),
    "hard_tanh": lambda y: jnp.abs(y) < 1,
    "hard_sigmoid": lambda y: (y > 0) & (y < 1),
}
_SMOOTH: dict[str, Callable[[jax.Array], jax.Array]] = {
    "sigmoid": lambda y: 4 * y * (1 - y),
    "tanh": lambda y: 1 - jnp.square(y),
    "soft_sign": lambda y: jnp.square(1 - jnp.abs(y)),
}
_SATURATED = 0.05  # of the largest slope: |z| > 4.4 for the sigmoid, |y| > 0.975 for tanh


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Units:
    """What the activations of a network did on a mini-batch, one entry a call.

    Attributes:
      dead: the share of units that have slope 0 on every example, of each activation with a flat side.
      saturated: the share of values whose slope is below a twentieth of the largest.
      paths: the places of the activations.
      sizes: how many units each has.
      outputs: the shapes of the predictions' arrays, without the mini-batch axis.
      last: the place of the layer whose output is the network's, or empty.
    """

    dead: Any
    saturated: Any
    paths: tuple[str, ...] = dataclasses.field(metadata={"static": True})
    sizes: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    outputs: tuple[tuple[int, ...], ...] = dataclasses.field(metadata={"static": True})
    last: str = dataclasses.field(metadata={"static": True})


def name_in(path: str) -> str:
    """The layer's name at the end of a path."""
    return path.rpartition(".")[2].rpartition("]")[2]


def forward_with_units(net: Layer, params: Tree, xs: Tree, state: Tree, key: Any) -> tuple[Tree, Units]:
    """Runs a network on a mini-batch, as in training, and sums up its activations.

    Layers inside a loop or another transformation that the network makes, such as those of `repeat`, are not seen.

    Args:
      net: the network.
      params: its parameters.
      xs: the mini-batch.
      state: its state.
      key: a random key.

    Returns:
      The predictions and what the units did.
    """
    here = jax.extend.core.get_opaque_trace_state()
    outputs: list[tuple[str, Any]] = []

    def listen(call: Call, run: Callable[..., Any]) -> Any:
        seen = len(outputs)
        result = run(*call.args)
        inside = jax.extend.core.get_opaque_trace_state() != here
        if len(outputs) == seen and not inside:  # no layer in it was seen: it is made of none
            outputs.append((call.path, result[0] if call.kind == "forward" else result))
        return result

    with recording(listen):
        predictions, _ = net.forward(params, xs, state, key)
    size = len(jax.tree.leaves(xs)[0])
    leaves = jax.tree.leaves(predictions)
    last = next((path for path, ys in reversed(outputs) if ys is leaves[0]), "")
    known = [(path, ys) for path, ys in outputs if _is_known(path, ys, size)]
    rows = [_measure(name_in(path), ys) for path, ys in known]
    dead, saturated = (jnp.stack([row[i] for row in rows]) if rows else jnp.zeros(0) for i in (0, 1))
    paths, sizes = tuple(path for path, _ in known), tuple(ys.shape[-1] for _, ys in known)
    return predictions, Units(dead, saturated, paths, sizes, tuple(leaf.shape[1:] for leaf in leaves), last)


def _is_known(path: str, ys: Any, size: int) -> bool:
    name = name_in(path)
    return (name in _FLAT or name in _SMOOTH) and getattr(ys, "ndim", 0) > 1 and ys.shape[0] % size == 0  # `each` folds


def _measure(name: str, ys: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Shares of dead units and of saturated values; a unit is an entry of the last axis, a channel say."""
    zero = jnp.zeros((), jnp.float32)
    if name in _FLAT:
        alive = jnp.any(_FLAT[name](ys), axis=tuple(range(ys.ndim - 1)))
        return 1 - jnp.mean(alive, dtype=jnp.float32), zero
    return zero, jnp.mean(_SMOOTH[name](ys) < _SATURATED, dtype=jnp.float32)
