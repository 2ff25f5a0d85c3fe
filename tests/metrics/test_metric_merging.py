"""Sums over mini-batches: the same in pieces as in one, zeros neutral, counts exact."""

import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purenet import losses, metrics

rng = np.random.default_rng(6)
N, C = 64, 7
LOGITS = rng.normal(size=(N, C)).astype(np.float32)
LABELS = rng.integers(0, C, N).astype(np.int32)
SCORES, TRUTH = rng.normal(size=N).astype(np.float32), rng.integers(0, 2, N).astype(np.float32)
NUMBERS = (1e4 + rng.normal(size=N)).astype(np.float32)
WEIGHTS = rng.uniform(0, 2, N).astype(np.float32)

CASES = {
    "accuracy": (metrics.accuracy, LOGITS, LABELS),
    "top_k": (metrics.top_k(), LOGITS, LABELS),
    "confusion_matrix": (metrics.confusion_matrix, LOGITS, LABELS),
    "f1 macro": (metrics.f1("macro"), LOGITS, LABELS),
    "recall None": (metrics.recall(None), LOGITS, LABELS),
    "precision": (metrics.precision(), SCORES, TRUTH),
    "binary_accuracy": (metrics.binary_accuracy(), SCORES, TRUTH),
    "r2": (metrics.r2, NUMBERS + SCORES, NUMBERS),
    "cross-entropy": (metrics.as_metric(losses.softmax_cross_entropy), LOGITS, LABELS),
}
EXACT = sorted(set(CASES) - {"r2", "cross-entropy"})


def measure_in_pieces(metric, cuts, *batch):
    pieces = [metric.measure(*(jnp.asarray(a[i:j]) for a in batch)) for i, j in itertools.pairwise(cuts)]
    return metric.finish(functools.reduce(metric.merge, pieces))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_pieces_give_what_the_whole_gives(name, weighted):
    metric, *batch = CASES[name]
    batch = [*batch, WEIGHTS] if weighted else batch
    whole = measure_in_pieces(metric, (0, N), *batch)
    pieces = measure_in_pieces(metric, (0, 20, 40, 60, N), *batch)
    if name in EXACT and not weighted:
        chex.assert_trees_all_equal(pieces, whole)
    else:
        chex.assert_trees_all_close(pieces, whole, rtol=2e-6)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_zeros_are_neutral_to_the_bit(name, weighted):
    metric, *batch = CASES[name]
    stats = metric.measure(*map(jnp.asarray, [*batch, WEIGHTS] if weighted else batch))
    zeros = jax.tree.map(jnp.zeros_like, stats)
    chex.assert_trees_all_equal(metric.merge(zeros, stats), stats)
    chex.assert_trees_all_equal(metric.merge(stats, zeros), stats)


@pytest.mark.parametrize("name", CASES)
def test_a_scan_from_zeros_under_strict_promotion(name):
    metric, predictions, targets = CASES[name]
    batches = jax.tree.map(lambda a: jnp.reshape(a, (8, 8, *a.shape[1:])), (predictions, targets, WEIGHTS))

    @jax.jit
    def epoch(batches):
        shapes = jax.eval_shape(metric.measure, *jax.tree.map(lambda a: a[0], batches))
        zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
        stats, _ = jax.lax.scan(
            lambda stats, batch: (metric.merge(stats, metric.measure(*batch)), None), zeros, batches
        )
        return metric.finish(stats)

    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        value = epoch(batches)
    chex.assert_trees_all_close(value, measure_in_pieces(metric, (0, N), predictions, targets, WEIGHTS), rtol=2e-6)


@pytest.mark.parametrize("name", CASES)
def test_dtypes_of_predictions(name):
    metric, predictions, targets = CASES[name]
    with jax.enable_x64(True), jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        for dtype in ("bfloat16", "float16", "float32", "float64"):
            small = jnp.asarray(predictions - 1e4 if name == "r2" else predictions, dtype)
            cast = jnp.asarray(targets - 1e4 if name == "r2" else targets, dtype if targets is not LABELS else "int32")
            for weights in (None, jnp.asarray(WEIGHTS, "float32"), jnp.asarray(WEIGHTS, dtype)):
                stats = jax.eval_shape(metric.measure, small, cast, weights)
                chex.assert_trees_all_equal_dtypes(stats, jax.eval_shape(metric.merge, stats, stats))
                wide = "float64" if dtype == "float64" else "float32"
                assert {str(leaf.dtype) for leaf in jax.tree.leaves(stats)} <= {"int32", "float32", wide}


def test_counts_are_exact_where_float32_is_not():
    one = {"sum": jnp.array(2**24, jnp.int32), "weight": jnp.array(2**24, jnp.int32)}
    more = metrics.accuracy.merge(one, metrics.accuracy.measure(jnp.array([[1.0, 0.0]]), jnp.array([0])))
    assert (int(more["sum"]), int(more["weight"])) == (2**24 + 1, 2**24 + 1)


def test_r2_loses_no_digits_around_a_large_mean():
    """Around 1e6, a sum of squares in float32 has no digit left of a variance of 1."""
    targets = np.float32(1e6) + rng.integers(-16, 17, 4096).astype(np.float32) / 16
    predictions = targets + rng.integers(-4, 5, 4096).astype(np.float32) / 16
    exact = 1 - np.sum((predictions - targets) ** 2.0) / np.sum((targets - targets.mean(dtype=np.float64)) ** 2.0)
    value = measure_in_pieces(metrics.r2, range(0, 4097, 64), predictions, targets)
    np.testing.assert_allclose(value, exact, rtol=1e-6)


def test_weights_of_one_are_no_weights_and_of_zero_leave_out():
    ones, mask = np.ones(N, np.float32), (np.arange(N) % 3 > 0).astype(np.float32)
    for metric, predictions, targets in CASES.values():
        plain = measure_in_pieces(metric, (0, N), predictions, targets)
        chex.assert_trees_all_close(
            np.asarray(measure_in_pieces(metric, (0, N), predictions, targets, ones), np.float32),
            np.asarray(plain, np.float32),
            rtol=2e-6,
        )
        kept = mask > 0
        chex.assert_trees_all_close(
            np.asarray(measure_in_pieces(metric, (0, N), predictions, targets, mask), np.float32),
            np.asarray(measure_in_pieces(metric, (0, N), predictions[kept], targets[kept]), np.float32),
            rtol=2e-5,
        )


def test_a_merge_of_ones_own():
    largest = metrics.metric(
        lambda predictions, targets, weights: jnp.max(jnp.abs(predictions - targets)),
        lambda stats: stats,
        name="largest",
        merge=jnp.maximum,
    )
    np.testing.assert_array_equal(measure_in_pieces(largest, (0, 30, N), SCORES, TRUTH), np.max(np.abs(SCORES - TRUTH)))
