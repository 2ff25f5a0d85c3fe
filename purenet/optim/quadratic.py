"""A loss as a quadratic in the plane of two directions, and the lowest point there."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from purenet.optim.curvature import Outer

_ROUNDING = 0.01  # of the damped curvature


class Lowest(NamedTuple):
    """The lowest point of a quadratic.

    Attributes:
      step: the way to it.
      change: what the undamped quadratic promises the loss to change by; below 0, unless the slope is 0.
    """

    step: jax.Array
    change: jax.Array


def lowest_in_plane(
    outer: Outer, slope: jax.Array, directions: tuple[jax.Array, jax.Array], damping: jax.Array
) -> Lowest:
    """Minimises ∇ᵀs + ½ sᵀ(JᵀLJ + λI)s over s = α d₁ + μ d₂; where L bends down, it counts as flat along d₁.

    Args:
      outer: the loss, linearised.
      slope: ∇, of the shape of the directions.
      directions: d₁, and d₂, which may be 0 or along d₁; then μ is 0, and so it is where no point is lowest.
      damping: λ.

    Returns:
      The step and its promise; of NaN, NaN.

    References:
      Martens and Grosse (2015), Optimizing neural networks with Kronecker-factored approximate curvature, section 7.
    """
    plane = jnp.stack(directions)
    bent = jnp.stack([outer.product(direction) for direction in directions])
    curvature, slopes, lengths = plane @ bent.T, plane @ slope, damping * plane @ plane.T
    (a, b), (_, d) = curvature + lengths
    det = a * d - b * b
    apart = _bends_up(curvature, a, d) & (det > 10 * jnp.finfo(plane.dtype).eps * a * d)
    det = jnp.where(apart, det, 1)
    a_up = jnp.maximum(curvature[0, 0], 0) + lengths[0, 0]
    both = jnp.stack([b * slopes[1] - d * slopes[0], b * slopes[0] - a * slopes[1]]) / det
    alone = jnp.stack([-slopes[0] / jnp.where(a_up == 0, 1, a_up), jnp.zeros_like(a)])
    far = jnp.where(apart, both, alone)
    return Lowest(far @ plane, far @ slopes + 0.5 * far @ curvature @ far)


def _bends_up(curvature: jax.Array, a: jax.Array, d: jax.Array) -> jax.Array:
    """Whether there is no way down in the plane that the curvature alone opens, but for rounding."""
    (p, q), (_, r) = curvature
    return (p >= -_ROUNDING * a) & (r >= -_ROUNDING * d) & (p * r - q * q >= -_ROUNDING * a * d) & (a > 0) & (d > 0)
