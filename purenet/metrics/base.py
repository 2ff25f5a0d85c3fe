"""What a metric is: sums over a mini-batch, added up, and finished once at the end."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NoReturn

import jax
import jax.numpy as jnp

from purenet.contract import Spec, Tree, example_spec, spec_of
from purenet.errors import ShapeError, StructureError, at, describe, refuse_maker
from purenet.losses.base import Loss, as_loss

DIRECTIONS = ("higher", "lower", None)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Metric:
    """A metric: exact over any number of mini-batches, because only its sums are added up.

    Metrics compare by identity, hash, and pass through `jax.jit` as static arguments. Counts are int32, exact up to
    2³¹ - 1; weighted sums are float32 (float64 for float64 predictions).

    Attributes:
      name: shown in messages.
      measure: `(predictions, targets, weights=None) -> stats` of a mini-batch; weights of shape (B,).
      merge: `(stats, stats) -> stats` of both sets of examples; zeros in place of either change nothing.
      finish: `stats -> value`, an array; means over zeros alone are NaN.
      better: "higher", "lower" or None, for early stopping.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> accuracy, logits = pn.metrics.accuracy, jnp.array([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0]])
      >>> one = accuracy.measure(logits[:2], jnp.array([0, 1]))
      >>> other = accuracy.measure(logits[2:], jnp.array([1]))
      >>> float(accuracy.finish(accuracy.merge(one, other)))
      0.666666...
    """

    name: str
    measure: Callable[..., Tree]
    merge: Callable[[Tree, Tree], Tree]
    finish: Callable[[Tree], jax.Array]
    better: str | None = None

    def __repr__(self) -> str:
        return self.name

    def __call__(self, *args: Any) -> NoReturn:
        """Raises: a metric is a triple of functions, and the message says how it is passed."""
        raise StructureError(
            f"{self.name}: expected no call, got one: it is a metric already. Pass it without (), such as "
            f'metrics={{"{self.name}": pn.metrics.{self.name}}}.'
        )


def metric(
    measure: Callable[..., Tree],
    finish: Callable[[Tree], jax.Array],
    *,
    name: str,
    merge: Callable[[Tree, Tree], Tree] | None = None,
    better: str | None = None,
    check: Callable[[Spec, Spec], None] | None = None,
) -> Metric:
    """Makes a metric from its functions.

    Args:
      measure: `(predictions, targets, weights) -> stats` of a mini-batch, a pytree of arrays with strong dtypes;
        weights is None or of shape (B,).
      finish: `stats -> value`.
      name: shown in messages.
      merge: `(stats, stats) -> stats`, for which zeros are neutral; left out, stats are added.
      better: "higher", "lower" or None: which way is up.
      check: `(prediction's spec, target's spec)` of one example, called before `measure`; raises what is wrong.

    Returns:
      The metric. It refuses mini-batches of different sizes, and stats of different structure.

    Raises:
      StructureError: if `measure`, `finish` or `merge` is not a function.
      ShapeError: if `better` is none of the three.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> largest = pn.metrics.metric(
      ...     lambda predictions, targets, weights: jnp.max(jnp.abs(predictions - targets)),
      ...     lambda stats: stats,
      ...     name="largest error",
      ...     merge=jnp.maximum,
      ...     better="lower",
      ... )
      >>> float(largest.finish(largest.measure(jnp.array([1.0, 5.0]), jnp.array([1.0, 2.0]))))
      3.0
    """
    for what, function in {"measure": measure, "finish": finish, "merge": merge}.items():
        if not (callable(function) or (function is None and what == "merge")):
            raise StructureError(
                f"metric: expected {what} to be a function, got {describe(function)}. See pn.metrics.Metric."
            )
    if better not in DIRECTIONS:
        raise ShapeError(f'metric: expected better to be "higher", "lower" or None, got {better!r}. Choose one.')
    combine = merge or (lambda one, other: jax.tree.map(jnp.add, one, other))

    def checked_measure(predictions: Tree, targets: Tree, weights: Any = None) -> Tree:
        with at(name):
            _expect_batch(predictions, targets, weights)
            if check is not None:
                check(example_spec(predictions), example_spec(targets))
            return measure(predictions, targets, weights)

    def checked_merge(one: Tree, other: Tree) -> Tree:
        with at(name):
            if spec_of(one) != spec_of(other):
                raise StructureError(
                    f"expected stats of one kind, got {_shown(one)} and {_shown(other)}. "
                    "Measure all mini-batches with weights, or none."
                )
            return combine(one, other)

    made = Metric(name, checked_measure, checked_merge, finish, better)
    object.__setattr__(made, "__doc__", measure.__doc__ or Metric.__doc__)
    return made


def as_metric(value: Any) -> Metric:
    """Takes a metric as it is, and makes one of a loss: its weighted mean Σwl/Σw over the examples.

    Args:
      value: a `Metric`, a `Loss` (lower is better), or a function `(prediction, target) -> number` of one example
        (averaged; neither way is better).

    Returns:
      The metric.

    Raises:
      StructureError: if it is none of these, or a function that *makes* metrics and was not called.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> error = as_metric(pn.losses.mean_absolute_error)
      >>> stats = error.measure(jnp.array([[1.0], [5.0]]), jnp.array([[0.0], [2.0]]))
      >>> float(error.finish(stats)), error.better
      (2.0, 'lower')
    """
    if isinstance(value, Metric):
        return value
    refuse_maker(value, "metric", ("purenet.metrics.",), "pn.metrics")
    if not callable(value) and not isinstance(value, Loss):
        raise StructureError(
            f"expected a metric, a loss or a function of prediction and target, got {describe(value)}. "
            "Give one of pn.metrics or pn.losses."
        )
    return _mean_of(as_loss(value), "lower" if isinstance(value, Loss) else None)


@functools.lru_cache(maxsize=64)  # one metric a loss, so that nothing compiled for it is compiled again
def _mean_of(one: Loss, better: str | None) -> Metric:
    def measure(predictions: Tree, targets: Tree, weights: Any) -> Tree:
        losses = jax.vmap(one.value)(predictions, targets)
        return total(losses, weights)

    made = metric(measure, mean, name="mean", better=better)
    made = dataclasses.replace(made, name=one.name)  # in messages the loss gives its name itself
    object.__setattr__(made, "__doc__", one.__doc__)
    return made


def total(numbers: jax.Array, weights: jax.Array | None) -> dict[str, jax.Array]:
    """Sums numbers of shape (B, ...) with the weight of their example, and how much weight they stand for.

    Without weights, booleans are counted exactly.
    """
    if weights is None:
        dtype = jnp.int32 if numbers.dtype == bool else summing(numbers.dtype)
        return {"sum": jnp.sum(numbers, dtype=dtype), "weight": jnp.full((), numbers.size, jnp.int32)}
    dtype = summing(weights.dtype, jnp.float32 if numbers.dtype == bool else numbers.dtype)
    w = weights.astype(dtype)
    each = jnp.sum(jnp.reshape(numbers, (len(w), -1)), axis=1, dtype=dtype)
    return {"sum": jnp.sum(w * each), "weight": jnp.sum(w) * math.prod(numbers.shape[1:])}


def mean(stats: dict[str, jax.Array]) -> jax.Array:
    """Finishes what `total` summed; NaN if nothing was."""
    dtype = summing(*(a.dtype for a in stats.values() if jnp.issubdtype(a.dtype, jnp.floating)))
    return stats["sum"].astype(dtype) / stats["weight"].astype(dtype)


def summing(*dtypes: Any) -> Any:
    """Gives the dtype to sum in: float32, or float64 if one of these is."""
    return jnp.float64 if any(dtype == jnp.float64 for dtype in dtypes) else jnp.float32


def _expect_batch(predictions: Tree, targets: Tree, weights: Any) -> None:
    sizes = {jnp.shape(a)[:1] for a in jax.tree.leaves((predictions, targets))}
    if len(sizes) != 1 or sizes == {()}:
        shapes = ", ".join(str(jnp.shape(a)) for a in jax.tree.leaves((predictions, targets)))
        raise ShapeError(
            f"expected predictions and targets with the examples along one common first axis, got the shapes {shapes}. "
            "Give one target to each prediction."
        )
    (size,) = sizes
    if size == (0,):
        raise ShapeError("expected one example or more, got none. Leave empty mini-batches out.")
    if weights is None:
        return
    if jnp.shape(weights) != size:
        raise ShapeError(
            f"expected weights of shape {size}, one for each example, got {jnp.shape(weights)}. Drop the other axes."
        )
    if not jnp.issubdtype(jnp.asarray(weights).dtype, jnp.floating):
        raise StructureError(
            f"expected weights of floating dtype, got {jnp.asarray(weights).dtype}. Convert them with astype."
        )


def _shown(stats: Tree) -> str:
    leaves = jax.tree_util.tree_flatten_with_path(stats)[0]
    return "{" + ", ".join(f"{jax.tree_util.keystr(path)} {describe(leaf)}" for path, leaf in leaves) + "}"
