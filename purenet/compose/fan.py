"""Ways that part and meet again: residual."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from purenet.compose.chain import serial
from purenet.compose.parts import add_cotangents, as_parts, check_parts, key_of, states_of
from purenet.contract import Layer, Spec, Tree, layer, spec_of
from purenet.errors import ShapeError, at, describe


def residual(*layers: Any, shortcut: Any = None) -> Layer:
    """A layer and a way around it, y = f(x) + s(x).

    Args:
      *layers: f, one layer or several that follow each other.
      shortcut: s, for an f that changes the shape, such as `dense(64)`; left out, s(x) = x.

    Returns:
      A layer; params and state are tuples `(f's,)` or `(f's, s's)`.

    Raises:
      ShapeError: if there is no layer; at trace time, if f(x) and s(x) differ in shape or dtype.
      StructureError: if an argument is not a layer; at trace time, for params or state of another network.

    Derivation:
      The sum hands δ = dJ/dy to both ways, and what fans out adds up on the way back:
      dJ/dx = (∂f/∂x)ᵀδ + (∂s/∂x)ᵀδ, where the second term is δ itself without a shortcut layer.

    References:
      He, Zhang, Ren and Sun (2016), Deep residual learning for image recognition, eqs. 1-2.

    Example:
      >>> import jax, purenet as pn
      >>> block = pn.residual(pn.dense(2, kernel_init=jax.nn.initializers.zeros))
      >>> params, state = block.init(jax.random.key(0), pn.spec(2))
      >>> block.apply(params, jax.numpy.array([1.0, 2.0])).tolist()
      [1.0, 2.0]
    """
    inner = as_parts("residual", layers)
    ways: tuple[Layer, ...] = (inner[0] if len(inner) == 1 else serial(*inner),)
    if shortcut is not None:
        ways = (*ways, *as_parts("residual", (shortcut,)))

    def init(key: Any, spec: Spec) -> tuple[Tree, Tree]:
        made = []
        for i, way in enumerate(ways):
            with at(f"[{i}]"):
                made.append(way.init(key_of(key, i), spec))
        params, states = zip(*made, strict=True)
        jax.eval_shape(apply, params, spec, states)
        return params, states

    def apply(params: Tree, x: Tree, state: Tree) -> Tree:
        states, ys = states_of(ways, state), []
        for i, way in enumerate(ways):
            with at(f"[{i}]"):
                ys.append(way.apply(params[i], x, states[i]))
        return _sum(ys if len(ways) == 2 else [*ys, x])

    def forward(params: Tree, xs: Tree, state: Tree, key: Any) -> tuple[Tree, Tree]:
        states, ys = list(states_of(ways, state)), []
        for i, way in enumerate(ways):
            with at(f"[{i}]"):
                y, states[i] = way.forward(params[i], xs, states[i], key_of(key, i))
            ys.append(y)
        return _sum(ys if len(ways) == 2 else [*ys, xs]), tuple(states)

    def vjp(params: Tree, xs: Tree, state: Tree, key: Any) -> Any:
        states, ys, pullbacks = list(states_of(ways, state)), [], []
        for i, way in enumerate(ways):
            with at(f"[{i}]"):
                y, states[i], pullback = way.vjp(params[i], xs, states[i], key_of(key, i))
            ys.append(y)
            pullbacks.append(pullback)
        ys = ys if len(ways) == 2 else [*ys, xs]
        return _sum(ys), tuple(states), jax.tree_util.Partial(_fan_in, pullbacks)

    return layer(apply, init=init, forward=forward, vjp=vjp, name="residual", parts=ways, check=check_parts(ways))


def _sum(ys: Sequence[Tree]) -> Tree:
    """Adds the two ways, which must agree in structure, shape and dtype."""
    one, other = map(spec_of, ys)
    if one != other:
        raise ShapeError(
            f"expected both ways to end in one shape and dtype, got {describe(one)} and {describe(other)}. "
            "Give a shortcut that ends like the layer, such as pn.residual(f, shortcut=pn.dense(features))."
        )
    return jax.tree.map(jnp.add, *ys)


def _fan_in(pullbacks: Sequence[Any], dys: Tree) -> tuple[Tree, Tree]:
    dparams, dxs = zip(*(pullback(dys) for pullback in pullbacks), strict=True)
    return dparams, add_cotangents(*(dxs if len(dxs) == 2 else (*dxs, dys)))
