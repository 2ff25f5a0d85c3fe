"""Layers that draw from their key in training."""

from typing import Any

import jax
import jax.numpy as jnp

import purenet as pn
from rows.base import LayerRow


def _reference(net: pn.Layer) -> Any:
    """A dropout in plain JAX: y = a x + b, where b is what `forward` makes of zeros, and a + b of ones."""

    def reference(params: Any, xs: jax.Array, state: Any, key: Any) -> jax.Array:
        offset, _ = net.forward((), jnp.zeros_like(xs), (), key)
        both, _ = net.forward((), jnp.ones_like(xs), (), key)
        return xs * jax.lax.stop_gradient(both - offset) + jax.lax.stop_gradient(offset)

    return reference


def _row(name: str, net: pn.Layer, **more: Any) -> LayerRow:
    return LayerRow(name, lambda: net, reference=_reference(net), random=True, **more)


ROWS = (
    _row("dropout", pn.dropout(0.3)),
    _row("channel_dropout", pn.channel_dropout(0.3), shapes=((5,), (2, 3, 2))),
    _row("drop_path", pn.drop_path(0.5), shapes=((3,), (), (2, 2))),
    _row("gaussian_noise", pn.gaussian_noise(0.5)),
    _row("gaussian_dropout", pn.gaussian_dropout(0.3)),
    _row("alpha_dropout", pn.alpha_dropout(0.3)),
)
