"""What a loss is: a value of one example's prediction and target, and its gradient derived by hand."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from purenet.contract import Spec, Tree, spec_of
from purenet.errors import ShapeError, StructureError, at, describe, expect_like, refuse_maker


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Loss:
    """A loss of one example; the loss of a mini-batch is the weighted mean Σwl/Σw of its examples'.

    Losses compare by identity, hash, and pass through `jax.jit` as static arguments.

    Attributes:
      name: shown in messages.
      value: `(prediction, target) -> scalar`, one example, plain JAX.
      grad: `(prediction, target) -> d value / d prediction`, derived by hand; of the prediction's structure.
      check_targets: `(prediction's spec, targets) -> None`, on the host with NumPy arrays of many targets:
        raises for those that tracing cannot see, such as labels out of range.
      proven: whether `grad` is a rule of its own; else `jax.grad` stands in.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> loss = pn.losses.half_squared_error
      >>> float(loss.value(jnp.array([3.0]), jnp.array([1.0]))), loss.grad(jnp.array([3.0]), jnp.array([1.0])).tolist()
      (2.0, [2.0])
    """

    name: str
    value: Callable[[Tree, Tree], jax.Array]
    grad: Callable[[Tree, Tree], Tree]
    check_targets: Callable[[Spec, Any], None]
    proven: bool = False

    def __repr__(self) -> str:
        return self.name

    def __call__(self, *args: Any) -> NoReturn:
        """Raises: a loss is a pair of functions, and the message names them."""
        raise StructureError(
            f"{self.name}: expected no call, got one: it is a loss already. Use {self.name}.value(prediction, target) "
            f"or {self.name}.grad(prediction, target) on one example."
        )


def loss(
    value: Callable[[Tree, Tree], jax.Array],
    *,
    grad: Callable[[Tree, Tree], Tree] | None = None,
    name: str | None = None,
    check: Callable[[Spec, Spec], None] | None = None,
    check_targets: Callable[[Spec, Any], None] | None = None,
) -> Loss:
    """Makes a loss from its functions.

    Args:
      value: `(prediction, target) -> scalar` of one example, in plain JAX.
      grad: its gradient with respect to the prediction, derived by hand; left out, `jax.grad` stands in and
        the loss is not `proven`.
      name: shown in messages; defaults to the name of `value`.
      check: `(prediction's spec, target's spec)`, called before `value` and `grad` alike; raises what is wrong.
      check_targets: `(prediction's spec, targets)` on the host; raises for values that tracing cannot see.

    Returns:
      The loss.

    Raises:
      StructureError: if `value` is not a function; at trace time, if it returns more than one number.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> quartic = pn.losses.loss(lambda p, y: jnp.sum((p - y) ** 4), name="quartic")
      >>> float(quartic.value(jnp.array([3.0]), jnp.array([1.0]))), quartic.proven
      (16.0, False)
    """
    if not callable(value):
        raise StructureError(f"loss: expected value to be a function, got {describe(value)}. See pn.losses.Loss.")
    name = name or getattr(value, "__name__", "loss").strip("<>")

    def checked_value(prediction: Tree, target: Tree) -> jax.Array:
        with at(name):
            if check is not None:
                check(spec_of(prediction), spec_of(target))
            number: Any = value(prediction, target)
            if not hasattr(number, "dtype") and not isinstance(number, float):
                raise StructureError(f"expected a loss of one number, got {describe(number)}. Return a scalar array.")
            if jnp.shape(number) != ():
                raise ShapeError(
                    f"expected a loss of one number per example, got shape {jnp.shape(number)}. "
                    "Sum or average over the outputs."
                )
            if not jnp.issubdtype(jnp.result_type(number), jnp.floating):
                raise StructureError(
                    f"expected a loss of floating dtype, got {jnp.result_type(number)}. It would have no gradient."
                )
            scalar: jax.Array = number
            return scalar

    def checked_grad(prediction: Tree, target: Tree) -> Tree:
        if grad is None:
            return jax.grad(checked_value)(prediction, target)
        with at(name):
            if check is not None:
                check(spec_of(prediction), spec_of(target))
            result = grad(prediction, target)
            expect_like("a gradient like the prediction", result, spec_of(prediction), "Check the rule in grad=.")
            return result

    def checked_targets(prediction: Spec, targets: Any) -> None:
        with at(name):
            if check_targets is not None:
                check_targets(prediction, targets)

    made = Loss(name, checked_value, checked_grad, checked_targets, grad is not None)
    object.__setattr__(made, "__doc__", value.__doc__ or Loss.__doc__)
    return made


def as_loss(value: Any) -> Loss:
    """Takes a loss as it is and makes one of a plain function of prediction and target.

    Args:
      value: a `Loss` or a function `(prediction, target) -> scalar`.

    Returns:
      The loss.

    Raises:
      StructureError: if it is neither, or a function that *makes* losses and was not called.

    Example:
      >>> as_loss(lambda p, y: (p - y) ** 2).name
      'lambda'
    """
    if isinstance(value, Loss):
        return value
    if not callable(value):
        raise StructureError(
            f"expected a loss or a function of prediction and target, got {describe(value)}. Give one of pn.losses."
        )
    refuse_maker(value, "loss", ("purenet.losses.",), "pn.losses")
    return _loss_of(value)


@functools.lru_cache(maxsize=64)  # one loss a function, so that nothing compiled for it is compiled again
def _loss_of(function: Callable[[Tree, Tree], jax.Array]) -> Loss:
    return loss(function)


def expect_alike(prediction: Spec, target: Spec) -> None:
    """Raises unless prediction and target are arrays of one shape and one floating dtype: nothing broadcasts."""
    expect_prediction(prediction)
    if not isinstance(target, jax.ShapeDtypeStruct):
        raise StructureError(f"expected target to be one array, got {describe(target)}. Use jnp.asarray.")
    if target.shape != prediction.shape:
        raise ShapeError(
            f"expected target of shape {prediction.shape}, that of the prediction, got {target.shape}. "
            "Reshape the targets, or the network's output with pn.reshape; losses never broadcast."
        )
    if target.dtype != prediction.dtype:
        raise StructureError(
            f"expected target of dtype {np.dtype(prediction.dtype)}, that of the prediction, got {target.dtype}. "
            f"Convert it: target.astype({str(prediction.dtype)!r})."
        )


def expect_prediction(prediction: Spec) -> None:
    """Raises unless the prediction is one floating array."""
    if not isinstance(prediction, jax.ShapeDtypeStruct):
        raise StructureError(
            f"expected prediction to be one array, got {describe(prediction)}. Pick one output, or write a loss "
            "of your own with pn.losses.loss."
        )
    if not jnp.issubdtype(prediction.dtype, jnp.floating):
        raise StructureError(f"expected prediction of floating dtype, got {prediction.dtype}. Convert it with astype.")
