"""Who made the first NaN or infinity: back from a result that is none to the operation whose operands were numbers."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from purenet.insight.programs import (
    Body,
    Where,
    as_numpy,
    called,
    chosen,
    has_nan,
    is_finite,
    label_of,
    loop_of,
    not_finite,
    ruled,
    run_eqn,
)
from purenet.insight.turning import Turns

Masks = dict[int, np.ndarray]


class Origin(NamedTuple):
    """An operation that made what is no number.

    Attributes:
      order: when it ran: its number in the program, and in those within.
      eqn: the operation.
      operands, result: what it took, and what it made of it.
      mask: which elements of the result are blamed.
      where: in which line, call, loop and layer.
      held: whether it only passes on a constant that is none.
    """

    order: tuple[int, ...]
    eqn: Any
    operands: tuple[Any, ...]
    result: Any
    mask: np.ndarray
    where: Where
    held: bool = False


class Blame(NamedTuple):
    """What a search found.

    Attributes:
      origins: operations whose operands were numbers, or whose operands' NaN or infinity was not the reason.
      births: operations that made NaN of infinities.
      reached: the program's operands that were no numbers before it began, with the elements that matter.
    """

    origins: list[Origin]
    births: list[Origin]
    reached: Masks

    def add(self, other: "Blame", order: tuple[int, ...]) -> Masks:
        """Takes over what was found further in; gives the operands that it reached."""
        self.origins.extend(origin._replace(order=order + origin.order) for origin in other.origins)
        self.births.extend(birth._replace(order=order + birth.order) for birth in other.births)
        return other.reached


def blame(body: Body, operands: Sequence[Any], wanted: Masks | None, where: Where) -> Blame:
    """Searches a program for what made the wanted elements of its results; None for all that are no numbers."""
    known = dict(zip(body.jaxpr.invars, operands, strict=True))
    known.update(zip(body.jaxpr.constvars, body.consts, strict=True))
    constants = set(body.jaxpr.constvars)

    def look(atom: Any) -> Any:
        return atom.val if hasattr(atom, "val") else known[atom]

    for eqn in body.jaxpr.eqns:
        known.update(zip(eqn.outvars, run_eqn(eqn, [look(atom) for atom in eqn.invars]), strict=True))
    if wanted is None:
        wanted = _worst([look(atom) for atom in body.jaxpr.outvars])
    masks: dict[Any, np.ndarray] = {}
    forward: set[Any] = set()
    for i, mask in wanted.items():
        _mark(masks, body.jaxpr.outvars[i], mask & not_finite(look(body.jaxpr.outvars[i])))
        forward |= set() if where.backward or hasattr(body.jaxpr.outvars[i], "val") else {body.jaxpr.outvars[i]}
    found = Blame([], [], {})
    for i, eqn in reversed(list(enumerate(body.jaxpr.eqns))):
        outs = {k: masks[var] for k, var in enumerate(eqn.outvars) if var in masks and masks[var].any()}
        if not outs:
            continue
        here = where.of(eqn)
        here = here._replace(backward=here.backward or not any(eqn.outvars[k] in forward for k in outs))
        given, made = [look(atom) for atom in eqn.invars], [look(var) for var in eqn.outvars]
        for j, mask in _through(eqn, given, made, outs, here, found, i).items():
            if hasattr(eqn.invars[j], "val") or eqn.invars[j] in constants:
                k = min(outs)
                held = Origin((i,), eqn, tuple(given), made[k], outs[k], here, held=True)
                found.origins.extend([held] if has_nan(_array(given[j])) else [])
                continue
            _mark(masks, eqn.invars[j], mask)
            forward |= set() if here.backward else {eqn.invars[j]}
    found.reached.update({i: masks[var] for i, var in enumerate(body.jaxpr.invars) if var in masks})
    return found


def _worst(results: Sequence[Any]) -> Masks:
    """The elements to search for: NaN if there is any, else infinities."""
    if any(has_nan(value) for value in results):
        return {i: np.isnan(as_numpy(value)) for i, value in enumerate(results) if has_nan(value)}
    return {i: not_finite(value) for i, value in enumerate(results) if not is_finite(value)}


def _mark(masks: dict[Any, np.ndarray], atom: Any, mask: np.ndarray) -> None:
    if not hasattr(atom, "val"):
        masks[atom] = masks[atom] | mask if atom in masks else mask


def _through(
    eqn: Any, given: list[Any], made: list[Any], outs: Masks, where: Where, found: Blame, number: int
) -> Masks:
    """Goes back through one operation: the operands to follow."""
    body, loop, choice, first = called(eqn) or ruled(eqn), loop_of(eqn), chosen(eqn, given), 0
    if body is not None:
        inner = blame(body, given, outs, where.inside(label_of(eqn, body)))
    elif choice is not None:
        inner, first = blame(choice[1], given[1:], outs, where.inside(f"cond branch {choice[0]}")), 1
    elif loop is not None:
        inner = _blame_loop(Turns(eqn.primitive.name, loop, given), outs, where)
    else:
        return _through_operation(eqn, given, made, outs, where, found, number)
    if not (inner.origins or inner.births or inner.reached):
        # Compiled as a whole it gave what its operations, one by one, do not: more than itself cannot be named.
        k = min(outs)
        found.origins.append(Origin((number,), eqn, tuple(given), made[k], outs[k], where))
    return {j + first: mask for j, mask in found.add(inner, (number,)).items()}


def _blame_loop(turns: Turns, outs: Masks, where: Where) -> Blame:
    """Searches a loop by jumps: to the turn in which a value became no number, then to its cause there."""
    loop, found = turns.loop, Blame([], [], {})
    reached = found.reached
    tasks: list[tuple[int, int]] = []  # the turn in which a result of the body is to be explained
    for k, mask in outs.items():
        if k >= loop.carry:
            slices = [turn for turn in range(turns.length) if mask[loop.at(turn)].any()]
            tasks += [(slices[0], k)] if slices else []
        else:
            _to_carry(turns, turns.length, k, tasks, reached)
    done: set[tuple[int, int]] = set()
    while tasks:
        turn, k = task = tasks.pop()
        if task in done:
            continue
        done.add(task)
        operands = turns.operands(turn)
        inner = blame(loop.body, operands, {k: np.asarray(True)}, where.inside(turns.label(turn)))
        for j, mask in found.add(inner, (turn,)).items():
            if j < loop.consts:
                _join(reached, loop.test_consts + j, mask)
            elif j < loop.consts + loop.carry:
                _to_carry(turns, turn, j - loop.consts, tasks, reached)
            else:
                whole = np.zeros(np.shape(turns.xs[j - loop.consts - loop.carry]), bool)
                whole[loop.at(turn)] = mask
                _join(reached, loop.test_consts + j, whole)
    return found


def _to_carry(turns: Turns, turn: int, k: int, tasks: list[tuple[int, int]], reached: Masks) -> None:
    """Finds the turn in which what a loop carries became no number, before this one; or it was none from the start."""
    start = turns.start(turn, k)
    if start < 0:
        _join(reached, turns.loop.test_consts + turns.loop.consts + k, not_finite(turns.init[k]))
    elif start < turn:
        tasks.append((start, k))


def _join(masks: Masks, at: int, mask: np.ndarray) -> None:
    masks[at] = masks[at] | mask if at in masks else mask


def _through_operation(
    eqn: Any, given: list[Any], made: list[Any], outs: Masks, where: Where, found: Blame, number: int
) -> Masks:
    """Asks an operation with numbers in place of what is none: what is still none, it made itself."""
    at = min(outs)
    origin = Origin((number,), eqn, tuple(given), made[at], outs[at], where)
    suspects = [j for j, value in enumerate(given) if not is_finite(_array(value))]
    healed = run_eqn(eqn, [_healed(value) for value in given]) if suspects else made
    own = {k: mask & not_finite(healed[k]) for k, mask in outs.items()}
    if any(mask.any() for mask in own.values()):
        k = min(k for k, mask in own.items() if mask.any())
        found.origins.append(origin._replace(result=made[k], mask=own[k]))
    rest = {k: mask & ~own[k] for k, mask in outs.items()}
    if not any(mask.any() for mask in rest.values()):
        return {}
    nan = any(np.isnan(as_numpy(made[k])[mask]).any() for k, mask in rest.items() if mask.any())
    with_nan = [j for j in suspects if has_nan(_array(given[j]))]
    if nan and with_nan:
        suspects = with_nan
    elif nan:
        found.births.append(origin._replace(mask=rest[at]))
    suspects = _guilty(eqn, given, suspects, rest)
    return {j: _elements(eqn, _array(given[j]), made[at], rest[at], nan and bool(with_nan)) for j in suspects}


def _guilty(eqn: Any, given: list[Any], suspects: list[int], rest: Masks) -> list[int]:
    """Of several operands that are no numbers, those that do it alone; all of them if none does."""
    if len(suspects) < 2:
        return suspects
    alone = []
    for j in suspects:
        outs = run_eqn(eqn, [value if i == j else _healed(value) for i, value in enumerate(given)])
        if any((mask & not_finite(outs[k])).any() for k, mask in rest.items()):
            alone.append(j)
    return alone or suspects


def _array(value: Any) -> Any:
    return value if hasattr(value, "dtype") else np.asarray(value)


def _healed(value: Any) -> Any:
    """The value with 1 in place of all that is no number."""
    value = _array(value)
    return value if is_finite(value) else jnp.where(not_finite(value), jnp.ones_like(value), value)


def _elements(eqn: Any, operand: Any, result: Any, mask: np.ndarray, only_nan: bool) -> np.ndarray:
    """Which elements of an operand matter for those of the result."""
    bad = np.isnan(as_numpy(operand)) if only_nan else not_finite(operand)
    if eqn.primitive.name in ELEMENTWISE and np.shape(operand) == np.shape(result) and (bad & mask).any():
        return np.asarray(bad & mask)
    return bad


_ELEMENTWISE = """
abs acos acosh add add_any and asin asinh atan atan2 atanh cbrt ceil clamp convert_element_type copy cos cosh digamma
div erf erf_inv erfc exp exp2 expm1 floor imag integer_pow lgamma log log1p logistic max min mul neg nextafter not or
pow real reduce_precision rem round rsqrt select_n sign sin sinh sqrt square sub tan tanh
"""
# Operations of which each element depends on the operands' elements at its own place alone.
ELEMENTWISE = frozenset(_ELEMENTWISE.split())
