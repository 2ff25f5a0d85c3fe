"""Small trainings that ask whether a network can learn: one mini-batch by heart, real targets against permuted ones."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from purenet.contract import Layer, Tree, example_spec
from purenet.gradients import Batch
from purenet.insight.facts import error, warning
from purenet.insight.findings import Finding
from purenet.losses.base import Loss
from purenet.streams import stream
from purenet.updates import TrainState, make_update

UPDATES = 300
RATE = 3e-3
BATCH, SUBSET = 32, 256
LEARNED = 0.5
ALIKE = 0.9


class Memory(NamedTuple):
    """Mean losses of the small trainings.

    Attributes:
      before, after: of one mini-batch, before and after 300 updates on it.
      real, random: averaged over 300 updates from a new start, with the real and with permuted targets.
    """

    before: float
    after: float
    real: float
    random: float


def memorise(net: Layer, loss: Loss, state: TrainState, examples: Batch) -> Memory:
    """Trains for 300 updates of Adam on one mini-batch, and twice on a subset from a new start."""
    subset = jax.tree.map(lambda a: jnp.asarray(a)[:SUBSET], examples)
    batch = jax.tree.map(lambda a: a[:BATCH], subset)
    key = stream(state.key, "memorise")
    run = _runner(net, loss)
    losses = run(state.params, state.state, key, batch)
    params, inner = net.init(stream(key, "init"), example_spec(examples.xs))
    order = jax.random.permutation(key, subset.size)
    mixed = subset._replace(ys=jax.tree.map(lambda a: a[order], subset.ys))
    real, random = (float(jnp.mean(run(params, inner, key, one))) for one in (subset, mixed))
    return Memory(float(losses[0]), float(jnp.mean(losses[-10:])), real, random)


@functools.lru_cache(maxsize=16)
def _runner(net: Layer, loss: Loss) -> Callable[[Tree, Tree, Any, Batch], jax.Array]:
    optimizer = optax.adam(RATE)
    update = make_update(net, loss, optimizer, "autodiff", {})

    @jax.jit
    def run(params: Tree, state: Tree, key: Any, batch: Batch) -> jax.Array:
        zero = jnp.zeros((), jnp.int32)
        start = TrainState(params, state, optimizer.init(params), zero, zero, key)

        def step(state: TrainState, _: None) -> tuple[TrainState, jax.Array]:
            state, result = update(state, batch)
            return state, result.loss

        return jax.lax.scan(step, start, None, UPDATES)[1]

    return run


def judge_memory(memory: Memory, uninformed: float) -> list[Finding]:
    """Reads the small trainings."""
    found = []
    if not memory.after < max(LEARNED * abs(uninformed), 1e-3):
        found.append(
            error(
                "cannot_overfit_batch",
                memory.after,
                LEARNED * abs(uninformed),
                "Karpathy (2019), A recipe for training neural networks: overfit one batch; the limit is purenet's",
                f"After {UPDATES} updates on one mini-batch of {BATCH} its loss is {memory.after:.3g}, from "
                f"{memory.before:.3g}: the network cannot learn even that by heart.",
                "Look at the loss, at the wiring of network and targets, at noise such as dropout, and for equal "
                "inputs with different targets.",
            )
        )
    if memory.random > 0 and memory.real > ALIKE * memory.random:
        found.append(
            warning(
                "labels_look_random",
                memory.real / memory.random,
                ALIKE,
                "Zhang et al. (2017), Understanding deep learning requires rethinking generalization; the limit is "
                "purenet's",
                f"In {UPDATES} updates the network learns {SUBSET} real targets no faster than permuted ones: "
                f"mean loss {memory.real:.3g} and {memory.random:.3g}.",
                "Look at how inputs and targets are read and joined, and whether both were shuffled alike.",
            )
        )
    return found
