"""The suite `compile`: how long a training program takes before it first runs."""

from collections.abc import Callable, Iterator
from typing import Any

import jax

from purenet.bench.contests import Contender, Contest, Settings, Suite
from purenet.bench.problems import Case, Problem, arguments_by_hand, make_problem, run_by_hand, run_of_train

CASES = (Case((784, 128, 10), 128, 12_800, 10), Case((64,) * 9, 32, 3_200, 10))


def contests(settings: Settings) -> Iterator[Contest]:
    """Makes two contests a case: tracing alone, and all from Python functions to a program.

    Args:
      settings: its dtype, if one was asked for; a quick run takes the first case alone.

    Yields:
      One contest after the other.
    """
    for case in CASES[:1] if settings.quick else CASES:
        problem = make_problem(case._replace(dtype=settings.dtype or case.dtype))
        for what, last in (("traced and lowered", lambda lowered: lowered), ("compiled", lambda low: low.compile())):
            yield Contest(
                case=f"{case.name}, {what}",
                per="program",
                per_call=1,
                agreement=None,
                tolerance=0.0,
                contenders=(
                    Contender("hand-written JAX", _by_hand(problem, last), None),
                    Contender("pn.train, autodiff", _train(problem, "autodiff", last), None),
                    Contender("pn.train, backprop", _train(problem, "backprop", last), None),
                ),
                dtype=problem.case.dtype,
                compiles=False,
                slowness=3,
            )


def _by_hand(problem: Problem, last: Callable[[Any], Any]) -> Callable[[], None]:
    arguments = arguments_by_hand(problem)

    def call() -> None:
        last(jax.jit(run_by_hand(problem)).lower(*arguments))  # a new function, as JAX remembers what it traced

    return call


def _train(problem: Problem, gradient: str, last: Callable[[Any], Any]) -> Callable[[], None]:
    data = (problem.data.xs, problem.data.ys)

    def call() -> None:
        last(jax.jit(run_of_train(problem, gradient)).lower(problem.start, data))

    return call


COMPILE = Suite("from Python functions to a compiled training program", contests)
