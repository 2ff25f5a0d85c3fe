"""Metrics against scikit-learn, in one piece."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics as sk

from purenet import losses, metrics

rng = np.random.default_rng(4)
N, C = 60, 6
LOGITS = rng.normal(size=(N, C)).astype(np.float32)
LABELS = np.where(rng.uniform(size=N) < 0.5, LOGITS.argmax(1), rng.integers(0, C - 1, N)).astype(np.int32)
LOGITS[:, C - 1] -= 9  # a class that is neither predicted nor true
LABELS[LABELS == C - 1] = 0
PREDICTED = LOGITS.argmax(1)
SCORES = rng.normal(size=N).astype(np.float32)
TRUTH = (SCORES + rng.normal(size=N) > 0).astype(np.float32)
WEIGHTS = rng.uniform(0.1, 2, N).astype(np.float32)


def value(metric, *batch):
    return metric.finish(metric.measure(*map(jnp.asarray, batch)))


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_classes_agree_with_scikit_learn(weights):
    batch = (LOGITS, LABELS) if weights is None else (LOGITS, LABELS, weights)
    given = {"sample_weight": weights}
    np.testing.assert_allclose(value(metrics.accuracy, *batch), sk.accuracy_score(LABELS, PREDICTED, **given), 1e-6)
    np.testing.assert_allclose(
        value(metrics.top_k(2), *batch),
        sk.top_k_accuracy_score(LABELS, LOGITS, k=2, labels=range(C), **given),
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        value(metrics.confusion_matrix, *batch),
        sk.confusion_matrix(LABELS, PREDICTED, labels=range(C), **given),
        rtol=1e-5,
    )


@pytest.mark.parametrize("average", ["macro", "micro", None])
@pytest.mark.parametrize("name", ["precision", "recall", "f1"])
def test_averages_agree_with_scikit_learn(name, average):
    reference = getattr(sk, f"{name}_score")
    for weights in (None, WEIGHTS):
        batch = (LOGITS, LABELS) if weights is None else (LOGITS, LABELS, weights)
        expected = reference(
            LABELS, PREDICTED, labels=range(C), average=average, zero_division=0, sample_weight=weights
        )
        np.testing.assert_allclose(value(getattr(metrics, name)(average), *batch), expected, rtol=1e-5)


@pytest.mark.parametrize("threshold", [0.0, 0.5])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_decisions_agree_with_scikit_learn(threshold, weights):
    batch = (SCORES, TRUTH) if weights is None else (SCORES, TRUTH, weights)
    for make, reference in (
        (metrics.precision, sk.precision_score),
        (metrics.recall, sk.recall_score),
        (metrics.f1, sk.f1_score),
        (metrics.binary_accuracy, sk.accuracy_score),
    ):
        expected = reference(TRUTH, threshold < SCORES, sample_weight=weights)
        np.testing.assert_allclose(value(make(threshold=threshold), *batch), expected, rtol=1e-5)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("outputs", [(), (1,), (3,)])
def test_r2_agrees_with_scikit_learn(weights, outputs):
    generator = np.random.default_rng(5)
    targets = (1e4 + generator.normal(size=(N, *outputs))).astype(np.float32)
    predictions = (targets + generator.normal(size=targets.shape) / 2).astype(np.float32)
    batch = (predictions, targets) if weights is None else (predictions, targets, weights)
    expected = sk.r2_score(targets.astype(np.float64), predictions.astype(np.float64), sample_weight=weights)
    np.testing.assert_allclose(value(metrics.r2, *batch), expected, rtol=1e-5)


@pytest.mark.parametrize("make", [metrics.precision, metrics.recall, metrics.f1])
def test_nothing_over_nothing_is_zero(make):
    assert float(value(make(), -jnp.ones(3), jnp.zeros(3))) == 0
    assert float(value(make("micro"), jnp.full((3, 2), jnp.nan), jnp.array([2, 2, 2]))) == 0


def test_r2_of_constant_targets():
    constant = jnp.full(5, 0.1)
    assert float(value(metrics.r2, constant, constant)) == 1
    assert float(value(metrics.r2, constant + 1, constant)) == 0
    assert np.isnan(value(metrics.r2, jnp.ones(1), jnp.ones(1)))
    assert np.isnan(value(metrics.r2, jnp.array([1.0, jnp.nan]), jnp.ones(2)))
    parts = [metrics.r2.measure(constant[:2], constant[:2]), metrics.r2.measure(constant[2:], constant[2:])]
    assert float(metrics.r2.finish(metrics.r2.merge(*parts))) == 1


def test_ties_go_to_the_first_class():
    tied, labels = jnp.zeros((3, 3)), jnp.array([0, 1, 2])
    assert value(metrics.accuracy, tied, labels).round(4) == np.float32(0.3333)
    assert value(metrics.top_k(1), tied, labels) == value(metrics.accuracy, tied, labels)
    assert value(metrics.top_k(2), tied, labels).round(4) == np.float32(0.6667)


@pytest.mark.parametrize("metric", [metrics.accuracy, metrics.top_k(1), metrics.top_k(2)], ids=repr)
def test_what_is_not_valid_is_never_right(metric):
    sure = jnp.array([[9.0, 0.0, 0.0]])
    for label in (-1, 3, 100):
        assert float(value(metric, sure, jnp.array([label]))) == 0
    for target in ([0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [2.0, -1.0, 0.0], [jnp.nan, 0.0, 0.0]):
        assert float(value(metric, sure, jnp.array([target]))) == 0
    for label in (0, 1, 2, 3):
        assert float(value(metric, jnp.array([[jnp.nan, 0.0, 0.0]]), jnp.array([label]))) == 0
    assert float(value(metric, sure, jnp.array([[0.9, 0.1, 0.0]]))) == 1
    assert float(value(metric, jnp.array([[0.0, -jnp.inf, -jnp.inf]]), jnp.array([0], jnp.int8))) == 1


def test_decisions_that_are_not_valid_are_never_right():
    scores, truth = jnp.array([jnp.nan, jnp.nan, 1.0, 1.0]), jnp.array([0.0, 1.0, 0.5, 2.0])
    assert float(value(metrics.binary_accuracy(), scores, truth)) == 0
    assert float(value(metrics.recall(), scores, truth)) == 0
    for dtype in (bool, jnp.int32, jnp.float32):
        assert float(value(metrics.binary_accuracy(), jnp.array([1.0, -1.0]), jnp.array([1, 0], dtype))) == 1


def test_what_is_not_valid_is_nowhere_in_the_confusion_matrix():
    logits = jnp.array([[jnp.nan, 1.0], [2.0, 1.0], [2.0, 1.0], [0.0, 1.0]])
    confusion = value(metrics.confusion_matrix, logits, jnp.array([0, -1, 2, 0]))
    assert confusion.dtype == jnp.int32
    assert confusion.tolist() == [[0, 1], [0, 0]]


def test_sequences_count_every_position():
    logits, labels = jnp.asarray(LOGITS).reshape(12, 5, C), jnp.asarray(LABELS).reshape(12, 5)
    weights = jnp.asarray(WEIGHTS[:12])
    for metric in (metrics.accuracy, metrics.top_k(2), metrics.confusion_matrix, metrics.f1("macro")):
        flat = value(metric, LOGITS, LABELS)
        np.testing.assert_array_equal(value(metric, logits, labels), flat)
        np.testing.assert_allclose(
            value(metric, logits, labels, weights), value(metric, LOGITS, LABELS, np.repeat(WEIGHTS[:12], 5)), rtol=1e-5
        )
    np.testing.assert_array_equal(
        value(metrics.accuracy, logits, jax.nn.one_hot(labels, C)), value(metrics.accuracy, LOGITS, LABELS)
    )


def test_losses_are_metrics():
    error = metrics.as_metric(losses.mean_absolute_error)
    predictions, targets = SCORES[:, None], TRUTH[:, None]
    np.testing.assert_allclose(value(error, predictions, targets), sk.mean_absolute_error(targets, predictions), 1e-6)
    np.testing.assert_allclose(
        value(error, predictions, targets, WEIGHTS),
        sk.mean_absolute_error(targets, predictions, sample_weight=WEIGHTS),
        rtol=1e-6,
    )
    log_loss = value(metrics.as_metric(losses.softmax_cross_entropy), LOGITS, LABELS)
    probabilities = jax.nn.softmax(LOGITS.astype(np.float32))
    np.testing.assert_allclose(log_loss, np.mean(-np.log(np.asarray(probabilities)[np.arange(N), LABELS])), rtol=1e-5)
    half = metrics.as_metric(losses.half_squared_error).measure(
        jnp.ones((4, 1), jnp.bfloat16), jnp.zeros((4, 1), jnp.bfloat16)
    )
    assert half["sum"].dtype == jnp.float32
    assert metrics.as_metric(lambda p, y: p - y).better is None
    assert metrics.as_metric(error) is error
