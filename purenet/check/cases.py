"""What was measured of a subject, and which of its rules are to blame where."""

import itertools
from typing import Any, NamedTuple

import numpy as np

from purenet.check import leaves
from purenet.check.differences import Slopes, agrees, within
from purenet.check.probing import Measured, Probes
from purenet.check.subjects import Draws, Subject


class Case(NamedTuple):
    """Everything measured, with the slopes that rules claim, by rule."""

    subject: Subject
    draws: Draws
    probes: Probes
    measured: Measured
    slopes: Slopes
    claims: dict[str, Any]
    tolerance: float
    own: bool

    @property
    def random(self) -> Any:
        """Which draws are random."""
        return np.array([not label for label in self.draws.labels])

    @property
    def kinky(self) -> Any:
        """Which slopes are at a kink, or along many coordinates of which one is."""
        singles = self.probes.coordinates
        wide = np.arange(len(self.probes.table)) >= singles
        return self.slopes.kinked | wide & self.slopes.kinked[:, :singles].any(axis=1, keepdims=True)


def blame(case: Case, name: str) -> Any:
    """Tells where a rule is to blame, (D, C)."""
    claim, slopes = case.claims[name], case.slopes
    measurable = np.isfinite(slopes.best) | (np.isfinite(slopes.left) & np.isfinite(slopes.right))
    broken = ~np.isfinite(claim) & measurable
    # At a kink nobody is to blame for a sum of parts, nor JAX for its conventions: a rule written by hand is, if
    # another one does better, or if it is all there is.
    doubtful = case.kinky | ~case.random[:, None]
    others = [fits(case, other) for other in case.claims if other != name and "autodiff" in other]
    by_hand = "autodiff" not in name
    blamed = (np.any(others, axis=0) if others and by_hand else False) | (case.own and not by_hand)
    blamed = blamed & (not case.subject.composite)
    return measurable & (broken | ~fits(case, name) & (~doubtful | blamed))


def at_kink(case: Case, name: str) -> Any:
    """What belongs to the law of kinks; there, a rule that is not finite spoils all coordinates."""
    return case.kinky | ~case.random[:, None] & ~np.isfinite(case.claims[name])


def fits(case: Case, name: str) -> Any:
    """Tells where a rule's slopes are those measured, or at kinks between them."""
    claim, kinked = case.claims[name], case.slopes.kinked
    return np.where(kinked, within(case.slopes, claim), agrees(case.slopes, claim, case.tolerance))


def ranges_of(case: Case) -> list[tuple[int, int]]:
    """Where each leaf begins and ends among all coordinates."""
    ends = np.cumsum([0, *leaves.sizes(leaves.pick(case.draws.moving, 0))])
    return [(int(begin), int(end)) for begin, end in itertools.pairwise(ends)]


def place_of(case: Case, column: int) -> tuple[str, tuple[int, ...] | None]:
    """Names the leaf that a direction lies in, and the index if it is a single coordinate."""
    begin, end, _ = (int(word) for word in case.probes.table[column])
    for leaf, (first, last) in enumerate(ranges_of(case)):
        if first <= begin and end <= last:
            shape = np.shape(case.draws.moving[leaf])[1:]
            single = column < case.probes.coordinates
            index = tuple(int(i) for i in np.unravel_index(begin - first, shape)) if single else None
            return case.subject.paths[leaf], index
    return "all leaves", None
