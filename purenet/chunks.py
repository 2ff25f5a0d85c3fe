"""Some of an epoch's updates as one compiled program whose length is an argument: no length compiles anew."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purenet.contract import Layer, Tree
from purenet.gradients import Batch
from purenet.losses.base import Loss
from purenet.metrics import Metric
from purenet.updates import Plan, Result, TrainState, make_update, merge, order_of_epoch, take, zeros

# Indices drawn at the beginning of a chunk: about 1 ms of shuffling for about 0.2 s of updates.
_WINDOW = 2**18


class Chunk(NamedTuple):
    """What a chunk gives: the first `done` entries of `losses` and `weights` are its updates'."""

    state: TrainState
    stats: dict[str, Tree]
    losses: jax.Array
    weights: jax.Array
    done: jax.Array
    finite: jax.Array


class Chunks(NamedTuple):
    """The compiled program `run(state, stats, data, begin, count)`, its longest count, and empty sums."""

    run: Callable[[TrainState, Tree, Batch, Any, Any], Chunk]
    longest: int
    empty_stats: Callable[[TrainState, Batch], dict[str, Tree]]


@functools.lru_cache(maxsize=16)  # so that fitting the same network again, with another seed say, compiles nothing
def make_chunks(
    net: Layer, loss: Loss, optimizer: Any, gradient: str, measures: tuple[tuple[str, Metric], ...], plan: Plan
) -> Chunks:
    """Compiles the updates of an epoch that begins with update `begin`, `count` of them from `state.step` on."""
    named = dict(measures)
    update = make_update(net, loss, optimizer, gradient, named)
    window = min(plan.full, max(1, _WINDOW // plan.size))

    @jax.jit  # which remembers, so that fitting again traces nothing
    def empty_stats(state: TrainState, data: Batch) -> dict[str, Tree]:
        if not named:
            return {}
        one = take(data, jnp.arange(plan.size))
        empty: dict[str, Tree] = zeros(jax.eval_shape(update, state, one)[1].stats)
        return empty

    def whole(state: TrainState, stats: Tree, data: Batch, begin: Any, count: Any) -> Chunk:
        state, result = update(state, data)
        finite = jnp.isfinite(result.loss) & _all_finite(state.params)
        stats = merge(named, stats, result.stats)
        return Chunk(state, stats, result.loss[None], result.weight[None], jnp.ones((), jnp.int32), finite)

    def some(state: TrainState, stats: Tree, data: Batch, begin: Any, count: Any) -> Chunk:
        position = state.step - begin
        full = jnp.minimum(count, plan.full - position)
        start = position.astype(jnp.uint32) * jnp.uint32(plan.size)
        places = jnp.minimum(start + jnp.arange(window * plan.size, dtype=jnp.uint32), jnp.uint32(plan.n - 1))
        order = jnp.reshape(order_of_epoch(plan, state.key, begin, places), (window, plan.size))

        def step(chunk: Chunk) -> Chunk:
            return _append(chunk, named, *update(chunk.state, take(data, order[chunk.done])))

        def last(chunk: Chunk) -> Chunk:
            rest = jnp.arange(plan.full * plan.size, plan.n, dtype=jnp.uint32)
            indices = order_of_epoch(plan, state.key, begin, rest)
            return _append(chunk, named, *update(chunk.state, take(data, indices)))

        chunk = _empty(update, state, stats, take(data, order[0]), window + 1)
        chunk = jax.lax.while_loop(lambda c: (c.done < full) & c.finite, step, chunk)
        if plan.rest:
            chunk = jax.lax.cond((position + count == plan.steps) & chunk.finite, last, lambda c: c, chunk)
        return chunk._replace(finite=chunk.finite & _all_finite(chunk.state.params))

    return Chunks(jax.jit(whole if plan.whole else some), 1 if plan.whole else window, empty_stats)


def _empty(update: Any, state: TrainState, stats: Tree, batch: Batch, length: int) -> Chunk:
    result: Result = jax.eval_shape(update, state, batch)[1]
    losses, weights = jnp.zeros(length, result.loss.dtype), jnp.zeros(length, result.weight.dtype)
    return Chunk(state, stats, losses, weights, jnp.zeros((), jnp.int32), jnp.array(True))


def _append(chunk: Chunk, measures: dict[str, Metric], state: TrainState, result: Result) -> Chunk:
    return Chunk(
        state,
        merge(measures, chunk.stats, result.stats),
        chunk.losses.at[chunk.done].set(result.loss),
        chunk.weights.at[chunk.done].set(result.weight),
        chunk.done + 1,
        jnp.isfinite(result.loss),
    )


def _all_finite(params: Tree) -> jax.Array:
    floats = [leaf for leaf in jax.tree.leaves(params) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return functools.reduce(jnp.logical_and, [jnp.all(jnp.isfinite(leaf)) for leaf in floats], jnp.array(True))
