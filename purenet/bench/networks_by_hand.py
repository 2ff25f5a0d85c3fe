"""Larger networks written by hand in plain JAX, as people write them: what purenet's are measured against.

Nothing of purenet is used here. Weights are a list with a tuple of arrays a layer; `bench/peers/yardsticks.py` says
which. Each function gives the mean loss of a mini-batch with integer labels.
"""

from typing import Any

import jax
import jax.numpy as jnp

Weights = list[tuple[jax.Array, ...]]
_HEAD, _EPSILON = 32, 1e-5


def cnn(weights: Weights, xs: jax.Array, ys: jax.Array) -> jax.Array:
    """Convolutions with ReLU and 2×2 maxima, then dense layers; pooling by reshape, which is faster on CPUs."""
    convolutions = [layer for layer in weights if layer[0].ndim == 4]
    for kernel, bias in convolutions:
        xs = jax.lax.conv_general_dilated(xs, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        xs = jax.nn.relu(xs + bias)
        n, height, width, channels = xs.shape
        xs = xs.reshape(n, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))
    xs = xs.reshape(len(xs), -1)
    for i, (kernel, bias) in enumerate(weights[len(convolutions) :]):
        xs = (jax.nn.relu(xs) if i else xs) @ kernel + bias
    return _cross_entropy(xs, ys)


def lstm(weights: Weights, xs: jax.Array, ys: jax.Array) -> jax.Array:
    """A scan over time, and a dense layer on the last output."""
    layer, (kernel, bias) = weights
    return _cross_entropy(lstm_outputs(layer, xs)[:, -1] @ kernel + bias, ys)


def lstm_outputs(layer: tuple[jax.Array, ...], xs: jax.Array) -> jax.Array:
    """The outputs at all times, shape (B, T, hidden)."""
    kernel, recurrent, bias = layer

    def step(carry: Any, x: jax.Array) -> tuple[Any, jax.Array]:
        h, c = carry
        i, f, g, o = jnp.split(x @ kernel + h @ recurrent + bias, 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    start = jnp.zeros((len(xs), recurrent.shape[0]), xs.dtype)
    return jax.lax.scan(step, (start, start), xs.swapaxes(0, 1))[1].swapaxes(0, 1)


def transformer(weights: Weights, xs: jax.Array, ys: jax.Array) -> jax.Array:
    """Blocks of causal attention and a two-layer network, norms first, the embedding tied to the output."""
    (embedding, positions), *blocks, (last,) = weights
    h = embedding[xs] + positions[: xs.shape[1]]
    for scale, qkv, out, second, up, down in blocks:
        q, k, v = jnp.split(_norm(h, scale) @ qkv, 3, axis=-1)
        q, k, v = (a.reshape(*a.shape[:2], -1, _HEAD) for a in (q, k, v))
        h = h + jax.nn.dot_product_attention(q, k, v, is_causal=True).reshape(h.shape) @ out
        h = h + jax.nn.gelu(_norm(h, second) @ up, approximate=False) @ down
    return _cross_entropy(_norm(h, last) @ embedding.T, ys)


def _norm(x: jax.Array, scale: jax.Array) -> jax.Array:
    mean, variance = x.mean(axis=-1, keepdims=True), x.var(axis=-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + _EPSILON) * scale


def _cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    logs = jax.nn.log_softmax(logits)
    return -jnp.mean(jnp.take_along_axis(logs, labels[..., None], axis=-1))
