"""K-FAC: the natural gradient of dense layers, from what their hand rules carry forward and back."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from purenet.contract import Tree
from purenet.errors import by
from purenet.optim.checking import expect_counts, expect_given, expect_positive, expect_rate, expect_shares, tell
from purenet.optim.curvature import linearise
from purenet.optim.flattening import dtype_of, flatten, on_vectors, restorer, seen
from purenet.optim.kronecker import (
    Dense,
    Factors,
    dense_in,
    empty_factors,
    expect_tapped,
    expect_widths,
    inverses_of,
    moments,
    precondition,
)
from purenet.optim.quadratic import lowest_in_plane
from purenet.optim.stepping import scaled

_EVERY, _FACTOR = 5, 0.95  # how often the damping is adapted, and the factor for each step since: Martens and Grosse
# Of the first damping, the least share. The model is right about its own mini-batch even where that says nothing about
# the others; without a floor 784-128-10 on MNIST diverged soon after its loss had come to 0.01.
_LEAST = 0.1
# So many examples of a mini-batch give A and G, whose running means are over many: 784-128-10 on MNIST came to a loss
# of 0.01 in as many mini-batches of 4,096 with these as with all of each.
_SAMPLES = 512
_MOST = 1e8  # damping beyond which a step is none


class KfacState(NamedTuple):
    """The state of `kfac`.

    Attributes:
      count: updates made, an int32 scalar.
      damping: in force.
      factors: for each dense layer running means of its input's and delta's second moments.
      inverses: theirs, damped.
      velocity: the last update, as a vector.
      failed: the number of the update, from 1, at which the curvature was not positive definite; 0 if none was.
    """

    count: jax.Array  # type: ignore[assignment]
    damping: jax.Array
    factors: tuple[Factors, ...]
    inverses: tuple[Factors, ...]
    velocity: jax.Array
    failed: jax.Array

    @property
    def wants(self) -> tuple[str, ...]:
        """What training is to tell."""
        return ("grad", "value_fn", "predict_fn", "loss_fn", "taps_fn")

    def trouble(self) -> str | None:
        """What went wrong, in a sentence; None if nothing did."""
        failed = int(np.max(self.failed))
        if failed == 0:
            return None
        return (
            f"kfac: the curvature at update {failed}, with damping, was not positive definite, or not finite. Raise "
            "damping; if the loss was not finite either, scale the inputs."
        )


def kfac(
    learning_rate: float | jax.Array | Callable[[Any], Any] | None = None,
    *,
    damping: float | jax.Array = 0.1,
    decay: float | jax.Array = 0.95,
    momentum: float | jax.Array = 0.9,
    every: int | jax.Array = 10,
) -> optax.GradientTransformationExtraArgs:
    """K-FAC: the natural gradient of dense layers, F⁻¹∇, with the curvature F of each layer as a Kronecker product.

    For a layer Y = X W with δ = dJ/dY, F ≈ A ⊗ G with A = E[x xᵀ] and G = E[δ δᵀ], so that F⁻¹∇ = A⁻¹ ∇ G⁻¹: the
    inputs and deltas of the hand rules are all that is needed. The deltas are those of cotangents drawn so that G is
    the layer's part of the Gauss-Newton matrix, for cross-entropies the Fisher information.

    Left to itself it needs no learning rate: length and momentum of every step are those that minimise a quadratic
    model of the loss on the mini-batch, and the damping follows from how well that model predicts; a step after which
    that loss is higher is not made. Mini-batches want to
    be large, several hundred examples or more.

    Args:
      learning_rate: None for the quadratic model; else a number above 0 or a schedule, with the given `momentum` and
        `damping` throughout.
      damping: λ, above 0, that is added to the curvature: where it begins, never to fall below a tenth of it, or what
        it is with a given rate. Too large is slow, too small stalls. Weight decay in front wants it well above its own
        strength, for that curvature is not in the model.
      decay: of the running means of A and G, from 0 to below 1.
      momentum: the share of the last update that is kept, with a given rate alone, from 0 to below 1.
      every: updates between two inversions of A and G, 1 or more.

    Returns:
      An optax optimizer whose `update` needs what `pn.train_step`, `pn.train` and `pn.fit` supply.

    Raises:
      ShapeError: for an option out of range; by `init`, for a layer too wide to invert; at trace time, for predictions
        of so many numbers that the Hessian of each example's loss would not fit.
      StructureError: if an option is not what it should be, params are not those of dense layers, or such a layer is
        called in a loop. `optax.partition` gives the others another optimizer.

    References:
      Martens and Grosse (2015), Optimizing neural networks with Kronecker-factored approximate curvature.
      Amari (1998), Natural gradient works efficiently in learning.

    Example:
      >>> import jax, optax, purenet as pn
      >>> xs, ys = jax.random.normal(jax.random.key(0), (64, 8)), jax.numpy.arange(64) % 4
      >>> net, loss = pn.serial(pn.dense(16), pn.tanh, pn.dense(4)), pn.losses.softmax_cross_entropy
      >>> def reached(optimizer):
      ...     state = pn.train_state(net, optimizer, jax.random.key(0), pn.spec(8))
      ...     return jax.jit(pn.train(net, loss, optimizer, epochs=40))(state, (xs, ys))[1]["loss"][-1]
      >>> bool(reached(pn.optim.kfac()) < 0.1 * reached(optax.adam(0.01)))
      True
    """
    with by("kfac"):
        if learning_rate is not None:
            expect_rate(learning_rate)
        expect_positive(damping=damping)
        expect_shares(decay=decay, momentum=momentum)
        expect_counts(every=every)

    def init(params: Tree) -> KfacState:
        with by("kfac"):
            denses = dense_in(params)
            leaves, dtype, none = jax.tree.leaves(params), dtype_of(params), jnp.zeros((), jnp.int32)
            expect_widths(denses, leaves, dtype)
        empty = tuple(empty_factors(dense, leaves, dtype) for dense in denses)
        velocity = jnp.zeros_like(flatten(params)) if leaves else jnp.zeros(0, dtype)
        return KfacState(none, jnp.asarray(damping, dtype), empty, empty, velocity, none)

    def update(
        grads: Tree,
        state: KfacState,
        params: Tree = None,
        *,
        grad: Tree = None,
        value_fn: Any = None,
        predict_fn: Any = None,
        loss_fn: Any = None,
        taps_fn: Any = None,
        **_: Any,
    ) -> tuple[Tree, KfacState]:
        with by("kfac"):
            expect_given(params, value_fn=value_fn, predict_fn=predict_fn, loss_fn=loss_fn, taps_fn=taps_fn)
            if not jax.tree.leaves(params):
                return grads, state._replace(count=state.count + 1)
            denses = dense_in(params)
            factors = _averaged(state, params, denses, taps_fn(_SAMPLES), decay)
        strength = state.damping if learning_rate is None else jnp.asarray(damping).astype(state.damping.dtype)
        inverses = jax.lax.cond(
            state.count % every == 0,
            lambda: tuple(inverses_of(layer, strength) for layer in factors),
            lambda: state.inverses,
        )
        natural, x = _natural(grads, denses, inverses), flatten(params)
        if learning_rate is None:
            restore = restorer(params)
            outer = linearise(lambda x: predict_fn(restore(x)), loss_fn, x)
            slope = flatten(grads)
            lowest = lowest_in_plane(outer, slope, (natural, state.velocity), strength)
            # what stands in front of this optimizer, such as weight decay, adds to the slope and so to the value
            added = jnp.zeros_like(slope) if grad is None else slope - flatten(seen(grad, params))
            after = on_vectors(value_fn, params)(x + lowest.step) + jnp.vdot(added, lowest.step)
            accepted, strength = _adapted(state, outer.value, after, lowest.change)
            velocity = jnp.where(accepted, lowest.step, 0)
            strength = jnp.clip(strength, _LEAST * jnp.asarray(damping).astype(strength.dtype), _MOST)
        else:
            velocity = jnp.asarray(momentum).astype(x.dtype) * state.velocity
            velocity = velocity - scaled(natural, learning_rate, state.count)
        broken = ~jnp.all(jnp.isfinite(natural))
        velocity = jnp.where(broken, jnp.nan, velocity)
        failed = jnp.where((state.failed == 0) & broken, state.count + 1, state.failed)
        new = KfacState(state.count + 1, strength, factors, inverses, velocity, failed)
        tell(new)
        return restorer(params)(velocity), new

    return optax.GradientTransformationExtraArgs(init, update)


def _averaged(state: KfacState, params: Tree, denses: list[Dense], taps: list[Any], decay: Any) -> tuple[Factors, ...]:
    """The running means after this mini-batch, which the zeros that they began as have no part in."""
    groups = [[tap for tap in taps if tap.place == dense.place] for dense in denses]
    expect_tapped(denses, params, groups)
    dtype = state.damping.dtype
    count = state.count.astype(dtype)
    keep = jnp.minimum(count / (count + 1), jnp.asarray(decay).astype(dtype))
    return tuple(
        jax.tree.map(lambda old, new: keep * old + (1 - keep) * new, old, moments(group, dense.bias is not None, dtype))
        for dense, group, old in zip(denses, groups, state.factors, strict=True)
    )


def _natural(grads: Tree, denses: list[Dense], inverses: tuple[Factors, ...]) -> jax.Array:
    """A⁻¹ ∇ G⁻¹ of every layer, as one vector in the order of the params."""
    leaves = jax.tree.leaves(grads)
    for dense, inverse in zip(denses, inverses, strict=True):
        natural = precondition(inverse, dense.joined(leaves, inverse.inputs.dtype))
        if dense.bias is not None:
            leaves[dense.bias] = natural[-1]
            natural = natural[:-1]
        leaves[dense.kernel] = natural
    return flatten(leaves)


def _adapted(state: KfacState, value: jax.Array, after: jax.Array, promised: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Whether the step is to be made, and the damping then.

    Every few updates there is less of it where the model foretold well how far the loss falls, more where it did not;
    twice as much where the loss would rise.

    References:
      Martens and Grosse (2015), section 6.5.
    """
    accepted = after <= value + 8 * jnp.finfo(value.dtype).eps * jnp.abs(value)  # of NaN no
    ratio = (after - value) / jnp.where(promised < 0, promised, -1)
    change = jnp.where(ratio > 0.75, _FACTOR**_EVERY, jnp.where(ratio < 0.25, _FACTOR**-_EVERY, 1))
    change = jnp.where(state.count % _EVERY == _EVERY - 1, change, 1)
    return accepted, state.damping * jnp.where(accepted, change, 2).astype(state.damping.dtype)
