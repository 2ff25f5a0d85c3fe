"""The networks of the yardstick as Flax NNX modules; `variables` names what holds each array."""

import functools
import itertools

import jax.numpy as jnp
from flax import nnx


class MLP(nnx.Module):
    """Linear layers with an activation between them."""

    def __init__(self, widths, activation, rngs):
        self.layers = nnx.List([nnx.Linear(*pair, rngs=rngs) for pair in itertools.pairwise(widths)])
        self.activation = getattr(nnx, activation)

    def __call__(self, x):
        """Applies the layers to a mini-batch."""
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return self.layers[-1](x)


class CNN(nnx.Module):
    """Convolutions with ReLU and pooling, then an MLP."""

    def __init__(self, shapes, widths, rngs):
        self.layers = nnx.List([nnx.Conv(inputs, outputs, sides, rngs=rngs) for *sides, inputs, outputs in shapes])
        self.dense = MLP(widths, "relu", rngs)
        self.pool = functools.partial(nnx.max_pool, window_shape=(2, 2), strides=(2, 2))

    def __call__(self, x):
        """From (B, height, width, channels) to logits."""
        for layer in self.layers:
            x = self.pool(nnx.relu(layer(x)))
        return self.dense(x.reshape(x.shape[0], -1))


class LSTM(nnx.Module):
    """An LSTM over the sequence, and a linear layer on the last output."""

    def __init__(self, inputs, hidden, outputs, rngs):
        self.rnn = nnx.RNN(nnx.OptimizedLSTMCell(inputs, hidden, rngs=rngs))
        self.dense = nnx.Linear(hidden, outputs, rngs=rngs)

    def __call__(self, x):
        """From (B, T, inputs) to logits."""
        return self.dense(self.rnn(x)[:, -1])


def make(problem):
    """The module of a problem."""
    rngs = nnx.Rngs(problem.seed)
    if problem.kind == "mlp":
        return MLP(problem.widths, problem.activation, rngs)
    if problem.kind == "cnn":
        shapes = [kernel.shape for kernel, _ in problem.weights if kernel.ndim == 4]
        dense = [kernel.shape for kernel, _ in problem.weights[len(shapes) :]]
        return CNN(shapes, [dense[0][0], *(outputs for _, outputs in dense)], rngs)
    (kernel, recurrent, _), (dense, _) = problem.weights
    return LSTM(kernel.shape[0], *recurrent.shape[:1], dense.shape[1], rngs)


def variables(problem, model):
    """The variables of the module in the order of the problem's arrays, a list for each layer."""
    if problem.kind == "lstm":
        cell = model.rnn.cell
        return [
            [cell.dense_i.kernel, cell.dense_h.kernel, cell.dense_h.bias],
            [model.dense.kernel, model.dense.bias],
        ]
    layers = model.layers if problem.kind == "mlp" else [*model.layers, *model.dense.layers]
    return [[layer.kernel, layer.bias] for layer in layers]


def set_all(variables, weights):
    """Writes the arrays into the variables, anew, as what is donated is gone."""
    for layer, arrays in zip(variables, weights, strict=True):
        for variable, array in zip(layer, arrays, strict=True):
            variable[...] = jnp.array(array)
