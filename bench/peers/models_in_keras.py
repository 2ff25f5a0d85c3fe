"""The networks of the yardstick as Keras models; its layouts of weights are the yardstick's."""

import keras
from keras import layers


def make(problem):
    """The model. Its weights are the problem's arrays in their order."""
    return keras.Sequential([keras.Input(problem.xs.shape[2:]), *_PARTS[problem.kind](problem)])


def _mlp(problem):
    hidden = [layers.Dense(width, activation=problem.activation) for width in problem.widths[1:-1]]
    return [*hidden, layers.Dense(problem.widths[-1])]


def _cnn(problem):
    kernels = [kernel for kernel, _ in problem.weights]
    convolutions, dense = kernels[:-2], kernels[-2:]
    parts = []
    for kernel in convolutions:
        parts += [
            layers.Conv2D(kernel.shape[3], kernel.shape[:2], padding="same", activation="relu"),
            layers.MaxPooling2D(2),
        ]
    first, last = (kernel.shape[1] for kernel in dense)
    return [*parts, layers.Flatten(), layers.Dense(first, activation="relu"), layers.Dense(last)]


def _lstm(problem):
    (_, recurrent, _), (dense, _) = problem.weights
    return [layers.LSTM(recurrent.shape[0]), layers.Dense(dense.shape[1])]


_PARTS = {"mlp": _mlp, "cnn": _cnn, "lstm": _lstm}
