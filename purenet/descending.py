"""Gradient descent on any function, and the path that it takes."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from purenet.contract import Tree
from purenet.errors import ShapeError, StructureError, by, describe, expect_kept, is_whole
from purenet.optim.checking import known
from purenet.optimizers import as_optimizer, extras, strong, troubles_of

Function = Callable[[Any], Any]


class Descent(NamedTuple):
    """A descent, point by point, the start first.

    Attributes:
      path: the points x₀, x₁, …, of x0's structure, each leaf with steps + 1 in front.
      values: f at each point, of shape (steps + 1,).
      gradients: the gradient of f at each point, like `path`.
    """

    path: Tree
    values: jax.Array
    gradients: Tree

    def __repr__(self) -> str:
        return f"Descent(values of shape {self.values.shape}, path of {len(jax.tree.leaves(self.path))} arrays)"


def descend(f: Function, x0: Any, rate: Any, steps: int) -> Descent:
    """Goes downhill on a function and keeps every point: xₜ₊₁ = xₜ − ηₜ ∇f(xₜ).

    A pure function: it can be jitted, vmapped over starts and rates, and differentiated by both. A descent that
    diverges is no error: its path shows it.

    Args:
      f: a function of one argument like x0 that gives one number, in plain JAX.
      x0: where to start: a number, an array of shape (d,), or a pytree of floating arrays.
      rate: η, above 0: a number; an array of shape (steps,), one for each step; a schedule `step -> rate` such as
        `optax.cosine_decay_schedule(0.1, 100)`, which may give 0; or an optimizer in place of plain gradient descent:
        optax's, `pn.optim.newton` and `newton_cg`, not those that need a network's predictions or layers. Numbers are
        taken in the dtype of x0.
      steps: updates to make, 0 or more.

    Returns:
      A `Descent` of steps + 1 points.

    Raises:
      ShapeError: for a rate that is not above 0 and finite, an x0 that is not finite, a negative number of steps,
        an f that gives more than one number; where the values are traced, they pass. Also for what an optimizer's
        state tells of, such as a line search without success.
      StructureError: for what is no function, no floating number, no whole number, or no rate.

    References:
      Cauchy (1847), Méthode générale pour la résolution des systèmes d'équations simultanées.

    Example:
      >>> import jax, jax.numpy as jnp, optax, purenet as pn
      >>> descent = pn.descend(lambda x: (x - 3) ** 2, 1, rate=0.25, steps=3)
      >>> descent.path.tolist(), descent.values.tolist(), descent.gradients.tolist()
      ([1.0, 2.0, 2.5, 2.75], [4.0, 1.0, 0.25, 0.0625], [-4.0, -2.0, -1.0, -0.5])
      >>> starts = jnp.array([0.0, 5.0])
      >>> jax.vmap(lambda x0: pn.descend(jnp.cos, x0, optax.adam(0.1), 50))(starts).path.shape
      (2, 51)
    """
    with by("descend"):
        _expect_steps(steps)
        if not callable(f):
            raise StructureError(f"expected f to be a function of x, got {describe(f)}. The function first, then x0.")
        x0 = jax.tree.map(_as_start, x0)
        _expect_function(f, x0)
        optimizer, rates = _as_rule(rate, steps)
        evaluate = jax.value_and_grad(lambda x: jnp.asarray(f(x)))

        def step(carry: tuple[Tree, ...], eta: Any) -> tuple[tuple[Tree, ...], tuple[Tree, ...]]:
            x, value, grads, state = carry
            if optimizer is None:
                x = jax.tree.map(lambda a, g: a - eta.astype(a.dtype) * g, x, grads)
            else:
                told = extras(optimizer, state, value=value, grads=grads, value_fn=f, grad_fn=lambda x: evaluate(x)[1])
                updates, state = optimizer.update(grads, state, x, **told)
                x = optax.apply_updates(x, updates)
            point = (x, *evaluate(x))
            return (*point, state), point

        first = (x0, *evaluate(x0))
        state = () if optimizer is None else jax.tree.map(strong, optimizer.init(x0))
        begin: tuple[Tree, ...] = (*first, state)
        (*_, state), others = jax.lax.scan(step, begin, rates, length=steps)
        _tell(state)
        return Descent(*jax.tree.map(lambda one, more: jnp.concatenate([one[None], more]), first, others))


def _expect_steps(steps: Any) -> None:
    if not is_whole(steps):
        raise StructureError(f"expected steps to be a whole number, got {describe(steps)}. Give an int of 0 or more.")
    if steps < 0:
        raise ShapeError(f"expected steps of 0 or more, got {steps}. Give the number of updates to make.")


def _as_start(leaf: Any) -> jax.Array:
    """A leaf of x0 as a floating array of strong type; Python's whole numbers are taken as floating ones."""
    if is_whole(leaf) and not isinstance(leaf, np.integer):
        leaf = float(leaf)
    number = isinstance(leaf, float) or hasattr(leaf, "dtype")
    if not number or not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
        raise StructureError(
            f"expected x0 of floating dtype, got {describe(leaf)}. Whole numbers have no slope: convert it, such as "
            "jnp.asarray(x0, float)."
        )
    expect_kept(leaf)
    if known(leaf) and not np.all(np.isfinite(np.asarray(leaf, np.float64))):
        raise ShapeError("expected x0 to be finite, got nan or inf in it. Start where f has a value and a slope.")
    array: jax.Array = strong(leaf)
    return array


