"""FTRL: against a float64 reference in NumPy that is written out here, and weights that are exactly 0."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from refusals import refuses

import purenet as pn

SETTINGS = {
    "plain": {},
    "l1": {"l1": 0.8},
    "l1, l2 and beta": {"l1": 0.3, "l2": 0.2, "beta": 1.5},
    "shrinkage": {"l1": 0.1, "l2_shrinkage": 0.05},
    "other powers": {"learning_rate_power": -0.3, "initial_accumulator": 0.7, "l1": 0.2},
    "a fixed rate": {"learning_rate_power": 0.0, "l2": 0.1},
    "nothing seen at first": {"initial_accumulator": 0.0, "l1": 0.2},
}


def reference(
    rate, gradients, w, learning_rate_power=-0.5, initial_accumulator=0.1, l1=0.0, l2=0.0, l2_shrinkage=0.0, beta=0.0
):
    """McMahan's algorithm 1 with Keras's names and its two kinds of l2, one parameter and one step at a time."""
    w, rows = np.array(w, np.float64), []
    n, z = np.full(w.shape, initial_accumulator), np.zeros(w.shape)
    for step, gradient in enumerate(gradients):
        eta = rate(step) if callable(rate) else rate
        for i, g in enumerate(gradient):
            before, n[i] = n[i], n[i] + g**2
            sigma = (n[i] ** -learning_rate_power - before**-learning_rate_power) / eta
            z[i] += g + 2 * l2_shrinkage * w[i] - sigma * w[i]
            if abs(z[i]) <= l1:
                w[i] = 0.0
            else:
                w[i] = (np.sign(z[i]) * l1 - z[i]) / ((beta + n[i] ** -learning_rate_power) / eta + 2 * l2)
        rows.append(w.copy())
    return np.array(rows)


def gradients_of(rng, steps=100, size=12):
    """Nine in ten are 0, as with words or clicks; the last parameter never gets any."""
    gradients = rng.normal(size=(steps, size)) * (rng.random((steps, size)) < 0.1)
    gradients[:, -1] = 0
    return gradients


def path_of(optimizer, gradients, w):
    def step(carry, g):
        w, state = carry
        updates, state = optimizer.update(g, state, w)
        w = optax.apply_updates(w, updates)
        return (w, state), w

    return jax.jit(lambda w, gradients: jax.lax.scan(step, (w, optimizer.init(w)), gradients)[1])(w, gradients)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_hundred_steps_are_those_of_the_reference(name, rng, x64):
    gradients, w = gradients_of(rng), rng.normal(size=12)
    path = path_of(pn.optim.ftrl(0.4, **SETTINGS[name]), jnp.asarray(gradients), jnp.asarray(w))
    expected = reference(0.4, gradients, w, **SETTINGS[name])
    np.testing.assert_allclose(path, expected, rtol=1e-12, atol=1e-14)
    if SETTINGS[name].get("l1"):
        assert ((path == 0) == (expected == 0)).all()
        assert 0.05 < (path[-1] == 0).mean() < 1


def test_the_rate_may_be_a_schedule(rng, x64):
    gradients, schedule = gradients_of(rng, 30), optax.exponential_decay(0.5, 10, 0.5)
    path = path_of(pn.optim.ftrl(schedule, l1=0.1), jnp.asarray(gradients), jnp.zeros(12))
    expected = reference(lambda step: 0.5 * 0.5 ** (step / 10), gradients, np.zeros(12), l1=0.1)
    np.testing.assert_allclose(path, expected, rtol=1e-6)  # optax counts its steps in float32


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_weights_that_l1_holds_are_exactly_zero_in_every_dtype(dtype, rng):
    gradients = jnp.asarray(gradients_of(rng, 40), dtype)
    path = np.asarray(path_of(pn.optim.ftrl(0.4, l1=0.8), gradients, jnp.full(12, 0.37, dtype)), np.float32)
    expected = reference(0.4, np.asarray(gradients, np.float64), np.full(12, 0.37), l1=0.8)
    assert (path[expected == 0] == 0).all()
    assert (path[-1] == 0).sum() >= 2
    np.testing.assert_allclose(path, expected, atol=1e-5 if dtype == jnp.float32 else 0.1)


def test_a_weight_without_a_gradient_becomes_zero_and_stays():
    optimizer, w = pn.optim.ftrl(0.4, initial_accumulator=0.0), jnp.array([0.5, -0.5])
    updates, state = optimizer.update(jnp.zeros(2), optimizer.init(w), w)
    assert optax.apply_updates(w, updates).tolist() == [0.0, 0.0]
    assert state.accumulator.tolist() == [0.0, 0.0]


def test_options_out_of_range_are_refused():
    with refuses(
        pn.ShapeError,
        "ftrl: expected learning_rate_power of 0 or less, got 0.5. The usual one is -0.5.",
    ):
        pn.optim.ftrl(0.1, learning_rate_power=0.5)
    with refuses(pn.ShapeError, "ftrl: expected l1 of 0 or more and finite, got -1.0. Give 0.0 or a positive number."):
        pn.optim.ftrl(0.1, l1=-1)
    with refuses(
        pn.ShapeError,
        "ftrl: expected initial_accumulator of 0 or more and finite, got nan. Give 0.0 or a positive number.",
    ):
        pn.optim.ftrl(0.1, initial_accumulator=np.nan)
    optimizer = pn.optim.ftrl(0.1)
    with refuses(pn.StructureError, "ftrl: expected params, got None. Call update(grads, state, params)."):
        optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)))
