"""Networks that do not learn, each for one reason, and the name of that reason.

Most of them share one network, loss and optimizer, and differ in parameters, data or learning rate: then one compiled
program examines them all.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

import purenet as pn

CE, MSE = pn.losses.softmax_cross_entropy, pn.losses.mean_squared_error
SGD = optax.inject_hyperparams(optax.sgd)(learning_rate=0.1)
ADAM = optax.inject_hyperparams(optax.adam)(learning_rate=1e-3)
FEATURES, CLASSES, N = 12, 5, 512
BASE = pn.serial(pn.dense(24), pn.relu, pn.dense(CLASSES))
TANH = pn.serial(pn.dense(24), pn.tanh, pn.dense(24), pn.tanh, pn.dense(1))


@functools.cache
def blobs(n=N, seed=0):
    """Standardised clouds, one to a class."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(CLASSES, FEATURES))
    ys = rng.integers(0, CLASSES, n).astype(np.int32)
    xs = 1.5 * centres[ys] + rng.normal(size=(n, FEATURES))
    return ((xs - xs.mean(0)) / xs.std(0)).astype(np.float32), ys


@functools.cache
def curve(n=N, seed=0):
    """A smooth function of standard normal inputs."""
    rng = np.random.default_rng(seed)
    xs = rng.normal(size=(n, FEATURES)).astype(np.float32)
    ys = np.sin(xs[:, :1]) + 0.5 * xs[:, 1:2] * xs[:, 2:3] + 0.1 * rng.normal(size=(n, 1))
    return xs, ys.astype(np.float32)


def case(net=BASE, loss=CE, data=None, optimizer=SGD, change=None, rate=None, examine=(), **options):
    """The arguments of `diagnose`: state and data of this network, after `change` of its params."""
    data = blobs() if data is None else data
    spec = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), data[0])
    state = pn.train_state(net, optimizer, jax.random.key(0), spec)
    if change is not None:
        state = state._replace(params=change(state.params))
    if rate is not None:
        state.opt_state.hyperparams["learning_rate"] = jnp.asarray(rate, jnp.float32)
    return (net, loss, state, data), {"optimizer": optimizer, "batch_size": 64, "sharpness": False, **options}


def full(value):
    return lambda params: jax.tree.map(lambda a: jnp.full_like(a, value) if a.ndim > 1 else a, params)


def scaled(factor, only=None):
    def change(params):
        return tuple(
            {**p, "kernel": factor * p["kernel"]} if p and (only is None or i == only) else p
            for i, p in enumerate(params)
        )

    return change


def dead(params):
    return ({**params[0], "bias": params[0]["bias"] - 100}, *params[1:])


def not_a_number(params):
    return ({**params[0], "bias": params[0]["bias"].at[3].set(jnp.nan)}, *params[1:])


def planted_nan():
    xs, ys = blobs()
    xs = xs.copy()
    xs[::7, 3] = np.nan
    return xs, ys


def imbalanced():
    xs, ys = blobs()
    return xs, np.where(np.arange(N) % 40 == 0, ys, 2).astype(np.int32)


def random_labels():
    xs, ys = blobs()
    return xs, np.random.default_rng(5).permutation(ys)


def leaked():
    xs, ys = blobs(64, seed=1)
    return np.concatenate([xs, blobs()[0][:20]]), np.concatenate([ys, blobs()[1][:20]])


def course(loss, val_loss=None):
    history = {"loss": np.asarray(loss), "step_loss": np.repeat(np.asarray(loss), 8)}
    return {**history, "val_loss": np.asarray(val_loss)} if val_loss is not None else history


def deep(activation, depth, last=1):
    parts = [part for _ in range(depth) for part in (pn.dense(16), activation)]
    return pn.serial(*parts, pn.dense(last))


def stopped(net):
    """A network through which no gradient goes back."""
    return pn.serial(net, pn.layer(lambda params, x: jax.lax.stop_gradient(x), name="stopped"))


def unused_branch():
    """Two ways, one of which comes to nothing."""
    x = pn.node("x")
    first, other = pn.dense(24)(x), pn.dense(24)(x)
    select = pn.layer(lambda params, pair: pair[0], name="first")
    return pn.graph(x, pn.dense(CLASSES)(pn.relu(select(first, other))))


FREEZING = optax.multi_transform(
    {"moved": optax.sgd(0.1), "frozen": optax.set_to_zero()},
    lambda params: tuple("moved" if i == len(params) - 1 else "frozen" for i in range(len(params))),
)
FALL = np.linspace(1.6, 0.2, 12)

