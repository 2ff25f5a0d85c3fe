"""Layers that draw from their key in training."""

from typing import Any

import jax
import jax.numpy as jnp

import purenet as pn
from rows.base import LayerRow


def _dropped(params: Any, xs: jax.Array, state: Any, key: Any) -> jax.Array:
    """Dropout in plain JAX: the mask is what `forward` makes of ones."""
    mask, _ = pn.dropout(0.3).forward((), jnp.ones_like(xs), (), key)
    return xs * jax.lax.stop_gradient(mask)


ROWS = (LayerRow("dropout", lambda: pn.dropout(0.3), reference=_dropped, random=True),)
