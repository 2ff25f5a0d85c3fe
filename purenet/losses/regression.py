"""Losses for numbers: squared, absolute and in between."""

import jax
import jax.numpy as jnp

from purenet.losses.base import Loss, expect_alike
from purenet.losses.guards import expect_outputs, expect_positive, guarded_loss


def _half_squared_error(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Half the squared error, ½ Σ (p - y)², summed over the outputs.

    A loss, not a call: prediction and target of one shape and floating dtype, in the unit of the target.

    Raises:
      ShapeError, StructureError: at trace time, if their shapes or dtypes differ.

    Derivation:
      d/dpᵢ ½ Σ (pⱼ - yⱼ)² = pᵢ - yᵢ: only the term j = i depends on pᵢ.

    References:
      Rumelhart, Hinton and Williams (1986), Learning representations by back-propagating errors, eq. 3.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> float(pn.losses.half_squared_error.value(jnp.array([1.0, 3.0]), jnp.array([0.0, 1.0])))
      2.5
    """
    return jnp.sum(jnp.square(prediction - target)) / 2


half_squared_error = guarded_loss(
    _half_squared_error, lambda p, y: p - y, name="half_squared_error", check=expect_alike
)


def _mean_squared_error(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Mean squared error, (1/n) Σ (p - y)², averaged over the n outputs.

    A loss, not a call: prediction and target of one shape and floating dtype; the value in the target's unit, squared.

    Raises:
      ShapeError, StructureError: at trace time, if their shapes or dtypes differ, or there is no output.

    Derivation:
      Only the term j = i of the sum depends on pᵢ: d/dpᵢ (1/n) Σ (pⱼ - yⱼ)² = 2 (pᵢ - yᵢ) / n.

    References:
      Legendre (1805), Nouvelles méthodes pour la détermination des orbites des comètes, appendix.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> float(pn.losses.mean_squared_error.value(jnp.array([1.0, 3.0]), jnp.array([0.0, 1.0])))
      2.5
    """
    return jnp.mean(jnp.square(prediction - target))


mean_squared_error = guarded_loss(
    _mean_squared_error, lambda p, y: 2 * (p - y) / p.size, name="mean_squared_error", check=expect_outputs
)


def _mean_absolute_error(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Mean absolute error, (1/n) Σ |p - y|, averaged over the n outputs.

    A loss, not a call: prediction and target of one shape and floating dtype; the value in the target's unit.

    Raises:
      ShapeError, StructureError: at trace time, if their shapes or dtypes differ, or there is no output.

    Derivation:
      d|e|/de is 1 for e > 0 and -1 for e < 0, so the gradient is sign(pᵢ - yᵢ) / n. At the kink p = y any number
      from -1/n to 1/n is a subgradient; 0 is taken.

    References:
      Bloomfield and Steiger (1983), Least absolute deviations: theory, applications, and algorithms.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> float(pn.losses.mean_absolute_error.value(jnp.array([1.0, 3.0]), jnp.array([0.0, 1.0])))
      1.5
    """
    e = prediction - target
    return jnp.mean(e * jnp.sign(e))  # JAX differentiates |e| to 1 at e = 0, and this to 0


mean_absolute_error = guarded_loss(
    _mean_absolute_error, lambda p, y: jnp.sign(p - y) / p.size, name="mean_absolute_error", check=expect_outputs
)


def huber(delta: float | jax.Array = 1.0) -> Loss:
    """Huber loss, averaged over the outputs: quadratic for errors up to delta, linear beyond.

    With e = p - y: ½ e² for |e| <= delta, and delta (|e| - ½ delta) otherwise. The linear part outgrows an outlier's
    hold on the fit.

    Args:
      delta: where the two parts meet, above 0, in the target's unit; a JAX scalar if it is to vary without retracing.

    Returns:
      A loss of prediction and target of one shape and floating dtype; NaN for a traced delta that is not above 0.

    Raises:
      ShapeError: if delta is not above 0; at trace time, if the shapes differ or there is no output.
      StructureError: if delta is not a number; at trace time, if the dtypes differ.

    Derivation:
      With c = min(max(e, -delta), delta), both parts are c (e - ½ c). Inside, c = e and the derivative is e; outside,
      c is constant and the derivative is c. So the gradient is c / n. At |e| = delta both agree: no kink.

    References:
      Huber (1964), Robust estimation of a location parameter.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> loss = pn.losses.huber(delta=1.0)
      >>> loss.grad(jnp.array([0.5, 10.0]), jnp.zeros(2)).tolist()
      [0.25, 0.5]
    """
    expect_positive("huber", "delta", delta)

    def clipped(e: jax.Array) -> jax.Array:
        bound = jnp.asarray(delta, e.dtype)
        return jnp.clip(e, -bound, bound)

    def value(prediction: jax.Array, target: jax.Array) -> jax.Array:
        e = prediction - target
        c = clipped(e)
        return jnp.mean(c * (e - c / 2))

    def grad(prediction: jax.Array, target: jax.Array) -> jax.Array:
        return clipped(prediction - target) / prediction.size

    return guarded_loss(value, grad, name="huber", check=expect_outputs, valid=lambda p, y: jnp.asarray(delta) > 0)


def _log_cosh(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Logarithm of the hyperbolic cosine of the error, (1/n) Σ log cosh(p - y), averaged over the n outputs.

    Close to ½ e² for small errors e and to |e| - log 2 for large ones, with every derivative continuous.

    A loss, not a call: prediction and target of one shape and floating dtype, best scaled to errors near 1.

    Raises:
      ShapeError, StructureError: at trace time, if their shapes or dtypes differ, or there is no output.

    Derivation:
      d/de log cosh e = sinh e / cosh e = tanh e, so the gradient is tanh(pᵢ - yᵢ) / n.

    References:
      Saleh and Saleh (2022), Statistical properties of the log-cosh loss function used in machine learning.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> float(pn.losses.log_cosh.value(jnp.array([1e4, 0.0]), jnp.zeros(2)))
      4999.65...
    """
    e = prediction - target
    small = jnp.abs(e) < 1
    # cosh e = 1 + 2 sinh²(e/2) keeps the digits of small errors; cosh e = ½ exp|e| (1 + exp(-2|e|)) never overflows
    near = jnp.log1p(2 * jnp.square(jnp.sinh(jnp.where(small, e, 0) / 2)))
    size = jnp.abs(e)
    far = size - jnp.log(2.0).astype(e.dtype) + jnp.log1p(jnp.exp(-2 * size))
    return jnp.mean(jnp.where(small, near, far))


log_cosh = guarded_loss(_log_cosh, lambda p, y: jnp.tanh(p - y) / p.size, name="log_cosh", check=expect_outputs)


def exponential_cost(tau: float | jax.Array = 1.0) -> Loss:
    """Exponential cost, tau exp((1/tau) Σ (p - y)²), summed over the outputs inside the exponential.

    Large tau acts as the squared error plus tau; small tau lets the examples with the largest errors dominate. The
    least value is tau, and Σ (p - y)² above 88 tau overflows float32: value inf, gradient not finite.

    Args:
      tau: the scale, above 0, in the target's unit, squared; a JAX scalar if it is to vary without retracing.

    Returns:
      A loss of prediction and target of one shape and floating dtype; NaN for a traced tau that is not above 0.

    Raises:
      ShapeError: if tau is not above 0; at trace time, if the shapes differ.
      StructureError: if tau is not a number; at trace time, if the dtypes differ.

    Derivation:
      With s = Σ (pⱼ - yⱼ)² and ds/dpᵢ = 2 (pᵢ - yᵢ), the chain rule gives exp(s / tau) 2 (pᵢ - yᵢ): tau cancels.

    References:
      Silva, Marques de Sá and Alexandre (2008), Data classification with multilayer perceptrons using a generalized
      error function.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> float(pn.losses.exponential_cost(tau=2.0).value(jnp.ones(3), jnp.ones(3)))
      2.0
    """
    expect_positive("exponential_cost", "tau", tau)

    def value(prediction: jax.Array, target: jax.Array) -> jax.Array:
        t = jnp.asarray(tau, prediction.dtype)
        return t * jnp.exp(jnp.sum(jnp.square(prediction - target)) / t)

    def grad(prediction: jax.Array, target: jax.Array) -> jax.Array:
        e = prediction - target
        return 2 * e * jnp.exp(jnp.sum(jnp.square(e)) / jnp.asarray(tau, e.dtype))

    return guarded_loss(
        value, grad, name="exponential_cost", check=expect_alike, valid=lambda p, y: jnp.asarray(tau) > 0
    )
