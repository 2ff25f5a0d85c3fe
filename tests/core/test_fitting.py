"""fit: the same updates as train, and around them checks, stopping, callbacks and plain words when it diverges."""

import pickle
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from refusals import refuses

import purenet as pn
from purenet import chunks

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


@pytest.mark.parametrize("batch_size", [8, 10, 1, 50, None])
@pytest.mark.parametrize("gradient", ["autodiff", "backprop"])
def test_fit_is_train(batch_size, gradient):
    result = fit(batch_size=batch_size, metrics=METRICS, gradient=gradient)
    state = pn.train_state(NET, ADAM, jax.random.key(0), pn.spec(2))
    run = pn.train(NET, LOSS, ADAM, batch_size=batch_size, epochs=3, metrics=METRICS, gradient=gradient)
    final, history = jax.jit(run)(state, jax.tree.map(jnp.asarray, data()))
    # Two programs round differently; the same program never does, see the tests of chunks and of Ctrl-C.
    chex.assert_trees_all_close(result.params, final.params, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(result.history["step_loss"], history["step_loss"].ravel(), rtol=1e-4)
    np.testing.assert_allclose(result.history["loss"], history["loss"], rtol=1e-4)
    np.testing.assert_array_equal(result.history["accuracy"], history["accuracy"])
    assert int(result.train_state.step) == int(final.step)
    assert (result.stopped, result.best_epoch) == ("epochs", 3)


def test_the_length_of_chunks_changes_nothing(monkeypatch):
    whole = fit()
    monkeypatch.setattr("purenet.pacing._SECONDS", 0.0)  # one update at a time
    chex.assert_trees_all_equal(fit().train_state, whole.train_state)
    monkeypatch.setattr(chunks, "_INDICES", 16)
    chunks.make_chunks.cache_clear()
    chex.assert_trees_all_equal(fit().train_state, whole.train_state)
    chunks.make_chunks.cache_clear()


def test_new_seeds_epochs_and_data_compile_nothing():
    traces = []

    def value(prediction, label):
        traces.append(label)
        return LOSS.value(prediction, label)

    counted = pn.losses.loss(value)
    fit(loss=counted, epochs=1, metrics=METRICS)
    first = len(traces)
    assert first > 0
    for seed in range(3):
        fit(data(seed=seed), loss=counted, epochs=1 + seed, metrics=METRICS, key=jax.random.key(seed))
    assert len(traces) == first


def test_validation_is_inference_on_all_of_it():
    validation = data(31, seed=1)
    result = fit(validation=validation, metrics=METRICS)
    logits = jax.vmap(NET.apply, (None, 0))(result.params, validation[0])
    losses = jax.vmap(LOSS.value)(logits, validation[1])
    np.testing.assert_allclose(result.history["val_loss"][-1], np.mean(losses), rtol=1e-5)
    right = np.mean(np.argmax(logits, axis=1) == validation[1])
    np.testing.assert_allclose(result.history["val_accuracy"][-1], right, rtol=1e-6)
    measured = pn.evaluate(NET, result.params, validation, loss=LOSS, metrics=METRICS, batch_size=7)
    np.testing.assert_allclose(measured["loss"], np.mean(losses), rtol=1e-5)
    np.testing.assert_allclose(measured["accuracy"], right, rtol=1e-6)
    assert all(isinstance(values, np.ndarray) for values in result.history.values())
    assert all(len(result.history[name]) == 3 for name in ("loss", "accuracy", "val_loss", "val_accuracy"))


def test_patience_stops_and_gives_the_best_back():
    seen = []
    labels = np.random.default_rng(0).integers(0, 3, 50).astype(np.int32)  # nothing to learn: it over-fits
    result = fit(
        (data()[0], labels),
        validation=(data(seed=1)[0], labels),
        epochs=200,
        patience=4,
        optimizer=optax.adam(0.1),
        callbacks=[lambda end: seen.append(end.state.params)],
    )
    assert result.stopped == "patience"
    losses = result.history["val_loss"]
    assert result.best_epoch == 1 + int(np.argmin(losses)) == len(losses) - 4
    chex.assert_trees_all_equal(result.params, seen[result.best_epoch - 1])
    chex.assert_trees_all_equal(result.train_state.params, seen[-1])


def test_patience_watches_metrics_in_their_own_direction():
    result = fit(validation=data(seed=1), metrics=METRICS, epochs=50, patience=2, monitor="val_accuracy")
    assert result.best_epoch == 1 + int(np.argmax(result.history["val_accuracy"]))
    result = fit(epochs=50, patience=1, monitor="loss", optimizer=optax.sgd(0.0), net=pn.dense(3), batch_size=None)
    assert (result.best_epoch, len(result.history["loss"])) == (1, 2)


def test_callbacks_read_in_order_and_stop():
    seen = []

    def read(end):
        seen.append((end.epoch, int(end.state.step), len(end.history["loss"])))

    result = fit(epochs=9, callbacks=[read, lambda end: end.epoch == 2, read])
    assert seen == [(1, 7, 1), (1, 7, 1), (2, 14, 2), (2, 14, 2)]
    assert (result.stopped, result.best_epoch, len(result.history["loss"])) == ("callback", 2, 2)


def test_ctrl_c_returns_what_was_learned_so_far():
    def interrupt(end):
        if end.epoch == 2:
            raise KeyboardInterrupt

    result = fit(epochs=9, callbacks=[interrupt])
    assert (result.stopped, len(result.history["loss"]), int(result.train_state.step)) == ("interrupt", 2, 14)
    chex.assert_trees_all_equal(result.params, fit(epochs=2).params)


def test_ctrl_c_within_an_epoch_resumes_to_the_same_bits(monkeypatch):
    monkeypatch.setattr("purenet.pacing._SECONDS", 0.0)
    calls = []

    def stop(bar, epoch, done, loss):
        calls.append(done)
        if len(calls) == 10:  # the third update of the second epoch
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("purenet.pacing.Bar.advance", stop)
        broken = fit(epochs=3)
    assert (broken.stopped, int(broken.train_state.step), len(broken.history["loss"])) == ("interrupt", 10, 1)
    assert len(broken.history["step_loss"]) == 10
    rest = fit(epochs=2, state=broken.train_state, key=None)
    whole = fit(epochs=3)
    chex.assert_trees_all_equal(rest.train_state, whole.train_state)
    steps = np.concatenate([broken.history["step_loss"], rest.history["step_loss"]])
    np.testing.assert_array_equal(steps, whole.history["step_loss"])


def test_a_run_goes_on_with_another_batch_size():
    first = fit(epochs=1, batch_size=1)
    second = fit(epochs=1, batch_size=7, state=first.train_state, key=None)
    assert int(second.train_state.step) == 50 + 8
    run = jax.jit(pn.train(NET, LOSS, ADAM, batch_size=7))
    final, _ = run(first.train_state, jax.tree.map(jnp.asarray, data()))
    chex.assert_trees_all_close(second.params, final.params, rtol=1e-4, atol=1e-6)


def test_callbacks_cannot_change_the_run():
    def spoil(end):
        end.state.params[0]["kernel"] = jnp.zeros(())

    chex.assert_trees_all_equal(fit(callbacks=[spoil]).params, fit().params)


def test_a_diverged_error_survives_pickling():
    error = pn.DivergedError("so", fit(epochs=1)._replace(train_state=None))
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.result.stopped) == ("so", "epochs")


