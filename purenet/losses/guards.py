"""What the losses share: 16 bits computed in 32, NaN where a value is not allowed, and the checks by shape."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purenet.contract import Spec, Tree
from purenet.errors import ShapeError, StructureError, describe
from purenet.losses.base import Loss, expect_alike, expect_prediction, loss

Valid = Callable[[Tree, Tree], jax.Array]


def guarded_loss(
    value: Callable[..., jax.Array],
    grad: Callable[..., Tree],
    *,
    name: str,
    check: Callable[[Spec, Spec], None],
    valid: Valid | None = None,
    check_targets: Callable[[Spec, Any], None] | None = None,
    selects: bool = False,
) -> Loss:
    """Makes a loss of plain formulas.

    Float16 and bfloat16 are computed in float32 and rounded once at the end. Where `valid` says no, the value and
    the gradient, by hand or by autodiff, are NaN.

    Args:
      value: the formula of the value, `(prediction, target) -> scalar`.
      grad: the formula of the gradient, of the prediction's structure.
      name: shown in messages.
      check: of the shapes and dtypes.
      valid: `(prediction, target) -> bool`, whether the loss is defined there.
      check_targets: the same question about the targets, on the host, answered with an error.
      selects: whether the value takes a constant somewhere, whose derivative 0 no NaN behind it would change.

    Returns:
      The loss.
    """
    return loss(
        _guarded(value, valid, selects),
        grad=_guarded(grad, valid, False),
        name=name,
        check=check,
        check_targets=check_targets,
    )


def _guarded(formula: Callable[..., Tree], valid: Valid | None, selects: bool) -> Callable[[Tree, Tree], Any]:
    @functools.wraps(formula)
    def call(prediction: Tree, target: Tree) -> Any:
        prediction, target = jax.tree.map(jnp.asarray, (prediction, target))
        dtype = jax.tree.leaves(prediction)[0].dtype
        p, y = jax.tree.map(_widened, (prediction, target))
        if valid is None:
            result = formula(p, y)
        else:
            # a factor, not a selected constant, so that autodiff makes the gradient NaN as well
            defined = jnp.where(valid(prediction, target), 1.0, jnp.nan)
            result = _times(formula(_times(p, defined) if selects else p, y), defined)
        return jax.tree.map(lambda a: a.astype(dtype), result)

    return call


def _times(tree: Tree, factor: jax.Array) -> Tree:
    return jax.tree.map(lambda a: a * factor.astype(a.dtype), tree)


def wide(dtype: Any) -> Any:
    """Gives the dtype to compute in: float32 for 16 bits and below, else the same."""
    return dtype if jnp.finfo(dtype).bits >= 32 else jnp.float32


def _widened(a: jax.Array) -> jax.Array:
    return a.astype(wide(a.dtype)) if jnp.issubdtype(a.dtype, jnp.floating) else a


def tolerance(dtype: Any) -> float:
    """Says how far the sum of probabilities may be from 1: the rounding of a softmax in this dtype, with room."""
    return max(8 * float(jnp.finfo(dtype).eps), 1e-6 if dtype == jnp.float64 else 1e-4)


def is_distribution(y: jax.Array) -> jax.Array:
    """Tells whether y is 0 or more everywhere and sums to 1 along its last axis."""
    total = jnp.sum(y.astype(wide(y.dtype)), axis=-1)
    return jnp.all(y >= 0, axis=-1) & (jnp.abs(total - 1) <= tolerance(y.dtype))


def in_unit_interval(y: jax.Array, slack: float = 0.0) -> jax.Array:
    """Tells whether all of y lies from 0 to 1 + slack."""
    return jnp.all((y >= 0) & (y <= 1 + slack))


def is_label(label: jax.Array, classes: int) -> jax.Array:
    """Tells which integer labels lie in 0..classes-1, in a dtype as narrow as int8 too."""
    return (label >= 0) & (label <= min(classes - 1, int(jnp.iinfo(label.dtype).max)))


def is_class_target(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Tells whether the target is a label in range, or a distribution over the classes."""
    if jnp.issubdtype(target.dtype, jnp.integer):
        return is_label(target, prediction.shape[-1])
    return is_distribution(target)


