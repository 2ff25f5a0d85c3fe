"""check.grad: the gradient of any function, at the very point given."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purenet.check import leaves
from purenet.check.compiling import exactly
from purenet.check.gradient_laws import judge
from purenet.check.reports import CheckReport, chosen, finish
from purenet.check.second_order import second_order_law
from purenet.check.subjects import Moving, Subject, autodiff, coarsest, has_own_rule, stack_draws
from purenet.contract import Tree
from purenet.errors import ShapeError, StructureError, by, describe, is_whole
from purenet.streams import generator_of

LAWS = ("autodiff", "kinks", "second order")


def grad(
    fn: Callable[..., Tree],
    *args: Any,
    argnums: int | Sequence[int] | None = None,
    key: Any = None,
    skip: Sequence[str] = (),
) -> CheckReport:
    """Checks `jax.grad` of a function against finite differences, coordinate by coordinate, at the arguments given.

    It finds what is wrong in a `jax.custom_vjp` or `jax.custom_jvp`, and gradients that are NaN though the function is
    smooth. Where the function has a kink, any slope from the one side's to the other's is right, and the report says
    which one is taken. All floats are computed in float64. Of a function of several outputs, J = Σ dy y is
    checked, with dy drawn. The laws: `autodiff`, `kinks`, `second order`.

    Args:
      fn: a function of pytrees that returns one floating number, or a pytree with floats.
      *args: its arguments. Floats move, in arrays or not; all else is handed on as it is.
      argnums: the places of the arguments to differentiate; left out, all that hold floats.
      key: a JAX random key for directions and cotangents; `jax.random.key(0)` unless told.
      skip: names of the laws to leave out, such as `("second order",)`.

    Returns:
      The report; its `measured` holds the gradient by finite differences.

    Raises:
      CheckError: if the gradient is wrong.
      ShapeError: if an argument of `argnums` or a law's name does not exist.
      StructureError: if `fn` is no function, or no floats go in or come out.

    References:
      Richardson (1911), The approximate arithmetical solution by finite differences of physical problems.

    Example:
      >>> import purenet as pn
      >>> report = pn.check.grad(lambda x, y, z: (x + y) * z, 2.0, 5.0, -4.0)
      >>> {name: round(float(slope), 9) for name, slope in report.measured.items()}
      {'x': -4.0, 'y': -4.0, 'z': 7.0}
    """
    with by("check.grad"):
        if not callable(fn):
            raise StructureError(f"expected fn to be a function, got {describe(fn)}. Pass it without calling it.")
        wanted = chosen(LAWS, None, skip)
        places = _places(args, argnums)
        key = jax.random.key(0) if key is None else key
        rng = generator_of(key)
        with exactly():
            report = _checked(fn, args, places, wanted, rng)
    return finish(report)


def _checked(
    fn: Callable[..., Tree], args: Sequence[Any], places: Sequence[int], wanted: Sequence[str], rng: np.random.Generator
) -> CheckReport:
    wide = [_wide(arg) for arg in args]
    parted = {
        name: wide[place] for name, place in zip(_names(fn, args), range(len(args)), strict=True) if place in places
    }
    moving, rest = leaves.part(list(parted.values()))
    structure = jax.tree.structure(list(parted.values()))

    def value(moving: Moving, fixed: Tree) -> Moving:
        moved = iter(leaves.join(structure, moving, rest))
        given = [next(moved) if place in places else jax.tree.map(_plain, arg) for place, arg in enumerate(wide)]
        return leaves.floats(jax.tree.map(_array, fn(*given)))

    if not moving:
        raise StructureError(f"expected arguments with floats, got {', '.join(map(describe, args))}. Write 2.0, not 2.")
    outputs = jax.eval_shape(lambda moving: value(moving, ()), tuple(map(jnp.asarray, moving)))
    if not sum(leaves.sizes(outputs)):
        raise StructureError("expected fn to return floats, got none. Return what shall be differentiated.")
    single = sum(leaves.sizes(outputs)) == 1
    cotangents = tuple(
        np.ones(y.shape, y.dtype) if single else rng.normal(size=y.shape).astype(y.dtype) for y in outputs
    )
    paths = [path for path, leaf in leaves.entries(**parted) if leaves.is_float(leaf)]
    jaxpr = jax.make_jaxpr(lambda moving: value(moving, ()))(moving)
    subject = Subject(
        getattr(fn, "__name__", "fn"), value, {"autodiff": autodiff(value)}, paths, point="the point given"
    )
    draws = stack_draws([(moving, (), cotangents)], ("",))
    found = judge(subject, draws, coarsest(jaxpr), has_own_rule(jaxpr), rng)
    laws = [result for result in found.laws if result.law in wanted]
    if "second order" in wanted:
        laws.append(second_order_law(subject, draws, coarsest(jaxpr), rng))
    name = subject.name.strip("<>")
    return CheckReport(f"check.grad: {name}", tuple(laws), found.conventions, found.measured)


def _places(args: Sequence[Any], argnums: Any) -> tuple[int, ...]:
    if argnums is None:
        return tuple(i for i, arg in enumerate(args) if leaves.floats(_wide(arg)))
    if not (is_whole(argnums) or isinstance(argnums, (tuple, list, range))):
        raise StructureError(f"expected argnums to be ints, got {describe(argnums)}. Give places, such as (0, 1).")
    places = (argnums,) if is_whole(argnums) else tuple(argnums)
    for place in places:
        if not is_whole(place) or not 0 <= place < len(args):
            raise ShapeError(f"expected argnums from 0 to {len(args) - 1}, got {place!r}. Give places of arguments.")
    return places


def _names(fn: Callable[..., Any], args: Sequence[Any]) -> list[str]:
    """The parameters' names, or args[0], args[1], … where they have none."""
    numbered = [f"args[{i}]" for i in range(len(args))]
    try:
        parameters = list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):
        return numbered
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [*named[: len(args)], *numbered[len(named) :]]


def _wide(arg: Any) -> Any:
    """Floats of Python, NumPy and JAX as NumPy's float64; all else as it is."""

    def wide(leaf: Any) -> Any:
        if isinstance(leaf, float) or leaves.is_float(leaf):
            return np.asarray(leaf).astype(np.float64)
        return leaf

    return jax.tree.map(wide, arg)


def _plain(leaf: Any) -> Any:
    return jnp.asarray(leaf) if leaves.is_float(leaf) else leaf


def _array(leaf: Any) -> Any:
    return leaf if hasattr(leaf, "dtype") else jnp.asarray(leaf)
