"""What activations are made of: a function of one number and its derivative."""

from collections.abc import Callable
from typing import Any

import jax

from purenet.contract import Layer, Spec, Tree, layer
from purenet.errors import expect_array

Function = Callable[[jax.Array], jax.Array]


def elementwise(derivative: Callable[[jax.Array, jax.Array], jax.Array]) -> Callable[[Function], Layer]:
    """Turns a function of one number into a layer that applies it to every element.

    Derivation:
      The Jacobian of y = f(x), element by element, is diagonal: dJ/dx = f'(x) ∘ dJ/dy.

    Args:
      derivative: f' from x and y = f(x), arrays of any one shape; at a kink, a chosen subgradient.

    Returns:
      A decorator for f, in plain JAX; name and docstring of f become the layer's.

    Example:
      >>> import jax.numpy as jnp
      >>> @elementwise(lambda x, y: 2 * x)
      ... def square(x):
      ...     return x * x
      >>> ys, _, pullback = square.vjp((), jnp.array([[3.0]]))
      >>> float(pullback(jnp.array([[1.0]]))[1][0, 0])
      6.0
    """

    def pullback(xs: jax.Array, ys: jax.Array, dys: jax.Array) -> tuple[Tree, jax.Array]:
        return (), dys * derivative(xs, ys)

    def decorate(function: Function) -> Layer:
        def apply(params: Tree, x: jax.Array) -> jax.Array:
            return function(x)

        def forward(params: Tree, xs: jax.Array, state: Tree, key: Any) -> tuple[jax.Array, Tree]:
            return function(xs), state

        def vjp(params: Tree, xs: jax.Array, state: Tree, key: Any) -> Any:
            ys = function(xs)
            return ys, state, jax.tree_util.Partial(pullback, xs, ys)

        apply.__doc__ = function.__doc__
        return layer(apply, forward=forward, vjp=vjp, check=one_array, name=function.__name__)

    return decorate


def one_array(params: Tree, x: Spec) -> None:
    """The check of layers without params on one floating array."""
    expect_array(x)
