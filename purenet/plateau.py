"""A callback of fit that lowers the learning rate when the run has come to a plateau."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purenet.contract import Tree
from purenet.driving import Callback, EpochEnd
from purenet.errors import ShapeError, StructureError, by, describe, is_whole
from purenet.updates import TrainState, expect_count

WAYS = ("lower", "higher")


def reduce_on_plateau(
    monitor: str = "val_loss",
    *,
    factor: float = 0.1,
    patience: int = 10,
    min_delta: float = 1e-4,
    min_rate: float = 0.0,
    better: str | None = None,
) -> Callback:
    """Multiplies the learning rate by `factor` when `monitor` has not become better for `patience` epochs.

    An epoch is better if its number is more than `min_delta` below the best one so far. After a reduction the count
    begins anew, the best stays. What it decides follows from the history of this call of `fit` alone, so that one
    callback serves many runs.

    The optimizer keeps its rate in `optax.inject_hyperparams`: `optax.inject_hyperparams(optax.adam)(1e-3)`.

    Args:
      monitor: the name in the history to watch, such as "loss", "val_loss", "val_accuracy".
      factor: by which the rate is multiplied, between 0 and 1.
      patience: so many epochs in a row without a better one, 1 or more.
      min_delta: what an epoch must be better by to count, 0 or more, in the units of `monitor`.
      min_rate: the rate falls to this and no further, 0 or more.
      better: "lower", or "higher" for what grows with learning, such as an accuracy; left out, "lower" for "loss" and
        "val_loss", and for any other name it must be said.

    Returns:
      A callback for `pn.fit(…, callbacks=[…])`.

    Raises:
      ShapeError: for numbers out of range; in `fit`, for a `monitor` that the history does not have.
      StructureError: for what is no number; in `fit`, if the optimizer keeps no rate that can be set.

    Example:
      >>> import jax, numpy as np, optax, purenet as pn
      >>> xs = np.linspace(-1, 1, 8, dtype=np.float32)[:, None]
      >>> result = pn.fit(pn.dense(1), (xs, abs(xs)), loss=pn.losses.half_squared_error, batch_size=None, epochs=40,
      ...                 optimizer=optax.inject_hyperparams(optax.sgd)(1.0), key=jax.random.key(0),
      ...                 callbacks=[pn.reduce_on_plateau("loss", factor=0.5, patience=3)])
      >>> float(result.history["learning_rate"][0]), bool(result.history["learning_rate"][-1] < 0.01)
      (1.0, True)
    """
    with by("reduce_on_plateau"):
        _expect_between("factor", factor, "above 0 and below 1", lambda number: 0 < number < 1)
        expect_count("patience", patience)
        for what, number in {"min_delta": min_delta, "min_rate": min_rate}.items():
            _expect_between(what, number, "0 or more and finite", lambda number: 0 <= number < math.inf)
        if not isinstance(monitor, str):
            raise StructureError(
                f'expected monitor to be a name in the history, got {describe(monitor)}. Such as "val_loss".'
            )
        if better is None and monitor in ("loss", "val_loss"):
            better = "lower"
        if better not in WAYS:
            raise ShapeError(
                f"expected better to be one of {WAYS} for monitor={monitor!r}, got {better!r}. Choose one."
            )
    sign = 1.0 if better == "lower" else -1.0

    def callback(end: EpochEnd) -> TrainState | None:
        with by("reduce_on_plateau"):
            _expect_monitor(monitor, end.numbers)
            opt_state, found = _scaled(end.state.opt_state, float(factor), float(min_rate))
            _expect_rate(found)
            if not _due(sign * end.history[monitor], patience, min_delta):
                return None
            return end.state._replace(opt_state=opt_state)

    return callback


def _due(numbers: np.ndarray, patience: int, min_delta: float) -> bool:
    """Whether the last epoch is one after which the rate falls; a NaN is never better."""
    best, waited, due = math.inf, 0, False
    for number in numbers.tolist():
        due = False
        if number < best - min_delta:
            best, waited = number, 0
        else:
            waited += 1
            if waited >= patience:
                waited, due = 0, True
    return due


def _scaled(node: Any, factor: float, min_rate: float) -> tuple[Tree, list[bool]]:
    """An optimizer's state with its rates lowered, and of each rate found whether it can be set."""
    hyperparams = getattr(node, "hyperparams", None)
    if hyperparams is not None and "learning_rate" in hyperparams:
        rate = hyperparams["learning_rate"]
        lower = jnp.minimum(rate, jnp.maximum(rate * factor, min_rate)).astype(rate.dtype)
        free = "learning_rate" not in getattr(node, "hyperparams_states", {})
        return node._replace(hyperparams={**hyperparams, "learning_rate": lower}), [free]
    children, structure = jax.tree.flatten(node, is_leaf=lambda child: child is not node)
    if any(child is node for child in children):
        return node, []
    pairs = [_scaled(child, factor, min_rate) for child in children]
    made: Tree = jax.tree.unflatten(structure, [child for child, _ in pairs])
    return made, [free for _, found in pairs for free in found]


def _expect_rate(found: list[bool]) -> None:
    if not found:
        raise StructureError(
            "expected an optimizer whose learning rate can be set, got one that keeps it to itself. "
            "Wrap its factory: optax.inject_hyperparams(optax.adam)(1e-3)."
        )
    if not all(found):
        raise StructureError(
            "expected a learning rate that can be set, got a schedule, which would set it again at the next update. "
            "Give optax.inject_hyperparams a number."
        )


def _expect_monitor(monitor: str, numbers: Mapping[str, Any]) -> None:
    names = [name for name, value in numbers.items() if np.ndim(value) == 0 and name != "learning_rate"]
    if monitor not in names:
        more = "" if any(name.startswith("val_") for name in names) else ", or pass validation=(xs, ys) for val_ ones"
        raise ShapeError(f"expected monitor to be one of {names}, got {monitor!r}. Choose one of them{more}.")


def _expect_between(what: str, value: Any, rule: str, fits: Any) -> None:
    if isinstance(value, bool) or not (isinstance(value, (float, np.floating)) or is_whole(value)):
        raise StructureError(f"expected {what} to be a number, got {describe(value)}. Give a float.")
    if not fits(value):
        raise ShapeError(f"expected {what} {rule}, got {value:g}. Give such a number.")
