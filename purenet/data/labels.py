"""Class labels as rows of zeros and a one."""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

ArrayT = TypeVar("ArrayT", npt.NDArray[Any], jax.Array)


def one_hot(labels: ArrayT, classes: int, dtype: npt.DTypeLike = np.float32) -> ArrayT:
    """Writes each label as a row with a one in the label's column.

    out[..., c] = 1 if c = label, else 0. On the host a label outside 0..classes−1 is an error; inside jit,
    where only the compiled program sees it, its row is NaN, never zeros and never another class.

    Args:
        labels: Integer array of any shape, each in 0..classes−1.
        classes: Number of classes, at least 1.
        dtype: Floating-point dtype of the result.

    Returns:
        An array of the same kind (NumPy or JAX), of shape (*labels.shape, classes).

    Raises:
        TypeError: `labels` is not an array of integers, or `dtype` is not floating, or is float64 for a JAX
            array while 64-bit mode is off.
        ValueError: `classes` is less than 1, or a label is out of range.

    Example:
        >>> one_hot(np.array([2, 0]), 3)
        array([[0., 0., 1.],
               [1., 0., 0.]], dtype=float32)
        >>> one_hot(np.array([2, 3]), 3)
        Traceback (most recent call last):
            ...
        ValueError: one_hot: expected labels in 0..2, got 3 at [1]. ...
    """
    _expect_arguments(labels, classes, np.dtype(dtype))
    xp: Any = jnp if isinstance(labels, jax.Array) else np
    # The bound must fit the labels' own dtype: a uint8 cannot be compared with 300.
    valid = (labels >= 0) & (labels <= min(classes - 1, jnp.iinfo(labels.dtype).max))
    traced = isinstance(valid, jax.core.Tracer)
    if not traced and not valid.all():
        index = tuple(int(i) for i in np.argwhere(~np.asarray(valid))[0])
        raise ValueError(
            f"one_hot: expected labels in 0..{classes - 1}, got {labels[index]} at {list(index)}. "
            "Raise classes, or renumber the labels from 0."
        )
    column = xp.where(valid, labels, 0).astype(np.int32)[..., None]
    columns = xp.arange(classes, dtype=np.int32).reshape((1,) * labels.ndim + (classes,))
    rows: ArrayT = (column == columns).astype(dtype)
    if traced:
        rows = xp.where(valid[..., None], rows, xp.asarray(np.nan, dtype))
    return rows


def _expect_arguments(labels: Any, classes: int, dtype: np.dtype[Any]) -> None:
    if not isinstance(labels, np.ndarray | jax.Array):
        raise TypeError(
            f"one_hot: expected labels to be a NumPy or JAX array, got {type(labels).__name__}. "
            "Convert it with np.asarray."
        )
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(
            f"one_hot: expected labels of an integer dtype, got {labels.dtype}. Use labels.astype(np.int32)."
        )
    if not isinstance(classes, int | np.integer) or classes < 1:
        raise ValueError(
            f"one_hot: expected classes to be an integer of at least 1, got {classes!r}. Pass the number of classes."
        )
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"one_hot: expected a floating dtype, got {dtype}. Use np.float32.")
    if isinstance(labels, jax.Array) and dtype.itemsize == 8 and not jax.config.jax_enable_x64:
        raise TypeError(
            f"one_hot: expected dtype float32 while JAX's 64-bit mode is off, got {dtype}. "
            'Use np.float32 or jax.config.update("jax_enable_x64", True).'
        )
