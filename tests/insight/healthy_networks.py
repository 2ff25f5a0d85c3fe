"""Networks that learn, of all kinds, at the start and after some training: nothing is wrong with them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from insight.sick_networks import ADAM, BASE, CE, CLASSES, FEATURES, MSE, TANH, N, blobs, case, curve, deep, full

import purenet as pn

ADAMW = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(3e-3))
WARM = optax.adam(optax.linear_schedule(0.0, 1e-2, 100))
MOMENTUM = optax.sgd(0.05, momentum=0.9)


def trained(arguments, options, updates=200):
    """The same case after some updates on mini-batches of 64."""
    (net, loss, state, data), optimizer = arguments, options["optimizer"]
    step = pn.train_step(net, loss, optimizer)
    n = len(jax.tree.leaves(data)[0])

    @jax.jit
    def run(state, data):
        def one(state, i):
            rows = (jnp.arange(64) * 7 + i * 61) % n
            return step(state, jax.tree.map(lambda a: a[rows], data))

        return jax.lax.scan(one, state, jnp.arange(updates))

    state, metrics = run(state, jax.tree.map(jnp.asarray, data))
    history = {"loss": np.asarray(metrics["loss"])[:: updates // 8], "step_loss": np.asarray(metrics["loss"])}
    return (net, loss, state, data), {**options, "history": history}


@functools.cache
def images():
    rng = np.random.default_rng(0)
    ys = rng.integers(0, 3, 256).astype(np.int32)
    xs = rng.uniform(0, 1, (256, 8, 8, 1)) * np.linspace(0, 1, 8)[None, :, None, None] ** ys[:, None, None, None]
    return xs.astype(np.float32), ys


@functools.cache
def sequences():
    rng = np.random.default_rng(0)
    xs = rng.normal(size=(256, 6, 4)).astype(np.float32)
    return xs, np.argmax(np.cumsum(xs, axis=1)[:, -1, :3], axis=1).astype(np.int32)


@functools.cache
def text():
    rng = np.random.default_rng(0)
    tokens = (np.arange(7) * rng.integers(1, 4, (256, 1)) + rng.integers(0, 11, (256, 1))) % 11
    return tokens[:, :-1].astype(np.int32), tokens[:, 1:].astype(np.int32)


def xor():
    xs = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    return xs, np.array([[0], [1], [1], [0]], np.float32)


def two_inputs():
    a, b = pn.node("a"), pn.node("b")
    together = pn.concatenate()(pn.relu(pn.dense(12)(a)), pn.tanh(pn.dense(12)(b)))
    return pn.graph((a, b), pn.dense(CLASSES)(together))


def halves():
    xs, ys = blobs()
    return (xs[:, :6], xs[:, 6:]), ys


def counts():
    xs = curve()[0]
    rates = np.exp(0.5 * xs[:, :1] + 1)
    return xs, np.random.default_rng(3).poisson(rates).astype(np.float32)


def binary(share=0.5):
    xs = blobs()[0]
    return xs, (xs[:, :1] > np.quantile(xs[:, 0], 1 - share)).astype(np.float32)


def pixels():
    """Grey values of 0 to 1, most of them black."""
    xs = np.clip(blobs()[0], 0, 3) / 3
    return xs.astype(np.float32), blobs()[1]


def one_hot_inputs():
    xs = np.eye(FEATURES, dtype=np.float32)[np.random.default_rng(0).integers(0, FEATURES, N)]
    return xs, (np.argmax(xs, axis=1) % CLASSES).astype(np.int32)


def distance(prediction, target):
    """A user's own loss."""
    return jnp.sum(jnp.abs(prediction - target) ** 1.5)


def with_weights():
    xs, ys = blobs()
    return xs, ys, np.linspace(0.5, 2, N).astype(np.float32)


