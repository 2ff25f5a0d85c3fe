"""Several dense maps of one sequence as one product, and their hand rule."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from purenet.contract import Tree
from purenet.errors import ShapeError, StructureError, describe
from purenet.layers.products import product


def project(params: Tree, names: Sequence[str], xs: jax.Array) -> list[jax.Array]:
    """Gives xs Wₙ + bₙ for every name, as one product with the kernels side by side.

    Args:
      params: for every name a dict of "kernel", shape (C, Fₙ), and perhaps "bias".
      names: those to use.
      xs: shape (B, T, C).

    Returns:
      Arrays of shape (B, T, Fₙ).
    """
    ys = product(_flat(xs), _beside(params, names, "kernel"))
    if "bias" in params[names[0]]:
        ys = ys + _beside(params, names, "bias")[None]
    ys = jnp.reshape(ys, (*xs.shape[:-1], ys.shape[-1]))
    return _apart(params, names, ys)


def project_back(
    params: Tree, names: Sequence[str], xs: jax.Array, dys: Sequence[jax.Array]
) -> tuple[dict[str, Tree], jax.Array]:
    """Gives the cotangents of the params of `names`, and of xs, from those of what `project` gives.

    Derivation:
      Side by side the maps are one dense layer with W = (W₁ W₂ …) and δ = (δ₁ δ₂ …): dJ/dW = xᵀδ, dJ/db = δᵀ1 and dJ/dx
      = δWᵀ = Σ δₙWₙᵀ, with all examples and positions as rows.
    """
    deltas = _flat(jnp.concatenate(dys, axis=-1) if len(dys) > 1 else dys[0])
    kernels = _apart(params, names, product(_flat(xs).T, deltas))
    dparams = {name: {"kernel": kernel} for name, kernel in zip(names, kernels, strict=True)}
    if "bias" in params[names[0]]:
        for name, bias in zip(names, _apart(params, names, jnp.sum(deltas, axis=0)), strict=True):
            dparams[name]["bias"] = bias
    dxs = product(deltas, _beside(params, names, "kernel").T)
    return dparams, jnp.reshape(dxs, xs.shape)


def expect_projection(params: Tree, name: str, bias: bool, like: Tree) -> None:
    """Raises unless params are those of one projection, in the dtype of `like`."""
    names = ["bias", "kernel"] if bias else ["kernel"]
    if not isinstance(params, dict) or sorted(params) != names:
        came = f"a dict of {sorted(params)}" if isinstance(params, dict) else describe(params)
        raise StructureError(
            f"expected params[{name!r}] to be a dict of {names}, got {came}. "
            "Pass the params that this network's init made."
        )
    shapes = {part: jnp.shape(params[part]) for part in reversed(names)}
    if len(shapes["kernel"]) != 2 or (bias and shapes["bias"] != shapes["kernel"][1:]):
        raise ShapeError(
            f"expected params[{name!r}] with a kernel of shape (n, m)"
            f"{' and a bias of shape (m,)' if bias else ''}, got {', '.join(map(str, shapes.values()))}. "
            "Pass the params that this network's init made."
        )
    for part in names:
        if params[part].dtype != like["kernel"].dtype:
            raise StructureError(
                f"expected params[{name!r}][{part!r}] of dtype {like['kernel'].dtype}, that of the first kernel, got "
                f"{params[part].dtype}. Cast all parameters to one dtype."
            )


def _beside(params: Tree, names: Sequence[str], part: str) -> jax.Array:
    arrays = [params[name][part] for name in names]
    return jnp.concatenate(arrays, axis=-1) if len(arrays) > 1 else arrays[0]


def _apart(params: Tree, names: Sequence[str], a: jax.Array) -> list[jax.Array]:
    ends: list[Any] = []
    for name in names[:-1]:
        ends.append((ends[-1] if ends else 0) + params[name]["kernel"].shape[1])
    return jnp.split(a, ends, axis=-1)


def _flat(a: jax.Array) -> jax.Array:
    """All examples and positions as rows; an empty mini-batch has none."""
    return jnp.reshape(a, (a.shape[0] * a.shape[1], a.shape[2]))
