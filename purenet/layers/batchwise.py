"""Normalisation over the mini-batch, with running statistics for inference: batch_norm."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purenet.contract import Layer, Spec, Tree, layer
from purenet.errors import ShapeError, StructureError, describe, expect_like
from purenet.layers.standardised import (
    Moments,
    Rule,
    affine,
    affine_cotangents,
    affine_names,
    affine_params,
    back_through,
    checked_epsilon,
    expect_affine,
    expect_features,
    moments,
    standardised,
    wide_dtype,
)


def batch_norm(*, momentum: float = 0.9, epsilon: float = 1e-5, scale: bool = True, offset: bool = True) -> Layer:
    """Batch normalisation: in training y = scale ∘ (x - mean(x)) / √(var(x) + ε) + offset over the mini-batch.

    Mean and (biased) variance of a channel are taken over all examples of the mini-batch and all of space. At inference
    `apply` takes the running statistics in their place, exactly as they stand in the state, which training moves by
    running ← momentum · running + (1 - momentum) · batch. The running variance is the unbiased one, n/(n - 1) times
    the mini-batch's with n numbers to a channel, as in the paper and in PyTorch; Keras and Flax keep the biased one.
    The momentum is that of Keras and Flax, which default to 0.99, and 1 less PyTorch's, which defaults to 0.1: with 0.9
    the statistics follow within some 25 updates, with 0.99 within 250. Gradients do not flow through the running
    statistics, and the weights of a batch do not enter any.

    The layer couples the examples of a mini-batch, so it refuses one of a single example, whatever its space, and
    thereby `pn.per_example_grad`. Inside `pn.each` the axis mapped over counts as examples: one of several slices is
    not refused, and its statistics are over them.

    Args:
      momentum: what remains of the running statistics in an update, 0 <= momentum < 1, a Python number.
      epsilon: ε above 0, a Python number; it keeps channels of equal numbers from being divided by zero.
      scale: whether a scale per channel is there, which begins at 1.
      offset: whether an offset per channel is there, which begins at 0.

    Returns:
      A layer for shape (…, C), with any axes of space or none, and any floating dtype, which y keeps; float16 and
      bfloat16 are computed in float32. Params `{"scale": …, "offset": …}`, each of shape (C,), or `()` without either.
      State `{"mean": …, "var": …}` of shape (C,), beginning at 0 and 1, in float32 or more: sums of small steps stand
      still in 16 bits.

    Raises:
      ShapeError: if `momentum` or `epsilon` are out of range; at trace time, if params or state have another C, there
        is no space, or `forward` or `vjp` get a mini-batch of fewer than two.
      StructureError: if they are not Python numbers; at trace time, for other dtypes, other params, or no state.

    Derivation:
      A channel's numbers, of all examples, are one vector that is centred and divided by its deviation σ. With
      x̂ = (x - mean(x))/σ: dx̂ = (dx - mean(dx) - x̂ mean(x̂ ∘ dx))/σ, a symmetric map, so with δ = dJ/dy
      dJ/dx = scale/σ ∘ (δ - mean(δ) - x̂ mean(x̂ ∘ δ)). dJ/dscale = Σ x̂ ∘ δ and dJ/doffset = Σ δ over the vector.

    References:
      Ioffe and Szegedy (2015), Batch normalization: accelerating deep network training by reducing internal covariate
      shift, algorithms 1 and 2.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> net = pn.batch_norm(momentum=0.5)
      >>> params, state = net.init(None, pn.spec(1))
      >>> ys, state = net.forward(params, jnp.array([[2.0], [4.0]]), state)
      >>> ys.round(3).tolist(), state["mean"].tolist(), state["var"].tolist()
      ([[-1.0], [1.0]], [1.5], [1.5])
      >>> net.apply(params, jnp.array([1.5]), state).tolist()
      [0.0]
    """
    keep, eps = _checked_momentum(momentum), checked_epsilon("batch_norm", epsilon)
    names = affine_names("batch_norm", scale, offset)

    def init(key: Any, spec: Spec) -> tuple[Tree, Tree]:
        _expect_space(spec)
        wide = wide_dtype(spec.dtype)
        state = {"mean": jnp.zeros(spec.shape[-1:], wide), "var": jnp.ones(spec.shape[-1:], wide)}
        return affine_params(names, spec), state

    def check(params: Tree, x: Spec) -> None:
        _expect_space(x)
        expect_affine(params, names, x)

    def lifted(params: Tree, xs: jax.Array) -> tuple[Any, Any]:
        """Gives scale and offset the rank of xs."""
        scale, offset = (_lift(params[name], xs) if name in names else None for name in ("scale", "offset"))
        return scale, offset

    def apply(params: Tree, x: jax.Array, state: Tree) -> jax.Array:
        _expect_state(state, x)
        rate = jax.lax.rsqrt(_lift(state["var"], x) + eps)
        return affine(standardised(x, _lift(state["mean"], x), rate), *lifted(params, x), x.dtype)

    def forward(params: Tree, xs: jax.Array, state: Tree, key: Any) -> tuple[jax.Array, Tree]:
        _expect_training(state, xs)
        ys, seen = _rule(eps).trained(xs, *lifted(params, xs))
        return ys, _moved(state, seen, xs, keep)

    def vjp(params: Tree, xs: jax.Array, state: Tree, key: Any) -> Any:
        _expect_training(state, xs)
        (ys, seen), residuals = _rule(eps).kept(xs, *lifted(params, xs))
        return ys, _moved(state, seen, xs, keep), jax.tree_util.Partial(pullback, residuals)

    def pullback(residuals: Tree, dys: jax.Array) -> tuple[Tree, jax.Array]:
        dxs, *dparams = _back(residuals, dys)
        return affine_cotangents(names, *dparams), dxs

    return layer(apply, init=init, forward=forward, vjp=vjp, check=check, name="batch_norm")


@functools.cache
def _rule(epsilon: float) -> Rule:
    """Makes the functions of training; beside y they give the mini-batch's moments, which carry no gradient.

    Forward and gradient of (128, 14, 14, 32): 0.54 ms instead of autodiff's 0.83 inside a scan, 0.67 instead of 0.96
    under plain `jit`. Sums axis by axis took longer, means as products with ones lost four digits.
    """

    def kept(xs: jax.Array, scale: Any, offset: Any) -> tuple[Any, Tree]:
        seen = moments(xs, tuple(range(xs.ndim - 1)))
        rate = jax.lax.rsqrt(seen.variance + epsilon)
        ys = affine(standardised(xs, seen.mean, rate), scale, offset, xs.dtype)
        return (ys, jax.lax.stop_gradient(seen)), (xs, seen.mean, rate, scale, offset)

    def plain(xs: jax.Array, scale: Any, offset: Any) -> Any:
        return kept(xs, scale, offset)[0]

    trained = jax.custom_vjp(plain)
    trained.defvjp(kept, lambda residuals, cotangents: _back(residuals, cotangents[0]))
    return Rule(plain, trained, kept, _back)


def _back(residuals: Tree, dys: jax.Array) -> tuple[Any, Any, Any]:
    xs, mean, rate, scale, offset = residuals
    return back_through(xs, mean, rate, scale, offset, dys, tuple(range(xs.ndim - 1)))


def _moved(state: Tree, seen: Moments, xs: jax.Array, keep: float) -> Tree:
    """Moves the running statistics towards those of the mini-batch."""
    n = math.prod(xs.shape[:-1])
    batch = {"mean": seen.mean, "var": seen.variance * (n / (n - 1))}
    return jax.tree.map(
        lambda old, new: jax.lax.stop_gradient(keep * old + (1 - keep) * jnp.ravel(new)), dict(state), batch
    )


def _lift(a: jax.Array, x: jax.Array) -> jax.Array:
    return jnp.reshape(a, (1,) * (x.ndim - 1) + a.shape)


def _checked_momentum(momentum: Any) -> float:
    if isinstance(momentum, bool) or not isinstance(momentum, (int, float, np.integer, np.floating)):
        raise StructureError(
            f"batch_norm: expected momentum to be a Python number, got {describe(momentum)}. Give one such as 0.9."
        )
    if not 0 <= momentum < 1:
        raise ShapeError(
            f"batch_norm: expected 0 <= momentum < 1, got {momentum}. "
            "It is what remains of the running statistics in an update: 1 less PyTorch's momentum."
        )
    return float(momentum)


def _expect_space(x: Spec) -> None:
    expect_features(x)
    if 0 in x.shape[:-1]:
        raise ShapeError(f"expected x with something in space, got {x.shape}. The mean over nothing is not a number.")


def _expect_state(state: Tree, x: jax.Array) -> None:
    if state is None or (isinstance(state, tuple) and not state):
        raise StructureError(
            "expected state with the running statistics, got none. Pass the one that init made and training moved on "
            "(result.state of pn.fit, the field state of a TrainState): net.apply(params, x, state)."
        )
    statistic = jax.ShapeDtypeStruct(x.shape[-1:], wide_dtype(x.dtype))
    remedy = "Pass the state that this network's init or training made."
    expect_like("state of batch_norm", state, {"mean": statistic, "var": statistic}, remedy)


def _expect_training(state: Tree, xs: jax.Array) -> None:
    _expect_state(state, xs)
    if len(xs) < 2:
        raise ShapeError(
            f"expected a mini-batch of two examples or more in training, got {len(xs)}. Batch normalisation couples "
            "the examples of a mini-batch, so that none has statistics or a gradient of its own. Choose a batch_size "
            "that leaves no single example over at the end of an epoch; where examples stand alone, as in "
            "per_example_grad, use pn.group_norm or pn.layer_norm."
        )
