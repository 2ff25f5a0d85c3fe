"""Metrics for numbers: how much of the targets' variance is explained."""

import jax
import jax.numpy as jnp

from purenet.losses.guards import expect_outputs
from purenet.metrics.base import metric, summing

Stats = dict[str, jax.Array]


def _r2(predictions: jax.Array, targets: jax.Array, weights: jax.Array | None) -> Stats:
    """Coefficient of determination, R² = 1 - Σ (y - p)² / Σ (y - ȳ)², averaged over the outputs; 1 at best.

    A metric, not a call: predictions and targets of one shape, (B,) or (B, ...), and floating dtype. For each output
    the weighted mean and the squares around it are kept, and merged without subtracting large sums, so that targets
    around 10⁴ cost no digits. As in scikit-learn, constant targets give 1 where every prediction is exact and else 0,
    and fewer than two examples give NaN.

    Raises:
      ShapeError, StructureError: at trace time, if shapes or dtypes differ, or there is no output.

    Derivation:
      Two sets with weights n, m and means a, b have the joint mean a + (b - a) m / (n + m), and around it the squares
      S + T + (b - a)² n m / (n + m). Means are kept as distances from one target, the shift, which loses no digits.

    References:
      Wright (1921), Correlation and causation.
      Chan, Golub and LeVeque (1979), Updating formulae and a pairwise algorithm for computing sample variances.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> r2, targets = pn.metrics.r2, jnp.array([1.0, 2.0, 3.0])
      >>> float(r2.finish(r2.measure(targets, targets))), float(r2.finish(r2.measure(jnp.full(3, 2.0), targets)))
      (1.0, 0.0)
    """
    dtype = summing(predictions.dtype, *(() if weights is None else (weights.dtype,)))
    p, y = (jnp.reshape(a, (len(a), -1)).astype(dtype) for a in (predictions, targets))
    w = jnp.ones((len(y), 1), dtype) if weights is None else jnp.reshape(weights.astype(dtype), (-1, 1))
    shift = y[0]
    d = y - shift[None]
    weight = jnp.sum(w)
    mean = jnp.sum(w * d, axis=0) / jnp.where(weight > 0, weight, 1)
    return {
        "count": jnp.full((), len(y), jnp.int32),
        "weight": jnp.full((), len(y), jnp.int32) if weights is None else weight,
        "shift": shift,
        "mean": mean,
        "squares": jnp.sum(w * jnp.square(d - mean[None]), axis=0),
        "errors": jnp.sum(w * jnp.square(p - y), axis=0),
    }


def _merge(one: Stats, other: Stats) -> Stats:
    dtype = one["mean"].dtype
    n, m = one["weight"].astype(dtype), other["weight"].astype(dtype)
    shift = jnp.where(n > 0, one["shift"], other["shift"])  # that of nothing is 0
    a, b = (jnp.where(s["weight"] > 0, s["shift"] - shift + s["mean"], 0) for s in (one, other))
    share = m / jnp.where(n + m > 0, n + m, 1)
    return {
        "count": one["count"] + other["count"],
        "weight": one["weight"] + other["weight"],
        "shift": shift,
        "mean": a + (b - a) * share,
        "squares": one["squares"] + other["squares"] + jnp.where((n > 0) & (m > 0), jnp.square(b - a) * n * share, 0),
        "errors": one["errors"] + other["errors"],
    }


def _finish(stats: Stats) -> jax.Array:
    squares, errors = stats["squares"], stats["errors"]
    constant = jnp.where(errors == 0, 1, 0).astype(squares.dtype)
    scores = jnp.where(squares == 0, constant, 1 - errors / jnp.where(squares == 0, 1, squares))
    scores = jnp.where(jnp.isnan(errors), jnp.nan, scores)
    return jnp.where(stats["count"] < 2, jnp.nan, jnp.mean(scores))


r2 = metric(_r2, _finish, name="r2", merge=_merge, better="higher", check=expect_outputs)
