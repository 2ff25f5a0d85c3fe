"""Second derivatives: Hessian-vector products by JAX against differences of the gradient."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purenet.check import leaves
from purenet.check.compiling import quick
from purenet.check.differences import slopes_of, steps_for
from purenet.check.reports import Failure, LawResult, absent, verdict
from purenet.check.subjects import Draws, Moving, Subject


def second_order_law(subject: Subject, draws: Draws, rounding: float, rng: np.random.Generator) -> LawResult:
    """Compares, coordinate by coordinate, at one draw and along one random direction.

    The objective is J = Σ dy y + ½ Σ y², whose Hessian is not zero even if y is linear.
    """
    moving, fixed, cotangents = leaves.pick((draws.moving, draws.fixed, draws.cotangents), 0)
    steps = steps_for(rounding)
    tolerance = 1e-7 if rounding < 1e-12 else 16 * rounding
    direction = tuple(rng.normal(size=np.shape(leaf)) for leaf in moving)
    length = max(1.0, float(np.sqrt(sum(np.sum(leaf**2) for leaf in direction))))
    direction = tuple(leaf / length for leaf in direction)

    def gradient(moving: Moving, fixed: Any) -> Any:
        ys, pullback = jax.vjp(lambda moving: subject.value(moving, fixed), moving)
        return leaves.flat(pullback(tuple(dy + y for dy, y in zip(cotangents, ys, strict=True)))[0])

    def program(moving: Moving, fixed: Any, product_of: Any = _forward_mode) -> Any:
        start, product = product_of(lambda moving: gradient(moving, fixed), moving, direction)

        def rise(step: Any) -> Any:
            moved = tuple(leaf + step * d for leaf, d in zip(moving, direction, strict=True))
            return gradient(moved, fixed) - start

        return start, product, jax.lax.map(rise, jnp.asarray(steps.offsets))

    small = sum(leaves.sizes(moving)) < 2**16
    try:
        start, product, rises = jax.device_get(quick(program, small)(moving, fixed))
    except TypeError as error:
        # A forward rule of jax.custom_vjp that calls its own function stops the forward mode, as jax.hessian is.
        if "forward-mode" not in str(error):
            raise
        again = quick(lambda moving, fixed: program(moving, fixed, _backwards_twice), small)
        start, product, rises = jax.device_get(again(moving, fixed))
    sizes = np.full(start.shape, 1 + np.max(np.abs(start), initial=0))
    slopes = slopes_of(rises.T, np.ones(start.shape), sizes, steps)
    known = np.isfinite(slopes.best)
    if not known.any():
        return absent("second order", "the gradient has a kink or a jump here")
    size = np.maximum(np.abs(slopes.best), np.abs(product))
    apart = np.where(known, np.abs(product - slopes.best), 0)
    bad = (apart > tolerance * size + slopes.error) | (known & ~np.isfinite(product))
    gap = float(np.nanmax((apart / np.maximum(size, sizes))[known]))
    note = f"Hessian times a direction, {int(known.sum())} of {known.size} coordinates"
    if not bad.any():
        return verdict("second order", [], gap, note)
    worst = int(np.argmax(np.where(bad, np.where(np.isfinite(apart), apart, np.inf), -1)))
    reason = "The derivative of the gradient is wrong: a rule's residuals carry no gradient, or a stop_gradient."
    path, index = place_of(moving, subject.paths, worst)
    failure = Failure("second order", path, index, float(slopes.best[worst]), float(product[worst]), reason)
    return verdict("second order", [failure], gap, note)


def _forward_mode(gradient: Callable[[Moving], Any], moving: Moving, direction: Moving) -> tuple[Any, Any]:
    """The gradient and the Hessian times a direction."""
    return jax.jvp(gradient, (moving,), (direction,))


def _backwards_twice(gradient: Callable[[Moving], Any], moving: Moving, direction: Moving) -> tuple[Any, Any]:
    """The same where no forward mode leads: a Hessian is symmetric."""
    start, pullback = jax.vjp(gradient, moving)
    return start, leaves.flat(pullback(leaves.flat(direction))[0])


def place_of(moving: Moving, paths: Any, place: int) -> tuple[str, tuple[int, ...]]:
    """Names the leaf and the index of a coordinate."""
    for leaf, path, size in zip(moving, paths, leaves.sizes(moving), strict=True):
        if place < size:
            return path, tuple(int(i) for i in np.unravel_index(place, np.shape(leaf)))
        place -= size
    raise IndexError(place)
