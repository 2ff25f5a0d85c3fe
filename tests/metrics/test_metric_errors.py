"""What metrics refuse, in whole messages."""

import jax.numpy as jnp
import pytest
from refusals import refuses

from purenet import losses, metrics
from purenet.errors import ShapeError, StructureError

LABELS = jnp.zeros(4, jnp.int32)
MEASURES = {
    "sizes": (
        metrics.accuracy,
        (jnp.zeros((4, 3)), jnp.zeros(5, jnp.int32)),
        ShapeError,
        "accuracy: expected predictions and targets with the examples along one common first axis, got the shapes "
        "(4, 3), (5,). Give one target to each prediction.",
    ),
    "no batch": (
        metrics.binary_accuracy(),
        (jnp.array(1.0), jnp.array(1.0)),
        ShapeError,
        "binary_accuracy: expected predictions and targets with the examples along one common first axis, got the "
        "shapes (), (). Give one target to each prediction.",
    ),
    "empty": (
        metrics.accuracy,
        (jnp.zeros((0, 3)), jnp.zeros(0, jnp.int32)),
        ShapeError,
        "accuracy: expected one example or more, got none. Leave empty mini-batches out.",
    ),
    "weights": (
        metrics.accuracy,
        (jnp.zeros((4, 3)), LABELS, jnp.ones((4, 1))),
        ShapeError,
        "accuracy: expected weights of shape (4,), one for each example, got (4, 1). Drop the other axes.",
    ),
    "integer weights": (
        metrics.accuracy,
        (jnp.zeros((4, 3)), LABELS, LABELS),
        StructureError,
        "accuracy: expected weights of floating dtype, got int32. Convert them with astype.",
    ),
    "one output": (
        metrics.accuracy,
        (jnp.zeros((4, 1)), LABELS),
        ShapeError,
        "accuracy: expected the last axis of one prediction to be two classes or more, got shape (1,). For one "
        'yes-or-no output use pn.metrics.binary_accuracy(), or average="binary".',
    ),
    "column of labels": (
        metrics.confusion_matrix,
        (jnp.zeros((4, 3)), LABELS[:, None]),
        ShapeError,
        "confusion_matrix: expected an integer label of shape () for one prediction of shape (3,), got (1,). "
        "Drop the extra axes of the targets; one-hot targets must be floating.",
    ),
    "float labels": (
        metrics.top_k(2),
        (jnp.zeros((4, 3)), jnp.zeros(4)),
        ShapeError,
        "top_k: expected one-hot or soft target of shape (3,), that of one prediction, got (). "
        "Convert labels to integers with target.astype(jnp.int32).",
    ),
    "bool labels": (
        metrics.f1("macro"),
        (jnp.zeros((4, 3)), LABELS == 0),
        StructureError,
        "f1: expected target of integer or floating dtype, got bool. Convert it: target.astype(jnp.int32) for labels.",
    ),
    "few classes": (
        metrics.top_k(),
        (jnp.zeros((4, 3)), LABELS),
        ShapeError,
        "top_k: expected more than k = 5 classes, got 3, so that every prediction would be right. Choose a smaller k.",
    ),
    "binary of classes": (
        metrics.f1(),
        (jnp.zeros((4, 3)), LABELS),
        ShapeError,
        "f1: expected target of shape (3,), that of one prediction, got (). Reshape the targets; for classes use "
        'average="macro", "micro" or None, or pn.metrics.accuracy.',
    ),
    "r2": (
        metrics.r2,
        (jnp.zeros((4, 1)), jnp.zeros(4)),
        ShapeError,
        "r2: expected target of shape (1,), that of the prediction, got (). "
        "Reshape the targets, or the network's output with pn.reshape; losses never broadcast.",
    ),
    "loss": (
        metrics.as_metric(losses.mean_absolute_error),
        (jnp.zeros((4, 1)), jnp.zeros(4)),
        ShapeError,
        "mean.mean_absolute_error: expected target of shape (1,), that of the prediction, got (). "
        "Reshape the targets, or the network's output with pn.reshape; losses never broadcast.",
    ),
}


@pytest.mark.parametrize("name", MEASURES)
def test_batches_are_refused(name):
    metric, batch, kind, message = MEASURES[name]
    with refuses(kind, message):
        metric.measure(*batch)


MAKERS = {
    "k word": (
        lambda: metrics.top_k(2.0),
        StructureError,
        "top_k: expected k to be a whole number, got 2.0. Give an int.",
    ),
    "k zero": (
        lambda: metrics.top_k(0),
        ShapeError,
        "top_k: expected k of 1 or more, got 0. Give the number of guesses.",
    ),
    "average": (
        lambda: metrics.recall("mean"),
        ShapeError,
        'recall: expected average to be "binary", "macro", "micro" or None, got \'mean\'. Choose one.',
    ),
    "threshold of classes": (
        lambda: metrics.precision("macro", threshold=0.5),
        StructureError,
        "precision: expected a threshold with average=\"binary\" only, got 0.5 with 'macro'. "
        "Of classes the highest score counts.",
    ),
    "threshold word": (
        lambda: metrics.binary_accuracy("half"),
        StructureError,
        "binary_accuracy: expected threshold to be a number, got 'half'. Give a float.",
    ),
    "better": (
        lambda: metrics.metric(lambda p, y, w: p, lambda s: s, name="mine", better="up"),
        ShapeError,
        'metric: expected better to be "higher", "lower" or None, got \'up\'. Choose one.',
    ),
    "finish": (
        lambda: metrics.metric(lambda p, y, w: p, None, name="mine"),
        StructureError,
        "metric: expected finish to be a function, got None. See pn.metrics.Metric.",
    ),
    "not called": (
        lambda: metrics.as_metric(metrics.top_k),
        StructureError,
        "expected a metric, got the function top_k, which makes one. Call it: pn.metrics.top_k(…).",
    ),
    "loss not called": (
        lambda: metrics.as_metric(losses.huber),
        StructureError,
        "expected a loss, got the function huber, which makes one. Call it: pn.losses.huber(…).",
    ),
    "a word": (
        lambda: metrics.as_metric("accuracy"),
        StructureError,
        "expected a metric, a loss or a function of prediction and target, got 'accuracy'. "
        "Give one of pn.metrics or pn.losses.",
    ),
}


@pytest.mark.parametrize("name", MAKERS)
def test_options_are_refused_at_construction(name):
    make, kind, message = MAKERS[name]
    with refuses(kind, message):
        make()


def test_stats_of_two_kinds_are_not_merged():
    plain = metrics.accuracy.measure(jnp.zeros((4, 3)), LABELS)
    weighted = metrics.accuracy.measure(jnp.zeros((4, 3)), LABELS, jnp.ones(4))
    with refuses(
        StructureError,
        "accuracy: expected stats of one kind, got {['sum'] int32 of shape (), ['weight'] int32 of shape ()} and "
        "{['sum'] float32 of shape (), ['weight'] float32 of shape ()}. Measure all mini-batches with weights, "
        "or none.",
    ):
        metrics.accuracy.merge(plain, weighted)
