"""Losses of logits against classes: the softmax, the sigmoid and the hinge."""

from typing import Any

import jax
import jax.numpy as jnp

from purenet.errors import ShapeError
from purenet.losses.base import Loss
from purenet.losses.guards import (
    distribution,
    expect_classes,
    expect_number,
    expect_outputs,
    guarded_loss,
    in_unit_interval,
    is_class_target,
)
from purenet.losses.targets import check_class_targets, check_probabilities, check_signs


def _softmax_cross_entropy(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Cross-entropy of the softmax of logits, -Σ y log p with p = softmax(z), in nats, summed over the one class axis.

    A loss, not a call: logits z of shape (C,) and a target that is an integer label from 0 to C-1 of shape (), or a
    distribution of shape (C,), one-hot or soft, in the dtype of z. Any other label makes value and gradient NaN, and so
    does a distribution with an entry below 0 or another sum than 1.

    Raises:
      ShapeError, StructureError: at trace time, if their shapes or dtypes do not fit; on the host, for bad targets.

    Derivation:
      log pᵢ = zᵢ - log Σ exp zⱼ, so d log pᵢ / dzⱼ = [i = j] - pⱼ. Then d/dzⱼ (-Σ yᵢ log pᵢ) = pⱼ Σ yᵢ - yⱼ, which is
      p - y for Σ y = 1. Adding a number to all logits changes nothing: the largest is subtracted, so nothing overflows.

    References:
      Bridle (1990), Probabilistic interpretation of feedforward classification network outputs, with relationships to
      statistical pattern recognition.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> logits = jnp.log(jnp.array([0.25, 0.75]))
      >>> float(pn.losses.softmax_cross_entropy.value(logits, jnp.array(1)))  # -log 0.75
      0.28768...
      >>> print(pn.losses.softmax_cross_entropy.grad(logits, jnp.array(1)).round(4))
      [ 0.25 -0.25]
    """
    if not jnp.issubdtype(target.dtype, jnp.integer):
        return _cross_entropy(prediction, target, jnp.sum(target))
    # taking one logit is twice as fast as a product with a one-hot vector of 1,000 classes
    top = _top(prediction)
    chosen = prediction.at[target.astype(jnp.int32)].get(mode="clip") - top
    return jnp.log(jnp.sum(jnp.exp(prediction - top))) - chosen


def _top(z: jax.Array) -> jax.Array:
    return jax.lax.stop_gradient(jnp.max(z))


def _mass(target: jax.Array) -> jax.Array | float:
    """Gives Σ y: of a label 1, without a pass over all classes."""
    return 1.0 if jnp.issubdtype(target.dtype, jnp.integer) else jnp.sum(target)


def _cross_entropy(z: jax.Array, y: jax.Array, mass: jax.Array | float) -> jax.Array:
    shifted = z - _top(z)
    chosen = jnp.sum(jnp.where(y == 0, 0, y * shifted))  # a class ruled out by a logit of -inf must not make 0 · inf
    return jnp.log(jnp.sum(jnp.exp(shifted))) * mass - chosen


def _cross_entropy_grad(z: jax.Array, y: jax.Array, mass: jax.Array | float) -> jax.Array:
    powers = jnp.exp(z - _top(z))
    return powers / jnp.sum(powers) * mass - y


def _softmax_cross_entropy_grad(z: jax.Array, target: jax.Array) -> jax.Array:
    return _cross_entropy_grad(z, distribution(target, z.shape[0], z.dtype), _mass(target))


softmax_cross_entropy = guarded_loss(
    _softmax_cross_entropy,
    _softmax_cross_entropy_grad,
    name="softmax_cross_entropy",
    check=expect_classes,
    valid=is_class_target,
    check_targets=check_class_targets,
)


def smoothed_softmax_cross_entropy(smoothing: float | jax.Array = 0.1) -> Loss:
    """Softmax cross-entropy against smoothed labels, -Σ y' log p with y' = (1 - smoothing) y + smoothing / C, in nats.

    Summed over the one class axis, as in Keras and PyTorch; the least value is the entropy of y', above 0.

    Args:
      smoothing: the share of the target spread evenly over all C classes, from 0 up to but not 1; a JAX scalar if it
        is to vary without retracing.

    Returns:
      A loss of logits of shape (C,) and an integer label of shape () or a distribution of shape (C,), as
      `softmax_cross_entropy` takes them; NaN for a traced smoothing out of range.

    Raises:
      ShapeError: if smoothing is out of range; at trace time, for other shapes; on the host, for bad targets.
      StructureError: if smoothing is not a number; at trace time, for other dtypes.

    Derivation:
      y' sums to 1, so the gradient is that of the softmax cross-entropy, p - y'.

    References:
      Szegedy, Vanhoucke, Ioffe, Shlens and Wojna (2016), Rethinking the Inception architecture for computer vision,
      section 7.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> loss = pn.losses.smoothed_softmax_cross_entropy(smoothing=0.5)
      >>> loss.grad(jnp.zeros(2), jnp.array(0)).tolist()  # softmax (0.5, 0.5), target (0.75, 0.25)
      [-0.25, 0.25]
    """
    expect_number("smoothed_softmax_cross_entropy", "smoothing", smoothing)
    if not isinstance(smoothing, jax.Array) and not 0 <= smoothing < 1:
        raise ShapeError(
            f"smoothed_softmax_cross_entropy: expected smoothing from 0 to below 1, got {smoothing!r}. "
            "The default is 0.1."
        )

    def smoothed(z: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array]:
        share = jnp.asarray(smoothing, z.dtype)
        y = (1 - share) * distribution(target, z.shape[0], z.dtype) + share / z.shape[0]
        return y, (1 - share) * _mass(target) + share

    def valid(z: jax.Array, target: jax.Array) -> jax.Array:
        share = jnp.asarray(smoothing)
        return is_class_target(z, target) & (share >= 0) & (share < 1)

    return guarded_loss(
        lambda z, target: _cross_entropy(z, *smoothed(z, target)),
        lambda z, target: _cross_entropy_grad(z, *smoothed(z, target)),
        name="smoothed_softmax_cross_entropy",
        check=expect_classes,
        valid=valid,
        check_targets=check_class_targets,
    )


def _sigmoid_cross_entropy(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Cross-entropy of the sigmoids of logits, -(1/n) Σ (y log p + (1 - y) log(1 - p)) with p = σ(z), in nats.

    Averaged over the n outputs, each of which is a yes-or-no question of its own, as in Keras and PyTorch.

    A loss, not a call: logits z and targets y from 0 to 1, of one shape and floating dtype. A target outside 0..1 makes
    value and gradient NaN.

    Raises:
      ShapeError, StructureError: at trace time, if their shapes or dtypes differ, or there is no output; on the host,
        for targets outside 0..1.

    Derivation:
      log σ(z) = z - log(1 + exp z) and log(1 - σ(z)) = -log(1 + exp z), so one term is log(1 + exp z) - y z, and its
      derivative exp z / (1 + exp z) - y = p - y; the gradient is (p - y) / n. For z >= 0 the term is computed as
      (1 - y) z + log(1 + exp(-z)), which is the same, keeps its digits and never overflows.

    References:
      Bishop (1995), Neural networks for pattern recognition, chapter 6.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> pn.losses.sigmoid_cross_entropy.grad(jnp.array([0.0, 0.0]), jnp.array([1.0, 0.0])).tolist()
      [-0.25, 0.25]
      >>> float(pn.losses.sigmoid_cross_entropy.value(jnp.array([-1e4]), jnp.array([1.0])))
      10000.0
    """
    # the selections have the right one-sided derivative at z = 0, of every order; |z| and max(z, 0) have not
    positive = prediction >= 0
    linear = jnp.where(positive, (1 - target) * prediction, -target * prediction)
    return jnp.mean(linear + jnp.log1p(jnp.exp(jnp.where(positive, -prediction, prediction))))


sigmoid_cross_entropy = guarded_loss(
    _sigmoid_cross_entropy,
    lambda z, y: (jax.nn.sigmoid(z) - y) / z.size,
    name="sigmoid_cross_entropy",
    check=expect_outputs,
    valid=lambda z, y: in_unit_interval(y),
    check_targets=check_probabilities,
)


def _hinge(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Hinge loss of support-vector machines, (1/n) Σ max(0, 1 - y z), averaged over the n outputs.

    A loss, not a call: scores z and targets y, each -1 or 1, of one shape and floating dtype. Any other target,
    or a score that is NaN, makes value and gradient NaN.

    Raises:
      ShapeError, StructureError: at trace time, if their shapes or dtypes differ, or there is no output; on the host,
        for targets other than -1 and 1.

    Derivation:
      Where y z < 1 the term is 1 - y z, with derivative -y; where y z > 1 it is constant. So the gradient is
      -y [y z < 1] / n. At the kink y z = 1 any number between -y and 0 is a subgradient; 0 is taken.

    References:
      Cortes and Vapnik (1995), Support-vector networks.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> scores, signs = jnp.array([0.5, -3.0]), jnp.array([1.0, -1.0])
      >>> float(pn.losses.hinge.value(scores, signs)), pn.losses.hinge.grad(scores, signs).tolist()
      (0.25, [-0.5, 0.0])
    """
    margin = target * prediction
    return jnp.mean(jnp.where(margin < 1, 1 - margin, 0))


def _hinge_grad(z: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.where(y * z < 1, -y, 0) / z.size


def _are_signs(z: jax.Array, y: Any) -> jax.Array:
    return jnp.all(jnp.abs(y) == 1) & ~jnp.any(jnp.isnan(z))  # a comparison would take NaN for a large margin


hinge = guarded_loss(
    _hinge, _hinge_grad, name="hinge", check=expect_outputs, valid=_are_signs, check_targets=check_signs, selects=True
)
