"""serial: layers one after the other."""

from collections.abc import Sequence
from typing import Any

import jax

from purenet.compose.parts import as_parts, check_parts, key_of, states_of
from purenet.contract import Layer, Spec, Tree, layer, out_spec
from purenet.errors import at


def serial(*layers: Any) -> Layer:
    """Layers one after the other, y = fₙ(… f₂(f₁(x))).

    Args:
      *layers: layers, or plain functions of one example such as `jnp.sin`.

    Returns:
      A layer; params and state are tuples with one entry per layer.

    Raises:
      ShapeError: if there is no layer.
      StructureError: if an argument is not a layer; at trace time, for params or state of another network.

    Derivation:
      The chain rule: with x₀ = x, xᵢ = fᵢ(xᵢ₋₁) and δₙ = dJ/dy, each δᵢ₋₁ = (∂fᵢ/∂xᵢ₋₁)ᵀ δᵢ. So the pullback
      of a composition is the composition of the pullbacks in reversed order.

    References:
      Griewank and Walther (2008), Evaluating Derivatives, section 3.2.

    Example:
      >>> import jax, purenet as pn
      >>> net = pn.serial(pn.dense(4), pn.tanh, pn.dense(1))
      >>> params, state = net.init(jax.random.key(0), pn.spec(2))
      >>> len(params), jax.vmap(net.apply, (None, 0))(params, jax.numpy.zeros((5, 2))).shape
      (3, (5, 1))
    """
    parts = as_parts("serial", layers)

    def init(key: Any, spec: Spec) -> tuple[Tree, Tree]:
        params, states = [], []
        for i, part in enumerate(parts):
            with at(f"[{i}]"):
                param, state = part.init(key_of(key, i), spec)
                spec = out_spec(part, param, spec, state)
            params.append(param)
            states.append(state)
        return tuple(params), tuple(states)

    def apply(params: Tree, x: Tree, state: Tree) -> Tree:
        states = states_of(parts, state)
        for i, part in enumerate(parts):
            with at(f"[{i}]"):
                x = part.apply(params[i], x, states[i])
        return x

    def forward(params: Tree, xs: Tree, state: Tree, key: Any) -> tuple[Tree, Tree]:
        states = list(states_of(parts, state))
        for i, part in enumerate(parts):
            with at(f"[{i}]"):
                xs, states[i] = part.forward(params[i], xs, states[i], key_of(key, i))
        return xs, tuple(states)

    def vjp(params: Tree, xs: Tree, state: Tree, key: Any) -> Any:
        states, pullbacks = list(states_of(parts, state)), []
        for i, part in enumerate(parts):
            with at(f"[{i}]"):
                xs, states[i], pullback = part.vjp(params[i], xs, states[i], key_of(key, i))
            pullbacks.append(pullback)
        return xs, tuple(states), jax.tree_util.Partial(_reversed, pullbacks)

    return layer(apply, init=init, forward=forward, vjp=vjp, name="serial", parts=parts, check=check_parts(parts))


def _reversed(pullbacks: Sequence[Any], dys: Tree) -> tuple[Tree, Tree]:
    dparams = []
    for pullback in reversed(pullbacks):
        dparam, dys = pullback(dys)
        dparams.append(dparam)
    return tuple(reversed(dparams)), dys
