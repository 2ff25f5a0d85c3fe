"""What normalisations are made of: values less their mean, over their deviation, and a layer that does it."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purenet.contract import Layer, Spec, Tree, layer
from purenet.errors import ShapeError, StructureError, describe, expect_array

Axes = tuple[int, ...]
# From the shape of one example: the shape to compute in, and the axes of it to average over, counted from the end.
View = Callable[[tuple[int, ...]], tuple[tuple[int, ...], Axes]]


class Rule(NamedTuple):
    """Normalisation along some axes, y = x̂ ∘ scale + offset; scale and offset have the rank of x, or are None.

    Attributes:
      plain: `(x, scale, offset) -> y`, in plain JAX.
      trained: the same with `back` installed as its derivative.
      kept: `(x, scale, offset) -> (y, residuals)`.
      back: `(residuals, dy) -> (dx, dscale, doffset)`, by hand.
    """

    plain: Callable[..., Any]
    trained: Callable[..., Any]
    kept: Callable[..., tuple[Any, Tree]]
    back: Callable[..., tuple[Any, Any, Any]]


class Moments(NamedTuple):
    """Mean (None where it stays) and variance along some axes, which are kept with size 1, in 32 bits or more."""

    mean: jax.Array | None
    variance: jax.Array


def wide_dtype(dtype: Any) -> Any:
    """Gives the dtype to average in: sums of squares in float16 end at 65,504, sums in bfloat16 stand still at 256."""
    return jnp.float32 if jnp.finfo(dtype).bits < 32 else dtype


def wide(x: jax.Array) -> jax.Array:
    """Gives the same numbers in 32 bits or more."""
    return x.astype(wide_dtype(x.dtype))


def moments(x: jax.Array, axes: Axes, centred: bool = True) -> Moments:
    """Mean and biased variance, from centred values: E[x²] - E[x]² would cancel where the mean is large."""
    x = wide(x)
    if not centred:
        return Moments(None, jnp.mean(jnp.square(x), axes, keepdims=True))
    mean = jnp.mean(x, axes, keepdims=True)
    return Moments(mean, jnp.mean(jnp.square(x - mean), axes, keepdims=True))


def standardised(x: jax.Array, mean: jax.Array | None, rate: jax.Array) -> jax.Array:
    """x̂ = (x - mean) / σ, in 32 bits or more; `rate` is 1/σ."""
    return (wide(x) if mean is None else wide(x) - mean) * rate


def affine(x_hat: jax.Array, scale: jax.Array | None, offset: jax.Array | None, dtype: Any) -> jax.Array:
    """Y = x̂ ∘ scale + offset, where both are of the rank of x̂ or None; computed in its precision, then rounded."""
    if scale is not None:
        x_hat = x_hat * scale.astype(x_hat.dtype)
    if offset is not None:
        x_hat = x_hat + offset.astype(x_hat.dtype)
    return x_hat.astype(dtype)


def back_through(
    x: jax.Array,
    mean: jax.Array | None,
    rate: jax.Array,
    scale: jax.Array | None,
    offset: jax.Array | None,
    dy: jax.Array,
    axes: Axes,
) -> tuple[Any, Any, Any]:
    """Gives dJ/dx, dJ/dscale and dJ/doffset where the mean and 1/σ are those of x along the axes.

    Derivation:
      With c = x - mean(x), σ² = mean(c²) + ε and x̂ = c/σ: dx̂ = dc/σ - c dσ/σ², where dc = dx - mean(dx) and
      σ dσ = mean(c dc) = mean(c dx), as mean(c) = 0. So dx̂ = (dx - mean(dx) - x̂ mean(x̂ dx)) / σ, and this map is
      its own transpose: with g = dJ/dx̂ = scale ∘ dJ/dy, dJ/dx = (g - mean(g) - x̂ mean(x̂ g)) / σ. Without centring,
      the middle term is not there. dJ/dscale sums x̂ ∘ dJ/dy over what shares a scale, dJ/doffset sums dJ/dy.
    """
    x_hat, delta = standardised(x, mean, rate), wide(dy)
    like = scale if offset is None else offset
    # What shares a scale is summed once, for its gradient and for the means: batch_norm took 1.0 ms instead of 1.7.
    shared = tuple(axis for axis in axes if like is None or like.shape[axis] == 1)
    sums = jnp.sum(delta, shared, keepdims=True), jnp.sum(x_hat * delta, shared, keepdims=True)
    doffset, dscale = (None if a is None else _sum_to(part, a) for a, part in zip((offset, scale), sums, strict=True))
    factor = 1 if scale is None else scale.astype(delta.dtype)
    n = math.prod(x.shape[axis] for axis in axes)
    mean_g, along = (jnp.sum(part * factor, axes, keepdims=True) / n for part in sums)
    dx = delta * factor - x_hat * along if mean is None else delta * factor - mean_g - x_hat * along
    return (dx * rate).astype(x.dtype), dscale, doffset


@functools.cache  # one rule a case, so that equal pullbacks have equal tree structures
def rule(axes: Axes, epsilon: float, centred: bool) -> Rule:
    """Makes the functions of a normalisation along axes, counted from the end so that they fit with and without batch.

    Inside a scan, forward and gradient with `back` took so much of the time of autodiff of `plain`: layer_norm 0.82 for
    (12, 64, 128) and 0.8 for (128, 128), rms_norm 0.6, group_norm 0.45 and instance_norm 0.56 for (32, 14, 14, 32);
    under plain `jit` 0.95, 1, 0.7, 0.56 and 0.73. Folding to two dimensions, means as products with ones, sums of
    halves, or keeping x̂ in place of x were none of them faster.
    """

    def kept(x: jax.Array, scale: jax.Array | None, offset: jax.Array | None) -> tuple[jax.Array, Tree]:
        mean, variance = moments(x, axes, centred)
        rate = jax.lax.rsqrt(variance + epsilon)
        return affine(standardised(x, mean, rate), scale, offset, x.dtype), (x, mean, rate, scale, offset)

    def plain(x: jax.Array, scale: jax.Array | None, offset: jax.Array | None) -> jax.Array:
        return kept(x, scale, offset)[0]

    def back(residuals: Tree, dy: jax.Array) -> tuple[Any, Any, Any]:
        x, mean, rate, scale, offset = residuals
        return back_through(x, mean, rate, scale, offset, dy, axes)

    trained = jax.custom_vjp(plain)
    trained.defvjp(kept, back)
    return Rule(plain, trained, kept, back)


def normalising(
    name: str,
    names: tuple[str, ...],
    epsilon: float,
    view: View,
    check: Callable[[Spec], None],
    centred: bool = True,
) -> Layer:
    """Makes a layer that normalises every example by itself, with params of one number per feature.

    Args:
      name: the layer's.
      names: those of its params, of "scale" and "offset".
      epsilon: what is added to the variance.
      view: see `View`.
      check: `(spec of x)`, raises where x does not fit.
      centred: whether the mean is taken off.
    """

    def init(key: Any, spec: Spec) -> tuple[Tree, Tree]:
        check(spec)
        return affine_params(names, spec), ()

    def checked(params: Tree, x: Spec) -> None:
        check(x)
        expect_affine(params, names, x)

    def seen(params: Tree, xs: jax.Array, batch: int) -> tuple[Axes, tuple[Any, ...]]:
        """Gives the axes, and x, scale and offset in the shape to compute in."""
        shape, axes = view(xs.shape[batch:])
        own = shape[len(xs.shape[batch:]) - 1 :]  # a feature's axes
        ones = (1,) * (batch + len(shape) - len(own))
        lifted = [jnp.reshape(params[part], ones + own) if part in names else None for part in ("scale", "offset")]
        return axes, (jnp.reshape(xs, xs.shape[:batch] + shape), *lifted)

    def apply(params: Tree, x: jax.Array) -> jax.Array:
        axes, args = seen(params, x, 0)
        return jnp.reshape(rule(axes, epsilon, centred).plain(*args), x.shape)

    def forward(params: Tree, xs: jax.Array, state: Tree, key: Any) -> tuple[jax.Array, Tree]:
        axes, args = seen(params, xs, 1)
        return jnp.reshape(rule(axes, epsilon, centred).trained(*args), xs.shape), state

    def vjp(params: Tree, xs: jax.Array, state: Tree, key: Any) -> Any:
        axes, args = seen(params, xs, 1)
        ys, residuals = rule(axes, epsilon, centred).kept(*args)
        pullback = _pullback(names, rule(axes, epsilon, centred).back, xs.shape[1:])
        return jnp.reshape(ys, xs.shape), state, jax.tree_util.Partial(pullback, residuals)

    return layer(apply, init=init, forward=forward, vjp=vjp, check=checked, name=name)


@functools.cache
def _pullback(names: tuple[str, ...], back: Callable[..., Any], shape: tuple[int, ...]) -> Callable[..., Any]:
    def pullback(residuals: Tree, dys: jax.Array) -> tuple[Tree, jax.Array]:
        dxs, *dparams = back(residuals, jnp.reshape(dys, residuals[0].shape))
        return affine_cotangents(names, *dparams), jnp.reshape(dxs, dys.shape)

    return pullback


def affine_params(names: tuple[str, ...], spec: Spec) -> Tree:
    """Scales of one and offsets of zero, one per feature (the last axis); `()` if there are none."""
    make = {"scale": jnp.ones, "offset": jnp.zeros}
    return {name: make[name](spec.shape[-1:], spec.dtype) for name in names} or ()


def affine_cotangents(names: tuple[str, ...], dscale: Any, doffset: Any) -> Tree:
    """The cotangents of `affine_params` from those of the lifted scale and offset."""
    made = {"scale": dscale, "offset": doffset}
    return {name: jnp.reshape(made[name], (-1,)) for name in names} or ()


def expect_affine(params: Tree, names: tuple[str, ...], x: Spec) -> None:
    """Raises unless params are what `affine_params` makes for features and dtype of x."""
    came = f"a dict of {sorted(params)}" if isinstance(params, dict) else describe(params)
    if not names:
        if jax.tree.leaves(params):
            raise StructureError(f"expected no params, got {came}. Pass the params that this network's init made.")
        return
    if not isinstance(params, dict) or sorted(params) != sorted(names):
        raise StructureError(
            f"expected params to be a dict of {sorted(names)}, got {came}. "
            "Pass the params that this network's init made."
        )
    for name in sorted(names):
        if jnp.shape(params[name]) != x.shape[-1:]:
            raise ShapeError(
                f"expected params[{name!r}] of shape {x.shape[-1:]}, one per feature (the last axis of x), got "
                f"{jnp.shape(params[name])}. Initialise the network with the spec of the examples that it gets."
            )
        if params[name].dtype != x.dtype:
            raise StructureError(
                f"expected params[{name!r}] of dtype {x.dtype}, that of x, got {params[name].dtype}. "
                "Cast x or the parameters with astype."
            )


def expect_features(x: Spec) -> None:
    """Raises unless x is one floating array with an axis of features."""
    expect_array(x)
    if not x.shape:
        raise ShapeError("expected x with an axis of features, the last, got shape (). Put pn.reshape(1) before it.")


def expect_several(count: int, what: str, x: Spec) -> None:
    """Raises unless there are two numbers or more to take a deviation of."""
    if count < 2:
        raise ShapeError(
            f"expected two numbers or more in {what}, got {count} in x of shape {x.shape}. "
            "A number less its own mean is 0, whatever it was."
        )


def affine_names(name: str, scale: Any, offset: Any) -> tuple[str, ...]:
    """Names the params that are there, in alphabetical order, after refusing what is no truth value."""
    there = {"offset": offset, "scale": scale}
    for option, value in there.items():
        if not isinstance(value, bool):
            raise StructureError(f"{name}: expected {option} to be True or False, got {describe(value)}. Give a bool.")
    return tuple(option for option, value in there.items() if value)


def checked_epsilon(name: str, epsilon: Any) -> float:
    """Gives the number that keeps a deviation from being zero, after refusing others."""
    if isinstance(epsilon, bool) or not isinstance(epsilon, (int, float, np.integer, np.floating)):
        raise StructureError(
            f"{name}: expected epsilon to be a Python number, got {describe(epsilon)}. Give one such as 1e-5."
        )
    if not 0 < epsilon < np.inf:
        raise ShapeError(
            f"{name}: expected epsilon above 0, got {epsilon}. It keeps what does not vary from being divided by zero."
        )
    return float(epsilon)


def _sum_to(a: jax.Array, like: jax.Array) -> jax.Array:
    """Sums over the axes along which `like` has size 1, and gives its dtype."""
    axes = tuple(axis for axis, size in enumerate(like.shape) if size == 1)
    return jnp.sum(a, axes, keepdims=True).astype(like.dtype)
