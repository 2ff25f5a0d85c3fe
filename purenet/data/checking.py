"""The host-side gate: what only values show, checked once before a compiled program sees them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from purenet.data.leaves import Array, common_length, named_leaves

_ENABLE_X64 = 'jax.config.update("jax_enable_x64", True)'
_VALUES_AT_ONCE = 1 << 22  # keeps the mask of a memory-mapped array small


def check_data(data: Any, where: str = "data") -> Any:
    """Returns data ready for jit, after refusing everything that JAX would change or misread silently.

    Values are never changed. Two representations are: 64-bit integers become 32-bit while JAX's 64-bit
    mode is off, if every value fits; and a foreign byte order becomes the native one.

    Args:
        data: Pytree, usually `(xs, ys)` or `(xs, ys, weights)`, of NumPy or JAX arrays of booleans,
            integers or real floating-point numbers, each of shape (n, ...) with one n ≥ 1.
        where: The name by which errors call the data; leaves are called `data[0]`, `data[1]['image']`.

    Returns:
        The same pytree, of the same arrays wherever nothing had to be converted.

    Raises:
        TypeError: A leaf is a list, None, masked, a table, traced, or of a dtype that JAX cannot hold
            (text, objects, complex numbers; float64 while 64-bit mode is off).
        ValueError: There is no leaf, a scalar or an empty leaf, lengths differ, a floating-point value is
            NaN or infinite, or an integer does not fit in 32 bits while 64-bit mode is off.

    Example:
        >>> xs, ys = check_data((np.ones((3, 2), np.float32), np.array([0, 2, 1])))
        >>> ys.dtype
        dtype('int32')
        >>> check_data((np.ones((3, 2), np.float32), np.array([0, 2])))
        Traceback (most recent call last):
            ...
        ValueError: check_data: expected equal leading lengths, got 3 in data[0] and 2 in data[1]. ...
    """
    named = named_leaves(data, "check_data", where)
    common_length(named, "check_data")
    return jax.tree.unflatten(jax.tree.structure(data), [_checked(name, leaf) for name, leaf in named])


def _checked(name: str, leaf: Array) -> Array:
    _expect_concrete_numbers(name, leaf)
    if isinstance(leaf, np.ndarray):
        leaf = np.asarray(leaf)  # sheds subclasses: np.matrix would stay two-dimensional when indexed
        leaf = leaf.astype(leaf.dtype.newbyteorder("="), copy=False)
    narrow = leaf.dtype.itemsize == 8 and not jax.config.jax_enable_x64
    if jnp.issubdtype(leaf.dtype, jnp.floating):
        if narrow:
            raise TypeError(
                f"check_data: expected float32 in {name} while JAX's 64-bit mode is off, got {leaf.dtype}. "
                f"Use x.astype(np.float32) or {_ENABLE_X64}."
            )
        _expect_finite(name, leaf)
    return _narrowed(name, leaf) if narrow else leaf


def _expect_concrete_numbers(name: str, leaf: Array) -> None:
    if isinstance(leaf, jax.core.Tracer):
        raise TypeError(
            f"check_data: expected concrete values in {name}, got a traced array. Call it outside jit, vmap and grad."
        )
    dtype = leaf.dtype
    if jnp.issubdtype(dtype, jnp.complexfloating):
        raise TypeError(
            f"check_data: expected real numbers in {name}, got {dtype}. "
            "Pass the real and imaginary parts as two features."
        )
    numeric = any(jnp.issubdtype(dtype, kind) for kind in (jnp.bool_, jnp.integer, jnp.floating))
    if not numeric or dtype.itemsize > 8:
        raise TypeError(
            f"check_data: expected booleans, integers or floats of at most 64 bits in {name}, got {dtype}. "
            "Encode it as such numbers."
        )


def _expect_finite(name: str, leaf: Array) -> None:
    if isinstance(leaf, jax.Array):
        # On its own device, and now: inside a jit even operations on concrete arrays are staged.
        with jax.ensure_compile_time_eval():
            if jnp.isfinite(leaf).all():
                return
    values = np.asarray(leaf)
    count, first = 0, None
    rows = max(1, _VALUES_AT_ONCE * len(values) // values.size)
    for start in range(0, len(values), rows):
        bad = ~np.isfinite(values[start : start + rows])
        count += int(np.count_nonzero(bad))
        if first is None and count:
            row, *rest = _first(bad)
            first = (start + row, *rest)
    if first is not None:
        raise ValueError(
            f"check_data: expected finite values in {name}, got {count} NaN or infinite of {values.size}, "
            f"the first {values[first]} at {list(first)}. Leave those examples out or replace the values."
        )


def _narrowed(name: str, leaf: Array) -> Array:
    """Converts 64-bit integers to 32-bit ones of the same sign."""
    target = np.dtype(np.int32 if jnp.issubdtype(leaf.dtype, jnp.signedinteger) else np.uint32)
    limits = np.iinfo(target)
    values = np.asarray(leaf)
    if values.min() < limits.min or values.max() > limits.max:
        index = _first((values < limits.min) | (values > limits.max))
        raise ValueError(
            f"check_data: expected values that fit {target} in {name} while JAX's 64-bit mode is off, "
            f"got {values[index]} at {list(index)}. Use smaller values or {_ENABLE_X64}."
        )
    return leaf.astype(target)


def _first(mask: npt.NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(mask)), mask.shape))
