"""Runs to report: one of fit, and others put together from drawn params, which costs no training."""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

import purenet as pn

CE, HALF = pn.losses.softmax_cross_entropy, pn.losses.half_squared_error


class Shot(NamedTuple):
    epoch: int
    params: Any
    state: Any


class Result(NamedTuple):
    snapshots: tuple
    history: dict


class Run(NamedTuple):
    result: Any
    net: Any
    loss: Any
    data: Any

    @property
    def given(self):
        return {"net": self.net, "loss": self.loss, "data": self.data}


def blobs(n=60):
    rng = np.random.default_rng(n)
    labels = rng.integers(0, 2, n).astype(np.int32)
    return (rng.normal(size=(n, 2)) + np.array([[0, 2], [2, 0]])[labels]).astype(np.float32), labels


@functools.cache
def fitted():
    """Four epochs of fit."""
    net, data = pn.serial(pn.dense(8), pn.tanh, pn.dense(2)), blobs()
    result = pn.fit(
        net, data, loss=CE, optimizer=optax.adam(0.05), key=jax.random.key(0), batch_size=10, epochs=4, snapshots=1,
        validation=blobs(20), metrics={"accuracy": pn.metrics.accuracy},
    )  # fmt: skip
    return Run(result, net, CE, data)


def drawn(net, loss, data, frames=3, history=None):
    """A run whose snapshots are drawn one by one, the first layer's weights growing."""
    params, state = net.init(jax.random.key(0), pn.spec(data[0].shape[1:]))
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(1)
    shots = []
    for epoch in range(frames):
        values = [np.asarray(leaf + 0.1 * epoch * rng.normal(size=leaf.shape).astype(leaf.dtype)) for leaf in leaves]
        shots.append(Shot(epoch, jax.tree.unflatten(tree, values), state))
    if history is None:
        history = {"loss": np.linspace(1, 0.5, frames - 1)}
    return Run(Result(tuple(shots), history), net, loss, data)


def floats(*shape):
    return np.random.default_rng(2).normal(size=shape).astype(np.float32)


def whole(most, n):
    return np.random.default_rng(3).integers(0, most, n).astype(np.int32)
