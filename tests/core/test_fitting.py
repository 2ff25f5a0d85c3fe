"""fit: the same updates as train, and around them stopping, callbacks and plain words when it diverges."""

import pickle
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from core.fits import ADAM, LOSS, METRICS, NET, data, fit
from refusals import refuses

import purenet as pn
from purenet import chunks


@pytest.mark.parametrize("batch_size", [8, 10, 1, 50, None])
@pytest.mark.parametrize("gradient", ["autodiff", pytest.param("backprop", marks=pytest.mark.slow)])
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
        "No update had been made, so the learning rate is not the cause. Look at the initialisation, the inputs and "
        "the loss; pn.trace names the line that makes the first one. error.result holds the last finite parameters.",
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
