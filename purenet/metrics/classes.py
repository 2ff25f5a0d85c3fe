"""Metrics of one class out of many: how often is it right, and what is taken for what."""

import jax
import jax.numpy as jnp

from purenet.contract import Spec
from purenet.errors import ShapeError, StructureError, describe, is_whole
from purenet.losses.base import expect_prediction
from purenet.losses.guards import is_distribution, is_label
from purenet.metrics.base import Metric, mean, metric, summing, total


def true_classes(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    """Gives the targets as int32 classes; C, which is no class, where a target is not valid.

    Of a distribution over the classes it is the most probable; of equals, the first.
    """
    classes = predictions.shape[-1]
    if jnp.issubdtype(targets.dtype, jnp.integer):
        return jnp.where(is_label(targets, classes), targets.astype(jnp.int32), classes)
    return jnp.where(is_distribution(targets), jnp.argmax(targets, axis=-1).astype(jnp.int32), classes)


def predicted_classes(predictions: jax.Array) -> jax.Array:
    """Gives the class of the highest score as int32, of equals the first; C + 1, which is no class, at a NaN."""
    unknown = jnp.any(jnp.isnan(predictions), axis=-1)
    return jnp.where(unknown, predictions.shape[-1] + 1, jnp.argmax(predictions, axis=-1).astype(jnp.int32))


def expect_class_scores(prediction: Spec, target: Spec) -> None:
    """Raises unless the last axis of the prediction is two classes or more, and the target fits."""
    expect_prediction(prediction)
    if prediction.shape[-1:] in ((), (1,)):
        raise ShapeError(
            f"expected the last axis of one prediction to be two classes or more, got shape {prediction.shape}. "
            'For one yes-or-no output use pn.metrics.binary_accuracy(), or average="binary".'
        )
    if not isinstance(target, jax.ShapeDtypeStruct):
        raise StructureError(f"expected target to be one array, got {describe(target)}. Use jnp.asarray.")
    if jnp.issubdtype(target.dtype, jnp.integer):
        if target.shape != prediction.shape[:-1]:
            raise ShapeError(
                f"expected an integer label of shape {prediction.shape[:-1]} for one prediction of shape "
                f"{prediction.shape}, got {target.shape}. Drop the extra axes of the targets; one-hot targets "
                "must be floating."
            )
    elif not jnp.issubdtype(target.dtype, jnp.floating):
        raise StructureError(
            f"expected target of integer or floating dtype, got {target.dtype}. "
            "Convert it: target.astype(jnp.int32) for labels."
        )
    elif target.shape != prediction.shape:
        raise ShapeError(
            f"expected one-hot or soft target of shape {prediction.shape}, that of one prediction, got {target.shape}. "
            "Convert labels to integers with target.astype(jnp.int32)."
        )


def _accuracy(predictions: jax.Array, targets: jax.Array, weights: jax.Array | None) -> dict[str, jax.Array]:
    """Share of the predictions whose highest score, logit or probability, is at the true class; from 0 to 1.

    A metric, not a call: predictions of shape (B, ..., C) and integer labels of shape (B, ...), or one-hot or soft
    targets of shape (B, ..., C), whose most probable class counts. Further axes, such as the positions of a sequence,
    are so many predictions more. Of equal scores the first counts. A NaN among the scores and a target that is not
    valid count as wrong.

    Raises:
      ShapeError, StructureError: at trace time, if shapes or dtypes do not fit.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> accuracy, logits = pn.metrics.accuracy, jnp.array([[2.0, 1.0], [0.0, 3.0]])
      >>> float(accuracy.finish(accuracy.measure(logits, jnp.array([0, 0]))))
      0.5
    """
    return total(predicted_classes(predictions) == true_classes(predictions, targets), weights)


accuracy = metric(_accuracy, mean, name="accuracy", better="higher", check=expect_class_scores)


def top_k(k: int = 5) -> Metric:
    """Share of the predictions in which the true class is among the k highest scores; from 0 to 1.

    Of equal scores the lower classes come first, so `top_k(1)` is `accuracy`. A NaN among the scores and a target that
    is not valid count as wrong.

    Args:
      k: how many guesses are allowed, 1 or more and fewer than the classes.

    Returns:
      A metric of predictions and targets as `accuracy` takes them.

    Raises:
      ShapeError: if k is below 1; at trace time, if there are not more than k classes, or shapes do not fit.
      StructureError: if k is not a whole number; at trace time, if dtypes do not fit.

    References:
      Russakovsky et al. (2015), ImageNet large scale visual recognition challenge, section 4.1.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> top = pn.metrics.top_k(2)
      >>> float(top.finish(top.measure(jnp.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]]), jnp.array([1, 2]))))
      0.5
    """
    if not is_whole(k):
        raise StructureError(f"top_k: expected k to be a whole number, got {k!r}. Give an int.")
    if k < 1:
        raise ShapeError(f"top_k: expected k of 1 or more, got {k}. Give the number of guesses.")

    def check(prediction: Spec, target: Spec) -> None:
        expect_class_scores(prediction, target)
        if prediction.shape[-1] <= k:
            raise ShapeError(
                f"expected more than k = {k} classes, got {prediction.shape[-1]}, so that every prediction would be "
                "right. Choose a smaller k."
            )

    def measure(predictions: jax.Array, targets: jax.Array, weights: jax.Array | None) -> dict[str, jax.Array]:
        classes = jnp.arange(predictions.shape[-1], dtype=jnp.int32)
        true = true_classes(predictions, targets)[..., None]
        classes = jnp.reshape(classes, (1,) * (predictions.ndim - 1) + classes.shape)
        score = jnp.sum(jnp.where(classes == true, predictions, 0), axis=-1, keepdims=True)
        ahead = (predictions > score) | ((predictions == score) & (classes < true))
        known = ~jnp.any(jnp.isnan(predictions), axis=-1) & (true[..., 0] < predictions.shape[-1])
        return total(known & (jnp.sum(ahead, axis=-1) < k), weights)

    return metric(measure, mean, name="top_k", better="higher", check=check)


def _confusion_matrix(predictions: jax.Array, targets: jax.Array, weights: jax.Array | None) -> jax.Array:
    """Confusion matrix: in row i and column j, how many examples of the true class i were predicted as class j.

    A metric, not a call: predictions and targets as `accuracy` takes them, C classes. The value has shape (C, C): int32
    counts, or float32 sums of weights. A prediction with a NaN among its scores, and one whose target is not valid,
    appear nowhere.

    Raises:
      ShapeError, StructureError: at trace time, if shapes or dtypes do not fit.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> confusion, logits = pn.metrics.confusion_matrix, jnp.array([[2.0, 1.0], [0.0, 3.0], [0.0, 1.0]])
      >>> confusion.finish(confusion.measure(logits, jnp.array([0, 0, 1]))).tolist()
      [[1, 1], [0, 1]]
    """
    classes = predictions.shape[-1]
    rows, columns = true_classes(predictions, targets), predicted_classes(predictions)
    if weights is None:
        amounts = jnp.ones(rows.shape, jnp.int32)
    else:
        dtype = summing(weights.dtype)
        amounts = jnp.broadcast_to(jnp.reshape(weights.astype(dtype), (-1,) + (1,) * (rows.ndim - 1)), rows.shape)
    empty = jnp.zeros((classes, classes), amounts.dtype)
    return empty.at[rows, columns].add(amounts, mode="drop")


confusion_matrix = metric(_confusion_matrix, lambda counts: counts, name="confusion_matrix", check=expect_class_scores)