SICK = {
    "all-zero weights": ("zero_init", lambda: case(change=full(0.0))),
    "constant weights": ("symmetric_units", lambda: case(change=full(0.1))),
    "rate 100 times too large": ("rate_too_high", lambda: case(rate=30.0)),
    "rate too large, by curvature": ("rate_too_high", lambda: case(rate=30.0, sharpness=True)),
    "Adam's rate too large": ("rate_too_high", lambda: case(optimizer=ADAM, rate=1.0)),
    "rate too small": ("rate_too_low", lambda: case(rate=1e-7)),
    "dead ReLUs": ("dead_units", lambda: case(change=dead)),
    "saturated tanh": ("saturated_units", lambda: case(TANH, MSE, curve(), change=scaled(60.0))),
    "sigmoids 30 deep": ("vanishing_gradients", lambda: case(deep(pn.sigmoid, 30), MSE, curve())),
    "large weights 20 deep": ("exploding_gradients", lambda: case(deep(pn.relu, 20), MSE, curve(), change=scaled(5.0))),
    "logits into a loss of probabilities": (
        "probabilities_expected",
        lambda: case(loss=pn.losses.categorical_cross_entropy),
    ),
    "softmax into a loss of logits": ("probabilities_as_logits", lambda: case(pn.serial(BASE, pn.softmax))),
    "missing output layer": ("missing_output_layer", lambda: case(pn.serial(pn.dense(64), pn.relu))),
    "outputs for classes that are not there": ("missing_output_layer", lambda: case(pn.serial(pn.relu, pn.dense(40)))),
    "regression that ends in ReLU": (
        "output_out_of_reach",
        lambda: case(pn.serial(pn.dense(24), pn.tanh, pn.dense(1), pn.relu), MSE, curve()),
    ),
    "targets unscaled": ("targets_unscaled", lambda: case(TANH, MSE, (curve()[0], 300 * curve()[1] + 900))),
    "targets constant": ("targets_constant", lambda: case(TANH, MSE, (curve()[0], np.ones_like(curve()[1])))),
    "inputs of 0 to 255": ("inputs_unscaled", lambda: case(data=(60 * blobs()[0] + 120, blobs()[1]))),
    "inputs far from 0": ("inputs_off_centre", lambda: case(data=(0.02 * blobs()[0] + 1, blobs()[1]))),
    "inputs constant": ("inputs_constant", lambda: case(data=(np.ones_like(blobs()[0]), blobs()[1]))),
    "labels from 1": ("labels_shifted", lambda: case(data=(blobs()[0], blobs()[1] + 1))),
    "labels of another data set": ("labels_out_of_range", lambda: case(data=(blobs()[0], 3 * blobs()[1]))),
    "labels one place off": ("labels_misaligned", lambda: case(data=(blobs()[0], np.roll(blobs()[1], 1)))),
    "labels all the same": ("labels_constant", lambda: case(data=(blobs()[0], np.full(N, 2, np.int32)))),
    "labels nearly all the same": ("labels_imbalanced", lambda: case(data=imbalanced())),
    "labels random": ("labels_look_random", lambda: case(data=random_labels(), memorisation=True)),
    "inputs averaged away": (
        "cannot_overfit_batch",
        lambda: case(pn.serial(lambda x: jnp.mean(x, keepdims=True), pn.dense(CLASSES)), memorisation=True),
    ),
    "frozen by stop_gradient": (
        "frozen_layer",
        lambda: case(pn.serial(stopped(pn.dense(24)), pn.tanh, pn.dense(CLASSES))),
    ),
    "frozen by the optimizer": ("frozen_layer", lambda: case(optimizer=FREEZING)),
    "params without use": ("unused_params", lambda: case(unused_branch())),
    "leaked validation data": ("leaked_validation", lambda: case(validation=leaked())),
    "batch norm on one": (
        "batch_norm_on_one",
        lambda: case(pn.serial(pn.dense(24), pn.batch_norm(), pn.relu, pn.dense(CLASSES)), batch_size=1),
    ),
    "NaN in the data": ("data_not_finite", lambda: case(data=planted_nan())),
    "NaN in the params": ("params_not_finite", lambda: case(change=not_a_number)),
    "sure of wrong answers": ("initial_loss", lambda: case(change=scaled(40.0, only=2))),
    "over-fitting": ("overfitting", lambda: case(history=course(FALL, 1 + (np.arange(12) - 4) ** 2 / 20))),
    "nothing learned": ("plateau", lambda: case(data=random_labels(), history=course(np.full(8, 1.61)))),
    "diverging": ("diverging", lambda: case(history=course(np.linspace(1.6, 90, 12)))),
}
# Those whose programs take longest to compile.
DEAR = {
    "sigmoids 30 deep",
    "large weights 20 deep",
    "softmax into a loss of logits",
    "outputs for classes that are not there",
    "labels random",
    "params without use",
    "batch norm on one",
}
