"""The parameters of convolutions, a kernel and a bias: made, and checked."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purenet.contract import Spec, Tree
from purenet.errors import ShapeError, StructureError, describe, expect_key, is_whole

Initializer = Callable[..., jax.Array]


def as_count(name: str, what: str, value: Any) -> int:
    """Takes a whole number of 1 or more."""
    if not is_whole(value):
        raise StructureError(f"{name}: expected {what} to be a whole number, got {value!r}. Give an int.")
    if value < 1:
        raise ShapeError(f"{name}: expected {what} of 1 or more, got {value}. Give an int of 1 or more.")
    return int(value)


def expect_channels(x: Spec) -> int:
    """Gives the number of channels, after refusing none."""
    channels = int(x.shape[-1])
    if not channels:
        raise ShapeError(f"expected x with a channel or more on its last axis, got {x.shape}. Put the channels last.")
    return channels


def made_params(
    key: Any,
    shape: tuple[int, ...],
    dtype: Any,
    bias: bool,
    kernel_init: Initializer,
    bias_init: Initializer,
) -> Tree:
    """Draws the kernel, and the bias if there is one."""
    expect_key(key)
    kernel_key, bias_key = jax.random.split(key)
    params = {"kernel": kernel_init(kernel_key, shape, dtype)}
    if bias:
        params["bias"] = bias_init(bias_key, shape[-1:], dtype)
    return params


def expect_params(params: Tree, shape: tuple[int, ...], bias: bool, x: Spec) -> None:
    """Raises unless the params are a kernel of this shape and its bias, in the dtype of x."""
    names = ["bias", "kernel"] if bias else ["kernel"]
    if not isinstance(params, dict) or sorted(params) != names:
        came = f"a dict of {sorted(params)}" if isinstance(params, dict) else describe(params)
        raise StructureError(
            f"expected params to be a dict of {names}, got {came}. Pass the params that this network's init made."
        )
    for name in reversed(names):
        expected, given = (shape if name == "kernel" else shape[-1:]), jnp.shape(params[name])
        if given != expected:
            raise ShapeError(
                f"expected params[{name!r}] of shape {expected} for x of shape {x.shape}, got {given}. "
                "Pass the params that init made for such x."
            )
        if params[name].dtype != x.dtype:
            raise StructureError(
                f"expected params[{name!r}] of dtype {np.dtype(x.dtype)}, that of x, got {params[name].dtype}. "
                "Cast x or the parameters with astype."
            )
