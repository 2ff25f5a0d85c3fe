"""watch: a run diagnosed as it goes, and a divergence that ends with the report."""

import os
import re

import jax
import numpy as np
import optax
import pytest
from insight.sick_networks import BASE, CE, MSE, SGD, blobs, case, curve, dead

import purenet as pn
from purenet.insight.diagnosing import diagnose
from purenet.insight.watching import watch

pytestmark = pytest.mark.usefixtures("quick_compilation")


def fit(optimizer=SGD, callbacks=(), **options):
    given = {"loss": CE, "optimizer": optimizer, "batch_size": 64, "epochs": 3, "callbacks": callbacks}
    return pn.fit(BASE, blobs(), **{**given, **options})


def test_each_thing_is_said_once():
    said = []
    (net, loss, state, data), _ = case(change=dead)
    seen = watch(net, loss, data, optimizer=SGD, batch_size=64, show=said.append)
    fit(callbacks=[seen], state=state)
    assert [finding.name for finding in seen.findings if finding.severity != "note"] == ["dead_units"]
    assert len(said) == 1
    assert said[0].startswith("epoch 1, error: dead_units at serial[1].relu\n  100 % of the units are off for all 256")
    assert seen.diagnosis.alarms[0].name == "dead_units"
    assert repr(seen) == f"Watch({len(seen.findings)} findings)"


def test_it_looks_every_so_often_and_changes_nothing():
    epochs = []
    seen = watch(BASE, CE, blobs(), optimizer=SGD, batch_size=64, every=2, show=None)
    result = fit(
        callbacks=[seen, lambda end: epochs.append((end.epoch, seen.diagnosis is None))], key=jax.random.key(0)
    )
    assert epochs == [(1, True), (2, False), (3, False)]
    assert seen.diagnosis.healthy
    plain = fit(key=jax.random.key(0))
    np.testing.assert_array_equal(result.history["step_loss"], plain.history["step_loss"])


def test_a_diverged_run_ends_with_the_report():
    (net, loss, state, data), _ = case(pn.dense(1), MSE, curve(), rate=10.0)
    options = {"optimizer": SGD, "batch_size": 64}
    seen = watch(net, loss, data, **options, show=None)
    with pytest.raises(pn.DivergedError) as raised:
        pn.fit(net, data, loss=loss, **options, epochs=20, callbacks=[seen], state=state)
    text = str(raised.value)
    assert "error.result holds the last finite parameters.\nOf the last finite parameters:\ndiagnose: " in text
    assert "error: rate_too_high\n" in text
    result = raised.value.result
    assert diagnose(net, loss, result.train_state, data, **options, history=result.history) == seen.diagnosis


def test_a_state_that_is_out_of_bounds_is_said_to_be():
    (net, loss, state, data), options = case()
    far = state._replace(params=jax.tree.map(lambda a: 1e30 * a, state.params), step=state.step + 1)
    assert diagnose(net, loss, far, data, **options).findings[0].name == "diverging"


def test_a_report_that_fails_hides_nothing():
    class Broken:
        def __call__(self, end):
            return None

        def diverged(self, result):
            raise RuntimeError("no paper")

        def __repr__(self):
            return "Broken"

    with pytest.raises(pn.DivergedError, match=r"The report of Broken failed: RuntimeError: no paper$"):
        fit(callbacks=[Broken(), lambda end: None], state=case(rate=1e30)[0][2])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"every": 0}, pn.ShapeError, "watch: expected every of 1 or more, got 0. Give an int of 1 or more."),
        (
            {"show": "yes"},
            pn.StructureError,
            "watch: expected show to be a function of a text, or None, got 'yes'. Give print.",
        ),
        ({"sharpness": 1}, pn.StructureError, "watch: expected sharpness to be True or False, got 1. Give a bool."),
        (
            {"optimizer": 0.1},
            pn.StructureError,
            "watch: expected an optax optimizer, got 0.1. Call the factory, such as optax.adam(1e-3).",
        ),
    ],
)
def test_refusals(change, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        watch(BASE, CE, blobs(), **change)


@pytest.fixture(scope="module")
def digits():
    """A few thousand images of MNIST, scaled, and their labels."""
    if not os.environ.get("PURENET_DATA"):
        pytest.skip("PURENET_DATA is not set: it names the folder whose subfolder mnist holds the four files")
    (images, labels), _ = pn.data.mnist()
    return images[:4096], labels[:4096]


@pytest.mark.slow
def test_mnist(digits):
    images, labels = digits
    xs = images.reshape(len(images), -1)
    net, optimizer = pn.serial(pn.dense(128), pn.relu, pn.dense(10)), optax.adam(1e-3)
    state = pn.train_state(net, optimizer, jax.random.key(0), pn.spec(784))
    options = {"optimizer": optimizer, "batch_size": 128}
    assert diagnose(net, CE, state, (xs, labels), **options).healthy
    result = pn.fit(net, (xs, labels), loss=CE, optimizer=optimizer, key=jax.random.key(0), batch_size=128, epochs=5)
    after = diagnose(net, CE, result.train_state, (xs, labels), history=result.history, **options)
    assert after.healthy, str(after)
    assert diagnose(net, CE, state, (255 * xs, labels), **options).findings[0].name == "inputs_unscaled"
    assert diagnose(net, CE, state, (xs, labels + 1), **options).findings[0].name == "labels_shifted"
    assert diagnose(net, CE, state, (xs, np.roll(labels, 1)), **options).findings[0].name == "labels_misaligned"
    leaky = diagnose(net, CE, state, (xs, labels), validation=(xs[:100], labels[:100]), **options)
    assert leaky.findings[0].name == "leaked_validation"