def table():
    """A table of few distinct rows, which are in training and validation data alike."""
    xs = np.random.default_rng(0).integers(0, 2, (N, FEATURES // 4)).astype(np.float32)
    return np.repeat(xs, 4, axis=1), (xs.sum(axis=1) % 2).astype(np.int32)


def fine_course():
    falling = np.exp(-np.arange(12) / 4)
    return {"loss": falling, "step_loss": np.repeat(falling, 8), "val_loss": falling + 0.3 + 0.01 * np.arange(12)}


def without_optimizer():
    arguments, options = case()
    return arguments, {**options, "optimizer": None}


def zero_last(params):
    return (*params[:-1], jax.tree.map(jnp.zeros_like, params[-1]))


CONV = pn.serial(pn.conv(4, (3, 3)), pn.batch_norm(), pn.relu, pn.max_pool((2, 2)), pn.flatten, pn.dense(3))
LSTM = pn.serial(pn.lstm(8), lambda x: x[-1], pn.dense(3))
WORDS = pn.serial(
    pn.embedding(11, 16), pn.transformer_block(16, 2, causal=True), pn.layer_norm(), pn.each(pn.dense(11))
)
RESIDUAL = pn.serial(pn.dense(16), pn.repeat(pn.residual(pn.layer_norm(), pn.dense(16), pn.gelu), 12), pn.dense(1))

# Those that share the one network of the sick, and are cheap therefore.
SHARED = {
    "at the start": lambda: case(),
    "at the start, by curvature": lambda: case(sharpness=True),
    "after training": lambda: trained(*case(validation=blobs(64, seed=1))),
    "after training, by curvature": lambda: trained(*case(sharpness=True), updates=400),
    "rate ten times larger": lambda: case(rate=1.0, sharpness=True),
    "rate a hundred times smaller": lambda: case(rate=1e-3),
    "last layer of zeros": lambda: case(change=zero_last),
    "pixels": lambda: case(data=pixels()),
    "labels sorted": lambda: case(data=tuple(a[np.argsort(blobs()[1], kind="stable")] for a in blobs())),
    "one-hot inputs": lambda: case(data=one_hot_inputs()),
    "few distinct rows": lambda: case(data=table(), validation=tuple(a[:64] for a in table())),
    "a fine course": lambda: case(history=fine_course()),
}
# Those that take programs of their own.
OWN = {
    "no optimizer": lambda: without_optimizer(),
    "few examples": lambda: case(data=tuple(a[:20] for a in blobs()), batch_size=8),
    "Adam": lambda: case(optimizer=ADAM, sharpness=True),
    "warm-up from 0": lambda: case(optimizer=WARM),
    "tanh, regression": lambda: case(TANH, MSE, curve(), optimizer=ADAMW),
    "one output for two classes": lambda: case(
        pn.serial(pn.dense(16), pn.relu, pn.dense(1)), pn.losses.sigmoid_cross_entropy, binary(0.3)
    ),
    "no hidden layer, zeros": lambda: case(pn.serial(pn.dense(CLASSES)), optimizer=ADAM, change=full(0.0)),
    "a loss of one's own": lambda: case(TANH, distance, curve()),
    "XOR, learned": lambda: trained(
        *case(pn.serial(pn.dense(16), pn.tanh, pn.dense(1)), MSE, xor(), optimizer=optax.adam(0.05), batch_size=None)
    ),
}
# Those whose programs take longest to compile, or teach least.
SLOW = {
    "Adam, after training": lambda: trained(*case(optimizer=ADAM, rate=1e-2, sharpness=True)),
    "momentum": lambda: trained(*case(optimizer=MOMENTUM, sharpness=True)),
    "ReLUs, 12 deep": lambda: case(deep(pn.relu, 12), MSE, curve(), optimizer=ADAMW),
    "probabilities": lambda: case(pn.serial(BASE, pn.softmax), pn.losses.categorical_cross_entropy),
    "counts": lambda: case(TANH, pn.losses.poisson_nll(), counts()),
    "mean and variance": lambda: case(
        pn.branch(pn.dense(1), pn.serial(pn.dense(1), pn.softplus)), pn.losses.gaussian_nll(), curve()
    ),
    "autoencoder": lambda: case(
        pn.serial(pn.dense(4), pn.relu, pn.dense(FEATURES)), pn.losses.half_squared_error, (blobs()[0], blobs()[0])
    ),
    "two inputs": lambda: case(two_inputs(), data=halves()),
    "weighted examples": lambda: case(data=with_weights()),
    "dropout": lambda: case(pn.serial(pn.dense(24), pn.relu, pn.dropout(0.5), pn.dense(CLASSES)), optimizer=ADAM),
    "inputs normalised by the network": lambda: case(
        pn.serial(pn.layer_norm(), BASE), data=(100 * blobs()[0] + 50, blobs()[1])
    ),
    "convolution and batch norm": lambda: case(CONV, data=images(), optimizer=ADAM),
    "LSTM": lambda: case(LSTM, data=sequences(), optimizer=ADAM),
    "transformer": lambda: case(WORDS, pn.losses.each(CE), text(), optimizer=ADAM),
    "residual, 12 deep": lambda: case(RESIDUAL, MSE, curve(), optimizer=ADAM),
}
