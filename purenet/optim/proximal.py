"""ftrl: follow the regularised leader, for sparse models on streams."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from purenet.contract import Tree
from purenet.errors import ShapeError, by
from purenet.metrics.base import summing
from purenet.optim.checking import expect_amounts, expect_given, expect_rate, known
from purenet.optim.stepping import rate_at


class FtrlState(NamedTuple):
    """What FTRL remembers of the past.

    Attributes:
      count: updates made.
      accumulator: n, the sum of squared gradients, for each parameter.
      linear: z, the sum of gradients less what the steps so far answered.
    """

    count: jax.Array  # type: ignore[assignment]
    accumulator: Tree
    linear: Tree


def ftrl(
    learning_rate: float | jax.Array | Callable[[Any], Any],
    *,
    learning_rate_power: float | jax.Array = -0.5,
    initial_accumulator: float | jax.Array = 0.1,
    l1: float | jax.Array = 0.0,
    l2: float | jax.Array = 0.0,
    l2_shrinkage: float | jax.Array = 0.0,
    beta: float | jax.Array = 0.0,
) -> optax.GradientTransformation:
    """FTRL-proximal: each weight is the exact minimum of all gradients so far, with penalties l1 and l2.

    With q(n) = n^(-learning_rate_power), by default √n, and the rate η, for each parameter w with gradient g:

        n' = n + g²,   z' = z + g + 2 l2_shrinkage w - (q(n') - q(n)) w / η
        w' = 0 where |z'| <= l1, else (sign(z') l1 - z') / ((q(n') + β) / η + 2 l2)

    Weights that l1 holds are exactly 0. Parameters live in z: whatever they began at, the first update forgets, so
    begin a linear model at 0; a network with hidden layers keeps its random start, for from 0 these never move. Equal
    to Keras's Ftrl, from 16-bit parameters up, whose n and z are kept in 32.

    Args:
      learning_rate: η, above 0, or a schedule.
      learning_rate_power: how fast rates fall with the gradients seen, 0 or less; 0 keeps η.
      initial_accumulator: n before the first gradient, 0 or more.
      l1: penalty on Σ|w|, 0 or more, in units of the sum of gradients.
      l2: penalty on Σw², 0 or more, on top of the stabilising term; McMahan's λ₂ is 2 l2.
      l2_shrinkage: adds 2 l2_shrinkage w to the gradient in z, but not in n; 0 or more.
      beta: β, smooths the first rates, 0 or more.

    Returns:
      An optax optimizer.

    Raises:
      ShapeError: for a rate that is not above 0, a power above 0, or another option below 0.
      StructureError: if an option is no number, or `update` gets no params.

    References:
      McMahan et al. (2013), Ad click prediction: a view from the trenches, algorithm 1.

    Example:
      >>> import jax.numpy as jnp, optax, purenet as pn
      >>> optimizer, w = pn.optim.ftrl(0.5, l1=1.0), jnp.zeros(2)
      >>> updates, state = optimizer.update(jnp.array([3.0, 0.5]), optimizer.init(w), w)
      >>> [round(number, 4) for number in optax.apply_updates(w, updates).tolist()]
      [-0.3315, 0.0]
    """
    with by("ftrl"):
        expect_rate(learning_rate)
        expect_amounts(initial_accumulator=initial_accumulator, l1=l1, l2=l2, l2_shrinkage=l2_shrinkage, beta=beta)
        _expect_power(learning_rate_power)

    def init(params: Tree) -> FtrlState:
        def filled(number: Any) -> Tree:
            return jax.tree.map(
                lambda p: jnp.full(jnp.shape(p), jnp.asarray(number).astype(summing(p.dtype)), summing(p.dtype)), params
            )

        return FtrlState(jnp.zeros((), jnp.int32), filled(initial_accumulator), filled(0.0))

    def update(grads: Tree, state: FtrlState, params: Tree = None) -> tuple[Tree, FtrlState]:
        with by("ftrl"):
            expect_given(params)

        rate = rate_at(learning_rate, state.count)
        options = (rate, learning_rate_power, l1, l2, l2_shrinkage, beta)
        leaves: list[jax.Array] = jax.tree.leaves(params)
        structure: Any = jax.tree.structure(params)
        columns = (structure.flatten_up_to(tree) for tree in (grads, state.accumulator, state.linear))
        rows = [_advance(p, g, n, z, options) for p, g, n, z in zip(leaves, *columns, strict=True)]
        updates, accumulator, linear = (jax.tree.unflatten(structure, [row[i] for row in rows]) for i in range(3))
        return updates, FtrlState(state.count + 1, accumulator, linear)

    return optax.GradientTransformation(init, update)


def _advance(
    p: jax.Array, g: jax.Array, n: jax.Array, z: jax.Array, options: tuple[Any, ...]
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """One array's update, n and z."""
    rate, power, l1, l2, shrinkage, beta = (jnp.asarray(option).astype(n.dtype) for option in options)
    g, w = g.astype(n.dtype), p.astype(n.dtype)
    more = n + jnp.square(g)
    root = jnp.power(more, -power)
    z = z + g + 2 * shrinkage * w - (root - jnp.power(n, -power)) / rate * w
    drive = jnp.clip(z, -l1, l1) - z
    scale = (root + beta) / rate + 2 * l2
    # where nothing was ever seen and n began at 0, this would be 0/0
    idle = drive == 0
    new = jnp.where(idle, 0, drive / jnp.where(idle, 1, scale))
    return (new - w).astype(p.dtype), more, z


def _expect_power(power: Any) -> None:
    if known(power) and not float(power) <= 0:
        raise ShapeError(f"expected learning_rate_power of 0 or less, got {float(power)}. The usual one is -0.5.")
