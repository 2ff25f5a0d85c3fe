"""reduce_on_plateau: Keras's rule, epoch for epoch, on any optimizer that keeps a rate which can be set."""

from collections import OrderedDict
from types import SimpleNamespace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
from refusals import refuses

import purenet as pn
from purenet.driving import EpochEnd
from purenet.plateau import reduce_on_plateau
from purenet.updates import TrainState

INJECTED = optax.inject_hyperparams(optax.sgd)(0.1)


def begin(optimizer=INJECTED):
    return pn.train_state(pn.dense(1), optimizer, jax.random.key(0), pn.spec(1))


def follow(callback, numbers, state=None, name="val_loss"):
    """Calls the callback after each epoch of a run with these numbers; gives the rates after it, and the end."""
    rates, state = [], state or begin()
    for epoch in range(1, len(numbers) + 1):
        history = {"loss": np.zeros(epoch), name: np.asarray(numbers[:epoch], float)}
        row = {key: values[-1] for key, values in history.items()}
        log = SimpleNamespace(history=lambda history=history: history)
        answer = callback(EpochEnd(epoch, state, row, log))
        assert answer is None or isinstance(answer, TrainState)
        state = answer or state
        rates.append(float(state.opt_state.hyperparams["learning_rate"]))
    return rates, state


def reference(numbers, rate, factor, patience, min_delta, min_rate):
    """The rule of Keras's ReduceLROnPlateau, with counters that it carries along."""
    best, wait, rates = np.inf, 0, []
    for number in numbers:
        if number < best - min_delta:
            best, wait = number, 0
        else:
            wait += 1
            if wait >= patience and rate > min_rate:
                rate, wait = max(rate * factor, min_rate), 0
        rates.append(rate)
    return rates


@pytest.mark.parametrize(("patience", "min_delta", "min_rate"), [(1, 0.0, 1e-3), (3, 1e-4, 0.0), (2, 0.05, 0.02)])
def test_it_is_the_rule_of_keras(patience, min_delta, min_rate, rng):
    options = {"factor": 0.5, "patience": patience, "min_delta": min_delta, "min_rate": min_rate}
    callback = reduce_on_plateau(**options)
    for _ in range(3):  # one callback serves many runs
        numbers = np.round(np.exp(-np.arange(24) / 8) + 0.1 * rng.normal(size=24), 1)
        numbers[rng.integers(24)] = np.nan
        wanted = reference(numbers, 0.1, **options)
        assert len(set(wanted)) > 2
        np.testing.assert_allclose(follow(callback, numbers)[0], wanted, rtol=1e-5)


def test_higher_is_better_where_one_says_so():
    callback = reduce_on_plateau("val_accuracy", factor=0.1, patience=2, better="higher")
    rates, _ = follow(callback, [0.5, 0.6, 0.7, 0.8, 0.8, 0.7], name="val_accuracy")
    np.testing.assert_allclose(rates, [0.1] * 5 + [0.01], rtol=1e-6)


def test_a_rate_below_the_least_stays():
    rates, _ = follow(reduce_on_plateau(patience=1, min_rate=0.5), [1.0, 1.0, 1.0])
    assert rates == [float(np.float32(0.1))] * 3


def test_every_rate_is_found_wherever_it_stands():
    one = optax.inject_hyperparams(optax.adam)
    inner = optax.partition({"a": one(1e-2), "b": one(1e-3)}, {"kernel": "a", "bias": "b"})
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.MultiSteps(inner, 2).gradient_transformation())
    state = begin(optimizer)
    log = SimpleNamespace(history=lambda: {"loss": np.ones(2)})
    new = reduce_on_plateau("loss", patience=1)(EpochEnd(2, state, {"loss": 1.0}, log))
    chex.assert_trees_all_equal_shapes_and_dtypes(new, state)
    assert [leaf.weak_type for leaf in jax.tree.leaves(new.opt_state)] == [
        leaf.weak_type for leaf in jax.tree.leaves(state.opt_state)
    ]
    changed = [
        (float(old), float(after))
        for old, after in zip(jax.tree.leaves(state.opt_state), jax.tree.leaves(new.opt_state), strict=True)
        if np.any(old != after)
    ]
    np.testing.assert_allclose(changed, [(1e-2, 1e-3), (1e-3, 1e-4)], rtol=1e-6)


def test_in_fit_the_rate_falls_and_nothing_is_compiled_again():
    xs = np.linspace(-1, 1, 12, dtype=np.float32)[:, None]
    traces = []

    def apply(params, x):
        traces.append(1)
        return params * x

    net = pn.layer(apply, init=lambda key, spec: (jnp.ones(()), ()), name="slope")
    options = {"loss": pn.losses.half_squared_error, "key": jax.random.key(0), "batch_size": 4, "epochs": 9}
    optimizer = optax.inject_hyperparams(optax.sgd)(4.0)
    plain = pn.fit(net, (xs, xs + 1), validation=(xs, xs + 1), optimizer=optimizer, **options)
    before = len(traces)
    callbacks = [reduce_on_plateau(factor=0.25, patience=1)]
    result = pn.fit(net, (xs, xs + 1), validation=(xs, xs + 1), optimizer=optimizer, callbacks=callbacks, **options)
    assert len(traces) == before
    assert set(plain.history["learning_rate"]) == {4.0}
    wanted = reference(result.history["val_loss"], 4.0, 0.25, 1, 1e-4, 0.0)
    np.testing.assert_allclose(result.history["learning_rate"], [4.0, *wanted[:-1]], rtol=1e-6)
    assert wanted[-1] < 0.1
    assert float(result.train_state.opt_state.hyperparams["learning_rate"]) == wanted[-1]


