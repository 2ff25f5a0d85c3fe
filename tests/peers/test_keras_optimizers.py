"""Optimizers against Keras's on its JAX backend: a hundred steps in float64, with equal weights and batches."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
from peers.agreement import agree
from peers.hundred_steps import (
    EPS,
    LOSS,
    ORDER,
    RATE,
    STEPS,
    XS,
    YS,
    Row,
    descent,
    expect_equal_paths,
    hatted_adam,
    outside_adamax,
    plain_muon,
    problem,
    scheduled_nadam,
)

import purenet as pn

os.environ.setdefault("KERAS_BACKEND", "jax")
keras = pytest.importorskip("keras", reason="Keras is not installed: pip install purenet[peers]")
if keras.backend.backend() != "jax":
    pytest.skip("Keras runs on another backend than JAX", allow_module_level=True)
K = keras.optimizers
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("x64", "keras_float64")]


FTRL = {
    "FTRL": {},
    "FTRL, l1": {"l1": 0.05},
    "FTRL, all options": {"l1": 0.02, "l2": 0.1, "l2_shrinkage": 0.05, "beta": 0.5, "learning_rate_power": -0.7},
}


def keras_ftrl(l1=0.0, l2=0.0, l2_shrinkage=0.0, **options):
    return K.Ftrl(
        0.3,
        l1_regularization_strength=l1,
        l2_regularization_strength=l2,
        l2_shrinkage_regularization_strength=l2_shrinkage,
        **options,
    )


# Keras has no L-BFGS.
HAT = "ε stands beside the root of the uncorrected ν: what optax calls ε is ε / √(1 − β₂ᵗ) there"
ROWS = {
    "SGD": Row(optax.sgd(RATE), lambda: K.SGD(RATE)),
    "momentum": Row(optax.sgd(RATE, 0.9), lambda: K.SGD(RATE, 0.9)),
    "Nesterov": Row(optax.sgd(RATE, 0.9, nesterov=True), lambda: K.SGD(RATE, 0.9, nesterov=True)),
    "Adagrad": Row(optax.adagrad(RATE, 0.1, EPS), lambda: K.Adagrad(RATE, 0.1, EPS)),
    "Adadelta": Row(optax.adadelta(1.0, 0.9, EPS), lambda: K.Adadelta(1.0, 0.9, EPS)),
    "RMSprop": Row(optax.rmsprop(RATE, 0.9, EPS), lambda: K.RMSprop(RATE, 0.9, epsilon=EPS)),
    "RMSprop, centred, with momentum": Row(
        optax.rmsprop(RATE, 0.9, EPS, centered=True, momentum=0.9),
        lambda: K.RMSprop(RATE, 0.9, 0.9, EPS, centered=True),
    ),
    "Adam": Row(optax.adam(RATE, eps=EPS), lambda: K.Adam(RATE, epsilon=EPS), HAT, descent(hatted_adam(EPS))),
    "AMSGrad": Row(
        optax.amsgrad(RATE, eps=EPS),
        lambda: K.Adam(RATE, epsilon=EPS, amsgrad=True),
        f"{HAT}; the largest ν before the bias correction, not after",
        descent(hatted_adam(EPS, amsgrad=True)),
    ),
    "Adamax": Row(
        optax.adamax(RATE, eps=EPS),
        lambda: K.Adamax(RATE, epsilon=EPS),
        "ε is added to the norm, not to |g| in it",
        descent(outside_adamax(EPS)),
    ),
    "Nadam": Row(
        optax.nadam(RATE, eps=EPS),
        lambda: K.Nadam(RATE, epsilon=EPS),
        "Dozat's schedule of the momentum",
        descent(scheduled_nadam(EPS, 1.0)),
    ),
    "AdamW": Row(
        optax.adamw(RATE, eps=EPS, weight_decay=0.1),
        lambda: K.AdamW(RATE, 0.1, epsilon=EPS),
        HAT,
        descent(hatted_adam(EPS), optax.add_decayed_weights(0.1)),
    ),
    "Lion": Row(optax.lion(RATE, 0.9, 0.99, weight_decay=0.0), lambda: K.Lion(RATE, 0.9, 0.99)),
    "Muon": Row(
        optax.contrib.muon(RATE, eps=1e-7, consistent_rms=0.2),
        lambda: K.Muon(RATE, weight_decay=None, rms_rate=0.2),
        "no bias correction of the momentum",
        descent(plain_muon(lambda fan_in, fan_out: 0.2 * max(fan_in, fan_out) ** 0.5)),
        {"bias": False},
    ),
    **{
        name: Row(pn.optim.ftrl(0.3, **options), lambda options=options: keras_ftrl(**options))
        for name, options in FTRL.items()
    },
}  # fmt: skip


def keras_path(make, bias=True, steps=STEPS):
    """The params after each of Keras's steps."""
    net, params = problem(bias)
    leaves, structure = jax.tree.flatten(params)
    variables = [keras.Variable(np.asarray(leaf), dtype="float64", name=f"weight{i}") for i, leaf in enumerate(leaves)]
    optimizer, gradient = make(), jax.jit(pn.value_and_grad(net, LOSS))
    rows = []
    for indices in ORDER[:steps]:
        params = structure.unflatten([variable.value for variable in variables])
        _, grads = gradient(params, ((), (), ()), (XS[indices], YS[indices]))
        optimizer.apply(jax.tree.leaves(grads), variables)
        rows.append([np.asarray(variable.value) for variable in variables])
    return structure.unflatten([np.stack(column) for column in zip(*rows, strict=True)])


@pytest.mark.parametrize("name", ROWS)
def test_a_hundred_steps_are_those_of_keras(name):
    row = ROWS[name]
    expect_equal_paths(row, keras_path(row.theirs, **row.options))


@pytest.mark.parametrize("options", FTRL.values(), ids=FTRL)
def test_a_single_step_of_ftrl_is_that_of_keras_and_its_zeros_too(options):
    _, params = problem()
    grads = jax.tree.map(lambda p: jnp.where(jnp.abs(p) < 0.5, 0.0, p**3), params)
    optimizer = pn.optim.ftrl(0.3, **options)
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    ours = jax.tree.leaves(optax.apply_updates(params, updates))
    variables = [keras.Variable(np.asarray(leaf), dtype="float64") for leaf in jax.tree.leaves(params)]
    keras_ftrl(**options).apply(jax.tree.leaves(grads), variables)
    for mine, variable in zip(ours, variables, strict=True):
        agree(mine, variable.value, "params", 1e-12)
        np.testing.assert_array_equal(mine == 0, np.asarray(variable.value) == 0)
    assert any((leaf == 0).any() for leaf in ours)
