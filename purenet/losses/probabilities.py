"""Losses of probabilities against probabilities: cross-entropies, divergences and distances. Nothing is clamped."""

import jax
import jax.numpy as jnp

from purenet.losses.guards import (
    distribution,
    expect_classes,
    expect_distributions,
    expect_outputs,
    guarded_loss,
    in_unit_interval,
    is_class_target,
    is_distribution,
    tolerance,
)
from purenet.losses.targets import check_class_targets, check_distributions, check_probabilities


def _cost(y: jax.Array, p: jax.Array) -> jax.Array:
    """Gives -y log p, and 0 with derivative 0 wherever y = 0, whatever p."""
    return jnp.where(y == 0, 0, -y * jnp.log(jnp.where(y == 0, 1, p)))


def _ratio(y: jax.Array, p: jax.Array) -> jax.Array:
    """Gives y / p, and 0 wherever y = 0."""
    return jnp.where(y == 0, 0, y / jnp.where(y == 0, 1, p))


def _binary_cross_entropy(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Cross-entropy of probabilities, -(1/n) Σ (y log p + (1 - y) log(1 - p)), in nats, averaged over the n outputs.

    Averaged as in Keras and PyTorch, but p is not clamped: 0 log 0 counts as 0, and a certainty that is wrong (p = 0
    where y > 0, p = 1 where y < 1) costs inf. Of logits, take `sigmoid_cross_entropy`, which loses no digits.

    A loss, not a call: probabilities p and targets y from 0 to 1, of one shape and floating dtype. Where either is
    outside 0..1, value and gradient are NaN.

    Raises:
      ShapeError, StructureError: at trace time, if their shapes or dtypes differ, or there is no output; on the host,
        for targets outside 0..1.

    Derivation:
      d log p / dp = 1/p and d log(1 - p) / dp = -1/(1 - p), so the gradient is ((1 - y)/(1 - p) - y/p) / n. A part with
      factor 0 is 0 also at p = 0 or 1: the one-sided derivative.

    References:
      Bishop (1995), Neural networks for pattern recognition, chapter 6.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> pn.losses.binary_cross_entropy.grad(jnp.array([0.5, 0.0]), jnp.array([1.0, 0.0])).tolist()
      [-1.0, 0.5]
      >>> float(pn.losses.binary_cross_entropy.value(jnp.array([0.0]), jnp.array([1.0])))
      inf
    """
    misses = jnp.where(target == 1, 0, (target - 1) * jnp.log1p(-jnp.where(target == 1, 0, prediction)))
    return jnp.mean(_cost(target, prediction) + misses)


binary_cross_entropy = guarded_loss(
    _binary_cross_entropy,
    lambda p, y: (_ratio(1 - y, 1 - p) - _ratio(y, p)) / p.size,
    name="binary_cross_entropy",
    check=expect_outputs,
    valid=lambda p, y: in_unit_interval(p) & in_unit_interval(y),
    check_targets=check_probabilities,
)


def _categorical_cross_entropy(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Cross-entropy of the probabilities of classes, -Σ y log p, in nats, summed over the one class axis.

    p is neither clamped nor divided by its sum (Keras does both): 0 log 0 counts as 0, and p = 0 where y > 0 costs inf.
    That p sums to 1 is up to the network. Of logits, take `softmax_cross_entropy`, which loses no digits.

    A loss, not a call: probabilities p of shape (C,) and a target that is an integer label from 0 to C-1 of shape (),
    or a distribution of shape (C,), one-hot or soft, in the dtype of p. A bad label, a target that is no distribution
    and p outside 0..1 (beyond rounding) make value and gradient NaN.

    Raises:
      ShapeError, StructureError: at trace time, if their shapes or dtypes do not fit; on the host, for bad targets.

    Derivation:
      Only the term i of the sum depends on pᵢ: the gradient is -y / p, and 0 wherever y = 0.

    References:
      Bishop (1995), Neural networks for pattern recognition, chapter 6.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> pn.losses.categorical_cross_entropy.grad(jnp.array([0.25, 0.75]), jnp.array(0)).tolist()
      [-4.0, 0.0]
    """
    return jnp.sum(_cost(distribution(target, prediction.shape[0], prediction.dtype), prediction))


def _are_probabilities(p: jax.Array) -> jax.Array:
    return in_unit_interval(p, tolerance(p.dtype))


categorical_cross_entropy = guarded_loss(
    _categorical_cross_entropy,
    lambda p, y: _ratio(-distribution(y, p.shape[0], p.dtype), p),
    name="categorical_cross_entropy",
    check=expect_classes,
    valid=lambda p, y: _are_probabilities(p) & is_class_target(p, y),
    check_targets=check_class_targets,
    selects=True,
)


def _kl_divergence(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Kullback-Leibler divergence of the prediction from the target, KL(y || p) = Σ y log(y / p), in nats.

    Summed over the one class axis; the direction is that of Keras and PyTorch: the target y comes first, so p must be
    above 0 wherever y is, or it costs inf. 0 log 0 counts as 0, and nothing is clamped. p itself is taken, not log p.

    A loss, not a call: two distributions of shape (C,) and one floating dtype. A target that is no distribution and p
    outside 0..1 (beyond rounding) make value and gradient NaN.

    Raises:
      ShapeError, StructureError: at trace time, if their shapes or dtypes do not fit; on the host, for bad targets.

    Derivation:
      Σ y log y does not depend on p, so the gradient is that of -Σ y log p: -y / p, and 0 wherever y = 0.

    References:
      Kullback and Leibler (1951), On information and sufficiency.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> p, y = jnp.array([0.5, 0.5]), jnp.array([1.0, 0.0])
      >>> float(pn.losses.kl_divergence.value(p, y)), pn.losses.kl_divergence.grad(p, y).tolist()
      (0.693147..., [-2.0, 0.0])
    """
    return jnp.sum(_cost(target, prediction) - _cost(target, target))


kl_divergence = guarded_loss(
    _kl_divergence,
    lambda p, y: _ratio(-y, p),
    name="kl_divergence",
    check=expect_distributions,
    valid=lambda p, y: _are_probabilities(p) & is_distribution(y),
    check_targets=check_distributions,
    selects=True,
)


def _root(x: jax.Array) -> jax.Array:
    """Gives √x, with derivative 0 at 0."""
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), 0)


def _hellinger(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Hellinger distance of two distributions, H = √(½ Σ (√p - √y)²), summed over the one class axis.

    From 0, where they are equal, to 1, where nothing is possible in both.

    A loss, not a call: two distributions of shape (C,) and one floating dtype. A target that is no distribution and p
    outside 0..1 (beyond rounding) make value and gradient NaN.

    Raises:
      ShapeError, StructureError: at trace time, if their shapes or dtypes do not fit; on the host, for bad targets.

    Derivation:
      With dᵢ = √pᵢ - √yᵢ and H² = ½ Σ d², 2 H dH = Σ dᵢ ddᵢ and ddᵢ = dpᵢ / (2 √pᵢ): the gradient is d / (4 H √p).
      At p = y H has a kink like that of a norm; 0, a subgradient, is taken. At pᵢ = 0 the one-sided derivative is -∞
      for yᵢ > 0; 0 is taken, the limit of its product with the derivative of a softmax or a sigmoid that makes pᵢ.

    References:
      Hellinger (1909), Neue Begründung der Theorie quadratischer Formen von unendlichvielen Veränderlichen.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> p, y = jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0])
      >>> float(pn.losses.hellinger.value(p, y)), pn.losses.hellinger.grad(p, y).tolist()
      (1.0, [0.25, 0.0])
      >>> pn.losses.hellinger.grad(y, y).tolist()
      [0.0, 0.0]
    """
    return _root(jnp.sum(jnp.square(_root(prediction) - _root(target))) / 2)


def _hellinger_grad(p: jax.Array, y: jax.Array) -> jax.Array:
    d = _root(p) - _root(y)
    scale = 4 * _root(jnp.sum(jnp.square(d)) / 2) * _root(p)
    return jnp.where(scale > 0, d / jnp.where(scale > 0, scale, 1), 0)


hellinger = guarded_loss(
    _hellinger,
    _hellinger_grad,
    name="hellinger",
    check=expect_distributions,
    valid=lambda p, y: _are_probabilities(p) & is_distribution(y),
    check_targets=check_distributions,
    selects=True,
)
