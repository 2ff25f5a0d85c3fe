"""The measuring program: one compiled pass that sums up a network, its gradient and its next update."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from purenet.contract import Layer, Tree
from purenet.gradients import Batch, differentiate, mean_loss, objective
from purenet.insight.alignment import RUN, skills
from purenet.insight.measuring_units import Units, forward_with_units
from purenet.insight.noise_scale import Noise, gradient_noise, squared_norm
from purenet.losses.base import Loss
from purenet.metrics.base import summing
from purenet.streams import stream
from purenet.updates import TrainState, make_update, take

COUNT, MOST = 8, 16  # mini-batches for the noise scale, and the most examples in each
CLASSES = 1000  # more are not compared with their neighbours

# In what follows numbers are JAX arrays inside the program, and NumPy's when they are read.


class Spread(NamedTuple):
    """How the numbers of one array are spread over examples; features are all axes but the first.

    Attributes:
      finite: whether all numbers are.
      rms: the root of the mean square.
      largest: the largest absolute value.
      deviation: the largest standard deviation of a feature.
      off_centre: the norm of the means over that of the deviations.
      lowest, highest: the extremes.
    """

    finite: Any
    rms: Any
    largest: Any
    deviation: Any
    off_centre: Any
    lowest: Any
    highest: Any


class Leaves(NamedTuple):
    """One entry for each array of the parameters.

    Attributes:
      norm, grad_norm, update_norm: Euclidean norms.
      finite: whether all its numbers are.
      alike: whether its units, the entries of the last axis, are all equal, and their gradients too.
    """

    norm: Any
    grad_norm: Any
    update_norm: Any
    finite: Any
    alike: Any


class Survey(NamedTuple):
    """All that one pass measures.

    Attributes:
      loss: mean loss of the examples looked at, in training.
      uninformed: the same predictions against other examples' targets.
      batch_loss, loss_after: of one mini-batch before and after the update that it makes.
      descent: minus the cosine between gradient and update, 1 for plain descent.
      sum_error: how far the predictions' entries are from summing to one; inf where they are not one array.
      units: what the activations did.
      leaves: of the parameters.
      xs, ys, predictions: of the floating arrays.
      noise: of the gradient; None for too few examples.
      shifts: how well labels, and their neighbours, fit the inputs, from `skills`; None where that has no meaning.
    """

    loss: Any
    uninformed: Any
    batch_loss: Any
    loss_after: Any
    descent: Any
    sum_error: Any
    units: Units
    leaves: Leaves
    xs: list[Spread]
    ys: list[Spread]
    predictions: list[Spread]
    noise: Noise | None
    shifts: Any


Program = Callable[[TrainState, Batch, Any], Survey]


@functools.lru_cache(maxsize=32)  # so that diagnosing again compiles nothing
def make_survey(net: Layer, loss: Loss, optimizer: Any, size: int, pairs: bool) -> Program:
    """Compiles the survey of a state on some examples, the first `size` of which are a mini-batch.

    Args:
      net: the network.
      loss: the loss.
      optimizer: optax's, or None where it is not known.
      size: examples of the mini-batch.
      pairs: whether a mini-batch needs two examples.

    Returns:
      The compiled program `(state, examples, order) -> Survey`: examples in the order of the data, and an order that
      mixes them.
    """
    gradient = differentiate(net, loss, "autodiff")

    def survey(state: TrainState, ordered: Batch, order: jax.Array) -> Survey:
        examples = take(ordered, order)
        key = stream(state.key, "forward", state.step)
        predictions, units = forward_with_units(net, state.params, examples.xs, state.state, key)
        losses = jax.vmap(loss.value)(predictions, examples.ys)
        others = jax.vmap(loss.value)(predictions, jax.tree.map(lambda a: jnp.roll(a, 1, axis=0), examples.ys))
        batch = jax.tree.map(lambda a: a[:size], examples)
        if optimizer is None:
            (value, _, _), grads = gradient(state.params, state.state, batch, key)
            updates, after = None, jnp.asarray(jnp.nan, "float32")
        else:
            value, grads, new = _updated(net, loss, optimizer, state, batch)
            updates = jax.tree.map(jnp.subtract, new, state.params)
            after = objective(net, loss, new, state.state, batch, key).value
        return Survey(
            mean_loss(losses, examples.weights),
            mean_loss(others, examples.weights),
            value,
            after,
            _descent(grads, updates),
            _sum_error(predictions),
            units,
            _leaves(state.params, grads, updates),
            _spreads(examples.xs),
            _spreads(examples.ys),
            _spreads(predictions),
            _noise(gradient, state, examples, key, pairs),
            _shifts(ordered, units.outputs, loss.name),
        )

    return jax.jit(survey)


def _updated(net: Layer, loss: Loss, optimizer: Any, state: TrainState, batch: Batch) -> tuple[Any, Tree, Tree]:
    """Makes the update that training makes, and gives its loss, its gradient and the new params."""
    seen = []

    @functools.wraps(optimizer.update)  # whose arguments tell what it wants to know
    def listening(grads: Tree, *args: Any, **extra: Any) -> Any:
        seen.append(grads)
        return optimizer.update(grads, *args, **extra)

    listener = optax.GradientTransformationExtraArgs(optimizer.init, listening)
    new, result = make_update(net, loss, listener, "autodiff", {})(state, batch)
    return result.loss, seen[0], new.params


def _descent(grads: Tree, updates: Tree) -> jax.Array:
    if updates is None or not jax.tree.leaves(grads):
        return jnp.asarray(jnp.nan, "float32")
    dots = [jnp.sum(g * u).astype("float32") for g, u in zip(*map(jax.tree.leaves, (grads, updates)), strict=True)]
    return -sum(dots) / jnp.sqrt(squared_norm(grads) * squared_norm(updates)).astype("float32")


def _leaves(params: Tree, grads: Tree, updates: Tree) -> Leaves:
    leaves = jax.tree.leaves(params)
    if not leaves:
        nothing = jnp.zeros(0)
        return Leaves(nothing, nothing, nothing, jnp.zeros(0, bool), jnp.zeros(0, bool))

    def norms(tree: Tree) -> jax.Array:
        return jnp.stack([_norm(leaf).astype("float32") for leaf in jax.tree.leaves(tree)])

    pairs = zip(leaves, jax.tree.leaves(grads), strict=True)
    return Leaves(
        norms(params),
        norms(grads),
        jnp.full(len(leaves), jnp.nan, "float32") if updates is None else norms(updates),
        jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]),
        jnp.stack([_alike(leaf) & _alike(grad) for leaf, grad in pairs]),
    )


def _norm(leaf: jax.Array) -> jax.Array:
    """The norm of what may be as small as 1e-30, or as large as 1e30, whose squares are not numbers any more."""
    largest = jnp.max(jnp.abs(leaf), initial=0)
    safe = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1)
    return jnp.asarray(safe * jnp.sqrt(squared_norm(leaf / safe)).astype(leaf.dtype))


def _alike(leaf: jax.Array) -> jax.Array:
    """Whether the entries of the last axis are equal, but for rounding."""
    if leaf.ndim < 2 or leaf.shape[-1] < 2:
        return jnp.zeros((), bool)
    apart = jnp.max(jnp.abs(leaf - leaf[..., :1]))
    return apart <= 16 * jnp.finfo(leaf.dtype).eps * jnp.max(jnp.abs(leaf))


def _spreads(tree: Tree) -> list[Spread]:
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.size]
    return [_spread(leaf.astype(summing(leaf.dtype))) for leaf in leaves]


def _spread(a: jax.Array) -> Spread:
    flat = jnp.reshape(a, (len(a), -1))
    mean = jnp.mean(flat, axis=0)
    deviation = jnp.sqrt(jnp.mean(jnp.square(flat - mean[None]), axis=0))
    # a mean of equal numbers is rounded, which leaves a deviation that is none
    deviation = jnp.where(deviation > 1e-6 * jnp.abs(mean), deviation, 0)
    off_centre = jnp.linalg.norm(mean) / jnp.maximum(jnp.linalg.norm(deviation), jnp.finfo(a.dtype).tiny)
    rms = jnp.sqrt(jnp.mean(jnp.square(flat)))
    largest = jnp.max(jnp.abs(flat))
    finite = jnp.all(jnp.isfinite(flat))
    return Spread(finite, rms, largest, jnp.max(deviation), off_centre, jnp.min(flat), jnp.max(flat))


def _sum_error(predictions: Tree) -> jax.Array:
    leaves = jax.tree.leaves(predictions)
    if len(leaves) != 1 or leaves[0].ndim < 2 or leaves[0].shape[-1] < 2:
        return jnp.asarray(jnp.inf, "float32")
    return jnp.max(jnp.abs(jnp.sum(leaves[0], axis=-1) - 1)).astype("float32")


def _noise(gradient: Any, state: TrainState, examples: Batch, key: Any, pairs: bool) -> Noise | None:
    size = min(MOST, examples.size // COUNT)
    if size < 1 + pairs or not jax.tree.leaves(state.params):
        return None
    cut = jax.tree.map(lambda a: jnp.reshape(a[: COUNT * size], (COUNT, size, *a.shape[1:])), examples)

    def one(batch: Batch, number: jax.Array) -> Tree:
        return gradient(state.params, state.state, batch, jax.random.fold_in(key, number))[1]

    return gradient_noise(one, cut, COUNT, size)


def _shifts(ordered: Batch, outputs: tuple[tuple[int, ...], ...], loss_name: str) -> jax.Array | None:
    """Compares labels with their neighbours' inputs, where there is one label to each array of numbers."""
    xs, ys = ordered.xs, ordered.ys
    fits = isinstance(xs, jax.Array) and isinstance(ys, jax.Array) and jnp.issubdtype(xs.dtype, jnp.floating)
    if not fits or ordered.size < 8 * RUN or len(outputs) != 1 or len(outputs[0]) != 1:
        return None
    classes = outputs[0][0]
    if not 1 < classes <= CLASSES or "cross_entropy" not in loss_name:
        return None
    if jnp.issubdtype(ys.dtype, jnp.integer) and ys.ndim == 1:
        return skills(xs, ys, classes)
    return skills(xs, jnp.argmax(ys, axis=1), classes) if ys.ndim == 2 and "sigmoid" not in loss_name else None
