"""What the optimizers share of checks: options when they are made, extra arguments and trouble when they update."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purenet.contract import Tree
from purenet.errors import ShapeError, StructureError, describe
from purenet.optim.flattening import dtype_of

# The largest square matrix that is made unless told otherwise, in bytes.
MOST_BYTES = 2**30


def expect_rate(value: Any) -> None:
    """Raises unless `learning_rate` is a schedule or one number above 0; what JAX traces passes."""
    if callable(value):
        return
    _expect_number("learning_rate", value, "Give a number such as 0.1, or a schedule.")
    if known(value) and not 0 < float(value) < math.inf:
        raise ShapeError(
            f"expected learning_rate above 0 and finite, got {float(value)}. Give a positive number, or a schedule."
        )


def expect_amounts(**values: Any) -> None:
    """Raises unless each is one number of 0 or more; what JAX traces passes."""
    for what, value in values.items():
        _expect_number(what, value, "Give a float.")
        if known(value) and not 0 <= float(value) < math.inf:
            raise ShapeError(
                f"expected {what} of 0 or more and finite, got {float(value)}. Give 0.0 or a positive number."
            )


def expect_positive(**values: Any) -> None:
    """Raises unless each is one number above 0; what JAX traces passes."""
    for what, value in values.items():
        _expect_number(what, value, "Give a float.")
        if known(value) and not 0 < float(value) < math.inf:
            raise ShapeError(f"expected {what} above 0 and finite, got {float(value)}. Give a positive number.")


def expect_shares(**values: Any) -> None:
    """Raises unless each is one number from 0 to below 1; what JAX traces passes."""
    for what, value in values.items():
        _expect_number(what, value, "Give a float.")
        if known(value) and not 0 <= float(value) < 1:
            raise ShapeError(f"expected {what} from 0 to below 1, got {float(value)}. Give such as 0.9.")


def expect_counts(**values: Any) -> None:
    """Raises unless each is one whole number of 1 or more; what JAX traces passes."""
    for what, value in values.items():
        _expect_number(what, value, "Give an int.")
        if not jnp.issubdtype(jnp.result_type(value), jnp.integer):
            raise StructureError(f"expected {what} to be a whole number, got {describe(value)}. Give an int.")
        if known(value) and int(value) < 1:
            raise ShapeError(f"expected {what} of 1 or more, got {int(value)}. Give an int of 1 or more.")


def expect_given(params: Any, **given: Any) -> None:
    """Raises if params, or an extra argument that the optimizer needs, did not reach its `update`."""
    if params is None:
        raise StructureError("expected params, got None. Call update(grads, state, params).")
    for what, value in given.items():
        if value is None:
            raise StructureError(
                f"expected {what}, got None. pn.train_step, pn.train and pn.fit supply it; "
                f"by hand, call update(grads, state, params, {what}=…)."
            )


def expect_room(params: Tree, max_bytes: Any, remedy: str) -> None:
    """Raises if a square matrix with a row for each parameter takes more bytes than allowed."""
    most = MOST_BYTES if max_bytes is None else max_bytes
    if not known(most):
        raise StructureError(
            "expected max_bytes to be known, got a traced number. "
            'Name it in optax.inject_hyperparams(…, static_args="max_bytes").'
        )
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    dtype = np.dtype(dtype_of(params))
    needed = count * count * dtype.itemsize
    if needed > most:
        raise ShapeError(
            f"expected a matrix of at most {amount(int(most))}, max_bytes, got {count} parameters, "
            f"whose {count} by {count} matrix of {dtype} takes {amount(needed)}. {remedy}"
        )


def tell(state: Any) -> None:
    """Raises the trouble that an optimizer's state tells of, unless JAX is tracing and it is not known yet."""
    if all(known(leaf) for leaf in jax.tree.leaves(state)):
        trouble = state.trouble()
        if trouble is not None:
            raise ShapeError(trouble)


def known(value: Any) -> bool:
    """Tells whether this is a number now, and not one that JAX traces."""
    return not isinstance(value, jax.core.Tracer)


def amount(count: int) -> str:
    """Writes a number of bytes, such as 37.5 GiB."""
    size, units = float(count), ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while size >= 1024 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:.4g} {units[0]}"


def _expect_number(what: str, value: Any, remedy: str) -> None:
    array = isinstance(value, (jax.Array, np.generic, np.ndarray))
    real = jnp.issubdtype(value.dtype, jnp.number) if array else isinstance(value, int | float)
    if not real or isinstance(value, bool):
        raise StructureError(f"expected {what} to be a number, got {describe(value)}. {remedy}")
    if array and value.ndim:
        raise ShapeError(f"expected {what} to be one number, got {describe(value)}. For many at once use jax.vmap.")
