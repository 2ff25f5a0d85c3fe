"""A small problem to fit, with everything given that a test does not care about."""

import jax
import numpy as np
import optax

import purenet as pn

NET = pn.serial(pn.dense(8), pn.tanh, pn.dropout(0.1), pn.dense(3))
LOSS = pn.losses.softmax_cross_entropy
ADAM = optax.adam(1e-2)
METRICS = {"accuracy": pn.metrics.accuracy}


def data(n=50, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n).astype(np.int32)
    return (rng.normal(size=(n, 2)) + np.array([[0, 2], [2, 0], [-2, -2]])[labels]).astype(np.float32), labels


def fit(examples=None, **options):
    given = {"loss": LOSS, "optimizer": ADAM, "key": jax.random.key(0), "batch_size": 8, "epochs": 3} | options
    return pn.fit(given.pop("net", NET), data() if examples is None else examples, **given)
