"""What fit keeps and takes beside the numbers: snapshots, the rate in force, states that callbacks return."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from core import fits
from refusals import refuses

import purenet as pn

INJECTED = optax.inject_hyperparams(optax.sgd)


def test_snapshots_are_the_epochs_of_the_same_run():
    result = fits.fit(epochs=5, snapshots=2)
    assert [kept.epoch for kept in result.snapshots] == [0, 2, 4, 5]
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(result.snapshots[0].params))
    chex.assert_trees_all_equal(result.snapshots[-1].params, result.params)
    chex.assert_trees_all_equal(result.snapshots[1].params, fits.fit(epochs=2).params)
    start = pn.train_state(fits.NET, fits.ADAM, jax.random.key(0), pn.spec(2))
    chex.assert_trees_all_equal(result.snapshots[0].params, start.params)
    assert fits.fit(epochs=1).snapshots == ()


def test_snapshots_of_a_run_that_ends_early_end_with_its_last_epoch():
    result = fits.fit(epochs=9, snapshots=4, callbacks=[lambda end: end.epoch == 6])
    assert [kept.epoch for kept in result.snapshots] == [0, 4, 6]
    whole = fits.fit(epochs=9, snapshots=4, callbacks=[lambda end: end.epoch == 4])
    assert [kept.epoch for kept in whole.snapshots] == [0, 4]


def test_a_run_that_diverges_keeps_its_snapshots():
    with pytest.raises(pn.DivergedError) as caught:
        fits.fit(epochs=50, snapshots=1, optimizer=optax.sgd(1e38))
    assert [kept.epoch for kept in caught.value.result.snapshots][:1] == [0]


def test_the_rate_of_each_epoch_stands_in_the_history():
    steps = pn.steps_per_epoch(50, 8)
    halved = optax.exponential_decay(0.1, steps, 0.5, staircase=True)
    result = fits.fit(optimizer=INJECTED(halved), epochs=4)
    np.testing.assert_allclose(result.history["learning_rate"], [0.1, 0.05, 0.025, 0.0125], rtol=1e-6)
    run = jax.jit(pn.train(fits.NET, fits.LOSS, INJECTED(halved), batch_size=8, epochs=4))
    state = pn.train_state(fits.NET, INJECTED(halved), jax.random.key(0), pn.spec(2))
    _, history = run(state, fits.data())
    np.testing.assert_array_equal(history["learning_rate"], result.history["learning_rate"])
    assert "learning_rate" not in fits.fit(optimizer=optax.sgd(halved), epochs=1).history  # it keeps it to itself


def test_several_rates_stand_side_by_side():
    both = optax.partition({"a": INJECTED(0.1), "b": INJECTED(0.2)}, lambda params: ("a", (), (), "b"))
    history = fits.fit(optimizer=both, epochs=2).history
    np.testing.assert_allclose(history["learning_rate"], [[0.1, 0.2]] * 2, rtol=1e-6)


def test_a_callback_may_change_the_run_and_nothing_compiles_anew():
    traces = []

    def loss(prediction, target):
        traces.append(1)
        return pn.losses.softmax_cross_entropy.value(prediction, target)

    def halve(end):
        injected = end.state.opt_state
        rate = {"learning_rate": injected.hyperparams["learning_rate"] / 2}
        return end.state._replace(opt_state=injected._replace(hyperparams=rate))

    given = {"loss": loss, "optimizer": INJECTED(0.08), "epochs": 4}
    plain = fits.fit(**given)
    counted = len(traces)
    seen = []
    result = fits.fit(**given, callbacks=[halve, lambda end: seen.append(end.state)])
    assert len(traces) == counted
    np.testing.assert_allclose(result.history["learning_rate"], [0.08, 0.04, 0.02, 0.01], rtol=1e-6)
    assert plain.history["loss"][0] == result.history["loss"][0]
    assert plain.history["loss"][1] != result.history["loss"][1]
    assert float(seen[0].opt_state.hyperparams["learning_rate"]) == pytest.approx(0.04)  # the next callback sees it


CASES = {
    "a callback's state with other params": (
        lambda: fits.fit(callbacks=[lambda end: end.state._replace(params=())]),
        TypeError,
        "fit: expected a callback to return a state like end.state, got another tree, a TrainState. "
        "Return end.state._replace(…) with leaves of the same shapes and dtypes.",
    ),
    "a callback's state with other dtypes": (
        lambda: fits.fit(callbacks=[lambda end: end.state._replace(step=jnp.float32(0))]),
        TypeError,
        "fit: expected a callback to return a state like end.state, with int32 of shape () at .step, got float32 of "
        "shape () there. Return end.state._replace(…) with leaves of the same shapes and dtypes.",
    ),
    "no snapshots": (
        lambda: fits.fit(snapshots=0),
        ValueError,
        "fit: expected snapshots of 1 or more, got 0. Give an int of 1 or more.",
    ),
    "snapshots of another kind": (
        lambda: fits.fit(snapshots=True),
        TypeError,
        "fit: expected snapshots to be a whole number, got True. Give an int of 1 or more.",
    ),
    "a metric named like the rate": (
        lambda: fits.fit(metrics={"learning_rate": pn.metrics.accuracy}),
        ValueError,
        "fit: expected names of metrics other than 'loss', 'step_loss', 'learning_rate' and 'val_…', got "
        "'learning_rate'. Rename it.",
    ),
    "a callback's state with nan": (
        lambda: fits.fit(
            callbacks=[lambda end: end.state._replace(params=jax.tree.map(lambda a: a * np.nan, end.state.params))]
        ),
        ValueError,
        "fit: expected a callback to return finite params, got nan or inf among them. Look at what it does.",
    ),
    "a callback's state inside an epoch": (
        lambda: fits.fit(callbacks=[lambda end: end.state._replace(step=end.state.step - 1)]),
        ValueError,
        "fit: expected a callback to return a state between two epochs, with begin equal to step, got step 6 and begin "
        "7. Replace both or neither.",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_refusals(case):
    act, kind, message = CASES[case]
    with refuses(kind, message):
        act()
