"""Keras 3 on its JAX backend, as its guides have it: `compile` and `fit`, which jits the update and donates its state.

`steps_per_execution` is what its reference advises for "small models with a large Python overhead".
"""

import functools
import os

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import models_in_keras
import numpy as np
from keras import ops

PACKAGES = ("keras", "jax", "jaxlib")


def _half_squared_error(y_true, y_pred):
    return 0.5 * ops.sum(ops.square(y_pred - y_true), axis=-1)


_LOSSES = {
    "half_squared_error": _half_squared_error,
    "softmax_cross_entropy": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
}


def fit(problem, steps_per_execution=1):
    """One call of fit, one pass over the mini-batches end to end; the model is built and compiled once."""
    xs, ys = (a.reshape(-1, *a.shape[2:]) for a in (problem.xs, problem.ys))
    model = models_in_keras.make(problem)
    model.compile(
        optimizer=keras.optimizers.Adam(problem.rate, epsilon=1e-8),
        loss=_LOSSES[problem.loss],
        steps_per_execution=steps_per_execution,
    )
    model.optimizer.build(model.trainable_variables)
    beginning = [np.array(variable) for variable in model.optimizer.variables]

    def start():
        model.set_weights([a for layer in problem.weights for a in layer])
        for variable, value in zip(model.optimizer.variables, beginning, strict=True):
            variable.assign(value)
        return jax.block_until_ready([variable.value for variable in model.variables]) and model

    def run(model):
        model.fit(xs, ys, batch_size=problem.xs.shape[1], epochs=1, shuffle=False, verbose=0)
        jax.block_until_ready([variable.value for variable in model.variables])
        return model

    def weights(model):
        arrays = iter(model.get_weights())
        return [tuple(next(arrays) for _ in layer) for layer in problem.weights]

    return start, run, weights


CONTENDERS = {
    "Keras fit": fit,
    "Keras fit, steps_per_execution=128": functools.partial(fit, steps_per_execution=128),
}