def test_results_print_in_a_line():
    result = fit(epochs=2)
    assert re.fullmatch(r"FitResult\(epochs=2, stopped='epochs', best_epoch=2, last: loss=[\d.]+\)", repr(result))
    assert repr(result.train_state) == "TrainState(step=14, params of 4 arrays)"


def test_weights_train_and_validate():
    xs, labels = data()
    weights = np.where(labels == 0, 1e-6, 1.0).astype(np.float32)
    result = fit((xs, labels, weights), validation=(xs, labels, weights), metrics=METRICS, epochs=30)
    predicted = np.argmax(jax.vmap(NET.apply, (None, 0))(result.params, xs), axis=1)
    assert np.mean(predicted == 0) < 0.1
    assert result.history["val_accuracy"][-1] > 0.95


def test_several_inputs_train():
    net = pn.layer(
        lambda params, x: x["a"] @ params["a"] + x["b"] * params["b"],
        init=lambda key, spec: ({"a": jax.random.normal(key, (2, 3)), "b": jnp.ones(3)}, ()),
        name="two",
    )
    xs, labels = data()
    result = fit(({"a": xs, "b": xs[:, 0]}, labels), net=net, epochs=20)
    assert result.history["loss"][-1] < result.history["loss"][0]


def test_int64_labels_that_fit_are_taken():
    xs, labels = data()
    chex.assert_trees_all_equal(fit((xs, labels.astype(np.int64))).params, fit((xs, labels)).params)


