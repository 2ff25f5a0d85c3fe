"""check.loss: every law that a loss obeys, in one call."""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from purenet.check.compiling import exactly
from purenet.check.loss_laws import LAWS, LossCheck, make_pairs
from purenet.check.of_layers import expect_drawing
from purenet.check.reports import CheckReport, chosen, finish
from purenet.contract import Spec, Tree
from purenet.errors import StructureError, by, describe
from purenet.losses.base import as_loss


def loss(
    loss: Any,
    prediction: Spec = None,
    target: Spec = None,
    *,
    inputs: Callable[[Any], tuple[Tree, Tree]] | None = None,
    key: Any = None,
    draws: int = 4,
    laws: Sequence[str] | None = None,
    skip: Sequence[str] = (),
) -> CheckReport:
    """Checks a loss: its gradient coordinate by coordinate, and that it is one strict function of one example.

    The laws: `hand rule` and `autodiff` (each is what finite differences in float64 measure), `kinks`, `second order`,
    `jit`, `vmap`, `scan`, `retrace`, `dtype`, `broadcast` (a target of another shape raises), `labels` (an integer
    target that is no class, such as -1, raises or makes value and gradient NaN: the classes are the prediction's last
    axis), `nan` (NaN in, NaN out) and `extremes` (no NaN for predictions of ±10⁴ in float32).

    Args:
      loss: a loss, or a function `(prediction, target) -> scalar` of one example.
      prediction: the spec of one example's prediction; not needed with `inputs`.
      target: the spec of its target; not needed with `inputs`.
      inputs: `key -> (prediction, target)`, which draws one example, for a loss with a domain such as probabilities;
        else floats are normal and integers 0 or 1.
      key: a JAX random key that decides all draws; `jax.random.key(0)` unless told.
      draws: how many random points the gradients are checked at, 2 or more.
      laws: names of the laws to run; None for all.
      skip: names of the laws to leave out, such as `("labels",)` for integers that are counts.

    Returns:
      The report.

    Raises:
      CheckError: if a law is broken; an `AssertionError` whose text lists every failure.
      ShapeError: if `draws` is too small, or a law's name is none.
      StructureError: if `loss` is no loss, neither specs nor `inputs` are given, or `inputs` gives no pair.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> report = pn.check.loss(pn.losses.softmax_cross_entropy, pn.spec(4), pn.spec((), jnp.int32))
      >>> report["labels"].held
      True
      >>> try:
      ...     pn.check.loss(lambda p, y: jnp.sum((p - y) ** 2), pn.spec(4), pn.spec(4), laws=("broadcast",))
      ... except pn.check.CheckError as error:
      ...     print(error.report.failures[0].got)
      a loss, for a target of shape (2, 4) and a prediction of shape (4,)
    """
    with by("check.loss"):
        made = as_loss(loss)
        wanted = chosen(LAWS, laws, skip)
        expect_drawing(inputs, draws=(draws, 2))
        if inputs is None:
            for what, given in {"prediction": prediction, "target": target}.items():
                if not all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(given) or [given]):
                    raise StructureError(
                        f"expected the spec of {what}, got {describe(given)}. Pass pn.spec(10), or draw with inputs=."
                    )
        key = jax.random.key(0) if key is None else key
        with exactly():
            pairs = make_pairs((prediction, target), inputs, key, draws)
            report = LossCheck(made, pairs).report(wanted)
    return finish(report)
