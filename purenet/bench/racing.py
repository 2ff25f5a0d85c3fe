"""Peers against `pn.train`: every turn is a fresh process, and the turns alternate."""

from collections.abc import Sequence
from typing import Any

from purenet.bench.contests import Contender, Contest, Race
from purenet.bench.measuring import in_one_line, rotated
from purenet.bench.outcomes import Outcome, refusals, rows_of
from purenet.bench.peaks import Peaks
from purenet.bench.peers import OURS, Peer
from purenet.bench.problems import cost_of
from purenet.bench.processes import peer_process, problem_file
from purenet.bench.rows import Row

# Of the loss over all examples at the end. Rounding, and where Adam's ε stands, change it by up to 3e-4; another order
# of the mini-batches by 2e-3 to 2e-2, a rate 1 % higher by 5e-3 in the larger networks.
_TOLERANCE = 1e-3


def race(
    suite: str, one: Race, peers: Sequence[Peer], *, rounds: int, seconds: float, peaks: Peaks | None = None
) -> list[Row]:
    """Races peers against `pn.train`.

    Every contender begins with the same weights, sees the same mini-batches in the same order and takes the same
    optimizer with the same constants. `pn.train` shuffles and gathers in its own time; the others are handed their
    mini-batches. In each round every contender has a process of its own, one after the other.

    Args:
      suite: the suite's name, for the rows.
      one: what they train, and what is wanted.
      peers: who takes part, if they train such networks.
      rounds: processes per contender.
      seconds: for how long each process trains, again and again, once it is compiled.
      peaks: the machine's limits, or None.

    Returns:
      One row per contender, `pn.train` first.
    """
    problem = one.make(one.case)
    with problem_file(problem) as path:
        contest = Contest(
            case=f"{one.case.name}, beside peers",
            per="step",
            per_call=problem.updates,
            agreement="loss over all examples",
            tolerance=_TOLERANCE,
            contenders=[
                Contender(name, peer_process(peer, name, path, seconds), None, at_least=one.wanted.get(name))
                for peer in (OURS, *peers)
                for name in peer.kinds.get(problem.kind, ())
            ],
            cost=cost_of(problem),
            processes=True,
        )
        return rows_of(suite, contest, _turns(contest, rounds), peaks)


def _turns(contest: Contest, rounds: int) -> dict[str, Outcome]:
    told: dict[str, list[dict[str, Any]]] = {contender.name: [] for contender in contest.contenders}
    errors: dict[str, str] = {}
    for turn in range(rounds):
        for contender in rotated(list(contest.contenders), turn):
            if contender.name in errors:
                continue
            try:
                told[contender.name].append(contender.call())
            except Exception as error:  # whatever one process dies of, the others go on
                errors[contender.name] = in_one_line(error)
        errors |= refusals(contest, {name: one[-1]["result"] for name, one in told.items() if name not in errors})
    return {
        name: Outcome(
            first=ones[0]["first"] if ones else None,
            result=ones[0]["result"] if ones else None,
            times=tuple(one["seconds"] for one in ones),
            error=errors.get(name),
            versions=ones[0]["versions"] if ones else None,
        )
        for name, ones in told.items()
    }
