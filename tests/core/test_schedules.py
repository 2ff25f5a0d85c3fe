"""Optax's schedules in training: they count updates, and the history has the rate of each epoch's last one."""

import chex
import jax
import numpy as np
import optax
import pytest

import purenet as pn

NET, LOSS = pn.dense(1), pn.losses.half_squared_error
N, BATCH, EPOCHS = 22, 8, 4
STEPS = pn.steps_per_epoch(N, BATCH)  # 3, the smaller last mini-batch counted in
TOTAL = EPOCHS * STEPS
SCHEDULES = {
    "halved every epoch": optax.exponential_decay(0.1, transition_steps=STEPS, decay_rate=0.5, staircase=True),
    "step": optax.piecewise_constant_schedule(0.1, {4: 0.1, 9: 0.5}),
    "exponential": optax.exponential_decay(0.1, transition_steps=10, decay_rate=0.9),
    "cosine with warm-up": optax.warmup_cosine_decay_schedule(0.0, 0.1, warmup_steps=4, decay_steps=TOTAL),
    "one-cycle": optax.cosine_onecycle_schedule(TOTAL, 0.1),
}
# The rates at the updates 2, 5, 8 and 11, worked out by hand.
KNOWN = {
    "halved every epoch": [0.1, 0.05, 0.025, 0.0125],
    "step": [0.1, 0.01, 0.01, 0.005],
    "exponential": [0.1 * 0.9 ** (step / 10) for step in (2, 5, 8, 11)],
    "cosine with warm-up": [0.05, *(0.05 * (1 + np.cos(np.pi * done / 8)) for done in (1, 4, 7))],
}


def data():
    xs = np.random.default_rng(0).uniform(-1, 1, (N, 1)).astype(np.float32)
    return xs, 3 * xs + 1


def fitted(optimizer, **options):
    given = {"key": jax.random.key(0), "batch_size": BATCH, "epochs": EPOCHS} | options
    return pn.fit(NET, data(), loss=LOSS, optimizer=optimizer, **given)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_history_has_the_rate_in_force_in_train_and_in_fit(name):
    schedule = SCHEDULES[name]
    optimizer = optax.inject_hyperparams(optax.sgd)(schedule)
    run = jax.jit(pn.train(NET, LOSS, optimizer, batch_size=BATCH, epochs=EPOCHS))
    state, history = run(pn.train_state(NET, optimizer, jax.random.key(0), pn.spec(1)), data())
    wanted = [float(schedule(epoch * STEPS - 1)) for epoch in range(1, EPOCHS + 1)]
    np.testing.assert_allclose(wanted, KNOWN.get(name, wanted), rtol=1e-5)
    np.testing.assert_allclose(history["learning_rate"], wanted, rtol=1e-6)
    if name in ("halved every epoch", "cosine with warm-up"):  # one program is enough for what both share
        result = fitted(optimizer)
        np.testing.assert_allclose(result.history["learning_rate"], wanted, rtol=1e-6)
        chex.assert_trees_all_close(result.params, state.params, rtol=1e-5)


def test_the_updates_follow_the_schedule():
    """Plain SGD by hand: w ← w − η(t) dJ/dw with the schedule's rate at each update."""
    schedule = SCHEDULES["one-cycle"]
    optimizer = optax.sgd(schedule)
    run = jax.jit(pn.train(NET, LOSS, optimizer, epochs=EPOCHS))
    start = pn.train_state(NET, optimizer, jax.random.key(0), pn.spec(1))
    final, history = run(start, data())
    assert "learning_rate" not in history  # this optimizer does not tell
    xs, ys = (np.asarray(a, np.float64) for a in data())
    kernel, bias = (np.asarray(start.params[name], np.float64) for name in ("kernel", "bias"))
    for step in range(EPOCHS):
        errors = xs @ kernel + bias - ys
        kernel = kernel - float(schedule(step)) * xs.T @ errors / N
        bias = bias - float(schedule(step)) * errors.mean(axis=0)
    chex.assert_trees_all_close(final.params, {"kernel": kernel, "bias": bias}, rtol=1e-5)


def test_a_schedule_goes_on_where_a_run_goes_on():
    optimizer = optax.inject_hyperparams(optax.sgd)(SCHEDULES["halved every epoch"])
    first = fitted(optimizer, epochs=2)
    second = fitted(optimizer, key=None, epochs=2, state=first.train_state)
    rates = np.concatenate([first.history["learning_rate"], second.history["learning_rate"]])
    np.testing.assert_allclose(rates, KNOWN["halved every epoch"], rtol=1e-6)
