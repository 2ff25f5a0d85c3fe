"""diagnose names what is wrong, and raises no alarm where nothing is."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from insight.healthy_networks import OWN, SHARED, SLOW
from insight.sick_networks import BASE, CE, DEAR, SGD, SICK, blobs, case, scaled
from jax.flatten_util import ravel_pytree

import purenet as pn
from purenet.insight.diagnosing import diagnose
from purenet.insight.findings import CAUSES, SEVERITIES

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _quick_compilation():
    """A hundred small programs run once each: optimising them takes longer than running them."""
    jax.config.update("jax_disable_most_optimizations", True)
    with jax.numpy_rank_promotion("raise"):
        yield
    jax.config.update("jax_disable_most_optimizations", False)


def norm(tree):
    return np.linalg.norm(ravel_pytree(tree)[0])


def run(arguments_and_options):
    arguments, options = arguments_and_options
    return diagnose(*arguments, **options)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in DEAR else ()) for name in SICK])
def test_a_sick_network_is_named_right(name):
    expected, make = SICK[name]
    diagnosis = run(make())
    assert not diagnosis.healthy
    first = diagnosis.findings[0]
    assert first.name == expected, str(diagnosis)
    assert first.severity in ("error", "warning")
    for finding in diagnosis.findings:
        assert finding.name in CAUSES
        assert finding.severity in SEVERITIES
        assert finding.source
        assert finding.message.endswith((".", "?"))
        assert finding.remedy.endswith(".")


def test_every_cause_has_its_sick_network():
    """All but those that are only noted, or follow from others."""
    rest = {"loss_not_finite", "no_updates", "batch_small", "batch_large"}
    assert {expected for expected, _ in SICK.values()} == set(CAUSES) - rest


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in {**SHARED, **OWN, **SLOW}]
)
def test_a_healthy_network_gets_no_alarm(name):
    diagnosis = run({**SHARED, **OWN, **SLOW}[name]())
    assert diagnosis.healthy, str(diagnosis)


def test_there_are_many_of_both():
    assert len(SICK) >= 20
    assert len({**SHARED, **OWN, **SLOW}) >= 20


def test_units_are_counted():
    def plant(params):
        return ({**params[0], "bias": params[0]["bias"].at[:7].set(-100.0)}, *params[1:])

    numbers = run(case(change=plant)).measurements
    np.testing.assert_allclose(numbers["dead_units"]["serial[1].relu"], 7 / 24, rtol=1e-6)


def test_what_is_measured_is_what_training_sees():
    (net, loss, state, data), options = case(data=tuple(a[:256] for a in blobs()), batch_size=None)
    numbers = diagnose(net, loss, state, data, **options).measurements
    gradient = jax.jit(pn.value_and_grad(net, loss))
    (value, _), grads = gradient(state.params, state.state, data)
    after, _ = jax.jit(pn.train_step(net, loss, SGD))(state, data)
    (value_after, _), _ = gradient(after.params, after.state, data)
    np.testing.assert_allclose(numbers["loss"], value, rtol=1e-5)
    np.testing.assert_allclose(numbers["batch_loss"], value, rtol=1e-5)
    np.testing.assert_allclose(numbers["loss_after_update"], value_after, rtol=1e-5)
    np.testing.assert_allclose(numbers["learning_rate"], 0.1, rtol=1e-3)
    for i in (0, 2):
        place = f"serial[{i}].dense"
        np.testing.assert_allclose(numbers["gradient_norms"][place], norm(grads[i]), rtol=1e-4)
        np.testing.assert_allclose(numbers["weight_norms"][place], norm(state.params[i]), rtol=1e-5)
        ratio = 0.1 * norm(grads[i]) / norm(state.params[i])
        np.testing.assert_allclose(numbers["update_ratios"][place], ratio, rtol=1e-3)


def test_it_is_reproducible_and_compiles_once():
    traces = []

    def value(prediction, label):
        traces.append(label)
        return CE.value(prediction, label)

    (net, _, state, data), options = case()
    counted = pn.losses.loss(value, name="softmax_cross_entropy")
    first = diagnose(net, counted, state, data, **options)
    count = len(traces)
    again = diagnose(net, counted, state, data, **options)
    other = diagnose(net, counted, state, data, **options, key=jax.random.key(5))
    assert len(traces) == count > 0
    assert str(again.measurements) == str(first.measurements)
    assert again.findings == first.findings
    assert other.measurements["loss"] != first.measurements["loss"]


def test_a_network_that_learns_has_its_dead_units_only_noted():
    """The loss is fine, so that half of the units being off is no alarm."""
    rng = np.random.default_rng(0)
    ys = rng.integers(0, 5, 512).astype(np.int32)
    xs = np.zeros((512, 12), np.float32)
    xs[np.arange(512), ys] = 3
    (net, loss, state, data), options = case(data=(xs, ys))
    kernel = np.zeros((12, 24), np.float32)
    kernel[:5, :5] = np.eye(5)
    params = (
        {"kernel": jnp.asarray(kernel), "bias": jnp.where(jnp.arange(24) < 5, 0.0, -1.0)},
        (),
        {"kernel": 2 * jnp.eye(24, 5) - 1, "bias": jnp.zeros(5)},
    )
    diagnosis = diagnose(net, loss, state._replace(params=params), data, **options)
    assert diagnosis.healthy
    noted = next(finding for finding in diagnosis.findings if finding.name == "dead_units")
    assert (noted.severity, noted.where) == ("note", "serial[1].relu")
    np.testing.assert_allclose(noted.number, 19 / 24, rtol=1e-6)


def test_the_report():
    diagnosis = run(case(change=scaled(40.0, only=2)))
    finding = diagnosis.findings[0]
    text = str(diagnosis)
    assert not diagnosis
    assert text.startswith("diagnose: 1 alarm, the deepest cause first.\nwarning: initial_loss\n  The first loss is ")
    assert "that of guessing 1.61: the network is sure of wrong answers before it has learned." in text
    assert f"measured {finding.number:.4g}, threshold 6.219 (Karpathy (2019)" in text
    assert text.endswith(
        "remedy: Use smaller weights in the last layer, and scale the inputs.\n"
        "not judged: the validation data (validation=), the course of the losses (history=)."
    )
    assert repr(diagnosis) == "Diagnosis(initial_loss)"
    assert diagnosis._repr_html_().count("<tr>") == 2
    healthy = run(case())
    assert str(healthy).splitlines()[0] == "diagnose: nothing alarming found."
    assert healthy
    assert repr(healthy) == "Diagnosis(healthy)"


def test_batch_norm_with_a_single_example_in_all():
    net = pn.serial(pn.dense(4), pn.batch_norm(), pn.dense(5))
    diagnosis = run(case(net, data=tuple(a[:1] for a in blobs()), batch_size=None))
    assert diagnosis.names == ("batch_norm_on_one",)


def test_spectrum():
    (net, loss, state, data), options = case(data=tuple(a[:64] for a in blobs()), sharpness=True)
    numbers = diagnose(net, loss, state, data, **options, spectrum=3).measurements
    assert len(numbers["spectrum"]) == 3
    assert numbers["spectrum"] == sorted(numbers["spectrum"], reverse=True)
    np.testing.assert_allclose(numbers["spectrum"][0], numbers["sharpness"], rtol=0.1)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"state": ()},
            pn.StructureError,
            "diagnose: expected a TrainState, got a tuple of 0. Make it with pn.train_state(net, optimizer, key, "
            "spec).",
        ),
        (
            {"data": blobs()[0]},
            pn.StructureError,
            "diagnose: expected a batch (xs, ys) or (xs, ys, weights), got float32 of shape (512, 12). Pass a tuple "
            "of arrays.",
        ),
        (
            {"data": (blobs()[0], blobs()[1][:9])},
            pn.ShapeError,
            "diagnose: expected arrays with one common first axis, the examples, got the shapes [(512, 12), (9,)]. "
            "Give as many targets (and weights) as inputs.",
        ),
        (
            {"data": (blobs()[0].astype(np.float64), blobs()[1])},
            pn.StructureError,
            "diagnose: expected arrays of a dtype that JAX keeps, got float64 of shape (512, 12), which it would turn "
            "into float32. Convert it with astype('float32'), or the data with pn.data.check_data.",
        ),
        (
            {"data": (*blobs(), blobs()[1])},
            pn.StructureError,
            "diagnose: expected weights to be one floating number per example, got int32 of shape (512,). Give an "
            "array of shape (B,).",
        ),
        (
            {"optimizer": "adam"},
            pn.StructureError,
            "diagnose: expected an optax optimizer, got 'adam'. Call the factory, such as optax.adam(1e-3).",
        ),
        (
            {"batch_size": 513},
            pn.ShapeError,
            "diagnose: expected batch_size from 1 to 512, the number of examples, got 513. Use None for all of them at "
            "once.",
        ),
        (
            {"spectrum": -1},
            pn.ShapeError,
            "diagnose: expected spectrum of 0 or more, got -1. Give the number of eigenvalues.",
        ),
        (
            {"spectrum": 1.5},
            pn.StructureError,
            "diagnose: expected spectrum to be a whole number, got 1.5. Give an int.",
        ),
        (
            {"history": 3},
            pn.StructureError,
            "diagnose: expected history to be a dict of losses by name, got 3. Pass result.history of pn.fit.",
        ),
        (
            {"memorisation": 1},
            pn.StructureError,
            "diagnose: expected memorisation to be True or False, got 1. Give a bool.",
        ),
        (
            {"key": 3},
            pn.StructureError,
            "diagnose: expected a JAX random key, got 3. Make one with jax.random.key(0).",
        ),
    ],
)
def test_refusals(change, error, message):
    (net, loss, state, data), options = case()
    given = {"net": net, "loss": loss, "state": state, "data": data, **options, **change}
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        diagnose(**given)


def test_an_optimizer_of_another_run_is_refused():
    (net, loss, state, data), options = case()
    with pytest.raises(
        pn.StructureError, match=r"^diagnose: expected the opt_state of this optimizer for these params"
    ):
        diagnose(net, loss, state, data, **{**options, "optimizer": optax.adam(1e-3)})


def test_data_of_another_network_is_refused():
    (_, loss, state, data), options = case()
    with pytest.raises(pn.ShapeError, match=r"^serial\[0\]\.dense: expected x of shape \(12,\), got \(6,\)"):
        diagnose(BASE, loss, state, (data[0][:, :6], data[1]), **options)
