"""Optax's optimizers as they are: in fit, in train, and in train vmapped over their learning rate."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

import purenet as pn

NET, LOSS = pn.serial(pn.dense(2), pn.tanh), pn.losses.half_squared_error
RATES = np.array([0.003, 0.01, 0.03], np.float32)
EPOCHS = 6
# The factory, its options besides the learning rate, and which of its arguments are no numbers to vary.
OPTIMIZERS = {
    "SGD": (optax.sgd, {}, ()),
    "momentum": (optax.sgd, {"momentum": 0.9}, ()),
    "Nesterov": (optax.sgd, {"momentum": 0.9, "nesterov": True}, ()),
    "Adagrad": (optax.adagrad, {}, ()),
    "Adadelta": (optax.adadelta, {}, ()),
    "RMSprop": (optax.rmsprop, {"centered": True, "momentum": 0.9}, ()),
    "Adam": (optax.adam, {}, ()),
    "AMSGrad": (optax.amsgrad, {}, ()),
    "Adamax": (optax.adamax, {}, ()),
    "Nadam": (optax.nadam, {}, ()),
    "AdamW": (optax.adamw, {}, ()),
    "Lion": (optax.lion, {}, ()),
    "Muon": (optax.contrib.muon, {}, ("ns_steps",)),
    "L-BFGS": (optax.lbfgs, {"memory_size": 3}, ("memory_size",)),
    "schedule-free": (optax.contrib.schedule_free_adamw, {}, ("warmup_steps",)),
}
# A line search that is vmapped, or five matrix products more for each kernel, take XLA long; the rest are kin of Adam.
DEAR = ("Muon", "L-BFGS", "Adadelta", "AMSGrad", "Adamax", "Nadam", "AdamW")


def data():
    xs = np.random.default_rng(0).uniform(-1, 1, (16, 2)).astype(np.float32)
    return xs, np.sin(3 * xs) * xs[:, ::-1]


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in DEAR else ()) for n in OPTIMIZERS])
def test_optimizers_work_as_they_are(name):
    factory, options, static = OPTIMIZERS[name]
    injected = optax.inject_hyperparams(factory, static_args=static)
    key, examples = jax.random.key(0), data()

    def run(rate):
        optimizer = injected(rate, **options)
        state = pn.train_state(NET, optimizer, key, pn.spec(2))
        final, history = pn.train(NET, LOSS, optimizer, epochs=EPOCHS)(state, examples)
        return final.params, history

    params, history = jax.jit(jax.vmap(run))(RATES)
    losses = history["loss"]
    assert np.isfinite(losses).all()
    assert losses[:, -1].min() < losses[0, 0]
    assert len(np.unique(losses[:, -1])) == len(RATES)  # each run has a rate of its own
    np.testing.assert_array_equal(history["learning_rate"], np.broadcast_to(RATES[:, None], (3, EPOCHS)))
    plain = factory(float(RATES[1]), **options)
    alone = pn.fit(NET, examples, loss=LOSS, optimizer=plain, key=key, batch_size=None, epochs=EPOCHS)
    np.testing.assert_allclose(alone.history["loss"], losses[1], rtol=1e-4)
    chex.assert_trees_all_close(alone.params, jax.tree.map(lambda a: a[1], params), rtol=1e-4, atol=1e-6)


def test_a_schedule_free_run_is_evaluated_at_its_average():
    """What it trains is y; its answer is x, which optax computes from y and its state."""
    optimizer = optax.contrib.schedule_free_sgd(0.5)
    state = pn.train_state(NET, optimizer, jax.random.key(0), pn.spec(2))
    final, _ = jax.jit(pn.train(NET, LOSS, optimizer, epochs=40))(state, data())
    x = optax.contrib.schedule_free_eval_params(final.opt_state, final.params)
    mixed = jax.tree.map(lambda x, z: 0.9 * x + 0.1 * z, x, final.opt_state.z)
    chex.assert_trees_all_close(mixed, final.params, rtol=1e-4, atol=1e-6)
    answers = jax.vmap(NET.apply, (None, 0))(x, jnp.asarray(data()[0]))
    assert float(jnp.mean((answers - data()[1]) ** 2)) < float(jnp.var(data()[1]))
