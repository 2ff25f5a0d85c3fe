"""The law of kinks: a rule takes one of the slopes that there are; and which one it takes."""

from typing import Any

import numpy as np

from purenet.check.cases import Case, at_kink, place_of
from purenet.check.differences import within
from purenet.check.reports import Failure, LawResult, verdict


def kinks_law(case: Case, wrong: dict[str, Any]) -> LawResult:
    """Every rule takes one of the slopes that there are at a kink."""
    failures = []
    for name, bad in wrong.items():
        bad = bad & at_kink(case, name)
        if bad.any():
            sharp = bad & case.slopes.kinked
            failures.append(_kink_failure(case, name, *(int(i) for i in np.argwhere(sharp if sharp.any() else bad)[0])))
    count = int(np.sum(case.slopes.kinked[:, : case.probes.coordinates]))
    note = f"{count} {'slope' if count == 1 else 'slopes'} at kinks" if count else "no kink was met"
    outside = sum(
        int(np.sum(case.slopes.kinked & ~within(case.slopes, claim) & ~wrong[name]))
        for name, claim in case.claims.items()
    )
    if outside:
        note += f"; {outside} times a rule takes none of the slopes there, which is no one's fault in a sum of parts"
    return verdict("kinks", failures, None, note)


def _kink_failure(case: Case, name: str, draw: int, column: int) -> Failure:
    left, right = float(case.slopes.left[draw, column]), float(case.slopes.right[draw, column])
    got = float(case.claims[name][draw, column])
    path, index = place_of(case, column)
    at = case.draws.labels[draw] or case.subject.point
    if not np.isfinite(got):
        why = "it is not finite where the slopes are: √ or a norm at 0, 0/0, inf - inf?"
    elif index is None:
        why = "each coordinate takes one of its slopes, together they do not: ties doubled, each of them taking it all?"
    else:
        why = "it is a slope of neither side, nor between: ties doubled, or a term at the kink is wrong?"
    reason = f"This is the {name} at {at}, and {why}"
    return Failure("kinks", path, index, f"a slope in {_interval(left, right)}", got, reason)


def conventions_of(case: Case) -> list[str]:
    """Says which slope each rule takes, at most four times a leaf."""
    told: dict[str, list[tuple[str, str]]] = {}
    for draw, column in np.argwhere(case.slopes.kinked[:, : case.probes.coordinates]):
        left, right = float(case.slopes.left[draw, column]), float(case.slopes.right[draw, column])
        if not (np.isfinite(left) and np.isfinite(right)):
            continue
        path, _ = place_of(case, int(column))
        taken = {name: _number(float(claim[draw, column])) for name, claim in case.claims.items()}
        words = "; ".join(f"{name} takes {value}" for name, value in taken.items())
        text = f"{words} of {_interval(left, right)}"
        label = case.draws.labels[draw] or case.subject.point
        texts = told.setdefault(path, [])
        if text not in [known for known, _ in texts] or (" = " in label and (text, label) not in texts):
            texts.append((text, label))
    return [f"{path} at {label}: {text}" for path, texts in told.items() for text, label in texts[:4]]


def _interval(left: float, right: float) -> str:
    low, high = sorted((left, right))
    return f"[{_number(low)}, {_number(high)}]"


def _number(value: float) -> str:
    if abs(value) > 1e5:
        return "a jump" if value > 0 else "minus a jump"
    return f"{round(value, 6) + 0.0:.6g}"
