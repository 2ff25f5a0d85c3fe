"""Negative log-likelihoods of counts and of numbers with a variance."""

import math

import jax
import jax.numpy as jnp

from purenet.contract import Spec, Tree
from purenet.errors import ShapeError, StructureError, describe
from purenet.losses.base import Loss, expect_alike
from purenet.losses.guards import expect_flag, expect_outputs, guarded_loss
from purenet.losses.targets import check_counts


def poisson_nll(log_input: bool = True, full: bool = False) -> Loss:
    """Negative log-likelihood of counts under Poisson distributions, in nats, averaged over the outputs.

    With rate λ: λ - y log λ, plus the constant log y! if `full`. It does not change the gradient, and Keras and PyTorch
    leave it out too; without it the value may fall below 0. Nothing is added to λ inside the logarithm, as they do.

    Args:
      log_input: whether the prediction is z = log λ, any number (above z = 88 float32 overflows to inf), or λ itself,
        0 or more: λ = 0 costs inf for y > 0, and 0 log 0 counts as 0.
      full: whether log y! is added, so that values compare between data sets.

    Returns:
      A loss of predictions and targets of one shape and floating dtype. A target below 0 or infinite, and λ below 0,
      make value and gradient NaN.

    Raises:
      ShapeError: at trace time, if the shapes differ or there is no output; on the host, for bad targets.
      StructureError: if an option is not a bool; at trace time, if the dtypes differ.

    Derivation:
      -log(λʸ exp(-λ) / y!) = λ - y log λ + log y!. Its derivative is 1 - y/λ by λ, where y/λ counts as 0 for y = 0, and
      with λ = exp z, λ - y by z. The gradient is that over n, the number of outputs.

    References:
      Nelder and Wedderburn (1972), Generalized linear models.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> loss = pn.losses.poisson_nll()
      >>> loss.grad(jnp.array([0.0]), jnp.array([3.0])).tolist()  # rate 1, count 3
      [-2.0]
    """
    expect_flag("poisson_nll", "log_input", log_input)
    expect_flag("poisson_nll", "full", full)

    def value(prediction: jax.Array, target: jax.Array) -> jax.Array:
        if log_input:
            terms = jnp.exp(prediction) - target * prediction
        else:
            log_rate = jnp.log(jnp.where(target == 0, 1, prediction))
            terms = prediction - jnp.where(target == 0, 0, target * log_rate)
        return jnp.mean(terms + jax.lax.lgamma(target + 1) if full else terms)

    def grad(prediction: jax.Array, target: jax.Array) -> jax.Array:
        if log_input:
            return (jnp.exp(prediction) - target) / prediction.size
        ratio = jnp.where(target == 0, 0, target / jnp.where(target == 0, 1, prediction))
        return (1 - ratio) / prediction.size

    def valid(prediction: jax.Array, target: jax.Array) -> jax.Array:
        counts = jnp.all((target >= 0) & (target < jnp.inf))
        return counts if log_input else counts & jnp.all(prediction >= 0)

    return guarded_loss(value, grad, name="poisson_nll", check=expect_outputs, valid=valid, check_targets=check_counts)


def gaussian_nll(full: bool = False) -> Loss:
    """Negative log-likelihood under Gaussians whose mean and variance the network predicts, averaged over the outputs.

    With mean m and variance v: ½ (log v + (y - m)² / v), plus the constant ½ log 2π if `full`. PyTorch leaves the
    constant out too, but raises small variances to 1e-6; here they are taken as they are. A network ends in
    `pn.branch(mean, variance)`, the second part through a softplus or an exponential, so that v is above 0.

    Args:
      full: whether ½ log 2π is added, so that values compare with other densities.

    Returns:
      A loss of the pair `(mean, variance)` and a target, all of one shape and floating dtype, the variance in the
      target's unit squared; its gradient is a pair too. A variance that is not above 0 makes value and gradient NaN.

    Raises:
      ShapeError: at trace time, if the shapes differ or there is no output.
      StructureError: if `full` is not a bool; at trace time, if the prediction is no pair or the dtypes differ.

    Derivation:
      With e = m - y: d/dm e²/(2v) = e/v, and d/dv ½ (log v + e²/v) = ½ (1/v - e²/v²). The gradient is these over n, the
      number of outputs.

    References:
      Nix and Weigend (1994), Estimating the mean and variance of the target probability distribution.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> loss = pn.losses.gaussian_nll()
      >>> mean, variance = loss.grad((jnp.array([3.0]), jnp.array([4.0])), jnp.array([1.0]))
      >>> mean.tolist(), variance.tolist()
      ([0.5], [0.0])
    """
    expect_flag("gaussian_nll", "full", full)
    constant = math.log(2 * math.pi) / 2 if full else 0.0

    def value(prediction: Tree, target: jax.Array) -> jax.Array:
        mean, variance = prediction
        return jnp.mean(jnp.log(variance) + jnp.square(mean - target) / variance) / 2 + constant

    def grad(prediction: Tree, target: jax.Array) -> Tree:
        mean, variance = prediction
        ratio = (mean - target) / variance
        grads = ratio / mean.size, (1 / variance - jnp.square(ratio)) / (2 * mean.size)
        return jax.tree.unflatten(jax.tree.structure(prediction), grads)

    return guarded_loss(
        value, grad, name="gaussian_nll", check=_expect_mean_and_variance, valid=lambda p, y: jnp.all(p[1] > 0)
    )


def _expect_mean_and_variance(prediction: Spec, target: Spec) -> None:
    if not isinstance(prediction, tuple | list) or len(prediction) != 2:
        raise StructureError(
            f"expected prediction to be a pair (mean, variance), got {describe(prediction)}. "
            "End the network in pn.branch(mean, variance)."
        )
    mean, variance = prediction
    expect_outputs(mean, target)
    if isinstance(variance, jax.ShapeDtypeStruct) and variance.shape != mean.shape:
        raise ShapeError(
            f"expected the variance of shape {mean.shape}, that of the mean, got {variance.shape}. "
            "Predict one variance for each output; losses never broadcast."
        )
    expect_alike(variance, target)
