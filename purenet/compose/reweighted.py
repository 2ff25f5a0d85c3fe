"""weight_norm: a layer whose kernels are written as gain times direction."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from purenet.compose.kernels import expect_kernels, expect_unrepeated, is_split, kernels_of, with_kernels
from purenet.compose.parts import as_parts, expect_parts, key_of, states_of
from purenet.contract import Layer, Spec, Tree, layer
from purenet.errors import ShapeError, StructureError, at, describe
from purenet.layers.standardised import wide


def weight_norm(part: Any) -> Layer:
    """Weight normalisation: every kernel as gain times direction, w = g v / ‖v‖ for each output feature.

    An output feature is one index of a kernel's last axis; ‖v‖ runs over all others. It begins with the very kernel
    that the layer drew: v = kernel, g = ‖v‖. All leaves named "kernel" are rewritten, also in layers made of layers.

    Args:
      part: a layer that has a kernel, such as `dense(3)`.

    Returns:
      A layer like it; params and state are tuples with one entry, in which `{"direction": v, "gain": g}` stands in
      place of each kernel, v of its shape and g of shape (features,). A feature whose v is all zeros has no direction
      and makes the output NaN.

    Raises:
      StructureError: if `part` is not a layer or has `repeat` in it; by `init`, if it has no kernel; at trace time, for
        params or state of another network.
      ShapeError: at trace time, for a gain that does not fit its direction.

    Derivation:
      For one feature with v̂ = v/‖v‖, w = g v̂: dw = v̂ dg + g/‖v‖ (dv - v̂ ⟨v̂, dv⟩). With G = dJ/dw from the layer's
      own rule, reading off gives dJ/dg = ⟨v̂, G⟩ and dJ/dv = g/‖v‖ (G - v̂ ⟨v̂, G⟩), orthogonal to v.

    References:
      Salimans and Kingma (2016), Weight normalization: a simple reparameterization to accelerate training of deep
      neural networks, eqs. 2-3.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> net = pn.weight_norm(pn.dense(1, bias=False))
      >>> params = ({"kernel": {"direction": jnp.array([[3.0], [4.0]]), "gain": jnp.array([10.0])}},)
      >>> net.apply(params, jnp.array([1.0, 0.0])).tolist()
      [6.0]
    """
    parts = as_parts("weight_norm", (part,))
    inner = parts[0]
    expect_unrepeated("weight_norm", inner)

    def init(key: Any, spec: Spec) -> tuple[Tree, Tree]:
        with at("[0]"):
            params, state = inner.init(key_of(key, 0), spec)
        expect_kernels(params)
        return (with_kernels(params, [_split(kernel) for kernel in kernels_of(params)]),), (state,)

    def check(params: Tree, x: Spec) -> None:
        expect_parts("params", params, parts)
        _expect_split(params[0])

    def apply(params: Tree, x: Tree, state: Tree) -> Tree:
        with at("[0]"):
            return inner.apply(_joined(params[0]), x, states_of(parts, state)[0])

    def forward(params: Tree, xs: Tree, state: Tree, key: Any) -> tuple[Tree, Tree]:
        with at("[0]"):
            ys, new = inner.forward(_joined(params[0]), xs, states_of(parts, state)[0], key_of(key, 0))
        return ys, (new,)

    def vjp(params: Tree, xs: Tree, state: Tree, key: Any) -> Any:
        with at("[0]"):
            ys, new, pullback = inner.vjp(_joined(params[0]), xs, states_of(parts, state)[0], key_of(key, 0))
        return ys, (new,), jax.tree_util.Partial(_pullback, pullback, kernels_of(params[0]))

    return layer(apply, init=init, forward=forward, vjp=vjp, name="weight_norm", parts=parts, check=check)


def _split(kernel: jax.Array) -> Tree:
    return {"direction": kernel, "gain": jnp.ravel(_norms(kernel)).astype(kernel.dtype)}


def _joined(params: Tree) -> Tree:
    """Gives the part's own params, each kernel as g v / ‖v‖."""
    return with_kernels(params, [_kernel_of(split) for split in kernels_of(params)])


def _kernel_of(split: Tree) -> jax.Array:
    v = split["direction"]
    return (wide(v) * (_gains(split) / _norms(v))).astype(v.dtype)


def _pullback(pullback: Any, splits: Sequence[Tree], dys: Tree) -> tuple[Tree, Tree]:
    dparams, dxs = pullback(dys)
    pairs = zip(splits, kernels_of(dparams), strict=True)
    return (with_kernels(dparams, [_split_cotangent(split, dw) for split, dw in pairs]),), dxs


def _split_cotangent(split: Tree, dw: jax.Array) -> Tree:
    """Gives dJ/dv and dJ/dg of one kernel from G = dJ/dw."""
    v, g = split["direction"], wide(dw)
    unit = wide(v) / _norms(v)
    along = jnp.sum(unit * g, tuple(range(v.ndim - 1)), keepdims=True)
    dv = (_gains(split) / _norms(v)) * (g - unit * along)
    return {"direction": dv.astype(v.dtype), "gain": jnp.ravel(along).astype(v.dtype)}


def _norms(v: jax.Array) -> jax.Array:
    """Gives the norm of each output feature's weights, in 32 bits or more; the axes stay with size 1."""
    return jnp.sqrt(jnp.sum(jnp.square(wide(v)), tuple(range(v.ndim - 1)), keepdims=True))


def _gains(split: Tree) -> jax.Array:
    """Gives the gains in the rank of the direction."""
    gain = wide(split["gain"])
    return jnp.reshape(gain, (1,) * (split["direction"].ndim - 1) + gain.shape)


def _expect_split(params: Tree) -> None:
    splits = kernels_of(params)
    if not splits or not all(is_split(split) for split in splits):
        came = describe(splits[0]) if splits else f"{describe(params)} without one"
        raise StructureError(
            f"expected params with each kernel as a dict of ['direction', 'gain'], got {came}. "
            "Pass the params that this network's init made."
        )
    for split in splits:
        direction, gain = split["direction"], split["gain"]
        if jnp.ndim(direction) < 1 or jnp.shape(gain) != jnp.shape(direction)[-1:]:
            raise ShapeError(
                f"expected a gain of shape {jnp.shape(direction)[-1:]}, one per output feature, got "
                f"{jnp.shape(gain)}. Pass the params that this network's init made."
            )
        if gain.dtype != direction.dtype:
            raise StructureError(
                f"expected a gain of dtype {direction.dtype}, that of the direction, got {gain.dtype}. "
                "Cast all parameters to one dtype."
            )
