"""Training as pure functions: one step, and whole runs as one program."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from purenet.contract import Spec, Tree, as_layer
from purenet.errors import by, expect_like
from purenet.gradients import Batch, as_batch
from purenet.metrics import Metric
from purenet.metrics.base import summing
from purenet.optimizers import as_optimizer, rate_row, strong
from purenet.streams import stream
from purenet.updates import (
    Plan,
    Result,
    TrainState,
    Update,
    as_measures,
    expect_count,
    expect_state,
    finish,
    make_update,
    merge,
    order_of_epoch,
    plan_epochs,
    result_spec,
    scan_batches,
    take,
    zeros,
)

History = dict[str, jax.Array]


def train_state(
    net: Any, optimizer: Any, key: Any, spec: Spec, *, params: Tree = None, state: Tree = None
) -> TrainState:
    """Initialises network and optimizer, or starts from given parameters.

    Args:
      net: a layer.
      optimizer: an optax optimizer, such as `optax.adam(1e-3)`.
      key: a JAX random key, the only source of randomness of the run.
      spec: that of one example, from `pn.spec`.
      params: where to start, instead of what `net.init` draws, to fine-tune for example.
      state: the network's state that belongs to them; a network without needs none.

    Returns:
      The state at step 0.

    Raises:
      StructureError: if `optimizer` is no optimizer or `key` no key; if `params` or `state` are not of this
        network's structure, shapes and dtypes; and what `net.init` raises.

    Example:
      >>> import jax, optax, purenet as pn
      >>> state = pn.train_state(pn.dense(3), optax.sgd(0.1), jax.random.key(0), pn.spec(2))
      >>> int(state.step), state.params["kernel"].shape
      (0, (2, 3))
    """
    net = as_layer(net)
    with by("train_state"):
        optimizer = as_optimizer(optimizer)
        init_key = stream(key, "init")
        if params is None and state is None:
            params, state = net.init(init_key, spec)
        else:
            made = jax.eval_shape(lambda key: net.init(key, spec), init_key)
            state = made[1] if state is None and not jax.tree.leaves(made[1]) else state
            expect_like("params of this network", params, made[0], "Pass what its init made.")
            expect_like("state of this network", state, made[1], "Pass what its init made.")
        # Strong types, which leaves have after the first update, so that nothing is traced twice.
        params, state = jax.tree.map(strong, (params, state))
        opt_state = jax.tree.map(strong, optimizer.init(params))
    return TrainState(params, state, opt_state, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32), key)


def steps_per_epoch(n: int, batch_size: int | None = None) -> int:
    """Counts the updates of an epoch, ⌈n / batch_size⌉, for schedules that need it.

    Args:
      n: the number of examples, 1 or more.
      batch_size: examples per update, from 1 to n; None takes all.

    Returns:
      The number of updates, a smaller last mini-batch counted in.

    Raises:
      ShapeError: for numbers out of range.
      StructureError: for what is not a whole number.

    Example:
      >>> import optax, purenet as pn
      >>> pn.steps_per_epoch(1000, 128)
      8
      >>> schedule = optax.cosine_decay_schedule(1e-2, decay_steps=10 * pn.steps_per_epoch(1000, 128))
    """
    with by("steps_per_epoch"):
        expect_count("n", n)
        return plan_epochs(n, batch_size).steps


def train_step(
    net: Any,
    loss: Any,
    optimizer: Any,
    *,
    gradient: str = "autodiff",
    metrics: Mapping[str, Any] | None = None,
) -> Callable[[TrainState, Any], tuple[TrainState, History]]:
    """One update on one mini-batch: the gradient of its mean loss, then the optimizer.

    Args:
      net: a layer.
      loss: one of `pn.losses`, or a function of one prediction and target.
      optimizer: an optax optimizer, or one of `pn.optim`; what they ask for beside the gradient reaches them.
      gradient: "autodiff" for `jax.grad`, "backprop" for the chain of hand rules.
      metrics: by name, `pn.metrics` of the predictions that the loss was computed from.

    Returns:
      A pure function `(TrainState, batch) -> (TrainState, {"loss": …, and each metric})`; `batch` is `(xs, ys)`
      or `(xs, ys, weights)`. Jit it, or scan over it.

    Raises:
      StructureError: if an argument is not what it should be.
      ShapeError: for an unknown `gradient`; at trace time, for shapes that do not fit.

    References:
      Robbins and Monro (1951), A stochastic approximation method.

    Example:
      >>> import jax, jax.numpy as jnp, optax, purenet as pn
      >>> net, optimizer = pn.dense(1), optax.sgd(0.1)
      >>> step = jax.jit(pn.train_step(net, pn.losses.half_squared_error, optimizer))
      >>> state = pn.train_state(net, optimizer, jax.random.key(0), pn.spec(2))
      >>> state, metrics = step(state, (jnp.ones((4, 2)), jnp.ones((4, 1))))
      >>> int(state.step), metrics["loss"].shape
      (1, ())
    """
    with by("train_step"):
        measures = as_measures(metrics)
        update = make_update(net, loss, optimizer, gradient, measures)

    def step(state: TrainState, batch: Any) -> tuple[TrainState, History]:
        with by("train_step"):
            expect_state(state)
            state, result = update(state, as_batch(batch))
        return state, {"loss": result.loss, **finish(measures, result.stats)}

    return step


def train(
    net: Any,
    loss: Any,
    optimizer: Any,
    *,
    batch_size: int | None = None,
    epochs: int = 1,
    gradient: str = "autodiff",
    metrics: Mapping[str, Any] | None = None,
) -> Callable[[TrainState, Any], tuple[TrainState, History]]:
    """A whole run as one pure function, to be jitted, vmapped over keys or rates, or differentiated.

    Every epoch sees every example once in a new order (`pn.shuffle`); what is left after the full mini-batches
    makes one smaller mini-batch of its own, so means are exact. A mini-batch as large as the data set is the
    data set in its own order.

    Args:
      net: a layer.
      loss: one of `pn.losses`, or a function of one prediction and target.
      optimizer: an optax optimizer, or one of `pn.optim`; what they ask for beside the gradient reaches them.
      batch_size: examples per update, from 1 to their number; None takes all.
      epochs: passes over the data, 1 or more.
      gradient: "autodiff" for `jax.grad`, "backprop" for the chain of hand rules.
      metrics: by name, `pn.metrics` of the predictions that the losses were computed from.

    Returns:
      A pure function `(TrainState, data) -> (TrainState, history)`; `data` is `(xs, ys)` or `(xs, ys, weights)`
      with the examples along the first axis. An epoch's order follows from `state.key` and the step at which it
      begins. `history["loss"]` has shape (epochs,), the mean over each epoch's examples;
      `history["step_loss"]` has shape (epochs, steps); each metric begins with the axis (epochs,). With
      `optax.inject_hyperparams`, `history["learning_rate"]` is that of each epoch's last update.

    Raises:
      StructureError: if an argument is not what it should be.
      ShapeError: for values out of range; at trace time, for shapes that do not fit, no data, or a `batch_size`
        above the number of examples.

    References:
      Bottou, Curtis and Nocedal (2018), Optimization methods for large-scale machine learning, section 4.

    Example:
      >>> import jax, jax.numpy as jnp, optax, purenet as pn
      >>> net, optimizer = pn.dense(1), optax.sgd(0.1)
      >>> xs = jnp.linspace(-1, 1, 10)[:, None]
      >>> run = jax.jit(pn.train(net, pn.losses.half_squared_error, optimizer, batch_size=4, epochs=50))
      >>> state, history = run(pn.train_state(net, optimizer, jax.random.key(0), pn.spec(1)), (xs, 3 * xs + 1))
      >>> int(state.step), history["step_loss"].shape, bool(history["loss"][-1] < 1e-4)
      (150, (50, 3), True)
    """
    with by("train"):
        measures = as_measures(metrics)
        update = make_update(net, loss, optimizer, gradient, measures)
        expect_count("epochs", epochs)

    def run(state: TrainState, data: Any) -> tuple[TrainState, History]:
        with by("train"):
            expect_state(state)
            examples = as_batch(data)
            plan = plan_epochs(examples.size, batch_size)

            def epoch(state: TrainState, _: None) -> tuple[TrainState, tuple[Result, History]]:
                state, result = _epoch(update, measures, plan, state, examples)
                return state, (result, rate_row(state.opt_state))

            state, (results, rates) = jax.lax.scan(epoch, state, length=epochs)
        weights = results.weight
        if weights is None:
            weights = jnp.asarray(plan.weights(0, plan.steps)[None], summing(results.loss.dtype))
        means = jnp.sum(results.loss.astype(weights.dtype) * weights, axis=1) / jnp.sum(weights, axis=-1)
        metrics_by_epoch = jax.vmap(lambda stats: finish(measures, stats))(results.stats) if measures else {}
        return state, {"loss": means, "step_loss": results.loss, **metrics_by_epoch, **rates}

    return run


def _epoch(
    update: Update, measures: Mapping[str, Metric], plan: Plan, state: TrainState, data: Batch
) -> tuple[TrainState, Result]:
    """One pass over the data: a scan over the full mini-batches, then one update on the rest."""
    if plan.whole:
        state, result = update(state, data)
        return state, jax.tree.map(lambda a: a[None], result._replace(stats={}))._replace(stats=result.stats)
    order = order_of_epoch(plan, state.key, state.step)
    shapes = result_spec(update, plan, state, data).stats if measures else {}

    def step(carry: tuple[TrainState, Tree], batch: Batch) -> tuple[tuple[TrainState, Tree], Any]:
        state, stats = carry
        state, result = update(state, batch)
        return (state, merge(measures, stats, result.stats)), (result.loss, result.weight)

    carry, outs = scan_batches(step, (state, zeros(shapes)), order[: plan.full * plan.size], plan, data)
    if plan.rest:
        carry, last = step(carry, take(data, order[plan.full * plan.size :]))
        outs = jax.tree.map(jnp.append, outs, last)
    losses, weights = outs
    return carry[0], Result(losses, weights, carry[1])
