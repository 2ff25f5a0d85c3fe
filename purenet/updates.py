"""What every kind of training shares: the state of a run, the update, and the plan of an epoch."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from purenet.contract import Tree, as_layer
from purenet.errors import ShapeError, StructureError, describe, expect_like, is_whole
from purenet.gradients import Batch, Evaluation, differentiate, mean_loss, objective
from purenet.losses.base import as_loss
from purenet.metrics import Metric, as_metric
from purenet.metrics.base import summing
from purenet.optimizers import as_optimizer, extras, unmasked
from purenet.shuffling import shuffle
from purenet.streams import stream
from purenet.tapping import Tap, tap_dense


class TrainState(NamedTuple):
    """All that a run consists of, as one pytree.

    Attributes:
      params: what the gradient sees.
      state: what the network learns without gradients.
      opt_state: the optimizer's.
      step: updates made so far, an int32 scalar.
      begin: the step at which the epoch under way began; equal to `step` between epochs.
      key: the run's key. It never changes: every use folds in a stream's name and a step.
    """

    params: Tree
    state: Tree
    opt_state: Tree
    step: jax.Array
    begin: jax.Array
    key: jax.Array

    def __repr__(self) -> str:
        return f"TrainState(step={self.step}, params of {len(jax.tree.leaves(self.params))} arrays)"


class Result(NamedTuple):
    """What an update tells: mean loss, the sum of its examples' weights (None: they have none), the metrics' sums."""

    loss: jax.Array
    weight: jax.Array | None
    stats: dict[str, Tree]


class Plan(NamedTuple):
    """How an epoch is cut: `full` mini-batches of `size`, then one of `rest` if that is not 0."""

    n: int
    size: int
    full: int
    rest: int

    @property
    def steps(self) -> int:
        """Updates per epoch."""
        return self.full + (self.rest > 0)

    def weights(self, first: int, count: int) -> np.ndarray:
        """How many examples each of `count` updates of an epoch stands for, from number `first` on."""
        counts = np.full(count, self.size)
        if self.rest and first + count == self.steps:
            counts[-1] = self.rest
        return counts

    @property
    def whole(self) -> bool:
        """Whether the one mini-batch is the data set itself, which needs no order."""
        return self.size == self.n


# Data beyond _LARGE bytes are gathered in windows of at most _WINDOW bytes, of _SHORTEST to _LONGEST mini-batches.
_LARGE, _WINDOW, _SHORTEST, _LONGEST = 2**18, 2**20, 4, 128

Update = Callable[[TrainState, Batch], tuple[TrainState, Result]]


def plan_epochs(n: int, batch_size: int | None) -> Plan:
    """Cuts n examples into mini-batches of `batch_size`; None means all of them at once."""
    size = n if batch_size is None else batch_size
    expect_count("batch_size", size)
    if size > n:
        raise ShapeError(
            f"expected batch_size from 1 to {n}, the number of examples, got {size}. Use None for all of them at once."
        )
    return Plan(n, size, n // size, n % size)


def make_update(net: Any, loss: Any, optimizer: Any, gradient: str, measures: Mapping[str, Metric]) -> Update:
    """Makes the update: the gradient of a mini-batch's mean loss, then the optimizer."""
    net, loss, optimizer = as_layer(net), as_loss(loss), as_optimizer(optimizer)
    run = differentiate(net, loss, gradient)

    def update(state: TrainState, batch: Batch) -> tuple[TrainState, Result]:
        _expect_opt_state(state, optimizer)
        key = stream(state.key, "forward", state.step)
        evaluation, grads = run(state.params, state.state, batch, key)

        def value_fn(params: Tree) -> jax.Array:
            return objective(net, loss, unmasked(params, state.params), state.state, batch, key).value

        def grad_fn(params: Tree) -> Tree:
            return run(unmasked(params, state.params), state.state, batch, key)[1]

        def predict_fn(params: Tree) -> Tree:
            return net.forward(unmasked(params, state.params), batch.xs, state.state, key)[0]

        def loss_fn(predictions: Tree) -> jax.Array:
            return mean_loss(jax.vmap(loss.value)(predictions, batch.ys), batch.weights)

        def taps_fn(most: int) -> list[Tap]:
            some = take(batch, spread(batch.size, most, state.step)) if batch.size > most else batch
            return tap_dense(net, loss, state.params, state.state, some, (key, stream(key, "curvature")))

        given = extras(
            optimizer,
            state.opt_state,
            value=evaluation.value,
            grads=grads,
            value_fn=value_fn,
            grad_fn=grad_fn,
            predict_fn=predict_fn,
            loss_fn=loss_fn,
            taps_fn=taps_fn,
            key=stream(state.key, "optimizer", state.step),
        )
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params, **given)
        params = optax.apply_updates(state.params, updates)
        step = state.step + 1
        new = TrainState(params, evaluation.state, opt_state, step, step, state.key)
        return new, _result(evaluation, batch, measures)

    return update


def merge(measures: Mapping[str, Metric], one: Mapping[str, Tree], other: Mapping[str, Tree]) -> dict[str, Tree]:
    """Adds up the metrics' sums of two sets of examples."""
    return {name: metric.merge(one[name], other[name]) for name, metric in measures.items()}


def finish(measures: Mapping[str, Metric], stats: Mapping[str, Tree]) -> dict[str, jax.Array]:
    """Turns the metrics' sums into their values."""
    return {name: metric.finish(stats[name]) for name, metric in measures.items()}


