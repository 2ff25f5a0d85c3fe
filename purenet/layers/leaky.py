"""Rectifiers whose negative side is not flat: leaky_relu, elu, celu and selu."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purenet.contract import Layer, Tree, layer
from purenet.errors import ShapeError, StructureError, describe
from purenet.layers.elementwise import elementwise, one_array

Function = Callable[[jax.Array, jax.Array], jax.Array]


def leaky_relu(slope: float | jax.Array = 0.01) -> Layer:
    """Leaky rectified linear unit, y = x for x > 0 and y = slope · x for x <= 0, element by element.

    Written with a leak ε as y = εx + (1 - ε) max(0, x), it is the same with slope = ε. With slope = 0 it is `relu`,
    at the kink too.

    Args:
      slope: that of the negative side: a finite number, or a scalar array, which may be traced. It is rounded to the
        dtype of x.

    Returns:
      A layer for any shape and floating dtype, which y keeps; no params.

    Raises:
      ShapeError: if `slope` is infinite or NaN, or an array of another shape than ().
      StructureError: if `slope` is not a number; at trace time, if x is not one floating array.

    Derivation:
      dy/dx = 1 for x > 0 and slope for x < 0. At the kink x = 0 any number between them will do; slope is taken.

    References:
      Maas, Hannun and Ng (2013), Rectifier nonlinearities improve neural network acoustic models.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> pn.leaky_relu(0.5).apply((), jnp.array([-1.0, 0.0, 2.0])).tolist()
      [-0.5, 0.0, 2.0]
    """
    _expect_number("leaky_relu", "slope", slope, 0.01)
    return _with_option(
        "leaky_relu",
        slope,
        lambda x, slope: jnp.where(x > 0, x, slope * x),
        lambda x, slope: jnp.where(x > 0, 1, slope),
    )


def elu(alpha: float | jax.Array = 1.0) -> Layer:
    """Exponential linear unit, y = x for x > 0 and y = alpha · (eˣ - 1) for x <= 0, element by element.

    Args:
      alpha: the depth of the negative side, y -> -alpha: a finite number, or a scalar array, which may be traced. It
        is rounded to the dtype of x.

    Returns:
      A layer for any shape and floating dtype, which y keeps; no params.

    Raises:
      ShapeError: if `alpha` is infinite or NaN, or an array of another shape than ().
      StructureError: if `alpha` is not a number; at trace time, if x is not one floating array.

    Derivation:
      dy/dx = 1 for x > 0 and alpha · eˣ for x < 0. At x = 0, a kink unless alpha = 1, alpha is taken.

    References:
      Clevert, Unterthiner and Hochreiter (2016), Fast and accurate deep network learning by exponential linear
      units (ELUs).

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> pn.elu().apply((), jnp.array([-100.0, 0.0, 2.0])).tolist()
      [-1.0, 0.0, 2.0]
    """
    _expect_number("elu", "alpha", alpha, 1.0)
    return _with_option(
        "elu",
        alpha,
        lambda x, alpha: jax.nn.elu(x, alpha),
        lambda x, alpha: jnp.where(x > 0, 1, alpha * jnp.exp(jnp.minimum(x, 0))),
    )


def celu(alpha: float | jax.Array = 1.0) -> Layer:
    """Continuously differentiable exponential linear unit, y = max(x, 0) + min(0, alpha · (e^(x/alpha) - 1)).

    Element by element; unlike `elu`, smooth at 0 for every alpha.

    Args:
      alpha: the depth and the width of the negative side: a finite number above 0, or a scalar array, which may be
        traced and whose value is not checked. It is rounded to the dtype of x.

    Returns:
      A layer for any shape and floating dtype, which y keeps; no params.

    Raises:
      ShapeError: if `alpha` is 0 or less, infinite or NaN, or an array of another shape than ().
      StructureError: if `alpha` is not a number; at trace time, if x is not one floating array.

    Derivation:
      dy/dx = 1 for x > 0 and alpha · e^(x/alpha) / alpha = e^(x/alpha) for x < 0. Both are 1 at x = 0: no kink.

    References:
      Barron (2017), Continuously differentiable exponential linear units.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> pn.celu(2.0).apply((), jnp.array([-100.0, 0.0, 2.0])).tolist()
      [-2.0, 0.0, 2.0]
    """
    _expect_number("celu", "alpha", alpha, 1.0)
    if not isinstance(alpha, jax.Array) and alpha <= 0:
        raise ShapeError(f"celu: expected alpha above 0, got {alpha}. It is the depth of the negative side.")
    return _with_option(
        "celu",
        alpha,
        lambda x, alpha: jax.nn.celu(x, alpha),
        lambda x, alpha: jnp.exp(jnp.minimum(x, 0) / alpha),
    )


_ALPHA = 1.6732632423543772848170429916717  # Klambauer et al. (2017): the fixed point at mean 0 and variance 1
_SCALE = 1.0507009873554804934193349852946


@elementwise(lambda x, y: jnp.where(x > 0, _SCALE, _SCALE * _ALPHA * jnp.exp(jnp.minimum(x, 0))))
def selu(x: jax.Array) -> jax.Array:
    """Scaled exponential linear unit, y = λx for x > 0 and y = λα (eˣ - 1) for x <= 0, element by element.

    λ = 1.0507… and α = 1.6733… keep mean 0 and variance 1 from layer to layer. A layer, not a call: any shape
    and floating dtype, which y keeps; no params.

    Raises:
      StructureError: at trace time, if x is not one floating array.

    Derivation:
      dy/dx = λ for x > 0 and λαeˣ for x < 0. At the kink x = 0 any number from λ to λα = 1.758… will do; λα is
      taken, as for `elu`.

    References:
      Klambauer, Unterthiner, Mayr and Hochreiter (2017), Self-normalizing neural networks, eq. 2.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> pn.selu.apply((), jnp.array([-100.0, 0.0, 1.0])).round(4).tolist()
      [-1.7580..., 0.0, 1.0506...]
    """
    return jax.nn.selu(x)


def _with_option(name: str, option: Any, function: Function, derivative: Function) -> Layer:
    """Makes an elementwise layer of f(x, option) and df/dx(x, option), the option in the dtype of x."""

    def apply(params: Tree, x: jax.Array) -> jax.Array:
        return function(x, jnp.asarray(option, jnp.result_type(x)))

    def forward(params: Tree, xs: jax.Array, state: Tree, key: Any) -> tuple[jax.Array, Tree]:
        return apply(params, xs), state

    def vjp(params: Tree, xs: jax.Array, state: Tree, key: Any) -> Any:
        # the option travels in the Partial: a traced one in a closure could not leave its trace
        return apply(params, xs), state, jax.tree_util.Partial(pullback, xs, jnp.asarray(option, xs.dtype))

    def pullback(xs: jax.Array, option: jax.Array, dys: jax.Array) -> tuple[Tree, jax.Array]:
        return (), dys * derivative(xs, option)

    return layer(apply, forward=forward, vjp=vjp, check=one_array, name=name)


def _expect_number(name: str, what: str, value: Any, usual: float) -> None:
    """Raises unless `value` is a finite number, or a scalar floating array, whose value may be unknown yet."""
    if isinstance(value, jax.Array):
        if value.shape:
            raise ShapeError(
                f"{name}: expected {what} to be one number, got {describe(value)}. For several, jax.vmap over them."
            )
        if not jnp.issubdtype(value.dtype, jnp.floating):
            raise StructureError(
                f"{name}: expected {what} of floating dtype, got {value.dtype}. Convert it with astype."
            )
    elif isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise StructureError(
            f"{name}: expected {what} to be a number, got {describe(value)}. Give one such as {usual}."
        )
    elif not math.isfinite(value):
        raise ShapeError(f"{name}: expected {what} to be finite, got {value}. Give a number such as {usual}.")
