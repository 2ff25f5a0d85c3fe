"""Training is one pure function: exact means, one trace, vmap over keys and rates, gradients with respect to a rate."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
from refusals import refuses

import purenet as pn
from purenet import updates
from purenet.chunks import make_chunks
from purenet.gradients import as_batch

NET = pn.serial(pn.dense(8), pn.tanh, pn.dense(1))
LOSS = pn.losses.half_squared_error
SGD = optax.sgd(0.1)
METRICS = {"mse": pn.losses.mean_squared_error, "r2": pn.metrics.r2}


def data(n=22, seed=0):
    xs = np.random.default_rng(seed).uniform(-1, 1, (n, 2)).astype(np.float32)
    return jnp.asarray(xs), jnp.asarray(np.sin(3 * xs[:, :1]) * xs[:, 1:])


def start(optimizer, seed=0, net=NET):
    return pn.train_state(net, optimizer, jax.random.key(seed), pn.spec(2))


@pytest.mark.parametrize("gradient", ["autodiff", "backprop"])
def test_train_is_steps_in_the_shuffled_order(gradient):
    optimizer, (xs, ys) = optax.adam(1e-2), data()
    run = jax.jit(pn.train(NET, LOSS, optimizer, batch_size=8, epochs=3, gradient=gradient, metrics=METRICS))
    final, history = run(start(optimizer), (xs, ys))
    step = jax.jit(pn.train_step(NET, LOSS, optimizer, gradient=gradient))
    state, losses = start(optimizer), []
    for _ in range(3):
        order = np.asarray(_order(state, 22))
        assert sorted(order) == list(range(22))  # every example once
        for indices in (order[:8], order[8:16], order[16:]):
            state, metrics = step(state, (xs[indices], ys[indices]))
            losses.append(metrics["loss"])
    chex.assert_trees_all_close(final._replace(key=0), state._replace(key=0), rtol=1e-5, atol=1e-7)
    assert final.key == state.key
    losses = np.array(losses).reshape(3, 3)
    np.testing.assert_allclose(history["step_loss"], losses, rtol=1e-5)
    np.testing.assert_allclose(history["loss"], losses @ [8 / 22, 8 / 22, 6 / 22], rtol=1e-5)
    np.testing.assert_allclose(history["mse"], 2 * history["loss"], rtol=1e-5)
    chex.assert_shape(history["r2"], (3,))
    assert int(final.step) == 9


def _order(state, n):
    from purenet.updates import order_of_epoch, plan_epochs

    return order_of_epoch(plan_epochs(n, 8), state.key, state.step)


def test_orders_differ_between_epochs_and_keys():
    states = [start(optax.sgd(0.1), seed)._replace(step=jnp.int32(step)) for seed, step in [(0, 0), (0, 3), (1, 0)]]
    assert len({tuple(np.asarray(_order(state, 22)).tolist()) for state in states}) == 3


def test_a_run_in_two_halves_is_the_run_to_the_bit():
    optimizer, examples = optax.adam(1e-2), data()
    net = pn.serial(pn.dense(8), pn.tanh, pn.dropout(0.2), pn.dense(1))
    half = jax.jit(pn.train(net, LOSS, optimizer, batch_size=5, epochs=2))
    whole = jax.jit(pn.train(net, LOSS, optimizer, batch_size=5, epochs=4))
    state = start(optimizer, net=net)
    chex.assert_trees_all_equal(half(half(state, examples)[0], examples)[0], whole(state, examples)[0])


@pytest.mark.parametrize("batch_size", [None, 22, 1])
def test_mini_batches_of_all_and_of_one(batch_size):
    optimizer = optax.sgd(0.1)
    run = jax.jit(pn.train(NET, LOSS, optimizer, batch_size=batch_size, epochs=2))
    _, history = run(start(optimizer), data())
    assert history["step_loss"].shape == (2, 22 if batch_size == 1 else 1)
    assert history["loss"][1] < history["loss"][0]
    if batch_size != 1:
        (value, _), _ = pn.value_and_grad(NET, LOSS)(start(optimizer).params, ((), (), ()), data())
        np.testing.assert_allclose(history["loss"][0], value, rtol=1e-6)


def test_a_run_starts_from_given_params():
    params = start(SGD, seed=5).params
    given = pn.train_state(NET, SGD, jax.random.key(0), pn.spec(2), params=params)
    chex.assert_trees_all_equal(given.params, params)
    assert (int(given.step), given.state) == (0, ((), (), ()))
    counter = pn.layer(lambda p, x, s: x + s, init=lambda key, spec: ((), jnp.zeros(())), name="counter")
    state = pn.train_state(counter, SGD, jax.random.key(0), pn.spec(2), params=(), state=jnp.ones(()))
    assert float(state.state) == 1


@pytest.mark.parametrize(("n", "size", "steps"), [(10, None, 1), (10, 10, 1), (10, 4, 3), (10, 5, 2), (1, 1, 1)])
def test_steps_per_epoch(n, size, steps):
    assert pn.steps_per_epoch(n, size) == steps


@pytest.mark.parametrize("longest", [5, 8])
def test_gathering_in_windows_changes_nothing(longest, monkeypatch):
    optimizer, examples = optax.adam(1e-2), data(23)

    def run():
        make_chunks.cache_clear()
        final, history = jax.jit(pn.train(NET, LOSS, optimizer, batch_size=2, epochs=2, metrics=METRICS))(
            start(optimizer), examples
        )
        options = {"loss": LOSS, "optimizer": optimizer, "key": jax.random.key(0), "metrics": METRICS}
        fitted = pn.fit(NET, examples, batch_size=2, epochs=2, **options)
        make_chunks.cache_clear()
        return (final.params, history), (fitted.params, fitted.history)

    one_by_one = run()
    monkeypatch.setattr("purenet.updates._LARGE", 0)
    monkeypatch.setattr("purenet.updates._LONGEST", longest)
    assert updates.window_of(updates.plan_epochs(23, 2), as_batch(examples)) == longest
    chex.assert_trees_all_close(run(), one_by_one, rtol=1e-4, atol=1e-6)


def test_numpy_data_trains_outside_and_inside_jit():
    examples = jax.tree.map(np.asarray, data())
    run = pn.train(NET, LOSS, SGD, batch_size=8)
    inside = jax.jit(lambda state: run(state, examples))(start(SGD))
    chex.assert_trees_all_close(inside[1], run(start(SGD), examples)[1], rtol=1e-5)


def test_weights_make_weighted_epochs():
    xs, ys = data()
    weights = jnp.where(jnp.arange(22) < 11, 3.0, 1.0)
    optimizer = optax.sgd(0.0)
    _, history = jax.jit(pn.train(NET, LOSS, optimizer, batch_size=8))(start(optimizer), (xs, ys, weights))
    losses = jax.vmap(lambda x, y: LOSS.value(NET.apply(start(optimizer).params, x), y))(xs, ys)
    np.testing.assert_allclose(history["loss"], [np.average(losses, weights=weights)], rtol=1e-5)


def test_new_seeds_and_rates_are_not_traced_again():
    def run(key, rate, examples):
        optimizer = optax.inject_hyperparams(optax.adam)(rate)
        return pn.train(NET, LOSS, optimizer, batch_size=8, epochs=2)(
            pn.train_state(NET, optimizer, key, pn.spec(2)), examples
        )

    run = jax.jit(chex.assert_max_traces(run, n=1))
    for seed in range(3):
        run(jax.random.key(seed), jnp.float32(10.0**-seed), data(seed=seed))


def test_a_step_is_traced_once_whatever_the_optimizer_keeps():
    for optimizer in (optax.inject_hyperparams(optax.sgd)(0.1, momentum=0.9), optax.adamw(1e-3), optax.rmsprop(1e-3)):
        chex.clear_trace_counter()
        step = jax.jit(chex.assert_max_traces(pn.train_step(NET, LOSS, optimizer), n=1))
        state = start(optimizer)
        for _ in range(3):
            state, _ = step(state, data())


def test_runs_vmapped_over_keys_and_rates_are_the_single_runs():
    def run(key, rate):
        optimizer = optax.adam(rate)
        state = pn.train_state(NET, optimizer, key, pn.spec(2))
        return pn.train(NET, LOSS, optimizer, batch_size=8, epochs=2)(state, data())

    keys, rates = jax.random.split(jax.random.key(0), 4), jnp.array([1e-3, 1e-2, 0.1, 1.0])
    together = jax.jit(jax.vmap(run))(keys, rates)
    for index in range(4):
        alone = jax.jit(run)(keys[index], rates[index])
        one = jax.tree.map(lambda a, i=index: a[i], together)
        chex.assert_trees_all_close(one[0].params, alone[0].params, rtol=2e-4, atol=1e-6)
        chex.assert_trees_all_close(one[1], alone[1], rtol=2e-4)
    assert together[0].step.tolist() == [6] * 4


def test_the_gradient_with_respect_to_a_rate_is_central_differences(x64):
    xs, ys = jax.tree.map(lambda a: a.astype(jnp.float64), data())

    def final_loss(rate):
        optimizer = optax.sgd(rate)
        state = pn.train_state(NET, optimizer, jax.random.key(0), pn.spec(2, jnp.float64))
        return pn.train(NET, LOSS, optimizer, batch_size=8, epochs=3)(state, (xs, ys))[1]["loss"][-1]

    slope = jax.jit(jax.grad(final_loss))(0.1)
    numeric = (jax.jit(final_loss)(0.1 + 1e-6) - jax.jit(final_loss)(0.1 - 1e-6)) / 2e-6
    np.testing.assert_allclose(slope, numeric, rtol=1e-6)


@pytest.mark.parametrize(
    "optimizer",
    [optax.lbfgs(), optax.chain(optax.sgd(0.5), optax.scale_by_backtracking_linesearch(10))],
    ids=["L-BFGS", "line search"],
)
def test_optimizers_that_ask_for_the_loss_get_it(optimizer):
    _, history = jax.jit(pn.train(NET, LOSS, optimizer, epochs=20))(start(optimizer), data())
    assert history["loss"][-1] < history["loss"][0] / 2
    assert np.all(np.diff(history["loss"]) <= 1e-6)


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.contrib.sam(optax.sgd(0.1), optax.sgd(0.01), sync_period=2),
        optax.contrib.sam(optax.sgd(0.1), optax.sgd(0.01), opaque_mode=True),
        optax.MultiSteps(optax.polyak_sgd(), 2),
        optax.contrib.schedule_free_sgd(0.1),
        optax.contrib.muon(0.01),
        optax.lion(1e-3),
    ],
    ids=["sam", "opaque sam", "steps of polyak", "schedule free", "muon", "lion"],
)
def test_optimizers_of_all_kinds_train(optimizer):
    final, history = jax.jit(pn.train(NET, LOSS, optimizer, batch_size=11, epochs=2))(start(optimizer), data())
    assert int(final.step) == 4
    chex.assert_tree_all_finite((final.params, history["loss"]))


def test_accumulating_optimizers_that_are_objects_work():
    optimizer = optax.MultiSteps(optax.sgd(0.1), every_k_schedule=3)
    final, _ = jax.jit(pn.train(NET, LOSS, optimizer, batch_size=11, epochs=3))(start(optimizer), data())
    assert int(final.opt_state.gradient_step) == 2


def test_bfloat16_trains(key):
    optimizer = optax.adam(1e-2)
    state = pn.train_state(NET, optimizer, key, pn.spec(2, jnp.bfloat16))
    examples = jax.tree.map(lambda a: a.astype(jnp.bfloat16), data(600))
    final, history = jax.jit(pn.train(NET, LOSS, optimizer, batch_size=256, epochs=5))(state, examples)
    assert {leaf.dtype for leaf in jax.tree.leaves(final.params)} == {jnp.dtype(jnp.bfloat16)}
    assert history["loss"].dtype == jnp.float32
    assert history["loss"][-1] < history["loss"][0]


BAD = {
    "batch_size 0": (
        lambda: pn.train(NET, LOSS, SGD, batch_size=0)(start(SGD), data()),
        ValueError,
        "train: expected batch_size of 1 or more, got 0. Give an int of 1 or more.",
    ),
    "batch_size above n": (
        lambda: pn.train(NET, LOSS, SGD, batch_size=23)(start(SGD), data()),
        ValueError,
        "train: expected batch_size from 1 to 22, the number of examples, got 23. Use None for all of them at once.",
    ),
    "batch_size of a float": (
        lambda: pn.train(NET, LOSS, SGD, batch_size=8.0)(start(SGD), data()),
        TypeError,
        "train: expected batch_size to be a whole number, got 8.0. Give an int of 1 or more.",
    ),
    "no epochs": (
        lambda: pn.train(NET, LOSS, SGD, epochs=0),
        ValueError,
        "train: expected epochs of 1 or more, got 0. Give an int of 1 or more.",
    ),
    "an unknown gradient": (
        lambda: pn.train_step(NET, LOSS, SGD, gradient="magic"),
        ValueError,
        "train_step: expected gradient to be one of ('autodiff', 'backprop'), got 'magic'. Choose one of them.",
    ),
    "an optimizer not made": (
        lambda: pn.train(NET, LOSS, optax.adam),
        TypeError,
        "train: expected an optax optimizer, got a function. Call the factory, such as optax.adam(1e-3).",
    ),
    "another optimizer's state": (
        lambda: pn.train_step(NET, LOSS, optax.adam(1e-3))(start(SGD), data()),
        TypeError,
        "train_step: expected the opt_state of this optimizer for these params, got another tree, a tuple of 2. "
        "Make it with pn.train_state(net, optimizer, key, spec) and this very optimizer.",
    ),
    "no examples": (
        lambda: pn.train(NET, LOSS, SGD)(start(SGD), (jnp.ones((0, 2)), jnp.ones((0, 1)))),
        ValueError,
        "train: expected at least one example, got 0. The mean over nothing is not a number.",
    ),
    "data of another shape": (
        lambda: pn.train(NET, LOSS, SGD, batch_size=2)(start(SGD), (jnp.ones((4, 3)), jnp.ones((4, 1)))),
        ValueError,
        "serial[0].dense: expected x of shape (2,), got (3,). "
        "Initialise the network with the spec of the examples that it gets.",
    ),
    "a metric called loss": (
        lambda: pn.train(NET, LOSS, SGD, metrics={"loss": pn.metrics.r2}),
        ValueError,
        "train: expected names of metrics other than 'loss', 'step_loss', 'learning_rate' and 'val_…', got 'loss'. "
        "Rename it.",
    ),
    "metrics in a list": (
        lambda: pn.train(NET, LOSS, SGD, metrics=[pn.metrics.r2]),
        TypeError,
        'train: expected metrics to be a dict by name, got a list of 1. Such as {"accuracy": pn.metrics.accuracy}.',
    ),
    "the opt_state of another width": (
        lambda: pn.train_step(pn.dense(4), LOSS, optax.adam(1e-3))(
            start(optax.adam(1e-3), net=pn.dense(4))._replace(
                opt_state=start(optax.adam(1e-3), net=pn.dense(1)).opt_state
            ),
            (jnp.ones((2, 2)), jnp.ones((2, 4))),
        ),
        TypeError,
        "train_step: expected the opt_state of this optimizer for these params, with float32 of shape (4,) at "
        "[0].mu['bias'], got float32 of shape (1,) there. "
        "Make it with pn.train_state(net, optimizer, key, spec) and this very optimizer.",
    ),
    "another network's params": (
        lambda: pn.train_state(NET, SGD, jax.random.key(0), pn.spec(2), params=start(SGD).params[:2]),
        TypeError,
        "train_state: expected params of this network, got another tree, a tuple of 2. Pass what its init made.",
    ),
    "params of another size": (
        lambda: pn.train_state(NET, SGD, jax.random.key(0), pn.spec(3), params=start(SGD).params),
        TypeError,
        "train_state: expected params of this network, with float32 of shape (3, 8) at [0]['kernel'], got float32 of "
        "shape (2, 8) there. Pass what its init made.",
    ),
    "data for a state": (
        lambda: pn.train(NET, LOSS, SGD)(data(), data()),
        TypeError,
        "train: expected a TrainState, got a tuple of 2. Make it with pn.train_state(net, optimizer, key, spec).",
    ),
    "a seed for a key": (
        lambda: pn.train_state(NET, SGD, 0, pn.spec(2)),
        TypeError,
        "train_state: expected a JAX random key, got 0. Make one with jax.random.key(0).",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_whole_sentences(case):
    function, kind, message = BAD[case]
    with refuses(kind, message):
        function()