def result_spec(update: Update, plan: Plan, state: TrainState, data: Batch) -> Result:
    """Gives the specs of what an update on a full mini-batch tells, by abstract evaluation."""
    spec: Result = jax.eval_shape(lambda state, data: update(state, take(data, jnp.arange(plan.size)))[1], state, data)
    return spec


def zeros(shapes: Tree) -> Tree:
    """The neutral element of `merge`: zeros of these shapes and dtypes."""
    return jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)


def order_of_epoch(plan: Plan, key: Any, first_step: Any, positions: Any = None) -> jax.Array:
    """Which examples stand at these positions of the epoch that begins with update `first_step`."""
    return shuffle(stream(key, "shuffle", first_step), plan.n, positions)


def spread(n: int, count: int, step: Any) -> jax.Array:
    """`count` of n examples at even distances, others at every step."""
    places: jax.Array = (jnp.asarray(np.arange(count) * n // count, jnp.int32) + step) % n
    return places


def take(data: Tree, indices: jax.Array) -> Tree:
    """Gathers examples; the indices come from the shuffle and are known to be in range."""
    return jax.tree.map(lambda a: a.at[indices].get(mode="promise_in_bounds", unique_indices=True), data)


def window_of(plan: Plan, data: Batch) -> int:
    """How many mini-batches to gather at a time.

    XLA splits a gather from a large array over the CPU's threads even if it fetches four rows, somewhere between 32 and
    512 KB on. In windows a step took, for 2-16-1 and 4 of 65,536 examples, 1.7 µs instead of 3.7; 16-32-10 and 16 of
    65,536: 5.8 instead of 13; 64-32-10 and 32 of 32,768: 12.9 instead of 21.5; 784-32-10 and 32 of 12,800: 55 instead
    of 72. For 784-128-10 and 128 of 12,800, whose mini-batch alone is 0.4 MB, windows only cost.
    """
    example = sum(a.nbytes for a in jax.tree.leaves(data)) // plan.n
    if plan.n * example <= _LARGE:
        return 1
    window = _WINDOW // max(1, example * plan.size)
    return min(window, _LONGEST, plan.full) if window >= _SHORTEST else 1


def scan_batches(step: Any, carry: Any, order: jax.Array, plan: Plan, data: Batch) -> tuple[Any, Any]:
    """Scans `step` over the full mini-batches of an epoch in this order of examples."""
    window = window_of(plan, data)
    if window == 1:
        rows = jnp.reshape(order, (plan.full, plan.size))
        return jax.lax.scan(lambda carry, indices: step(carry, take(data, indices)), carry, rows)

    def several(carry: Any, indices: jax.Array) -> tuple[Any, Any]:
        return jax.lax.scan(step, carry, take_batches(data, indices, plan.size))

    cut = plan.full // window * window
    carry, outs = jax.lax.scan(several, carry, jnp.reshape(order[: cut * plan.size], (-1, window * plan.size)))
    outs = jax.tree.map(lambda a: jnp.reshape(a, (cut, *a.shape[2:])), outs)
    if cut < plan.full:
        carry, last = several(carry, order[cut * plan.size :])
        outs = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), outs, last)
    return carry, outs


def take_batches(data: Tree, indices: jax.Array, size: int) -> Tree:
    """Gathers several mini-batches of `size` at once."""
    return jax.tree.map(lambda a: jnp.reshape(a, (-1, size, *a.shape[1:])), take(data, indices))


def as_measures(metrics: Mapping[str, Any] | None) -> dict[str, Metric]:
    """Takes metrics by name, refusing the names that the history keeps for the loss."""
    if metrics is None:
        return {}
    if not isinstance(metrics, Mapping):
        raise StructureError(
            f"expected metrics to be a dict by name, got {describe(metrics)}. "
            'Such as {"accuracy": pn.metrics.accuracy}.'
        )
    for name in metrics:
        if not isinstance(name, str) or name in ("loss", "step_loss", "learning_rate") or name.startswith("val_"):
            raise ShapeError(
                "expected names of metrics other than 'loss', 'step_loss', 'learning_rate' and 'val_…', "
                f"got {name!r}. Rename it."
            )
    return {name: as_metric(metric) for name, metric in metrics.items()}


def expect_count(what: str, value: Any) -> None:
    """Raises unless `value` is a whole number of 1 or more."""
    if not is_whole(value):
        raise StructureError(f"expected {what} to be a whole number, got {describe(value)}. Give an int of 1 or more.")
    if value < 1:
        raise ShapeError(f"expected {what} of 1 or more, got {value}. Give an int of 1 or more.")


def _result(evaluation: Evaluation, batch: Batch, measures: Mapping[str, Metric]) -> Result:
    stats = {name: metric.measure(evaluation.predictions, batch.ys, batch.weights) for name, metric in measures.items()}
    weight = None
    if batch.weights is not None:
        weight = jnp.sum(batch.weights, dtype=summing(evaluation.value.dtype))  # bfloat16 counts only to 256
    return Result(evaluation.value, weight, stats)


def expect_state(state: Any) -> None:
    """Raises unless this is the state of a run."""
    if not isinstance(state, TrainState):
        remedy = "Make it with pn.train_state(net, optimizer, key, spec)."
        if hasattr(state, "train_state"):
            remedy = "Pass its field train_state."
        raise StructureError(f"expected a TrainState, got {describe(state)}. {remedy}")


def _expect_opt_state(state: TrainState, optimizer: optax.GradientTransformationExtraArgs) -> None:
    made = jax.eval_shape(optimizer.init, state.params)
    expect_like(
        "the opt_state of this optimizer for these params",
        state.opt_state,
        made,
        "Make it with pn.train_state(net, optimizer, key, spec) and this very optimizer.",
    )
