"""The dense layer: every output is a weighted sum of every input, plus a bias."""

from collections.abc import Callable
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
from purenet.layers.products import product

Initializer = Callable[..., jax.Array]


def dense(
    features: int,
    *,
    bias: bool = True,
    kernel_init: Initializer = jax.nn.initializers.glorot_uniform(),
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Layer:
    """Fully connected layer, y = x W + b.

    Args:
      features: the number m of outputs, 1 or more.
      bias: whether b is there.
      kernel_init: makes W, shape (n, m), from a key; any of `jax.nn.initializers`.
      bias_init: makes b, shape (m,).

    Returns:
      A layer from shape (n,) to (m,) in the dtype of its spec; params `{"kernel": W, "bias": b}`.

    Raises:
      ShapeError: if `features` is below 1; at trace time, if x has not n elements on one axis.
      StructureError: if `features` is not a whole number or `bias` no truth value; at trace time, for other dtypes or
        other params.

    Derivation:
      The mini-batch as rows: Y = X W + 1bᵀ, and δ = dJ/dY. With dY = dX W + X dW + 1dbᵀ and
      dJ = tr(δᵀ dY), reading off the factors gives dJ/dW = Xᵀδ, dJ/db = δᵀ1 and dJ/dX = δWᵀ.

    References:
      Rumelhart, Hinton and Williams (1986), Learning representations by back-propagating errors, eqs. 4-6.
      Glorot and Bengio (2010), Understanding the difficulty of training deep feedforward networks, eq. 16.

    Example:
      >>> import jax, purenet as pn
      >>> net = pn.dense(3)
      >>> params, state = net.init(jax.random.key(0), pn.spec(2))
      >>> jax.tree.map(lambda a: a.shape, params)
      {'bias': (3,), 'kernel': (2, 3)}
      >>> net.apply(params, jax.numpy.zeros(2)).tolist()
      [0.0, 0.0, 0.0]
    """
    if not is_whole(features):
        raise StructureError(f"dense: expected features to be a whole number, got {features!r}. Give an int.")
    if features < 1:
        raise ShapeError(f"dense: expected features of 1 or more, got {features}. Give the number of outputs.")
    expect_flags("dense", bias=bias)

    def init(key: Any, spec: Spec) -> tuple[Tree, Tree]:
        expect_array(spec, "spec")
        if len(spec.shape) != 1:
            raise ShapeError(
                f"expected a spec with one axis, got {spec.shape}. "
                "Leave the mini-batch axis out; put pn.flatten before it, or pn.each around it to map it over an axis."
            )
        expect_key(key)
        kernel_key, bias_key = jax.random.split(key)
        params = {"kernel": kernel_init(kernel_key, (spec.shape[0], features), spec.dtype)}
        if bias:
            params["bias"] = bias_init(bias_key, (features,), spec.dtype)
        return params, ()

    def check(params: Tree, x: Spec) -> None:
        kernel = _checked_params(params, features, bias)
        expect_shape(x, (kernel.shape[0],), kernel.dtype)

    def apply(params: Tree, x: jax.Array) -> jax.Array:
        y = jnp.dot(x, params["kernel"])
        return y + params["bias"] if bias else y

    def forward(params: Tree, xs: jax.Array, state: Tree, key: Any) -> tuple[jax.Array, Tree]:
        ys = product(xs, params["kernel"])
        return (ys + params["bias"][None] if bias else ys), state

    def vjp(params: Tree, xs: jax.Array, state: Tree, key: Any) -> Any:
        return *forward(params, xs, state, key), jax.tree_util.Partial(pullback, params["kernel"], xs)

    def pullback(kernel: jax.Array, xs: jax.Array, dys: jax.Array) -> tuple[Tree, jax.Array]:
        dparams = {"kernel": product(xs.T, dys)}
        if bias:
            dparams["bias"] = jnp.sum(dys, axis=0)
        return dparams, product(dys, kernel.T)

    return layer(apply, init=init, forward=forward, vjp=vjp, check=check, name="dense")


def _checked_params(params: Tree, features: int, bias: bool) -> jax.Array:
    """Gives the kernel, after refusing the params of another layer."""
    names = ["bias", "kernel"] if bias else ["kernel"]
    if not isinstance(params, dict) or sorted(params) != names:
        came = f"a dict of {sorted(params)}" if isinstance(params, dict) else describe(params)
        raise StructureError(
            f"expected params to be a dict of {names}, got {came}. Pass the params that this network's init made."
        )
    for name in names:
        expected = ("n", features) if name == "kernel" else (features,)
        shape = jnp.shape(params[name])
        if len(shape) != len(expected) or shape[-1] != features:
            shown = f"({', '.join(map(str, expected))}{',' if len(expected) == 1 else ''})"
            raise ShapeError(
                f"expected params[{name!r}] of shape {shown}, got {shape}. "
                "Pass the params that this network's init made."
            )
    kernel: jax.Array = params["kernel"]
    if bias and params["bias"].dtype != kernel.dtype:
        raise StructureError(
            f"expected params['bias'] of dtype {kernel.dtype}, that of the kernel, got {params['bias'].dtype}. "
            "Cast all parameters to one dtype."
        )
    return kernel
