"""fit: training with input and output around the pure pieces."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from purenet.chunks import make_chunks
from purenet.contract import Layer, as_layer, example_spec
from purenet.data import check_data
from purenet.driving import Callback, FitResult, Run, drive
from purenet.errors import ShapeError, StructureError, by, describe, expect_key
from purenet.evaluation import check_values, make_evaluation, plan_pass, summarise
from purenet.gradients import Batch, as_batch
from purenet.losses.base import Loss, as_loss
from purenet.metrics import Metric
from purenet.optimizers import as_optimizer
from purenet.pacing import Bar
from purenet.snapshots import Album
from purenet.stopping import make_stopper
from purenet.training import train_state
from purenet.updates import Plan, TrainState, as_measures, expect_count, expect_state, plan_epochs


def fit(
    net: Any,
    data: Any,
    *,
    loss: Any,
    optimizer: Any,
    key: Any = None,
    batch_size: int | None = 32,
    epochs: int = 1,
    validation: Any = None,
    metrics: Mapping[str, Any] | None = None,
    gradient: str = "autodiff",
    callbacks: Sequence[Callback] = (),
    patience: int | None = None,
    monitor: str | None = None,
    state: TrainState | None = None,
    snapshots: int | None = None,
    progress: bool | None = None,
) -> FitResult:
    """Trains a network, with the checks, the progress bar and the stopping that a person wants.

    Every epoch sees every example once in a new order; the last mini-batch may be smaller. The same updates as
    `pn.train`, compiled once whatever the numbers of steps, epochs and seeds.

    Args:
      net: a layer.
      data: `(xs, ys)` or `(xs, ys, weights)`, arrays with the examples along the first axis; weights above 0.
      loss: one of `pn.losses`, or a function of one prediction and target.
      optimizer: an optax optimizer, such as `optax.adam(1e-3)`.
      key: a JAX random key, the only source of randomness; a given `state` has its own.
      batch_size: examples per update; 1 for one at a time, None for all at once.
      epochs: passes over the data, 1 or more.
      validation: data of the same kind, measured after every epoch.
      metrics: by name, `pn.metrics`; in training those of the predictions that the losses were computed from.
      gradient: "autodiff" for `jax.grad`, "backprop" for the chain of hand rules.
      callbacks: functions of an `EpochEnd`, called in order after every epoch; one that returns True stops, one that
        returns a `TrainState` has the run go on with it. To print beside the bar use `tqdm.tqdm.write`. One with a
        method `diverged(result) -> str` is asked when the run diverges, and the error ends with its text.
      patience: stop after so many epochs without a better `monitor`, and return the best epoch's params.
      monitor: the name in the history that `patience` watches, "val_loss" unless told; lower is better for losses,
        and for metrics what they say.
      state: a run to go on with, such as `result.train_state`, or one that begins with given parameters,
        `train_state(…, params=…)`; an epoch that was interrupted is finished
        first, which takes the same data and batch_size, and its row of the history covers the rest of it.
      snapshots: keep the params of every so many epochs, and those at the start and the end, in `result.snapshots`,
        for pictures of how the network learned; None keeps none.
      progress: whether to draw a progress bar; None draws one on a terminal.

    Returns:
      A `FitResult`. Ctrl-C also returns one, with what was learned so far.

    Raises:
      DivergedError: if the loss or the parameters cease to be finite; it carries the last finite result.
      ShapeError, StructureError: for arguments, shapes, dtypes or labels that do not fit.
      ValueError, TypeError: for data that `pn.data.check_data` refuses: empty, NaN, float64, …

    Example:
      >>> import jax, numpy as np, optax, purenet as pn
      >>> xs = np.linspace(-1, 1, 20, dtype=np.float32)[:, None]
      >>> result = pn.fit(pn.dense(1), (xs, 3 * xs + 1), loss=pn.losses.half_squared_error,
      ...                 optimizer=optax.sgd(0.1), key=jax.random.key(0), batch_size=5, epochs=40)
      >>> bool(result.history["loss"][-1] < 1e-4), result.stopped
      (True, 'epochs')
    """
    with by("fit"):
        net, loss = as_layer(net), as_loss(loss)
        measures = as_measures(metrics)
        as_optimizer(optimizer)
        expect_count("epochs", epochs)
        if snapshots is not None:
            expect_count("snapshots", snapshots)
        batch = as_batch(check_data(data, "data"))
        plan = plan_epochs(batch.size, batch_size)
        stopper = make_stopper(patience, monitor, validation is not None, measures)
        _expect_callbacks(callbacks)
        if state is None:
            expect_key(key)
            state = train_state(net, optimizer, key, example_spec(batch.xs))
        elif key is not None:
            raise StructureError("expected a key or a state, got both. The state has a key of its own: leave key out.")
        expect_state(state)
        _expect_room(state, plan, epochs)
        check_values(net, loss, state.params, state.state, batch)
        chunks = make_chunks(net, loss, optimizer, gradient, tuple(measures.items()), plan)
        validate = _validation(net, loss, measures, validation, state, batch_size)
        batch, state = _on_one_device(batch, state)
        run = Run(chunks, plan, batch, measures, validate, tuple(callbacks), stopper, Album(snapshots))
        with Bar(epochs, plan.steps, progress) as bar:
            return drive(run, state, epochs, bar)


def _validation(
    net: Layer, loss: Loss, measures: dict[str, Metric], data: Any, state: TrainState, batch_size: int | None
) -> Callable[[TrainState], dict[str, Any]]:
    """Makes the function that measures the validation data, or one that measures nothing."""
    if data is None:
        return lambda state: {}
    if not isinstance(data, (tuple, list)):
        raise StructureError(
            f"expected validation to be (xs, ys), got {describe(data)}. pn.data.split cuts a data set into parts."
        )
    batch = as_batch(check_data(data, "validation"))
    check_values(net, loss, state.params, state.state, batch)
    program = make_evaluation(net, loss, tuple(measures.items()), plan_pass(batch.size, batch_size))

    def validate(state: TrainState) -> dict[str, Any]:
        values = summarise(measures, *program(state.params, state.state, batch))
        return {f"val_{name}": value for name, value in values.items()}

    return validate


def _expect_callbacks(callbacks: Any) -> None:
    if not isinstance(callbacks, (list, tuple)) or not all(callable(callback) for callback in callbacks):
        raise StructureError(
            f"expected callbacks to be a list of functions of an EpochEnd, got {describe(callbacks)}. "
            "Such as callbacks=[report]."
        )


def _expect_room(state: TrainState, plan: Plan, epochs: int) -> None:
    """Refuses a state that stands in an epoch of other length, and more steps than int32 counts."""
    inside = int(state.step) - int(state.begin)
    if not 0 <= inside < plan.steps:
        raise ShapeError(
            f"expected a state at most {plan.steps - 1} updates into an epoch of {plan.steps}, got one {inside} "
            "updates into an interrupted epoch. Pass the data and batch_size that it was interrupted with."
        )
    if int(state.step) + epochs * plan.steps > 2**31 - 1:
        raise ShapeError(
            f"expected at most 2147483647 updates in all, got {int(state.step)} done and {epochs * plan.steps} to "
            "come. Lower epochs, or begin again from these params with pn.train_state(…, params=…)."
        )


def _on_one_device(batch: Batch, state: TrainState) -> tuple[Batch, TrainState]:
    """Puts data and run where the data are; placed alike from the first chunk on, they compile one program."""
    places = {device for leaf in jax.tree.leaves(batch) for device in leaf.devices()}
    if len(places) > 1:
        return batch, state  # spread on purpose
    moved: tuple[Batch, TrainState] = jax.device_put((batch, state), places.pop())
    return moved
