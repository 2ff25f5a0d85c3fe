"""Errors that say where, what was expected, what came and what to do; the checks that raise them."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purenet.recording import enter, joined, leave

_NOTE = "purenet: in "


class _LocatedError(Exception):
    """An error whose message begins with the path of the layer that raised it."""

    def __init__(self, text: str):
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        path = getattr(self, "purenet_path", "")
        return f"{path}: {self.text}" if path else self.text


class ShapeError(_LocatedError, ValueError):
    """A shape or a value outside the range that a callable accepts.

    Example:
      >>> import purenet as pn
      >>> pn.dense(0)
      Traceback (most recent call last):
      purenet.ShapeError: dense: expected features of 1 or more, got 0. Give the number of outputs.
    """

    __module__ = "purenet"


class StructureError(_LocatedError, TypeError):
    """A dtype or a tree structure that a callable does not accept.

    Example:
      >>> import purenet as pn
      >>> pn.dense("3")
      Traceback (most recent call last):
      purenet.StructureError: dense: expected features to be a whole number, got '3'. Give an int.
    """

    __module__ = "purenet"


@contextmanager
def at(place: str) -> Iterator[None]:
    """Says where the block runs: prefixes the path of whatever error passes through, and that of recorded calls.

    purenet's own errors show the path in front of their message; every other error carries it as a note.

    Args:
      place: a layer's name, or a part's index such as `[2]`.

    Yields:
      Nothing.
    """
    token = enter(place)
    try:
        yield
    except Exception as error:
        path = joined(place, getattr(error, "purenet_path", ""))
        error.purenet_path = path  # type: ignore[attr-defined]
        if not isinstance(error, _LocatedError):
            notes = [note for note in getattr(error, "__notes__", []) if not note.startswith(_NOTE)]
            error.__notes__ = [*notes, _NOTE + path]
        raise
    finally:
        leave(token)


@contextmanager
def by(name: str) -> Iterator[None]:
    """Names the callable in purenet's errors that pass through, unless a layer or loss already said where.

    Args:
      name: the callable's name.

    Yields:
      Nothing.
    """
    try:
        yield
    except _LocatedError as error:
        error.purenet_path = getattr(error, "purenet_path", "") or name  # type: ignore[attr-defined]
        raise


def describe(value: Any) -> str:
    """Names what came, for an error message: dtype and shape of an array, type and size of the rest."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype} of shape {tuple(value.shape)}"
    if isinstance(value, (tuple, list, dict)) and not hasattr(value, "_fields"):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, (int, float, str, bool)) or value is None:
        return repr(value)
    return f"a {type(value).__name__}"


def expect_array(x: Any, what: str = "x") -> None:
    """Raises unless `x` is the spec of one array of floating dtype."""
    if not isinstance(x, jax.ShapeDtypeStruct):
        raise StructureError(f"expected {what} to be one array, got {describe(x)}. Pick one, or use jnp.asarray.")
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise StructureError(
            f"expected {what} of floating dtype, got {x.dtype}. Convert the examples, such as x.astype(np.float32)."
        )


def expect_shape(x: Any, shape: tuple[int, ...], dtype: Any, what: str = "x") -> None:
    """Raises unless `x` is the spec of one array of this shape and dtype; the message says what to try."""
    expect_array(x, what)
    if x.shape != shape:
        raise ShapeError(f"expected {what} of shape {shape}, got {x.shape}. {_remedy(shape, x.shape)}")
    if x.dtype != dtype:
        raise StructureError(
            f"expected {what} of dtype {np.dtype(dtype)}, that of the parameters, got {x.dtype}. "
            f"Cast {what} or the parameters with astype."
        )


def expect_key(key: Any) -> None:
    """Raises unless `key` is one JAX random key, typed or of the older uint32 kind (of 2 words, or 4 for rbg)."""
    typed = isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    if not typed and not (getattr(key, "dtype", None) == np.uint32 and np.shape(key)[-1:] in ((2,), (4,))):
        raise StructureError(f"expected a JAX random key, got {describe(key)}. Make one with jax.random.key(0).")
    if np.ndim(key) != (0 if typed else 1):
        raise ShapeError(f"expected one random key, got {describe(key)}. Pass one of them, or use jax.vmap over keys.")


def is_whole(value: Any) -> bool:
    """Tells whether this is a whole number of Python's or NumPy's, and no truth value."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def expect_flags(name: str, **flags: Any) -> None:
    """Raises unless all are True or False."""
    for what, value in flags.items():
        if not isinstance(value, bool):
            raise StructureError(f"{name}: expected {what} to be True or False, got {describe(value)}. Give a bool.")


def expect_kept(leaf: Any) -> None:
    """Raises if JAX would change the array's dtype silently, as it does to NumPy's float64 and int64."""
    dtype = getattr(leaf, "dtype", None)
    if isinstance(leaf, (np.ndarray, np.generic)) and jax.dtypes.canonicalize_dtype(dtype) != dtype:
        kept = jax.dtypes.canonicalize_dtype(dtype)
        raise StructureError(
            f"expected arrays of a dtype that JAX keeps, got {describe(leaf)}, which it would turn into {kept}. "
            f"Convert it with astype({str(kept)!r}), or the data with pn.data.check_data."
        )


def expect_like(what: str, tree: Any, made: Any, remedy: str) -> None:
    """Raises unless `tree` has structure, shapes and dtypes of `made`, a tree of specs."""
    wanted: Any = jax.tree.structure(made)
    if jax.tree.structure(tree) != wanted:
        raise StructureError(f"expected {what}, got another tree, {describe(tree)}. {remedy}")
    for (path, expected), leaf in zip(jax.tree_util.tree_leaves_with_path(made), jax.tree.leaves(tree), strict=True):
        if describe(leaf) != describe(expected):
            at_place, there = (f" at {jax.tree_util.keystr(path)}", " there") if path else ("", "")
            raise StructureError(
                f"expected {what}, with {describe(expected)}{at_place}, got {describe(leaf)}{there}. {remedy}"
            )


def refuse_maker(value: Any, kind: str, packages: tuple[str, ...], door: str) -> None:
    """Raises if `value` is one of purenet's functions that make a layer, loss or metric, passed without a call."""
    name, module = getattr(value, "__name__", ""), str(getattr(value, "__module__", ""))
    if name.isidentifier() and module.startswith(packages):
        raise StructureError(f"expected a {kind}, got the function {name}, which makes one. Call it: {door}.{name}(…).")


def _remedy(expected: tuple[int, ...], got: tuple[int, ...]) -> str:
    """Says what probably happened when an example of shape `got` came in place of `expected`."""
    many, one = math.prod(got), math.prod(expected)
    if len(got) > len(expected) and got[len(got) - len(expected) :] == expected:
        return "For a mini-batch use jax.vmap(net.apply, (None, 0)); for a sequence in one example, pn.each."
    if len(got) < len(expected) and expected[len(expected) - len(got) :] == got:
        return "An axis was lost: is jax.vmap applied twice, or one example passed as a mini-batch?"
    if many == one:
        return f"The sizes agree: put pn.reshape({expected}) before it."
    if one and many and many % one == 0:
        return f"{many} is {many // one} times {one}: were several examples flattened into one?"
    return "Initialise the network with the spec of the examples that it gets."
