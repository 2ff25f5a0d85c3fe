"""The verdict on gradients: every rule against the measured slopes, coordinate by coordinate, and at kinks."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from purenet.check import leaves
from purenet.check.cases import Case, at_kink, blame, fits, ranges_of
from purenet.check.differences import Steps, slopes_of, steps_for
from purenet.check.kinks import conventions_of, kinks_law
from purenet.check.probing import Measured, Probes, make_probes, measure
from purenet.check.reasons import Evidence, guess
from purenet.check.reports import Failure, LawResult, verdict
from purenet.check.subjects import Draws, Subject, stack_draws


class Verdict(NamedTuple):
    """Results of the gradient laws, and how the rules choose at kinks; `doubtful` if any rule fits ill anywhere."""

    laws: tuple[LawResult, ...]
    conventions: tuple[str, ...]
    measured: dict[str, Any]
    doubtful: bool


def judge(subject: Subject, draws: Draws, rounding: float, own: bool, rng: np.random.Generator) -> Verdict:
    """Measures and judges all rules of a subject.

    Args:
      subject: the function with its rules.
      draws: where to look.
      rounding: of the coarsest format that the function computes in.
      own: whether autodiff of it runs a gradient that somebody wrote.
      rng: chooses the directions.

    Returns:
      One result for each rule, then one for kinks; and the conventions.
    """
    steps = steps_for(rounding)
    one = leaves.pick(draws.moving, 0)
    probes = make_probes(one, len(draws.labels), len(steps.offsets), rng)
    measured = measure(subject, draws, probes, steps.offsets)
    measured = measured._replace(sizes=measured.sizes + _conditioning(measured, probes, steps))
    slopes = slopes_of(measured.rises, measured.lengths, measured.sizes[:, None], steps)
    claims = {name: measured.slopes[name] / measured.lengths for name in subject.rules}
    tolerance = 1e-8 if rounding < 1e-12 else rounding
    case = Case(subject, draws, probes, measured, slopes, claims, tolerance, own)
    wrong = {name: blame(case, name) for name in claims}
    trusted = [name for name, bad in wrong.items() if not bad[case.random].any()]
    laws = [_law(case, name, wrong[name], trusted) for name in claims]
    doubtful = any(not fits(case, name).all() for name in claims)
    return Verdict((*laws, kinks_law(case, wrong)), tuple(conventions_of(case)), _first(case), doubtful)


def _conditioning(measured: Measured, probes: Probes, steps: Steps) -> Any:
    """Σ |x dJ/dx|: how far the rounding of what goes in moves the value, (D,)."""
    if steps.rounding > 1e-12 or not probes.coordinates:
        return 0.0
    rises = measured.rises[:, : probes.coordinates]
    with np.errstate(all="ignore"):
        slopes = np.abs(rises[..., 0] - rises[..., 1]) / (2 * steps.coarse)
    return np.sum(slopes, axis=1, where=np.isfinite(slopes))


def _first(case: Case) -> dict[str, Any]:
    """The measured gradient at the first draw, by leaf."""
    moving, singles = leaves.pick(case.draws.moving, 0), case.probes.coordinates
    vector = np.full(sum(leaves.sizes(moving)), np.nan)
    vector[case.probes.table[:singles, 0]] = case.slopes.best[0, :singles]
    return dict(zip(case.subject.paths, leaves.unflat(vector, moving), strict=True))


def _law(case: Case, name: str, wrong: Any, trusted: Sequence[str]) -> LawResult:
    """The result of one rule: at random points, and wherever the function is smooth."""
    undefined = case.random & ~np.isfinite(case.measured.sizes)
    if undefined.any():
        reason = "The function is not defined there: draw from its domain, with inputs= of check.layer or check.loss."
        place = f"finite values at {case.subject.point}"
        return verdict(name, [Failure(name, "", None, place, "NaN or infinity", reason)])
    smooth = wrong & ~at_kink(case, name)
    failures = _failures(case, name, smooth, trusted)
    other = next((law for law in trusted if law != name), None)
    if not failures and other is not None:
        failures = _tight(case, name, other)
    with np.errstate(all="ignore"):
        best, claim = case.slopes.best, case.claims[name]
        size = np.maximum(np.maximum(np.abs(best), np.abs(claim)), case.measured.sizes[:, None])
        gaps = (np.abs(claim - best) / size)[case.random]
    gap = float(np.nanmax(gaps)) if np.isfinite(gaps).any() else None
    return verdict(name, failures, gap, _note(case))


def _note(case: Case) -> str:
    count = int(case.random.sum())
    total = sum(leaves.sizes(leaves.pick(case.draws.moving, 0)))
    which = f"{total} coordinates" if case.probes.whole else f"{case.probes.coordinates} of {total} coordinates"
    blind = int(np.sum((~np.isfinite(case.slopes.best) & ~case.kinky)[case.random]))
    unseen = f"; {blind} slopes could not be measured" if blind else ""
    coarse = (
        "" if case.tolerance < 1e-7 else f"; computed with rounding {case.tolerance:.0e}, so only coarsely measured"
    )
    return f"{which}, {count} {'draw' if count == 1 else 'draws'}, against finite differences{unseen}{coarse}"


def _failures(case: Case, name: str, wrong: Any, trusted: Sequence[str]) -> list[Failure]:
    """One failure for each leaf that a rule has wrong, at its worst coordinate."""
    singles = case.probes.coordinates
    found = []
    with np.errstate(all="ignore"):
        apart = np.abs(case.claims[name] - case.slopes.best)
    apart = np.where(np.isfinite(apart), apart, np.finfo(np.float64).max)
    # Random points first: at the others, zeros and ties hide what is wrong.
    apart = np.where(wrong, np.where(case.random[:, None], 2.0, 1.0) + apart / (1 + apart), 0.0)
    for leaf, (begin, end) in enumerate(ranges_of(case)):
        places = case.probes.table[:singles, 0]
        mine = np.flatnonzero((places >= begin) & (places < end))
        if mine.size and wrong[:, mine].any():
            draw, column = np.unravel_index(np.argmax(apart[:, mine]), (len(apart), mine.size))
            column = mine[column]
            found.append(_failure(case, name, leaf, int(draw), int(places[column]) - begin, int(column), trusted))
    if not found and wrong.any():
        other = next((law for law in trusted if law != name), None)
        found = [] if other is None else _tight(case, name, other)
    if not found and wrong.any():
        draw, column = np.unravel_index(np.argmax(apart), apart.shape)
        found.append(_along(case, name, int(draw), int(column)))
    return found


def _failure(case: Case, name: str, leaf: int, draw: int, place: int, column: int, trusted: Sequence[str]) -> Failure:
    shape = np.shape(case.draws.moving[leaf])[1:]
    index = tuple(int(i) for i in np.unravel_index(place, shape))
    expected, got = float(case.slopes.best[draw, column]), float(case.claims[name][draw, column])
    if not np.isfinite(expected):
        expected = float(case.slopes.right[draw, column])
    label = case.draws.labels[draw]
    reason = f"This is at {label}. " if label else ""
    reason += guess(_evidence(case, name, leaf, trusted)) if case.random.any() else "It is wrong"
    return Failure(name, case.subject.paths[leaf], index, expected, got, reason + ("" if reason.endswith("?") else "."))


def _evidence(case: Case, name: str, leaf: int, trusted: Sequence[str]) -> Evidence:
    rows = np.flatnonzero(case.random)
    other = next((law for law in trusted if law != name), None)
    wrong = case.measured.gradients[name][rows]
    if other is not None:
        right = case.measured.gradients[other][rows]
    else:
        right = np.full(wrong.shape, np.nan)
        singles = case.probes.coordinates
        right[:, case.probes.table[:singles, 0]] = case.slopes.best[rows, :singles]
    begin, end = ranges_of(case)[leaf]
    with np.errstate(all="ignore"):
        apart = np.nan_to_num(np.abs(wrong - right)[:, begin:end], nan=0.0, posinf=1e300)
    order = np.argsort(-np.max(apart, axis=1, initial=0.0), kind="stable")  # hypotheses look at the first draw
    rows, wrong, right = rows[order], wrong[order], right[order]
    draws = stack_draws([leaves.pick(case.draws[:3], row) for row in rows], ("",) * len(rows))
    alike = 1e-6 if case.tolerance < 1e-7 else min(0.3, 16 * case.tolerance**0.5)
    return Evidence(case.subject, name, draws, leaf, wrong, right, other, alike)


def _along(case: Case, name: str, draw: int, column: int) -> Failure:
    """A failure that only shows along a direction of many coordinates."""
    expected, got = float(case.slopes.best[draw, column]), float(case.claims[name][draw, column])
    begin, end, seed = (int(word) for word in case.probes.table[column])
    where = next(
        (case.subject.paths[i] for i, span in enumerate(ranges_of(case)) if span == (begin, end)), "all leaves"
    )
    signs = "random signs" if seed else "one sign"
    reason = (
        f"The slope along a direction of {signs} in {where} is not the rule's: a coordinate not looked at is wrong."
    )
    return Failure(name, where, None, expected, got, reason)


def _tight(case: Case, name: str, other: str) -> list[Failure]:
    """Compares two rules in all coordinates, those too that no difference was taken in, at random points."""
    if case.tolerance > 1e-7 or "autodiff" in name:
        return []
    mine, theirs = (case.measured.gradients[law][case.random] for law in (name, other))
    smooth = np.ones(mine.shape, bool)
    singles = case.probes.coordinates
    smooth[:, case.probes.table[:singles, 0]] = np.isfinite(case.slopes.best[case.random, :singles])
    found = []
    noise = 1e-13 * (np.max(np.abs(theirs), axis=1, keepdims=True) + case.measured.sizes[case.random][:, None])
    for leaf, (begin, end) in enumerate(ranges_of(case)):
        a, b = mine[:, begin:end], theirs[:, begin:end]
        size = np.max(np.abs(b), axis=1, keepdims=True, initial=0)
        apart = np.where(smooth[:, begin:end], np.abs(a - b), 0)
        bad = ~(apart <= 1e-8 * np.maximum(np.abs(a), np.abs(b)) + 1e-10 * size + noise)
        if bad.any():
            draw, place = np.unravel_index(np.argmax(np.where(bad, apart, -1)), bad.shape)
            index = tuple(int(i) for i in np.unravel_index(place, np.shape(case.draws.moving[leaf])[1:]))
            reason = f"{guess(_evidence(case, name, leaf, [other]))}; expected is {other}'s."
            found.append(
                Failure(name, case.subject.paths[leaf], index, float(b[draw, place]), float(a[draw, place]), reason)
            )
    return found