def test_float64_trains_where_it_is_on(x64):
    xs, labels = data()
    result = fit((xs.astype(np.float64), labels))
    assert {leaf.dtype for leaf in jax.tree.leaves(result.params)} == {np.dtype(np.float64)}


def test_the_bar_shows_epochs_and_numbers(capsys):
    fit(validation=data(seed=1), metrics=METRICS, progress=True)
    shown = capsys.readouterr().err
    assert "epoch 3/3" in shown
    assert "21/21" in shown
    assert re.search(r"loss=[\d.]+, accuracy=[\d.]+, val_loss=[\d.]+, val_accuracy=[\d.]+", shown)
    fit(progress=False)
    fit()  # no terminal here
    assert capsys.readouterr().err == ""


TRY = (
    "Try a learning rate 10 times smaller, inputs scaled to about 1, or optax.clip_by_global_norm(1.0) in front "
    "of the optimizer. error.result holds the last finite parameters."
)


def test_a_diverging_run_stops_with_step_rate_and_remedy():
    rate, (xs, _) = optax.inject_hyperparams(optax.sgd)(1e30), data()
    with pytest.raises(pn.DivergedError) as caught:
        fit((xs, xs), net=pn.dense(2), loss=pn.losses.half_squared_error, optimizer=rate)
    message = str(caught.value)
    assert re.match(r"fit: the (loss|parameters) became (nan|inf|nan or inf) at step \d, epoch 1 ", message), message
    assert "(learning rate 1e+30)" in message
    assert message.endswith(TRY)
    result = caught.value.result
    chex.assert_tree_all_finite(result.params)
    assert len(result.history["step_loss"]) == int(result.train_state.step)


def test_a_loss_that_is_nan_from_the_start_says_so():
    with refuses(
        pn.DivergedError,
        "fit: the loss became nan at step 1, epoch 1 (learning rate unknown: optax.inject_hyperparams would show it). "
        f"No update had been made: look at the initialisation, the inputs and the loss. {TRY}",
    ):
        fit(loss=lambda prediction, label: jnp.sum(prediction) * jnp.nan, epochs=1)


def test_a_gradient_that_is_nan_under_a_finite_loss_says_so():
    def root(prediction, label):
        return jnp.sqrt(jnp.sum(0 * prediction))

    with refuses(
        pn.DivergedError,
        "fit: the parameters became nan or inf at step 1, epoch 1 "
        "(learning rate unknown: optax.inject_hyperparams would show it). "
        f"The loss was finite, its gradient was not: a sqrt or log at 0, in 16 bits Adam's eps? {TRY}",
    ):
        fit(loss=root, epochs=1)


