"""maxout: every output is the largest of several weighted sums."""

from typing import Any

import jax
import jax.numpy as jnp

from purenet.contract import Layer, Spec, Tree, layer
from purenet.errors import (
    ShapeError,
    StructureError,
    describe,
    expect_array,
    expect_flags,
    expect_key,
    expect_shape,
    is_whole,
)
from purenet.layers.largest import largest, largest_value, shares
from purenet.layers.linear import Initializer
from purenet.layers.products import product


def maxout(
    features: int,
    pieces: int,
    *,
    bias: bool = True,
    kernel_init: Initializer = jax.nn.initializers.glorot_uniform(),
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Layer:
    """Maxout, y_j = max_k (x W_k + b_k)_j: every output is a convex function of x made of straight pieces.

    Args:
      features: the number m of outputs, 1 or more.
      pieces: the number of weighted sums of which each output is the largest, 1 or more; with 1 it is `dense`.
      bias: whether b is there.
      kernel_init: makes each W_k, shape (n, m), from a key of its own; any of `jax.nn.initializers`.
      bias_init: makes b, shape (pieces, m).

    Returns:
      A layer from shape (n,) to (m,) in the dtype of its spec; params `{"kernel": W, "bias": b}` with W of shape
      (n, pieces, m).

    Raises:
      ShapeError: if `features` or `pieces` is below 1; at trace time, if x has not n elements on one axis.
      StructureError: if `features` or `pieces` is not a whole number or `bias` no truth value; at trace time, for other
        dtypes or other params.

    Derivation:
      With Z_k = X W_k + 1b_kᵀ and δ = dJ/dY, dJ/dZ_k is δ where piece k is the largest and 0 elsewhere; where several
      are, the first takes it all (any division among them is a subgradient). Then as for `dense`: dJ/dW_k = XᵀdJ/dZ_k,
      dJ/db_k sums dJ/dZ_k over the mini-batch, and dJ/dX = Σ_k dJ/dZ_k W_kᵀ.

    References:
      Goodfellow, Warde-Farley, Mirza, Courville and Bengio (2013), Maxout networks, section 3.

    Example:
      >>> import jax, jax.numpy as jnp, purenet as pn
      >>> net = pn.maxout(1, 2)
      >>> params = {"kernel": jnp.array([[[1.0], [-1.0]]]), "bias": jnp.zeros((2, 1))}
      >>> [net.apply(params, jnp.array([x])).tolist() for x in (-2.0, 3.0)]  # |x|
      [[2.0], [3.0]]
    """
    for what, count in {"features": features, "pieces": pieces}.items():
        if not is_whole(count):
            raise StructureError(f"maxout: expected {what} to be a whole number, got {describe(count)}. Give an int.")
        if count < 1:
            raise ShapeError(f"maxout: expected {what} of 1 or more, got {count}. Give how many there are.")
    expect_flags("maxout", bias=bias)

    def init(key: Any, spec: Spec) -> tuple[Tree, Tree]:
        expect_array(spec, "spec")
        if len(spec.shape) != 1:
            raise ShapeError(
                f"expected a spec with one axis, got {spec.shape}. "
                "Leave the mini-batch axis out; put pn.flatten before it, or pn.each around it to map it over an axis."
            )
        expect_key(key)
        bias_key, *kernel_keys = jax.random.split(key, pieces + 1)
        kernels = [kernel_init(kernel_key, (spec.shape[0], features), spec.dtype) for kernel_key in kernel_keys]
        params = {"kernel": jnp.stack(kernels, axis=1)}
        if bias:
            params["bias"] = bias_init(bias_key, (pieces, features), spec.dtype)
        return params, ()

    def check(params: Tree, x: Spec) -> None:
        kernel = _checked_params(params, (pieces, features), bias)
        expect_shape(x, (kernel.shape[0],), kernel.dtype)

    def flat(kernel: jax.Array) -> jax.Array:
        return jnp.reshape(kernel, (kernel.shape[0], pieces * features))

    def sums(params: Tree, xs: jax.Array) -> list[jax.Array]:
        """Each piece's weighted sums, all of them by one matrix product."""
        zs = product(xs, flat(params["kernel"]))
        if bias:
            zs = zs + jnp.reshape(params["bias"], (1, pieces * features))
        return [zs[:, k * features : (k + 1) * features] for k in range(pieces)]

    def apply(params: Tree, x: jax.Array) -> jax.Array:
        zs = jnp.dot(x, flat(params["kernel"]))
        if bias:
            zs = zs + jnp.reshape(params["bias"], (pieces * features,))
        return largest([zs[k * features : (k + 1) * features] for k in range(pieces)])

    def forward(params: Tree, xs: jax.Array, state: Tree, key: Any) -> tuple[jax.Array, Tree]:
        return largest(sums(params, xs)), state

    def vjp(params: Tree, xs: jax.Array, state: Tree, key: Any) -> Any:
        zs = sums(params, xs)
        ys = largest_value(zs)
        return ys, state, jax.tree_util.Partial(pullback, params["kernel"], xs, zs, ys)

    def pullback(kernel: jax.Array, xs: jax.Array, zs: Any, ys: jax.Array, dys: jax.Array) -> tuple[Tree, jax.Array]:
        dzs = jnp.concatenate(shares(zs, ys, dys), axis=1)
        dparams = {"kernel": jnp.reshape(product(xs.T, dzs), kernel.shape)}
        if bias:
            dparams["bias"] = jnp.reshape(jnp.sum(dzs, axis=0), (pieces, features))
        return dparams, product(dzs, flat(kernel).T)

    return layer(apply, init=init, forward=forward, vjp=vjp, check=check, name="maxout")


def _checked_params(params: Tree, shape: tuple[int, int], bias: bool) -> jax.Array:
    """Gives the kernel, after refusing the params of another layer."""
    names = ["bias", "kernel"] if bias else ["kernel"]
    if not isinstance(params, dict) or sorted(params) != names:
        came = f"a dict of {sorted(params)}" if isinstance(params, dict) else describe(params)
        raise StructureError(
            f"expected params to be a dict of {names}, got {came}. Pass the params that this network's init made."
        )
    kernel: jax.Array = params["kernel"]
    for name in names:
        got = jnp.shape(params[name])
        if got[name == "kernel" :] != shape or len(got) != 2 + (name == "kernel"):
            shown = f"(n, {shape[0]}, {shape[1]})" if name == "kernel" else str(shape)
            raise ShapeError(
                f"expected params[{name!r}] of shape {shown}, got {got}. Pass the params that this network's init made."
            )
    if bias and params["bias"].dtype != kernel.dtype:
        raise StructureError(
            f"expected params['bias'] of dtype {kernel.dtype}, that of the kernel, got {params['bias'].dtype}. "
            "Cast all parameters to one dtype."
        )
    return kernel