def test_optax_has_one_for_train_that_watches_the_mean_over_an_epoch():
    xs = jnp.linspace(-1, 1, 12)[:, None]
    plateau = optax.contrib.reduce_on_plateau(factor=0.5, patience=2, rtol=1e-3, accumulation_size=3)
    optimizer = optax.chain(optax.sgd(1.9), plateau)
    net, loss = pn.dense(1), pn.losses.half_squared_error
    state = pn.train_state(net, optimizer, jax.random.key(0), pn.spec(1))
    run = jax.jit(pn.train(net, loss, optimizer, batch_size=4, epochs=30))
    final, history = run(state, (xs, jnp.abs(xs)))
    best, waited, scale = np.inf, 0, 1.0
    for mean in history["loss"].tolist():  # as many mini-batches of four as an epoch has
        if mean < (1 - 1e-3) * best:
            best, waited = mean, 0
        else:
            waited += 1
        if waited == 2:
            waited, scale = 0, scale / 2
    assert float(final.opt_state[1].scale) == scale < 0.1


MORE = "Wrap its factory: optax.inject_hyperparams(optax.adam)(1e-3)."
BAD = {
    "factor 1": (
        lambda: reduce_on_plateau(factor=1.0),
        ValueError,
        "expected factor above 0 and below 1, got 1. Give such a number.",
    ),
    "factor of text": (
        lambda: reduce_on_plateau(factor="half"),
        TypeError,
        "expected factor to be a number, got 'half'. Give a float.",
    ),
    "patience 0": (
        lambda: reduce_on_plateau(patience=0),
        ValueError,
        "expected patience of 1 or more, got 0. Give an int of 1 or more.",
    ),
    "min_delta below 0": (
        lambda: reduce_on_plateau(min_delta=-1),
        ValueError,
        "expected min_delta 0 or more and finite, got -1. Give such a number.",
    ),
    "min_rate NaN": (
        lambda: reduce_on_plateau(min_rate=np.nan),
        ValueError,
        "expected min_rate 0 or more and finite, got nan. Give such a number.",
    ),
    "a metric whose way is not said": (
        lambda: reduce_on_plateau("val_accuracy"),
        ValueError,
        "expected better to be one of ('lower', 'higher') for monitor='val_accuracy', got None. Choose one.",
    ),
    "better": (
        lambda: reduce_on_plateau(better="max"),
        ValueError,
        "expected better to be one of ('lower', 'higher') for monitor='val_loss', got 'max'. Choose one.",
    ),
    "monitor": (
        lambda: reduce_on_plateau(3),
        TypeError,
        'expected monitor to be a name in the history, got 3. Such as "val_loss".',
    ),
    "no such monitor": (
        lambda: follow(reduce_on_plateau("val_loss"), [1.0], name="accuracy"),
        ValueError,
        "expected monitor to be one of ['loss', 'accuracy'], got 'val_loss'. Choose one of them, or pass "
        "validation=(xs, ys) for val_ ones.",
    ),
    "a rate that nobody sees": (
        lambda: follow(reduce_on_plateau(), [1.0], begin(optax.adam(0.1))),
        TypeError,
        f"expected an optimizer whose learning rate can be set, got one that keeps it to itself. {MORE}",
    ),
    "a schedule": (
        lambda: follow(
            reduce_on_plateau(), [1.0], begin(optax.inject_hyperparams(optax.sgd)(optax.constant_schedule(0.1)))
        ),
        TypeError,
        "expected a learning rate that can be set, got a schedule, which would set it again at the next update. "
        "Give optax.inject_hyperparams a number.",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "message"), BAD.values(), ids=BAD)
def test_what_does_not_fit_is_refused(call, kind, message):
    with refuses(kind, f"reduce_on_plateau: {message}"):
        call()


def test_the_rate_is_found_in_any_tree():
    def init(params):
        return OrderedDict(rest=None, inner=INJECTED.init(params))

    def update(grads, state, params=None):
        updates, inner = INJECTED.update(grads, state["inner"], params)
        return updates, OrderedDict(rest=None, inner=inner)

    result = pn.fit(
        pn.dense(1), (np.ones((4, 1), np.float32),) * 2, loss=pn.losses.half_squared_error,
        optimizer=optax.GradientTransformation(init, update), key=jax.random.key(0), epochs=3, batch_size=4,
        callbacks=[reduce_on_plateau("loss", patience=1, min_delta=10.0, factor=0.5)],
    )  # fmt: skip
    np.testing.assert_allclose(result.history["learning_rate"], [0.1, 0.1, 0.05], rtol=1e-6)