def interrupted(inside, begin=0):
    state = pn.train_state(NET, ADAM, jax.random.key(0), pn.spec(2))
    return state._replace(begin=jnp.int32(begin), step=jnp.int32(begin + inside))


XS, LABELS = data()
BAD = {
    "labels from 1": (
        lambda: fit((XS, LABELS + 1)),
        ValueError,
        re.compile(r"softmax_cross_entropy: expected .*"),
    ),
    "a negative label": (
        lambda: fit((XS, LABELS - 1)),
        ValueError,
        re.compile(r"softmax_cross_entropy: expected .*"),
    ),
    "a bad label in validation": (
        lambda: fit(validation=(XS, LABELS + 5)),
        ValueError,
        re.compile(r"softmax_cross_entropy: expected .*"),
    ),
    "NaN": (
        lambda: fit((np.where(XS > 1, np.nan, XS).astype(np.float32), LABELS)),
        ValueError,
        re.compile(r"check_data: expected finite values in data\[0\], got \d+ NaN or infinite of 100, .*"),
    ),
    "float64": (
        lambda: fit((XS.astype(np.float64), LABELS)),
        TypeError,
        "check_data: expected float32 in data[0] while JAX's 64-bit mode is off, got float64. "
        'Use x.astype(np.float32) or jax.config.update("jax_enable_x64", True).',
    ),
    "other lengths": (
        lambda: fit((XS, LABELS[:-1])),
        ValueError,
        "check_data: expected equal leading lengths, got 50 in data[0] and 49 in data[1]. "
        "Give every example one row in each array.",
    ),
    "nothing": (
        lambda: fit((XS[:0], LABELS[:0])),
        ValueError,
        "check_data: expected at least one value in data[0], got shape (0, 2). Check how the data was selected.",
    ),
    "no targets": (
        lambda: fit(XS),
        TypeError,
        "fit: expected a batch (xs, ys) or (xs, ys, weights), got float32 of shape (50, 2). Pass a tuple of arrays.",
    ),
    "batch_size 0": (
        lambda: fit(batch_size=0),
        ValueError,
        "fit: expected batch_size of 1 or more, got 0. Give an int of 1 or more.",
    ),
    "batch_size above n": (
        lambda: fit(batch_size=51),
        ValueError,
        "fit: expected batch_size from 1 to 50, the number of examples, got 51. Use None for all of them at once.",
    ),
    "no key": (
        lambda: fit(key=None),
        TypeError,
        "fit: expected a JAX random key, got None. Make one with jax.random.key(0).",
    ),
    "an unknown gradient": (
        lambda: fit(gradient="magic"),
        ValueError,
        "fit: expected gradient to be one of ('autodiff', 'backprop'), got 'magic'. Choose one of them.",
    ),
    "a network without layers": (
        lambda: fit(net=None),
        TypeError,
        "fit: expected a layer or a function of one example, got None. "
        "Give layers as separate arguments, such as pn.serial(pn.dense(3), pn.relu).",
    ),
    "patience without validation": (
        lambda: fit(patience=3),
        ValueError,
        "fit: expected monitor to be one of ['loss'], got 'val_loss'. "
        "Choose one of them, or pass validation=(xs, ys) for val_ ones.",
    ),
    "no patience": (
        lambda: fit(patience=0, validation=(XS, LABELS)),
        ValueError,
        "fit: expected patience of 1 or more, got 0. Give an int of 1 or more.",
    ),
    "a callback that answers": (
        lambda: fit(callbacks=[lambda end: end.epoch]),
        TypeError,
        "fit: expected a callback to return True to stop, or False or None to go on, got 1. "
        "Give it no other return value.",
    ),
    "weights of zero": (
        lambda: fit((XS, LABELS, np.eye(1, 50, dtype=np.float32)[0])),
        ValueError,
        "fit: expected weights above 0, got 0.0 at index 1 (49 such). "
        "Leave those examples out, such as xs[weights > 0].",
    ),
    "another network's state": (
        lambda: fit(net=pn.dense(3), key=None, state=fit(epochs=1).train_state),
        TypeError,
        "dense: expected params to be a dict of ['bias', 'kernel'], got a tuple of 4. "
        "Pass the params that this network's init made.",
    ),
    "a key and a state": (
        lambda: fit(state=fit(epochs=1).train_state),
        TypeError,
        "fit: expected a key or a state, got both. The state has a key of its own: leave key out.",
    ),
    "a state that is none": (
        lambda: fit(state=fit(epochs=1), key=None),
        TypeError,
        "fit: expected a TrainState, got a FitResult. Pass its field train_state.",
    ),
    "an interrupted epoch of another length": (
        lambda: fit(state=interrupted(5), key=None, batch_size=10),
        ValueError,
        "fit: expected a state at most 4 updates into an epoch of 5, got one 5 updates into an interrupted epoch. "
        "Pass the data and batch_size that it was interrupted with.",
    ),
    "more updates than int32 counts": (
        lambda: fit(state=interrupted(0, 2**31 - 3), key=None),
        ValueError,
        "fit: expected at most 2147483647 updates in all, got 2147483645 done and 21 to come. "
        "Lower epochs, or begin again from these params with pn.train_state(…, params=…).",
    ),
    "a callback alone": (
        lambda: fit(callbacks=print),
        TypeError,
        "fit: expected callbacks to be a list of functions of an EpochEnd, got a builtin_function_or_method. "
        "Such as callbacks=[report].",
    ),
    "monitor without patience": (
        lambda: fit(monitor="loss"),
        ValueError,
        "fit: expected patience with monitor='loss', got none. Such as patience=3.",
    ),
    "patience on many numbers": (
        lambda: fit(metrics={"p": pn.metrics.precision(None)}, patience=1, monitor="p"),
        ValueError,
        "fit: expected monitor to be one of ['loss'], got 'p'. "
        "Choose one of them, or pass validation=(xs, ys) for val_ ones.",
    ),
    "negative weights for a metric alone": (
        lambda: pn.evaluate(NET, fit(epochs=1).params, (*data(), -np.ones(50, np.float32)), metrics=METRICS),
        ValueError,
        "evaluate: expected weights above 0, got -1.0 at index 0 (50 such). "
        "Leave those examples out, such as xs[weights > 0].",
    ),
    "a share for validation": (
        lambda: fit(validation=0.2),
        TypeError,
        "fit: expected validation to be (xs, ys), got 0.2. pn.data.split cuts a data set into parts.",
    ),
    "a result for params": (
        lambda: pn.evaluate(NET, fit(epochs=1), data(), loss=LOSS),
        TypeError,
        "evaluate: expected params, got a FitResult. Pass its field params.",
    ),
    "evaluation inside jit": (
        lambda: jax.jit(lambda params: pn.evaluate(NET, params, data(), loss=LOSS))(fit(epochs=1).params),
        TypeError,
        "evaluate: expected concrete params, got traced ones. It works on the host: inside jit, vmap and grad use "
        "jax.vmap(net.apply, (None, 0)) and a loss or metric of its result.",
    ),
    "an evaluation's batch_size": (
        lambda: pn.evaluate(NET, fit(epochs=1).params, data(), loss=LOSS, batch_size="all"),
        TypeError,
        "evaluate: expected batch_size to be a whole number, got 'all'. Give an int of 1 or more.",
    ),
    "nothing to evaluate": (
        lambda: pn.evaluate(NET, fit(epochs=1).params, data()),
        ValueError,
        "evaluate: expected a loss or metrics, got neither. Pass loss=…, metrics={…} or both.",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_whole_sentences(case):
    function, kind, message = BAD[case]
    if isinstance(message, str):
        with refuses(kind, message):
            function()
    else:
        with pytest.raises(kind) as caught:
            function()
        assert message.fullmatch(str(caught.value)), caught.value