def distribution(target: jax.Array, classes: int, dtype: Any) -> jax.Array:
    """Gives the target as a distribution over the classes: one-hot of a label, anything else as it is."""
    if jnp.issubdtype(target.dtype, jnp.integer):
        # 32 bits hold every class; a label that they would wrap is not valid
        return (jnp.arange(classes, dtype=jnp.int32) == target.astype(jnp.int32)).astype(dtype)
    return target


def expect_outputs(prediction: Spec, target: Spec) -> None:
    """Raises unless prediction and target are alike and hold a number to average over."""
    expect_alike(prediction, target)
    if math.prod(prediction.shape) == 0:
        raise ShapeError(
            f"expected one output or more to average over, got shape {prediction.shape}. Give the network outputs."
        )


def expect_class_axis(prediction: Spec) -> None:
    """Raises unless the prediction is one floating array with one axis, of two classes or more."""
    expect_prediction(prediction)
    if len(prediction.shape) != 1:
        raise ShapeError(
            f"expected prediction with one axis, the classes, got shape {prediction.shape}. For a mini-batch use "
            "jax.vmap; for a sequence in one example, pn.losses.each around the loss."
        )
    if prediction.shape[0] < 2:
        raise ShapeError(
            f"expected prediction of two classes or more, got shape {prediction.shape}. For one yes-or-no output "
            "use sigmoid_cross_entropy or binary_cross_entropy."
        )


def expect_distributions(prediction: Spec, target: Spec) -> None:
    """Raises unless prediction and target are alike, with one axis of two classes or more."""
    expect_class_axis(prediction)
    expect_alike(prediction, target)


def expect_classes(prediction: Spec, target: Spec) -> None:
    """Raises unless the target is an integer label of shape (), or alike the prediction, with one axis."""
    expect_class_axis(prediction)
    if not isinstance(target, jax.ShapeDtypeStruct):
        raise StructureError(f"expected target to be one array, got {describe(target)}. Use jnp.asarray.")
    if jnp.issubdtype(target.dtype, jnp.integer):
        if target.shape == prediction.shape:
            raise StructureError(
                f"expected one-hot targets of dtype {np.dtype(prediction.dtype)}, that of the prediction, got "
                f"{target.dtype}. Convert them, target.astype({str(prediction.dtype)!r}), or pass integer labels."
            )
        if target.shape != ():
            raise ShapeError(
                f"expected an integer label of shape (), got {target.shape}. Drop the extra axes of the targets: "
                "a mini-batch of labels has shape (examples,)."
            )
    elif not jnp.issubdtype(target.dtype, jnp.floating):
        raise StructureError(
            f"expected target of integer or floating dtype, got {target.dtype}. "
            "Convert it: target.astype(jnp.int32) for labels."
        )
    elif target.shape == ():
        raise StructureError(
            f"expected a label of integer dtype, got {target.dtype}. Convert it: target.astype(jnp.int32)."
        )
    else:
        expect_alike(prediction, target)


def expect_positive(where: str, what: str, value: Any) -> None:
    """Raises unless the option is a positive number, or a JAX scalar that tracing may hide."""
    expect_number(where, what, value)
    if not isinstance(value, jax.Array) and not (0 < float(value) < math.inf):
        raise ShapeError(f"{where}: expected {what} above 0, got {value!r}. The default is 1.0.")


def expect_number(where: str, what: str, value: Any) -> None:
    """Raises unless the option is one real number."""
    array = isinstance(value, (jax.Array, np.generic, np.ndarray))
    real = (
        np.ndim(value) == 0 and jnp.issubdtype(value.dtype, jnp.floating) if array else isinstance(value, int | float)
    )
    if not real or isinstance(value, bool):
        raise StructureError(f"{where}: expected {what} to be a number, got {describe(value)}. Give a float.")


def expect_flag(where: str, what: str, value: Any) -> None:
    """Raises unless the option is True or False."""
    if not isinstance(value, bool):
        raise StructureError(f"{where}: expected {what} to be True or False, got {describe(value)}. Give a bool.")
