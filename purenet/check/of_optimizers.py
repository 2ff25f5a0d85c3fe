"""check.optimizer: every law that an optax optimizer obeys in purenet's training, in one call."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purenet.check import leaves
from purenet.check.of_layers import expect_drawing
from purenet.check.optimizer_laws import LAWS, OptimizerCheck
from purenet.check.reports import CheckReport, chosen, finish
from purenet.contract import Tree
from purenet.errors import StructureError, by, describe
from purenet.optimizers import as_optimizer, states_with
from purenet.streams import generator_of


def optimizer(
    optimizer: Any,
    params: Tree = None,
    *,
    key: Any = None,
    steps: int = 100,
    laws: Sequence[str] | None = None,
    skip: Sequence[str] = (),
) -> CheckReport:
    """Checks an optax optimizer on a convex quadratic: trees, dtypes, transformations, and that it descends.

    The laws: `tree` (updates like params, the new state like the state), `jit`, `vmap`, `scan`, `retrace`,
    `deterministic`, `zero gradients` (finite updates), `descends` (the value falls within `steps` updates), `bfloat16`,
    `resumed` (a state that went through NumPy goes on in the same bits) and `empty tree`. What an optimizer asks for
    beside the gradient (value, value_fn, predict_fn, …) it gets, as in training.

    Args:
      optimizer: an optax optimizer, or an object with `init` and `update`.
      params: a pytree of floating arrays to begin with; left out, a matrix of shape (3, 2) and a vector of 2.
      key: a JAX random key that decides where the quadratic has its minimum; `jax.random.key(0)` unless told.
      steps: how many updates it has to descend, 1 or more.
      laws: names of the laws to run; None for all.
      skip: names of the laws to leave out, such as `("descends",)` for a part of a chain.

    Returns:
      The report.

    Raises:
      CheckError: if a law is broken; an `AssertionError` whose text lists every failure.
      ShapeError: if `steps` is too small, or a law's name is none.
      StructureError: if `optimizer` is none, or `params` holds anything but floating arrays.

    Example:
      >>> import optax, purenet as pn
      >>> pn.check.optimizer(optax.sgd(0.1), laws=("tree", "descends")).held
      True
    """
    with by("check.optimizer"):
        made = as_optimizer(optimizer)
        wanted = chosen(LAWS, laws, skip)
        expect_drawing(None, steps=(steps, 1))
        rng = generator_of(jax.random.key(0) if key is None else key)
        if params is None:
            params = {"w": rng.normal(size=(3, 2)).astype(np.float32), "b": rng.normal(size=2).astype(np.float32)}
        for leaf in jax.tree.leaves(params):
            if not leaves.is_float(leaf):
                raise StructureError(f"expected params of floating arrays, got {describe(leaf)}. Use jnp.asarray.")
        if any("taps_fn" in node.wants for node in states_with(jax.eval_shape(made.init, params), "wants")):
            raise StructureError(
                "expected an optimizer of params and their loss, got one that needs a network's layers (taps_fn). "
                "Try it in pn.train."
            )
        # optax computes with promotions that purenet's strict settings refuse.
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"), jax.disable_jit(False):
            check = OptimizerCheck(made, jax.tree.map(jnp.asarray, params), steps, rng)
            report = CheckReport("check.optimizer", tuple(check.results(wanted)))
    return finish(report)
