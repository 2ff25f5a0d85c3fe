"""The likely reason for a wrong gradient: hypotheses, of which the first that explains all numbers is told."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from purenet.check import leaves
from purenet.check.compiling import quick
from purenet.check.subjects import Draws, Moving, Subject


class Evidence(NamedTuple):
    """What is known of a wrong rule at one leaf.

    Attributes:
      subject: what is under check.
      law: the name of the wrong rule.
      draws: the random draws, R of them.
      leaf: which of the moving leaves.
      wrong: (R, n) what the rule gave, for all leaves.
      right: (R, n) what it should have given; NaN where that is not known.
      trusted: a rule that was found right, or None.
      tolerance: how alike two gradients must be to be taken for one.
    """

    subject: Subject
    law: str
    draws: Draws
    leaf: int
    wrong: Any
    right: Any
    trusted: str | None
    tolerance: float

    def of(self, flat: Any, leaf: int | None = None) -> Any:
        """The entries of one leaf, in its shape."""
        shapes = leaves.pick(self.draws.moving, 0)
        parts = [leaves.unflat(row, shapes) for row in flat]
        return np.stack([part[self.leaf if leaf is None else leaf] for part in parts])

    def same(self, one: Any, other: Any) -> bool:
        """Whether two gradients are alike, as far as both are known."""
        if np.shape(one) != np.shape(other):
            return False
        known = np.isfinite(one) & np.isfinite(other)
        if not known.any():
            return False
        size = np.max(np.abs(other[known]))
        return bool(np.max(np.abs(one - other)[known]) <= self.tolerance * size) if size > 0 else False

    def run(self, law: str, **changed: Moving) -> Any:
        """The gradient of this leaf by a rule at the first draw, with some of the arguments changed."""
        given = leaves.pick(self.draws._replace(labels=()), 0)._asdict() | changed
        grads = _compiled(self.subject.rules[law])(given["moving"], given["fixed"], given["cotangents"])
        return np.asarray(grads[self.leaf])[None]


@functools.lru_cache(maxsize=4)  # the hypotheses run a rule some twenty times
def _compiled(rule: Callable[..., Moving]) -> Callable[..., Moving]:
    return quick(rule)


Hypothesis = Callable[[Evidence, Any, Any], Iterator[str]]


def guess(evidence: Evidence) -> str:
    """Says why a rule is probably wrong at a leaf."""
    wrong, right = evidence.of(evidence.wrong), evidence.of(evidence.right)
    for hypothesis in (_infinite, _factor, _nothing, _moved, _elsewhere, _replaced, _independent, _constant, _shifted):
        if hypothesis in (_replaced, _independent) and evidence.trusted is None:
            continue
        for text in hypothesis(evidence, wrong, right):
            return text
    return "No simple mistake explains it"


def _infinite(evidence: Evidence, wrong: Any, right: Any) -> Iterator[str]:
    bad = int(np.sum(~np.isfinite(wrong) & np.isfinite(right)))
    if bad:
        yield f"The rule is not finite in {bad} of {wrong.size} coordinates, where the slope is: 0/0, inf - inf?"


def _factor(evidence: Evidence, wrong: Any, right: Any) -> Iterator[str]:
    known = np.isfinite(wrong) & np.isfinite(right)
    below = np.sum(right[known] ** 2)
    if not known.any() or below == 0:
        return
    factor = float(np.sum(wrong[known] * right[known]) / below)
    near = max(1e-3, evidence.tolerance / 10)
    if factor == 0 or not evidence.same(wrong, factor * right):
        return
    if abs(factor + 1) < near:
        yield "The sign is wrong: this is minus the gradient"
    sizes = _sizes(evidence)
    for n, what in sizes.items():
        for sign, prefix in ((1, ""), (-1, "minus ")):
            if abs(sign * factor / n - 1) < near:
                doubled = "Doubled, or " if n == 2 else ""
                yield f"{doubled}{prefix}{n} times the gradient, and {n} is {what}: backward forgot the 1/{n}?"
            if abs(sign * factor * n - 1) < near:
                halved = "Halved, or " if n == 2 else ""
                yield f"{halved}{prefix}1/{n} of the gradient, and {n} is {what}: averaged where it is summed?"
    if abs(factor - 2) < near:
        yield "The gradient is doubled: a factor of 2, or a term counted twice"
    if abs(factor - 0.5) < near:
        yield "The gradient is halved: a factor of 2 is missing"
    yield f"{factor:.6g} times the gradient everywhere: a constant factor is wrong"


def _sizes(evidence: Evidence) -> dict[int, str]:
    """Sizes that a mean may have been taken over, the mini-batch first."""
    found: dict[int, str] = {}
    if evidence.subject.batch is not None:
        found[evidence.subject.batch] = "the number of examples"
    given = leaves.pick(evidence.draws._replace(labels=()), 0)
    for what, group in {"outputs": given.cotangents, "inputs": given.moving}.items():
        for leaf in group:
            for axis, size in enumerate(np.shape(leaf)):
                found.setdefault(size, f"the size of axis {axis} of the {what}")
            found.setdefault(int(np.size(leaf)), f"how many {what} there are")
    return {size: what for size, what in found.items() if size > 1}


def _nothing(evidence: Evidence, wrong: Any, right: Any) -> Iterator[str]:
    if not np.any(wrong):
        yield "The rule gives zeros: nothing flows back to this leaf, a missing term or a stop_gradient"
        return
    if np.ndim(wrong) > 1:
        for axis in range(1, wrong.ndim):
            empty = [i for i in range(wrong.shape[axis]) if not np.any(np.take(wrong, i, axis))]
            others = [i for i in range(wrong.shape[axis]) if i not in empty]
            rest = np.take(wrong, others, axis), np.take(right, others, axis)
            if empty and others and np.nanmax(np.abs(np.take(right, empty, axis))) > 0 and evidence.same(*rest):
                yield f"Right but for zeros at {empty} of axis {axis - 1}: entries are left out there"


def _moved(evidence: Evidence, wrong: Any, right: Any) -> Iterator[str]:
    if right.ndim > 2:
        swapped = np.swapaxes(right, -1, -2)
        if evidence.same(wrong, swapped):
            yield "The gradient is transposed"
        if evidence.same(wrong, swapped.reshape(right.shape)):
            yield "The gradient is transposed, then reshaped to fit: use .T, not reshape"
        if evidence.same(wrong, -swapped):
            yield "The gradient is transposed, with the wrong sign"
    for axis in range(1, right.ndim):
        if right.shape[axis] > 1:
            if evidence.same(wrong, np.flip(right, axis)):
                yield f"The gradient is reversed along axis {axis - 1}"
            for shift in (1, -1):
                if evidence.same(wrong, np.roll(right, shift, axis)):
                    yield f"The gradient is rolled by {shift} along axis {axis - 1}: off by one"
    flat = right.reshape(len(right), -1)
    if right.ndim > 2 and evidence.same(wrong, np.flip(flat, 1).reshape(right.shape)):
        yield "The gradient is reversed along all axes: a flipped kernel"


def _elsewhere(evidence: Evidence, wrong: Any, right: Any) -> Iterator[str]:
    for leaf, path in enumerate(evidence.subject.paths):
        if leaf != evidence.leaf and evidence.same(wrong, evidence.of(evidence.right, leaf)):
            yield f"This is the gradient of {path}: the rule gives it in the wrong place"
    for cotangent in evidence.draws.cotangents:
        if evidence.same(wrong, cotangent):
            yield "The cotangent is passed on unchanged: the local derivative is missing"
    for values, path in zip(evidence.draws.moving, evidence.subject.paths, strict=True):
        if evidence.same(wrong, values):
            yield f"This is {path} itself: not multiplied by dy, or not differentiated"


def _constant(evidence: Evidence, wrong: Any, right: Any) -> Iterator[str]:
    for axis in range(1, wrong.ndim):
        if wrong.shape[axis] == 1:
            continue
        level = np.broadcast_to(np.take(wrong, [0], axis), wrong.shape)
        if evidence.same(wrong, level) and not evidence.same(
            right, np.broadcast_to(np.take(right, [0], axis), right.shape)
        ):
            for word, total in (
                ("sum", np.sum(right, axis, keepdims=True)),
                ("mean", np.mean(right, axis, keepdims=True)),
            ):
                if evidence.same(wrong, np.broadcast_to(total, right.shape)):
                    yield f"It is the {word} of the gradient along axis {axis - 1}: summed over the wrong axis"
            yield f"It is constant along axis {axis - 1}, which the gradient is not: summed over the wrong axis"


def _replaced(evidence: Evidence, wrong: Any, right: Any) -> Iterator[str]:
    """Compares with the right rule run on other arguments than it should get."""
    trusted, given = evidence.trusted or "", leaves.pick(evidence.draws._replace(labels=()), 0)
    first, size = wrong[:1], evidence.subject.batch
    ones = tuple(np.ones_like(dy) for dy in given.cotangents)
    given_ones = all(np.all(dy == 1) for dy in given.cotangents)
    if not given_ones and evidence.same(first, evidence.run(trusted, cotangents=ones)):
        yield "It is not multiplied by dy"
    if size is None or size < 2:
        return
    for place, index in (("first", 0), ("last", size - 1)):
        alone = tuple(np.where(_row(dy, index), dy, 0) for dy in given.cotangents)
        if evidence.same(first, evidence.run(trusted, cotangents=alone)):
            yield f"Only the {place} example counts: sum over the mini-batch"
    for shift in (1, -1):
        rolled = tuple(
            np.roll(leaf, shift, 0) if path.startswith("x") else leaf
            for leaf, path in zip(given.moving, evidence.subject.paths, strict=True)
        )
        if evidence.same(first, evidence.run(trusted, moving=rolled)):
            yield "Each example's cotangent meets the input of another: a stale or shifted residual"


def _row(dy: Any, index: int) -> Any:
    return (np.arange(len(dy)) == index).reshape(-1, *[1] * (np.ndim(dy) - 1))


def _independent(evidence: Evidence, wrong: Any, right: Any) -> Iterator[str]:
    """Finds what the gradient depends on and the rule does not."""
    given = leaves.pick(evidence.draws._replace(labels=()), 0)
    changes: list[tuple[str, dict[str, Any]]] = [("dy", {"cotangents": _bent(given.cotangents)})]
    for i, path in enumerate(evidence.subject.paths[:8]):
        moving = tuple(_bent((leaf,))[0] if j == i else leaf for j, leaf in enumerate(given.moving))
        changes.append((path, {"moving": moving}))
    before = {law: evidence.run(law) for law in (evidence.law, evidence.trusted or "")}
    for what, change in changes:
        mine, other = (evidence.run(law, **change) for law in before)
        if evidence.same(mine, before[evidence.law]) and not evidence.same(other, before[evidence.trusted or ""]):
            why = "a stale residual, a stop_gradient or a missing factor"
            yield f"It does not depend on {what}, as the gradient does: {why}"
    doubled = evidence.run(evidence.law, cotangents=tuple(2 * dy for dy in given.cotangents))
    if not evidence.same(doubled, 2 * before[evidence.law]):
        yield "It is not linear in dy: a pullback must double when dy does"


def _bent(arrays: Moving) -> Moving:
    """Other values, each entry by a factor of its own."""
    return tuple(a * np.linspace(0.8, 1.3, max(1, np.size(a))).reshape(np.shape(a)) for a in arrays)


def _shifted(evidence: Evidence, wrong: Any, right: Any) -> Iterator[str]:
    """Describes the difference where nothing explains the rule."""
    apart = wrong - right
    known = np.isfinite(apart)
    for axis in range(1, apart.ndim):
        level = np.broadcast_to(np.take(apart, [0], axis), apart.shape)
        if apart.shape[axis] > 2 and evidence.same(apart, level):
            yield f"The error is constant along axis {axis - 1}: a sum or mean over it is wrong or missing"
    for values, path in zip(evidence.draws.moving, evidence.subject.paths, strict=True):
        if values.shape == apart.shape and values.size > 2 and known.all() and np.sum(values**2) > 0:
            factor = np.sum(apart * values) / np.sum(values**2)
            if factor and evidence.same(apart, factor * values):
                yield f"The error is {factor:.6g} times {path}: a term in it is wrong or missing"
    size = np.maximum(np.abs(wrong), np.abs(right))
    off = known & (np.abs(apart) > 10 * evidence.tolerance * size)
    count, total = int(np.sum(off.any(axis=0))), int(np.prod(apart.shape[1:]))
    with np.errstate(all="ignore"):
        ratio = (wrong / right)[off]
    extent = f" (by factors from {np.min(ratio):.3g} to {np.max(ratio):.3g})" if ratio.size else ""
    yield f"It differs in {count} of {total} coordinates{extent}: a term is wrong or missing"
