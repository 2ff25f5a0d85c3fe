"""Metrics of yes-or-no decisions, and of each class against the rest: precision, recall and F1."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from purenet.contract import Spec
from purenet.errors import ShapeError, StructureError, describe
from purenet.losses.base import expect_prediction
from purenet.losses.guards import expect_number
from purenet.metrics.base import Metric, mean, metric, summing, total
from purenet.metrics.classes import expect_class_scores, predicted_classes, true_classes

AVERAGES = ("binary", "macro", "micro", None)
Stats = dict[str, jax.Array]


def binary_accuracy(threshold: float = 0.0) -> Metric:
    """Share of the yes-or-no outputs that are right, from 0 to 1: yes is a score above the threshold.

    A NaN score, and a target other than 0 and 1, count as wrong.

    Args:
      threshold: 0 for logits, 0.5 for probabilities; a score equal to it means no.

    Returns:
      A metric of predictions and targets of one shape, (B,) or (B, ...), every element of which is one decision.
      Targets are 0 or 1, of any dtype.

    Raises:
      StructureError: if the threshold is not a number; at trace time, if the predictions are not floating.
      ShapeError: at trace time, if the shapes differ.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> accuracy = pn.metrics.binary_accuracy()
      >>> float(accuracy.finish(accuracy.measure(jnp.array([2.0, -1.0]), jnp.array([1.0, 1.0]))))
      0.5
    """
    expect_number("binary_accuracy", "threshold", threshold)

    def measure(predictions: jax.Array, targets: jax.Array, weights: jax.Array | None) -> Stats:
        positive, negative = _decisions(predictions, threshold)
        return total((positive & (targets == 1)) | (negative & (targets == 0)), weights)

    return metric(measure, mean, name="binary_accuracy", better="higher", check=_expect_decisions)


def precision(average: str | None = "binary", *, threshold: float = 0.0) -> Metric:
    """Precision, TP / (TP + FP): the share of what was predicted positive that is; from 0 to 1.

    Where nothing was predicted positive, 0/0 counts as 0, as in scikit-learn. A NaN among the scores predicts nothing.

    Args:
      average: "binary": predictions and targets of one shape, every element one decision, targets 0 or 1 of any dtype.
        For classes, predictions (B, ..., C) and targets as `accuracy` takes them: "macro" is the mean over all C
        classes, absent ones included as 0; "micro" pools their counts; None gives one number for each class.
      threshold: for "binary", above which score the prediction is positive: 0 for logits, 0.5 for probabilities.

    Returns:
      A metric, exact over an epoch.

    Raises:
      ShapeError: if `average` is none of these; at trace time, if shapes do not fit.
      StructureError: if the threshold is not a number, or given for classes; at trace time, if dtypes do not fit.

    References:
      van Rijsbergen (1979), Information retrieval, chapter 7.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> precision = pn.metrics.precision()
      >>> scores, truth = jnp.array([2.0, 1.0, -1.0, 3.0]), jnp.array([1, 0, 1, 1])
      >>> float(precision.finish(precision.measure(scores, truth)))
      0.666666...
    """
    return _make("precision", lambda tp, predicted, actual: _over(tp, predicted), average, threshold)


def recall(average: str | None = "binary", *, threshold: float = 0.0) -> Metric:
    """Recall, TP / (TP + FN): the share of the positives that was found; from 0 to 1.

    Where there are no positives, 0/0 counts as 0, as in scikit-learn. A NaN among the scores predicts nothing.

    Args:
      average: "binary", "macro", "micro" or None, as in `precision`.
      threshold: for "binary", above which score the prediction is positive: 0 for logits, 0.5 for probabilities.

    Returns:
      A metric, exact over an epoch.

    Raises:
      ShapeError: if `average` is none of these; at trace time, if shapes do not fit.
      StructureError: if the threshold is not a number, or given for classes; at trace time, if dtypes do not fit.

    References:
      van Rijsbergen (1979), Information retrieval, chapter 7.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> recall = pn.metrics.recall(average=None)
      >>> logits = jnp.array([[2.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
      >>> recall.finish(recall.measure(logits, jnp.array([0, 0, 1]))).tolist()
      [0.5, 1.0]
    """
    return _make("recall", lambda tp, predicted, actual: _over(tp, actual), average, threshold)


def f1(average: str | None = "binary", *, threshold: float = 0.0) -> Metric:
    """F1 score, 2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall; from 0 to 1.

    Where there is nothing to find and nothing was predicted, 0/0 counts as 0, as in scikit-learn. A NaN among the
    scores predicts nothing.

    Args:
      average: "binary", "macro", "micro" or None, as in `precision`; "macro" is the mean of the classes' F1.
      threshold: for "binary", above which score the prediction is positive: 0 for logits, 0.5 for probabilities.

    Returns:
      A metric, exact over an epoch.

    Raises:
      ShapeError: if `average` is none of these; at trace time, if shapes do not fit.
      StructureError: if the threshold is not a number, or given for classes; at trace time, if dtypes do not fit.

    References:
      van Rijsbergen (1979), Information retrieval, chapter 7.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> f1 = pn.metrics.f1("macro")
      >>> logits = jnp.array([[2.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
      >>> float(f1.finish(f1.measure(logits, jnp.array([0, 0, 1]))))
      0.666666...
    """
    return _make("f1", lambda tp, predicted, actual: _over(2 * tp, predicted + actual), average, threshold)


def _make(name: str, score: Callable[..., jax.Array], average: str | None, threshold: float) -> Metric:
    if average not in AVERAGES:
        raise ShapeError(
            f'{name}: expected average to be "binary", "macro", "micro" or None, got {average!r}. Choose one.'
        )
    expect_number(name, "threshold", threshold)
    if average != "binary" and threshold != 0.0:
        raise StructureError(
            f'{name}: expected a threshold with average="binary" only, got {threshold!r} with {average!r}. '
            "Of classes the highest score counts."
        )

    def measure(predictions: jax.Array, targets: jax.Array, weights: jax.Array | None) -> Stats:
        if average == "binary":
            return _count(_decisions(predictions, threshold)[0][..., None], (targets == 1)[..., None], weights)
        classes = jnp.arange(predictions.shape[-1], dtype=jnp.int32)
        classes = jnp.reshape(classes, (1,) * (predictions.ndim - 1) + classes.shape)
        predicted = predicted_classes(predictions)[..., None] == classes
        return _count(predicted, true_classes(predictions, targets)[..., None] == classes, weights)

    def finish(stats: Stats) -> jax.Array:
        counts = (stats[part] for part in ("true_positive", "predicted", "actual"))
        tp, predicted, actual = (a.astype(summing(a.dtype)) for a in counts)
        if average in ("micro", "binary"):
            return score(jnp.sum(tp), jnp.sum(predicted), jnp.sum(actual))
        scores = score(tp, predicted, actual)
        return jnp.mean(scores) if average == "macro" else scores

    check = _expect_decisions if average == "binary" else expect_class_scores
    return metric(measure, finish, name=name, better=None if average is None else "higher", check=check)


def _count(predicted: jax.Array, actual: jax.Array, weights: jax.Array | None) -> Stats:
    """Counts by class, the last axis."""

    def count(which: jax.Array) -> jax.Array:
        axes = tuple(range(which.ndim - 1))
        if weights is None:
            return jnp.sum(which, axis=axes, dtype=jnp.int32)
        dtype = summing(weights.dtype)
        w = jnp.reshape(weights.astype(dtype), (-1,) + (1,) * (which.ndim - 1))
        return jnp.sum(which.astype(dtype) * w, axis=axes)

    return {"true_positive": count(predicted & actual), "predicted": count(predicted), "actual": count(actual)}


def _over(part: jax.Array, whole: jax.Array) -> jax.Array:
    return jnp.where(whole > 0, part / jnp.where(whole > 0, whole, 1), 0)


def _decisions(predictions: jax.Array, threshold: Any) -> tuple[jax.Array, jax.Array]:
    """Says which scores mean yes and which no; a NaN means neither."""
    bound = jnp.asarray(threshold, predictions.dtype)
    return predictions > bound, predictions <= bound


def _expect_decisions(prediction: Spec, target: Spec) -> None:
    expect_prediction(prediction)
    if not isinstance(target, jax.ShapeDtypeStruct):
        raise StructureError(f"expected target to be one array, got {describe(target)}. Use jnp.asarray.")
    if target.shape != prediction.shape:
        raise ShapeError(
            f"expected target of shape {prediction.shape}, that of one prediction, got {target.shape}. "
            'Reshape the targets; for classes use average="macro", "micro" or None, or pn.metrics.accuracy.'
        )
