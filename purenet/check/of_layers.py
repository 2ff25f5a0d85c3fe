"""check.layer: every law that a layer obeys, in one call."""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from purenet.check.compiling import exactly
from purenet.check.layer_laws import LAWS, LayerCheck
from purenet.check.points import make_source
from purenet.check.reports import CheckReport, chosen, finish
from purenet.contract import Spec, Tree, as_layer
from purenet.errors import ShapeError, StructureError, by, describe, is_whole


def layer(
    layer: Any,
    spec: Spec,
    *,
    key: Any = None,
    inputs: Callable[[Any], Tree] | None = None,
    batch: int = 3,
    draws: int = 4,
    laws: Sequence[str] | None = None,
    skip: Sequence[str] = (),
) -> CheckReport:
    """Checks a layer or a whole network: its gradients coordinate by coordinate, and that it stays one pure function.

    The laws: `values` (forward, vjp and apply give the same), `hand rule`, `forward's autodiff` and
    `apply's autodiff` (each is what finite differences in float64 measure), `kinks` (there, one of the slopes on either
    side or between is taken), `second order`, `jit`, `vmap`, `scan`, `key` (same key, same bits), `retrace`,
    `permutation` (the examples' order does not matter), `tree`, `dtype`, `broadcast` (a wrong shape raises) and
    `extremes` (no NaN for inputs of ±10⁴ in float32). Params are drawn around those of `init`, for a bias of zero hides
    errors. Networks of many params are measured at some coordinates and along random directions.

    Args:
      layer: a layer, or a plain function of one example.
      spec: of one example, such as `pn.spec(784)`.
      key: a JAX random key that decides all draws; `jax.random.key(0)` unless told.
      inputs: `key -> x`, which draws one example, for a layer with a domain such as probabilities; left
        out, floats are normal, integers 0 or 1, truth values fair.
      batch: how many examples, 1 or more.
      draws: how many random points the gradients are checked at, 2 or more.
      laws: names of the laws to run; None for all.
      skip: names of the laws to leave out.

    Returns:
      The report: law by law what held, the largest gap, and which slope each rule takes at kinks.

    Raises:
      CheckError: if a law is broken; an `AssertionError` whose text lists every failure.
      ShapeError: if `batch` or `draws` is too small, or a law's name is none.
      StructureError: if `layer` is no layer, `spec` no spec, or `inputs` gives something else.

    References:
      Claerbout (1985), Imaging the Earth's Interior: the adjoint test. Richardson (1911), The approximate arithmetical
      solution by finite differences of physical problems.

    Example:
      >>> import purenet as pn
      >>> report = pn.check.layer(pn.relu, pn.spec(3), laws=("hand rule", "kinks"))
      >>> report.held
      True
      >>> print(report.conventions[0])
      x at x = 0: hand rule takes 0 of [0, 1]
    """
    with by("check.layer"):
        net = as_layer(layer)
        wanted = chosen(LAWS, laws, skip)
        expect_drawing(inputs, batch=(batch, 1), draws=(draws, 2))
        key = jax.random.key(0) if key is None else key
        wide = bool(jax.config.jax_enable_x64)
        with exactly():
            report = LayerCheck(net, make_source(net, spec, inputs, batch, key), draws, wide).report(wanted)
    return finish(report)


def expect_drawing(inputs: Any, **counts: tuple[Any, int]) -> None:
    """Raises unless `inputs` draws, and the counts are whole numbers large enough."""
    if not (inputs is None or callable(inputs)):
        raise StructureError(
            f"expected inputs to be a function of a key, got {describe(inputs)}. It draws one example."
        )
    for what, (value, least) in counts.items():
        if not is_whole(value):
            raise StructureError(f"expected {what} to be a whole number, got {describe(value)}. Give an int.")
        if value < least:
            raise ShapeError(f"expected {what} of {least} or more, got {value}. Give a larger int.")
