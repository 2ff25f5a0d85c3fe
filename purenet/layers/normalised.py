"""Activations that turn one axis of scores into probabilities: softmax and log_softmax."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from purenet.contract import Layer, Spec, Tree, layer
from purenet.errors import ShapeError, expect_array

Function = Callable[[jax.Array], jax.Array]


def _one_axis_or_more(params: Tree, x: Spec) -> None:
    expect_array(x)
    if not x.shape:
        raise ShapeError(
            "expected x with an axis to sum over, got shape (). For two classes and one score use sigmoid."
        )


def _over_last_axis(back: Callable[[jax.Array, jax.Array], jax.Array]) -> Callable[[Function], Layer]:
    """Turns a function along the last axis into a layer, given dJ/dx from y and dy = dJ/dy."""

    def pullback(ys: jax.Array, dys: jax.Array) -> tuple[Tree, jax.Array]:
        return (), back(ys, dys)

    def decorate(function: Function) -> Layer:
        def apply(params: Tree, x: jax.Array) -> jax.Array:
            return function(x)

        def forward(params: Tree, xs: jax.Array, state: Tree, key: Any) -> tuple[jax.Array, Tree]:
            return function(xs), state

        def vjp(params: Tree, xs: jax.Array, state: Tree, key: Any) -> Any:
            ys = function(xs)
            return ys, state, jax.tree_util.Partial(pullback, ys)

        apply.__doc__ = function.__doc__
        return layer(apply, forward=forward, vjp=vjp, check=_one_axis_or_more, name=function.__name__)

    return decorate


@_over_last_axis(lambda y, dy: y * (dy - jnp.sum(y * dy, axis=-1, keepdims=True)))
def softmax(x: jax.Array) -> jax.Array:
    """Softmax, yᵢ = exp xᵢ / Σⱼ exp xⱼ along the last axis: positive numbers whose sum is 1.

    A layer, not a call: any shape with an axis and any floating dtype, which y keeps; no params. Before a
    cross-entropy leave it out: `pn.losses.softmax_cross_entropy` takes the scores x.

    Raises:
      ShapeError: at trace time, if one example has no axis.
      StructureError: at trace time, if x is not one floating array.

    Derivation:
      ∂yᵢ/∂xⱼ = yᵢ (δᵢⱼ - yⱼ): the Jacobian is diag(y) - yyᵀ, symmetric, so dJ/dx = y ∘ (dJ/dy - ⟨y, dJ/dy⟩).
      The largest x is taken off first, which changes no y and keeps exp from overflowing.

    References:
      Bridle (1990), Probabilistic interpretation of feedforward classification network outputs, with relationships
      to statistical pattern recognition.
      Bishop (2006), Pattern Recognition and Machine Learning, eq. 4.106.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> pn.softmax.apply((), jnp.array([0.0, 1e4, 1e4])).tolist()
      [0.0, 0.5, 0.5]
    """
    return jax.nn.softmax(x, axis=-1)


@_over_last_axis(lambda y, dy: dy - jnp.exp(y) * jnp.sum(dy, axis=-1, keepdims=True))
def log_softmax(x: jax.Array) -> jax.Array:
    """Logarithm of the softmax, yᵢ = xᵢ - log Σⱼ exp xⱼ along the last axis.

    A layer, not a call: any shape with an axis and any floating dtype, which y keeps; no params.

    Raises:
      ShapeError: at trace time, if one example has no axis.
      StructureError: at trace time, if x is not one floating array.

    Derivation:
      ∂yᵢ/∂xⱼ = δᵢⱼ - exp xⱼ / Σₖ exp xₖ = δᵢⱼ - exp yⱼ, so dJ/dx = dJ/dy - exp(y) Σᵢ dJ/dyᵢ. The largest x is
      taken off first, which changes no y and keeps exp from overflowing.

    References:
      Blanchard, Higham and Higham (2021), Accurately computing the log-sum-exp and softmax functions.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> pn.log_softmax.apply((), jnp.array([0.0, 1e4])).tolist()
      [-10000.0, 0.0]
    """
    return jax.nn.log_softmax(x, axis=-1)
