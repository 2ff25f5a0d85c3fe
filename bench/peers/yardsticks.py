"""The networks that the peers train, in NumPy and float64: what they are, how their weights lie, and their outputs.

mlp          [(kernel (in, out), bias), …]
cnn          3×3 convolutions "same", each with ReLU and a 2×2 maximum: (kernel (3, 3, in, out), bias); then, from
(height, width, channels) flattened, dense layers with ReLU between them: (kernel, bias)
lstm         (kernel (in, 4·hidden), recurrent (hidden, 4·hidden), bias), gates input, forget, candidate, output;
the last output goes into a dense layer: (kernel, bias)
transformer  (embedding (tokens, width), positions (length, width)); for each block the scale of a norm, the
kernel of queries, keys and values (width, 3·width), that of the output, the scale of a norm, two
kernels with a GELU (its exact form) between them; last (scale of a norm,), and the logits are products
with the embedding. Heads of 32, causal, no biases.
"""

import math

import numpy as np

HEAD = 32
_EPSILON = 1e-5
_erf = np.vectorize(math.erf, otypes=[np.float64])


def outputs(problem, weights, xs):
    """The outputs of a problem's network with these weights, for all examples."""
    wide = [tuple(np.asarray(a, np.float64) for a in layer) for layer in weights]
    return OUTPUTS[problem.kind](problem, wide, xs)


def _mlp(problem, weights, xs):
    activation = np.tanh if problem.activation == "tanh" else _relu
    return _dense_layers(weights, xs.astype(np.float64), activation)


def _cnn(problem, weights, xs):
    parts = [_cnn_of(weights, part.astype(np.float64)) for part in np.array_split(xs, -(-len(xs) // 256))]
    return np.concatenate(parts)


def _cnn_of(weights, xs):
    convolutions = [layer for layer in weights if layer[0].ndim == 4]
    for kernel, bias in convolutions:
        padded = np.pad(xs, ((0, 0), (1, 1), (1, 1), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))  # (…, in, 3, 3)
        xs = _relu(np.tensordot(windows, kernel, ((4, 5, 3), (0, 1, 2))) + bias)
        n, height, width, channels = xs.shape
        xs = xs.reshape(n, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))
    return _dense_layers(weights[len(convolutions) :], xs.reshape(len(xs), -1), _relu)


def _lstm(problem, weights, xs):
    (kernel, recurrent, bias), *dense = weights
    hidden = recurrent.shape[0]
    h = c = np.zeros((len(xs), hidden))
    for x in xs.transpose(1, 0, 2).astype(np.float64):
        i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4, axis=1)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        h = _sigmoid(o) * np.tanh(c)
    return _dense_layers(dense, h, _relu)


def _transformer(problem, weights, xs):
    (embedding, positions), *blocks, (last,) = weights
    h = embedding[xs] + positions[: xs.shape[1]]
    for scale, qkv, out, second, up, down in blocks:
        h = h + _attention(_norm(h, scale) @ qkv) @ out
        inner = _norm(h, second) @ up
        h = h + (inner * (1 + _erf(inner / 2**0.5)) / 2) @ down
    return _norm(h, last) @ embedding.T


def _attention(qkv):
    n, length, width = qkv.shape
    heads = width // 3 // HEAD
    q, k, v = qkv.reshape(n, length, 3, heads, HEAD).transpose(2, 0, 3, 1, 4)
    scores = q @ k.transpose(0, 1, 3, 2) / HEAD**0.5
    scores = np.where(np.tri(length, dtype=bool), scores, -np.inf)
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    out = scores / scores.sum(axis=-1, keepdims=True) @ v
    return out.transpose(0, 2, 1, 3).reshape(n, length, heads * HEAD)


def _norm(x, scale):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + _EPSILON) * scale


def _dense_layers(weights, xs, activation):
    for i, (kernel, bias) in enumerate(weights):
        xs = (activation(xs) if i else xs) @ kernel + bias
    return xs


def _relu(x):
    return np.maximum(x, 0)


def _sigmoid(x):
    return 0.5 * (1 + np.tanh(x / 2))


OUTPUTS = {"mlp": _mlp, "cnn": _cnn, "lstm": _lstm, "transformer": _transformer}
