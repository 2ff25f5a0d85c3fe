"""Features brought to a common scale, which is fitted on the training examples alone."""

from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from purenet.data.leaves import Array

ArrayT = TypeVar("ArrayT", npt.NDArray[Any], jax.Array)


class Scaler(NamedTuple):
    """The map z = (x − mean) / std and its inverse, feature by feature.

    Attributes:
        mean: Mean of each feature, of the shape of one example.
        std: Standard deviation of each feature, positive, of the same shape.
    """

    mean: Array
    std: Array

    def apply(self, x: ArrayT) -> ArrayT:
        """Returns (x − mean) / std for one example or any batch of them."""
        mean, std = _aligned("Scaler.apply", x, self.mean, self.std)
        z: ArrayT = (x - mean) / std
        return z

    def invert(self, z: ArrayT) -> ArrayT:
        """Returns z · std + mean for one example or any batch of them."""
        mean, std = _aligned("Scaler.invert", z, self.mean, self.std)
        x: ArrayT = z * std + mean
        return x


class RangeScaler(NamedTuple):
    """The map z = low + (x − start) / span · (high − low) and its inverse, feature by feature.

    Attributes:
        start: Minimum of each feature, of the shape of one example.
        span: Maximum less minimum of each feature, positive, of the same shape.
        low: What the minimum becomes.
        high: What the maximum becomes.
    """

    start: Array
    span: Array
    low: float
    high: float

    def apply(self, x: ArrayT) -> ArrayT:
        """Returns x brought to low..high; beyond the fitted range it goes on linearly, unclipped."""
        start, span = _aligned("RangeScaler.apply", x, self.start, self.span)
        z: ArrayT = self.low + (x - start) / span * (self.high - self.low)
        return z

    def invert(self, z: ArrayT) -> ArrayT:
        """Returns start + (z − low) / (high − low) · span."""
        start, span = _aligned("RangeScaler.invert", z, self.start, self.span)
        x: ArrayT = start + (z - self.low) / (self.high - self.low) * span
        return x


def standardize(train_x: Array) -> Scaler:
    """Fits the scaler that gives every feature mean 0 and standard deviation 1.

    mean = Σ x / n, std = √(Σ (x − mean)² / n), over axis 0. A feature that is constant in the training
    examples gets std 1, and so becomes 0 instead of NaN or magnified rounding noise.

    Args:
        train_x: Floating-point NumPy or JAX array of shape (n, ...), n ≥ 1, finite. The training examples
            only: what is fitted on test examples leaks them.

    Returns:
        A `Scaler` of the same kind of arrays and the same dtype.

    Raises:
        TypeError: `train_x` is not a floating-point array.
        ValueError: It is a scalar, empty, or holds NaN or infinities (not seen inside jit).

    References:
        T. Chan, G. Golub, R. LeVeque (1983), Algorithms for computing the sample variance, The American
        Statistician 37 (3), eq. 1.7: the corrected two-pass algorithm.

    Example:
        >>> scaler = standardize(np.array([[1.0, 5.0], [3.0, 5.0]]))
        >>> scaler
        Scaler(mean=array([2., 5.]), std=array([1., 1.]))
        >>> scaler.apply(np.array([4.0, 5.0]))
        array([2., 0.])
    """
    low, high = _bounds("standardize", train_x)
    xp: Any = jnp if isinstance(train_x, jax.Array) else np
    # NumPy adds along axis 0 one by one: 60,000 float32 terms would lose three digits.
    wide = None if xp is jnp else np.float64
    # The mean of equal values may round to another value.
    mean = xp.where(low == high, low, xp.mean(train_x, axis=0, dtype=wide)).astype(train_x.dtype)
    spread = xp.maximum(high - mean, mean - low)
    # Squares are taken of numbers near 1, which neither overflow nor vanish.
    ratio = (train_x - mean[None]) / xp.where(spread > 0, spread, 1)[None]
    variance = xp.mean(ratio**2, axis=0, dtype=wide) - xp.mean(ratio, axis=0, dtype=wide) ** 2
    std = (spread * xp.sqrt(xp.maximum(variance, 0))).astype(train_x.dtype)
    return Scaler(mean, xp.where(std > 0, std, xp.ones_like(std)))


def minmax(train_x: Array, low: float = 0.0, high: float = 1.0) -> RangeScaler:
    """Fits the scaler that brings every feature's range to low..high.

    z = low + (x − min) / (max − min) · (high − low), min and max over axis 0, to rounding. A feature that is constant
    in the training examples gets span 1, and so becomes `low`.

    Args:
        train_x: Floating-point NumPy or JAX array of shape (n, ...), n ≥ 1, finite: training examples only.
        low: What the minimum becomes.
        high: What the maximum becomes; above `low`.

    Returns:
        A `RangeScaler` of the same kind of arrays and the same dtype.

    Raises:
        TypeError: `train_x` is not a floating-point array.
        ValueError: It is a scalar, empty, or holds NaN or infinities (not seen inside jit); or `low` is not
            below `high`.

    Example:
        >>> scaler = minmax(np.array([[1.0], [3.0]]), low=-1.0)
        >>> scaler.apply(np.array([[1.0], [2.0], [3.0]])).ravel()
        array([-1.,  0.,  1.])
    """
    if not -np.inf < low < high < np.inf:
        raise ValueError(f"minmax: expected finite low < high, got {low} and {high}. Pass low=0.0, high=1.0.")
    start, end = _bounds("minmax", train_x)
    xp: Any = jnp if isinstance(train_x, jax.Array) else np
    span = end - start
    return RangeScaler(start, xp.where(span > 0, span, xp.ones_like(span)), float(low), float(high))


def _bounds(caller: str, x: Any) -> tuple[Any, Any]:
    """Returns the smallest and the largest value of each feature, which show a NaN anywhere."""
    _expect_floating(caller, "train_x", x)
    if x.ndim == 0 or x.size == 0:
        raise ValueError(
            f"{caller}: expected train_x of shape (n, ...) with n ≥ 1, got {x.shape}. Pass all training examples."
        )
    low, high = x.min(axis=0), x.max(axis=0)
    xp: Any = jnp if isinstance(x, jax.Array) else np
    if not isinstance(low, jax.core.Tracer) and not (xp.isfinite(low) & xp.isfinite(high)).all():
        raise ValueError(
            f"{caller}: expected finite values in train_x, got NaN or infinite ones. Find them with pn.data.check_data."
        )
    return low, high


def _aligned(caller: str, x: Any, *features: Any) -> list[Any]:
    """Gives per-feature arrays as many axes as `x`, so that nothing broadcasts unasked."""
    _expect_floating(caller, "x", x)
    shape, dtype = features[0].shape, features[0].dtype
    if x.dtype != dtype:
        raise TypeError(f'{caller}: expected x of dtype {dtype}, as fitted, got {x.dtype}. Use x.astype("{dtype}").')
    leading = x.ndim - len(shape)
    if leading < 0 or x.shape[leading:] != shape:
        raise ValueError(
            f"{caller}: expected x of shape (..., {', '.join(map(str, shape))}), got {x.shape}. "
            "Pass examples with the features that were fitted."
        )
    return [feature.reshape((1,) * leading + shape) for feature in features]


def _expect_floating(caller: str, name: str, x: Any) -> None:
    if not isinstance(x, np.ndarray | jax.Array):
        raise TypeError(
            f"{caller}: expected {name} to be a NumPy or JAX array, got {type(x).__name__}. Convert it with np.asarray."
        )
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"{caller}: expected {name} of a floating dtype, got {x.dtype}. Use x.astype(np.float32).")