def _expect_function(f: Any, x0: Tree) -> None:
    """Raises unless `f` gives one floating number at x0; found by abstract evaluation."""
    if not jax.tree.leaves(x0):
        raise StructureError(f"expected x0 with at least one number, got {describe(x0)}. Start somewhere.")
    out = jax.eval_shape(f, x0)
    if not isinstance(out, jax.ShapeDtypeStruct) or not jnp.issubdtype(out.dtype, jnp.floating):
        raise StructureError(f"expected f to give one floating number, got {describe(out)}. Return a scalar array.")
    if out.shape:
        raise ShapeError(
            f"expected f to give one number, got {describe(out)}. Sum or average, or give jax.vmap one start at a time."
        )


def _as_rule(rate: Any, steps: int) -> tuple[optax.GradientTransformationExtraArgs | None, jax.Array | None]:
    """The optimizer, or the rate of every step."""
    if hasattr(rate, "init") and hasattr(rate, "update"):
        return as_optimizer(rate), None
    if callable(rate):
        return None, _scheduled(rate, steps)
    number = isinstance(rate, (int, float)) and not isinstance(rate, bool)
    if not number and not hasattr(rate, "dtype"):
        raise StructureError(
            f"expected a rate, got {describe(rate)}. Give a number, an array of one for each step, a schedule or an "
            "optax optimizer."
        )
    if not number and not jnp.issubdtype(rate.dtype, jnp.floating):
        raise StructureError(f"expected a rate of floating dtype, got {describe(rate)}. Convert it with astype(float).")
    if np.shape(rate) not in ((), (steps,)):
        raise ShapeError(
            f"expected one rate, or {steps}, one for each step, got {describe(rate)}. For many descents at once use "
            "jax.vmap."
        )
    wrong = _wrong(rate, np.asarray(rate, np.float64) > 0) if known(rate) else None
    if wrong is not None:
        raise ShapeError(
            f"expected a rate above 0 and finite, got {wrong:g}. Such as 0.1; a schedule may give 0, to warm up."
        )
    return None, jnp.broadcast_to(jnp.asarray(rate, _wide()), (steps,))


def _scheduled(schedule: Callable[[Any], Any], steps: int) -> jax.Array:
    """What a schedule gives for every step."""
    made = schedule(jnp.zeros((), jnp.int32))
    if hasattr(made, "init"):
        raise StructureError(
            "expected a rate, got a function that makes an optimizer. Call it, such as optax.adam(1e-3)."
        )
    if np.shape(made) != () or not jnp.issubdtype(jnp.result_type(made), jnp.number):
        raise StructureError(f"expected a schedule that gives one number, got {describe(made)}. Give one rate a step.")
    rates = jax.vmap(lambda step: jnp.asarray(schedule(step), _wide()))(jnp.arange(steps))
    wrong = _wrong(rates, np.asarray(rates) >= 0) if known(rates) else None
    if wrong is not None:
        raise ShapeError(f"expected a schedule of rates of 0 or more and finite, got {wrong:g}. Look at its values.")
    return rates


def _wrong(rates: Any, allowed: Any) -> float | None:
    """The first rate that is not allowed or not finite."""
    numbers = np.atleast_1d(np.asarray(rates, np.float64))
    wrong = numbers[~(np.atleast_1d(allowed) & (numbers < math.inf))]
    return float(wrong[0]) if len(wrong) else None


def _tell(state: Tree) -> None:
    """Raises what the optimizer's state tells of; in traced code it is not known yet, and the path shows NaN."""
    troubles = troubles_of(state) if all(known(leaf) for leaf in jax.tree.leaves(state)) else []
    if troubles:
        raise ShapeError(troubles[0])


def _wide() -> Any:
    """The widest floating dtype that JAX keeps: rates lose nothing before they meet x."""
    return jax.dtypes.canonicalize_dtype(np.float64)
