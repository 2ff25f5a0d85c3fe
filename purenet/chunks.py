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
from purenet.updates import (
    Plan,
    Result,
    TrainState,
    Update,
    make_update,
    merge,
    order_of_epoch,
    result_spec,
    take,
    take_batches,
    window_of,
    zeros,
)

# Indices drawn at the beginning of a chunk: about 1 ms of shuffling for about 0.2 s of updates.
_INDICES = 2**18


class Chunk(NamedTuple):
    """What a chunk gives: `losses`, and `weights` if the examples have any, begin with those of its updates."""

    state: TrainState
    stats: dict[str, Tree]
    losses: jax.Array
    weights: jax.Array | None
    finite: jax.Array


class Chunks(NamedTuple):
    """The compiled program `run(state, stats, data, count)`, its longest count, and empty sums."""

    run: Callable[[TrainState, Tree, Batch, Any], Chunk]
    longest: int
    empty_stats: Callable[[TrainState, Batch], dict[str, Tree]]


@functools.lru_cache(maxsize=16)  # so that fitting the same network again, with another seed say, compiles nothing
def make_chunks(
    net: Layer, loss: Loss, optimizer: Any, gradient: str, measures: tuple[tuple[str, Metric], ...], plan: Plan
) -> Chunks:
    """Compiles `count` updates of the epoch under way, from `state.step` on; the last one ends it."""
    named = dict(measures)
    update = make_update(net, loss, optimizer, gradient, named)
    longest = min(plan.full, max(1, _INDICES // plan.size))

    @jax.jit  # which remembers, so that fitting again traces nothing
    def empty_stats(state: TrainState, data: Batch) -> dict[str, Tree]:
        empty: dict[str, Tree] = zeros(result_spec(update, plan, state, data).stats) if named else {}
        return empty

    def whole(state: TrainState, stats: Tree, data: Batch, count: Any) -> Chunk:
        state, result = update(state, data)
        stats = merge(named, stats, result.stats)
        losses, weights = jax.tree.map(lambda a: a[None], (result.loss, result.weight))
        return Chunk(state, stats, losses, weights, all_finite(state.params))

    def some(state: TrainState, stats: Tree, data: Batch, count: Any) -> Chunk:
        begin = state.begin
        position = state.step - begin
        full = jnp.minimum(count, plan.full - position)
        start = position.astype(jnp.uint32) * jnp.uint32(plan.size)
        places = jnp.minimum(start + jnp.arange(longest * plan.size, dtype=jnp.uint32), jnp.uint32(plan.n - 1))
        order = order_of_epoch(plan, state.key, begin, places)
        carry = _Carry(state, stats, *_room(result_spec(update, plan, state, data), longest + 1))
        carry = _loop(functools.partial(_step, update, named), carry, order, full, plan, data)
        ended = position + count == plan.steps
        if plan.rest:
            rest = jnp.arange(plan.full * plan.size, plan.n, dtype=jnp.uint32)

            def last(carry: _Carry) -> _Carry:
                indices = order_of_epoch(plan, state.key, begin, rest)
                return _step(update, named, full, carry, take(data, indices))

            carry = jax.lax.cond(ended, last, lambda carry: carry, carry)
        final = carry.state._replace(begin=jnp.where(ended, carry.state.step, begin))
        return Chunk(final, *carry[1:], all_finite(final.params))

    return Chunks(jax.jit(whole if plan.whole else some), 1 if plan.whole else longest, empty_stats)


class _Carry(NamedTuple):
    """What goes from update to update."""

    state: TrainState
    stats: dict[str, Tree]
    losses: jax.Array
    weights: jax.Array | None


def _step(update: Update, measures: dict[str, Metric], index: Any, carry: _Carry, batch: Batch) -> _Carry:
    """One update; its loss becomes entry `index`."""
    state, result = update(carry.state, batch)
    stats = merge(measures, carry.stats, result.stats)
    numbers = (carry.losses, carry.weights), (result.loss, result.weight)
    return _Carry(state, stats, *jax.tree.map(lambda all, one: all.at[index].set(one), *numbers))


def _loop(
    step: Callable[[Any, _Carry, Batch], _Carry], carry: _Carry, order: jax.Array, count: Any, plan: Plan, data: Batch
) -> _Carry:
    """Runs `count` full mini-batches, gathered one by one or in windows."""
    window = window_of(plan, data)
    if window == 1:

        def one(index: Any, carry: _Carry) -> _Carry:
            indices = jax.lax.dynamic_slice_in_dim(order, index * plan.size, plan.size)
            return step(index, carry, take(data, indices))

        return _Carry(*jax.lax.fori_loop(0, count, one, carry))
    order = jnp.pad(order, (0, -len(order) % (window * plan.size)))

    def several(number: Any, carry: _Carry) -> _Carry:
        first = number * window
        indices = jax.lax.dynamic_slice_in_dim(order, first * plan.size, window * plan.size)
        batches = take_batches(data, indices, plan.size)

        def inner(index: Any, carry: _Carry) -> _Carry:
            return step(first + index, carry, jax.tree.map(lambda a: a[index], batches))

        return _Carry(*jax.lax.fori_loop(0, jnp.minimum(window, count - first), inner, carry))

    return _Carry(*jax.lax.fori_loop(0, (count + window - 1) // window, several, carry))


def _room(spec: Result, length: int) -> Any:
    """Makes room for the losses and weights of `length` updates."""
    return jax.tree.map(lambda a: jnp.zeros(length, a.dtype), (spec.loss, spec.weight))


def all_finite(params: Tree) -> jax.Array:
    """Whether every floating number is finite."""
    floats = [leaf for leaf in jax.tree.leaves(params) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return functools.reduce(jnp.logical_and, [jnp.all(jnp.isfinite(leaf)) for leaf in floats], jnp.array(True))
