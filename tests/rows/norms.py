"""Normalisations."""

from typing import Any

import jax
import jax.numpy as jnp

import purenet as pn
from rows.base import LayerRow


def _by_batch(params: Any, xs: jax.Array, state: Any, key: Any) -> jax.Array:
    """Batch normalisation of a mini-batch in plain JAX."""
    axes = tuple(range(xs.ndim - 1))
    scale, offset = (jnp.reshape(params[name], (*[1] * (xs.ndim - 1), -1)) for name in ("scale", "offset"))
    centred = xs - jnp.mean(xs, axes, keepdims=True)
    return centred / jnp.sqrt(jnp.mean(centred**2, axes, keepdims=True) + 1e-5) * scale + offset


def _by_batch_bare(params: Any, xs: jax.Array, state: Any, key: Any) -> jax.Array:
    """The same without scale and offset."""
    features = xs.shape[-1:]
    return _by_batch({"scale": jnp.ones(features, xs.dtype), "offset": jnp.zeros(features, xs.dtype)}, xs, state, key)


def _by_spectrum(params: Any, xs: jax.Array, state: Any, key: Any) -> jax.Array:
    """A dense layer with W/σ after 200 rounds of power iteration, in plain JAX."""
    kernel, pair = params[0]["kernel"], state[0]["vectors"][0]

    def improve(_: Any, pair: Any) -> Any:
        right = kernel.T @ pair["left"]
        left = kernel @ (right / jnp.linalg.norm(right))
        return {"left": left / jnp.linalg.norm(left), "right": right / jnp.linalg.norm(right)}

    pair = jax.lax.stop_gradient(jax.lax.fori_loop(0, 200, improve, pair))
    return xs @ (kernel / (pair["left"] @ kernel @ pair["right"])) + params[0]["bias"][None]


ROWS = (
    LayerRow("layer_norm", pn.layer_norm, shapes=((4,), (2, 3))),
    LayerRow("layer_norm", lambda: pn.layer_norm(epsilon=0.1, scale=False, offset=False), shapes=((4,),)),
    LayerRow("rms_norm", pn.rms_norm, shapes=((4,), (2, 3))),
    LayerRow("group_norm", lambda: pn.group_norm(2), shapes=((2, 2, 4), (8,))),
    LayerRow("instance_norm", pn.instance_norm, shapes=((2, 2, 2), (3, 2))),
    LayerRow("batch_norm", pn.batch_norm, shapes=((2, 2, 2), (3,)), reference=_by_batch),
    LayerRow(
        "batch_norm", lambda: pn.batch_norm(scale=False, offset=False), shapes=((2, 2),), reference=_by_batch_bare
    ),
    LayerRow("weight_norm", lambda: pn.weight_norm(pn.dense(3)), shapes=((4,),)),
    LayerRow("weight_norm", lambda: pn.weight_norm(pn.residual(pn.dense(2), pn.dense(3))), shapes=((3,),)),
    # Only where power iteration has converged is the rule, with constant vectors, what central differences see.
    LayerRow(
        "spectral_norm",
        lambda: pn.spectral_norm(pn.dense(2), iterations=200),
        shapes=((3,),),
        reference=_by_spectrum,
    ),
)
