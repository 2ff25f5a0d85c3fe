"""Loss and metrics of a network at inference, exact over a whole data set."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purenet.contract import Layer, Tree, as_layer, example_spec, out_spec
from purenet.data import check_data
from purenet.errors import ShapeError, StructureError, by, describe
from purenet.gradients import Batch, as_batch
from purenet.losses.base import Loss, as_loss
from purenet.metrics import Metric
from purenet.metrics.base import summing
from purenet.updates import Plan, as_measures, expect_count, finish, merge, plan_epochs, zeros

Program = Callable[[Tree, Tree, Batch], tuple[jax.Array, jax.Array, dict[str, Tree]]]


def evaluate(
    net: Any,
    params: Tree,
    data: Any,
    *,
    state: Tree = None,
    loss: Any = None,
    metrics: Mapping[str, Any] | None = None,
    batch_size: int | None = 1024,
) -> dict[str, np.ndarray]:
    """Measures a network at inference (`apply`) on a whole data set.

    Args:
      net: a layer.
      params: its parameters.
      data: `(xs, ys)` or `(xs, ys, weights)`, arrays with the examples along the first axis.
      state: its state; a network without needs none.
      loss: one of `pn.losses`, or a function of one prediction and target.
      metrics: by name, `pn.metrics`.
      batch_size: examples at a time, which bounds the memory and changes no result; cut down to the number of
        examples. None takes all at once.

    Returns:
      `{"loss": …}` if a loss is given, the weighted mean over all examples, and each metric by its name, as
      NumPy values.

    Raises:
      ShapeError: if neither loss nor metrics are given, or for shapes and labels that do not fit.
      StructureError: for data of another structure or dtype.
      ValueError, TypeError: for data that `pn.data.check_data` refuses: empty, NaN, float64, …

    Example:
      >>> import jax.numpy as jnp, numpy as np, purenet as pn
      >>> data = (np.array([[1.0], [3.0]], np.float32), np.array([[1.0], [1.0]], np.float32))
      >>> net, params = pn.dense(1, bias=False), {"kernel": jnp.array([[2.0]])}
      >>> float(pn.evaluate(net, params, data, loss=pn.losses.half_squared_error)["loss"])
      6.5
    """
    if loss is None and not metrics:
        raise ShapeError("evaluate: expected a loss or metrics, got neither. Pass loss=…, metrics={…} or both.")
    with by("evaluate"):
        if hasattr(params, "params"):
            raise StructureError(f"expected params, got {describe(params)}. Pass its field params.")
        net, measures = as_layer(net), as_measures(metrics)
        loss = None if loss is None else as_loss(loss)
        batch = as_batch(check_data(data))
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((params, state))):
            raise StructureError(
                "expected concrete params, got traced ones. It works on the host: inside jit, vmap and grad use "
                "jax.vmap(net.apply, (None, 0)) and a loss or metric of its result."
            )
        plan = plan_pass(batch.size, batch_size)
        check_values(net, loss, params, state, batch)
        program = make_evaluation(net, loss, tuple(measures.items()), plan)
        summary = summarise(measures, *program(params, state, batch))
    return summary if loss is not None else {name: summary[name] for name in measures}


def check_values(net: Layer, loss: Loss | None, params: Tree, state: Tree, batch: Batch) -> None:
    """Lets the loss look at the targets' values on the host, and refuses weights that are not positive."""
    if loss is not None:
        prediction = out_spec(net, params, example_spec(batch.xs), state)
        loss.check_targets(prediction, jax.tree.map(np.asarray, batch.ys))
    if batch.weights is None:
        return
    wrong = np.flatnonzero(~(np.asarray(batch.weights) > 0))
    if len(wrong):
        raise ShapeError(
            f"expected weights above 0, got {np.asarray(batch.weights)[wrong[0]]} at index {wrong[0]} "
            f"({len(wrong)} such). Leave those examples out, such as xs[weights > 0]."
        )


def plan_pass(n: int, batch_size: int | None) -> Plan:
    """Cuts n examples into mini-batches of at most `batch_size`; None means all of them at once."""
    if batch_size is None:
        return plan_epochs(n, None)
    expect_count("batch_size", batch_size)
    return plan_epochs(n, min(batch_size, n))


@functools.lru_cache(maxsize=16)  # so that evaluating or fitting the same network again compiles nothing
def make_evaluation(net: Layer, loss: Loss | None, measures: tuple[tuple[str, Metric], ...], plan: Plan) -> Program:
    """Compiles the pass over the data: losses and weights of each mini-batch, and the metrics' sums."""
    named = dict(measures)

    def measure(params: Tree, state: Tree, batch: Batch) -> tuple[jax.Array, jax.Array, dict[str, Tree]]:
        predictions = jax.vmap(lambda x: net.apply(params, x, state))(batch.xs)
        stats = {name: metric.measure(predictions, batch.ys, batch.weights) for name, metric in named.items()}
        if loss is None:
            return jnp.zeros(()), jnp.ones(()), stats
        losses = jax.vmap(loss.value)(predictions, batch.ys)
        losses = losses.astype(summing(losses.dtype))
        weights = jnp.ones_like(losses) if batch.weights is None else batch.weights.astype(losses.dtype)
        return jnp.sum(losses * weights), jnp.sum(weights), stats

    def run(params: Tree, state: Tree, data: Batch) -> tuple[jax.Array, jax.Array, dict[str, Tree]]:
        cut = plan.full * plan.size
        full = jax.tree.map(lambda a: jnp.reshape(a[:cut], (plan.full, plan.size, *a.shape[1:])), data)
        shapes = jax.eval_shape(measure, params, state, jax.tree.map(lambda a: a[0], full))[2] if named else {}

        def step(stats: Tree, batch: Batch) -> tuple[Tree, tuple[jax.Array, jax.Array]]:
            loss, weight, more = measure(params, state, batch)
            return merge(named, stats, more), (loss, weight)

        stats, (losses, weights) = jax.lax.scan(step, zeros(shapes), full)
        if plan.rest:
            loss, weight, more = measure(params, state, jax.tree.map(lambda a: a[cut:], data))
            stats = merge(named, stats, more)
            losses, weights = jnp.append(losses, loss), jnp.append(weights, weight)
        return losses, weights, stats

    return jax.jit(run)


def summarise(measures: Mapping[str, Metric], losses: Any, weights: Any, stats: Mapping[str, Tree]) -> dict[str, Any]:
    """Finishes an evaluation on the host; the mean over mini-batches is taken in float64."""
    named = {name: np.asarray(value) for name, value in finish(measures, stats).items()}
    losses, weights = np.asarray(losses, np.float64), np.asarray(weights, np.float64)
    return {"loss": np.sum(losses) / np.sum(weights), **named}
