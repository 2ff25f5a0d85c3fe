"""Layers side by side: parallel, each on its own input, and branch, all on one."""

import functools
from collections.abc import Sequence
from typing import Any

import jax

from purenet.compose.parts import add_cotangents, as_parts, expect_parts, key_of, states_of
from purenet.contract import Layer, Spec, Tree, layer
from purenet.errors import ShapeError, StructureError, at, describe


def parallel(*layers: Any) -> Layer:
    """Layers side by side, each on an input of its own, (y₁, …, yₙ) = (f₁(x₁), …, fₙ(xₙ)).

    Args:
      *layers: layers, or plain functions of one example.

    Returns:
      A layer from a tuple of n inputs to a tuple of n outputs; params and state are tuples with one entry per layer.

    Raises:
      ShapeError: if there is no layer; at trace time, if the tuple has another length.
      StructureError: if an argument is not a layer; at trace time, if x is no tuple, or for params or state of
        another network.

    Derivation:
      The Jacobian is block-diagonal: dJ/dxᵢ = (∂fᵢ/∂xᵢ)ᵀ dJ/dyᵢ.

    References:
      Griewank and Walther (2008), Evaluating Derivatives, section 3.2.

    Example:
      >>> import jax, jax.numpy as jnp, purenet as pn
      >>> net = pn.serial(pn.parallel(pn.dense(3), pn.dense(3)), pn.add)
      >>> params, state = net.init(jax.random.key(0), (pn.spec(2), pn.spec(5)))
      >>> net.apply(params, (jnp.ones(2), jnp.ones(5))).shape
      (3,)
    """
    return _beside("parallel", layers, fan_out=False, doc=parallel.__doc__)


def branch(*layers: Any) -> Layer:
    """Layers side by side, all on the same input, (y₁, …, yₙ) = (f₁(x), …, fₙ(x)).

    Args:
      *layers: layers, or plain functions of one example.

    Returns:
      A layer from one input to a tuple of n outputs; params and state are tuples with one entry per layer.

    Raises:
      ShapeError: if there is no layer.
      StructureError: if an argument is not a layer; at trace time, for params or state of another network.

    Derivation:
      What fans out adds up on the way back: dJ/dx = Σᵢ (∂fᵢ/∂x)ᵀ dJ/dyᵢ.

    References:
      Szegedy and others (2015), Going deeper with convolutions, figure 2.

    Example:
      >>> import jax, jax.numpy as jnp, purenet as pn
      >>> net = pn.serial(pn.branch(pn.dense(3), pn.dense(2)), pn.concatenate())
      >>> params, state = net.init(jax.random.key(0), pn.spec(4))
      >>> net.apply(params, jnp.ones(4)).shape
      (5,)
    """
    return _beside("branch", layers, fan_out=True, doc=branch.__doc__)


def _beside(name: str, layers: Sequence[Any], *, fan_out: bool, doc: str | None) -> Layer:
    """Makes `branch`, where the input fans out, or `parallel`."""
    parts = as_parts(name, layers)

    def given(x: Tree) -> Sequence[Tree]:
        return (x,) * len(parts) if fan_out else x

    def init(key: Any, spec: Spec) -> tuple[Tree, Tree]:
        made = []
        expect_inputs(spec)
        for i, (part, one) in enumerate(zip(parts, given(spec), strict=True)):
            with at(f"[{i}]"):
                made.append(part.init(key_of(key, i), one))
        params, states = zip(*made, strict=True)
        return params, states

    def check(params: Tree, x: Spec) -> None:
        expect_parts("params", params, parts)
        expect_inputs(x)

    def expect_inputs(x: Tree) -> None:
        if not fan_out and not isinstance(x, tuple):
            raise StructureError(
                f"expected x to be a tuple of {len(parts)}, one input per layer, got {describe(x)}. "
                "For one input to all layers use pn.branch."
            )
        if not fan_out and len(x) != len(parts):
            raise ShapeError(
                f"expected x to be a tuple of {len(parts)}, one input per layer, got one of {len(x)}. "
                "Give each layer its input."
            )

    def apply(params: Tree, x: Tree, state: Tree) -> Tree:
        states, ys = states_of(parts, state), []
        for i, (part, one) in enumerate(zip(parts, given(x), strict=True)):
            with at(f"[{i}]"):
                ys.append(part.apply(params[i], one, states[i]))
        return tuple(ys)

    def forward(params: Tree, xs: Tree, state: Tree, key: Any) -> tuple[Tree, Tree]:
        states, ys = list(states_of(parts, state)), []
        for i, (part, one) in enumerate(zip(parts, given(xs), strict=True)):
            with at(f"[{i}]"):
                y, states[i] = part.forward(params[i], one, states[i], key_of(key, i))
            ys.append(y)
        return tuple(ys), tuple(states)

    def vjp(params: Tree, xs: Tree, state: Tree, key: Any) -> Any:
        states, ys, pullbacks = list(states_of(parts, state)), [], []
        for i, (part, one) in enumerate(zip(parts, given(xs), strict=True)):
            with at(f"[{i}]"):
                y, states[i], pullback = part.vjp(params[i], one, states[i], key_of(key, i))
            ys.append(y)
            pullbacks.append(pullback)
        return tuple(ys), tuple(states), jax.tree_util.Partial(_fan_in if fan_out else _side_by_side, pullbacks)

    apply.__doc__ = doc
    return layer(apply, init=init, forward=forward, vjp=vjp, name=name, parts=parts, check=check)


def _side_by_side(pullbacks: Sequence[Any], dys: Tree) -> tuple[Tree, Tree]:
    dparams, dxs = zip(*(pullback(dy) for pullback, dy in zip(pullbacks, dys, strict=True)), strict=True)
    return dparams, dxs


def _fan_in(pullbacks: Sequence[Any], dys: Tree) -> tuple[Tree, Tree]:
    dparams, dxs = _side_by_side(pullbacks, dys)
    return dparams, functools.reduce(add_cotangents, dxs)
