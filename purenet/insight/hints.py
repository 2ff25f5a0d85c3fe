"""What usually helps against an operation that made NaN or infinity."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from purenet.insight.programs import as_numpy

# What jnp.where and jax.lax.select are called in programs.
CHOICES = ("select_n", "_where")

_FORWARD = {
    "log": "log of 0 or less: add an eps inside, or use a loss on logits, such as pn.losses.softmax_cross_entropy.",
    "log1p": "log1p of -1 or less: keep the operand above -1, such as by jnp.maximum.",
    "exp": "exp overflows: subtract the largest operand first, as jax.nn.softmax and jax.nn.logsumexp do.",
    "exp2": "exp2 overflows: subtract the largest operand first.",
    "expm1": "expm1 overflows: keep the operand below the largest exponent.",
    "div": "division by 0: add an eps to the divisor, or put jnp.where(d == 0, 1, d) in its place.",
    "rem": "remainder of a division by 0, or of infinity: put jnp.where(d == 0, 1, d) in the divisor's place.",
    "sqrt": "sqrt of a negative number: keep the operand at 0 or above, such as by jnp.maximum(x, 0).",
    "rsqrt": "1/sqrt of 0 or less: add an eps to the operand.",
    "pow": "a power of a negative number by a fraction, or of 0 by a negative one: keep the base above 0.",
    "integer_pow": "a power that overflows, or a negative power of 0: scale the base, or keep it away from 0.",
    "atanh": "atanh is finite only between -1 and 1: clip the operand a little inside.",
    "acos": "acos takes -1 to 1: clip the operand.",
    "asin": "asin takes -1 to 1: clip the operand.",
    "acosh": "acosh takes 1 or more: clip the operand.",
    "sub": "infinity minus infinity, or overflow: look where the infinity came from.",
    "add": "overflow, or infinities of both signs: look where they came from, or scale the operands.",
    "mul": "overflow, or 0 times infinity: scale the operands; a mask is jnp.where, not a product.",
    "dot_general": "a product that overflows: scale the weights or the inputs, or use a wider dtype.",
    "reduce_sum": "a sum that overflows: take a mean, scale the operands, or sum in float32.",
    "cumsum": "a sum that overflows: scale the operands, or sum in float32.",
    "cumprod": "a product that overflows: add logarithms instead.",
    "reduce_prod": "a product that overflows: add logarithms instead.",
    "convert_element_type": "the number is too large for the narrower dtype: scale it, or use bfloat16 or float32.",
    "gather": "an index out of range, for which jnp.take and x.at[i].get(mode='fill') give NaN: check the indices.",
    "reduce_max": "the largest of nothing: the axis is empty.",
    "cholesky": "the matrix is not positive definite: add a small multiple of the identity.",
    "custom_linear_solve": "the matrix is singular: add a small multiple of the identity, or use jnp.linalg.lstsq.",
    "triangular_solve": "the matrix is singular: its diagonal has a 0.",
    "select_n": "a number of your choice that is none: purenet's losses give NaN for targets out of range, too.",
}

_FORWARD["_where"] = _FORWARD["select_n"]
_HIDDEN = (
    "-infinity minus -infinity: jax.nn.softmax of a row that a mask of -inf hides altogether gives NaN; leave a place "
    "of it open, or use a large finite number such as -1e9."
)

_BACKWARD = {
    "div": (
        "the derivative has a division by 0, as those of sqrt, log and norms at 0 have: add an eps inside, or replace "
        "the operand on both sides, such as jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), 0)."
    ),
    "mul": (
        "0 times infinity in the derivative, such as that of sqrt behind a jnp.where: replace the operand before the "
        "operation as well, such as jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), 0)."
    ),
    "pow": "the derivative of a power below 1 at 0 is infinite: keep the base above 0.",
    "rsqrt": "the derivative of a root at 0 is infinite: add an eps to the operand.",
}


def hint_for(operation: str, operands: Sequence[Any], backward: bool) -> str:
    """A remedy for what an operation made; what helps most often where nothing is known of it."""
    if backward and operation in _BACKWARD:
        return _BACKWARD[operation]
    if operation == "div" and operands and _all_zero(operands[0]):
        return "0 divided by 0: add an eps to the divisor, or put jnp.where(d == 0, 1, d) in its place."
    if operation == "sub" and operands and _has_minus_infinity(operands[0]):
        return _HIDDEN
    if operation in _FORWARD:
        return _FORWARD[operation]
    return "look at the operands: one of them is outside what the operation takes, or too large for the dtype."


def _has_minus_infinity(value: Any) -> bool:
    return bool(np.any(np.isneginf(as_numpy(value).real)))


def _all_zero(value: Any) -> bool:
    return bool(np.all(np.asarray(value, np.float64) == 0))
