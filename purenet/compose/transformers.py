"""transformer_block: attention and a network of two layers, each with a way around it."""

from typing import Any

import jax

from purenet.compose.chain import serial
from purenet.compose.fan import residual
from purenet.compose.mapped import each
from purenet.contract import Layer, as_layer
from purenet.errors import ShapeError, StructureError, at, describe, is_whole
from purenet.layers.attending import attention
from purenet.layers.centred import layer_norm
from purenet.layers.gated import gelu
from purenet.layers.linear import Initializer, dense
from purenet.layers.noise import dropout


def transformer_block(
    features: int,
    heads: int,
    *,
    hidden: int | None = None,
    kv_heads: int | None = None,
    causal: bool = False,
    rotary: float | None = None,
    drop_prob: float = 0.0,
    activation: Any = gelu,
    norm: Any = None,
    bias: bool = True,
    kernel_init: Initializer = jax.nn.initializers.glorot_uniform(),
) -> Layer:
    """A block of a transformer, normalised in front: x' = x + attention(norm(x)), y = x' + W₂ f(W₁ norm(x')).

    Several follow each other in `serial`, or, compiled once, in `repeat`; a last norm belongs behind them. For other
    wirings (masks, cross-attention) put `pn.attention` into a `pn.graph`.

    Args:
      features: the number C of features of x.
      heads: the number of heads, a divisor of C.
      hidden: the number of hidden units between W₁ and W₂; left out, 4 C.
      kv_heads: as in `pn.attention`.
      causal: whether position t sees only positions up to t.
      rotary: as in `pn.attention`.
      drop_prob: what dropout drops of both ways before they are added to x, 0 <= drop_prob < 1.
      activation: f, a layer or a function of one example.
      norm: the normalisation, a layer that keeps the shape (T, C); left out, `pn.layer_norm()`, without offset where
        `bias` is False.
      bias: whether projections and dense layers have biases.
      kernel_init: makes each kernel from a key; any of `jax.nn.initializers`.

    Returns:
      A layer from (T, C) to (T, C). It is `serial(residual(norm, attention, dropout), residual(norm, each(dense,
      activation, dense), dropout))`, so are its params, and without `drop_prob` there is no dropout.

    Raises:
      ShapeError: if a number is out of range, or `heads` does not divide `features`; at trace time, if x is not (T, C).
      StructureError: if an argument is of another type; at trace time, for other dtypes or other params.

    Derivation:
      By composition: reversed pullbacks, and at both ways around δ and what the layer makes of it add up: with
      δ' = δ + (∂mlp∘norm/∂x')ᵀδ, dJ/dx = δ' + (∂attention∘norm/∂x)ᵀδ'.

    References:
      Vaswani and others (2017), Attention is all you need, section 3.1.
      Xiong and others (2020), On layer normalization in the transformer architecture, table 1 (pre-LN).

    Example:
      >>> import jax, jax.numpy as jnp, purenet as pn
      >>> block = pn.transformer_block(8, 2, causal=True)
      >>> params, state = block.init(jax.random.key(0), pn.spec((5, 8)))
      >>> sum(a.size for a in jax.tree.leaves(params)), block.apply(params, jnp.zeros((5, 8))).shape
      (872, (5, 8))
    """
    for what, value in {"features": features, "heads": heads, "hidden": hidden}.items():
        if value is not None or what != "hidden":
            _expect_count(what, value)
    if features % heads:
        raise ShapeError(
            f"transformer_block: expected heads that divide features = {features}, got {heads}. Change one."
        )
    with at("transformer_block"):
        inner = as_layer(activation)
        look = attention(heads, kv_heads=kv_heads, causal=causal, rotary=rotary, bias=bias, kernel_init=kernel_init)
        norms = layer_norm(offset=bias) if norm is None else as_layer(norm)
        drop: tuple[Layer, ...] = (dropout(drop_prob),)
    wide, narrow = (
        dense(n, bias=bias, kernel_init=kernel_init) for n in (4 * features if hidden is None else hidden, features)
    )
    if not drop_prob:
        drop = ()
    think = each(serial(wide, inner, narrow))
    return serial(residual(norms, look, *drop), residual(norms, think, *drop))


def _expect_count(what: str, value: Any) -> None:
    if not is_whole(value):
        raise StructureError(
            f"transformer_block: expected {what} to be a whole number, got {describe(value)}. Give an int."
        )
    if value < 1:
        raise ShapeError(f"transformer_block: expected {what} of 1 or more, got {value}. Give their number.")
