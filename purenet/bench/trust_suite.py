"""The suite `trust`: what it costs to prove a layer, and to ask why a network does not learn."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax

import purenet as pn
from purenet.bench.contests import Contender, Contest, Settings, Suite
from purenet.bench.problems import Case, Problem, make_problem

UPDATES = 20
_DIGITS = Case((784, 128, 10), 128, 12_800, 1)
_LAYERS: dict[str, tuple[Callable[[], Any], Any]] = {
    "dense": (lambda: pn.dense(3), pn.spec(4)),
    "dense, relu, dense": (lambda: pn.serial(pn.dense(3), pn.relu, pn.dense(2)), pn.spec(4)),
    "conv": (lambda: pn.conv(2, (3, 3)), pn.spec((5, 4, 2))),
}


def contests(settings: Settings) -> Iterator[Contest]:
    """Makes the contest of a diagnosis against 20 updates, and that of the laws of small layers.

    Args:
      settings: the dtype of the first, if one was asked for; the laws choose their own.

    Yields:
      One contest after the other.
    """
    problem = make_problem(_DIGITS._replace(dtype=settings.dtype or _DIGITS.dtype))
    yield Contest(
        case=f"{_DIGITS.name}, Adam, from {_DIGITS.n:,} examples",
        per="diagnosis",
        per_call=1,
        agreement=None,
        tolerance=0.0,
        contenders=(
            Contender(f"{UPDATES} updates, pn.train", _updates(problem), None),
            Contender("pn.diagnose", _diagnosis(problem), None, at_most=1.0),
            Contender("pn.diagnose, sharpness=False", _diagnosis(problem, sharpness=False), None, at_most=1.0),
        ),
        dtype=problem.case.dtype,
        note="diagnose looks at 256 examples, and at labels of all",
    )
    yield Contest(
        case="all laws of a layer, compilation and all",
        per="layer",
        per_call=1,
        agreement=None,
        tolerance=0.0,
        contenders=tuple(Contender(f"pn.check.layer, {name}", _laws(*made), None) for name, made in _LAYERS.items()),
        dtype=None,
        compiles=False,
        slowness=2,
    )


def _laws(make: Callable[[], Any], spec: Any) -> Callable[[], None]:
    def call() -> None:
        jax.clear_caches()
        pn.check.layer(make(), spec)

    return call


def _updates(problem: Problem) -> Callable[[], Any]:
    """Twenty updates as one program, the cheapest way there is."""
    count = UPDATES * _DIGITS.batch
    train = pn.train(problem.net, problem.loss, problem.optimizer, batch_size=_DIGITS.batch, epochs=1)
    data = (problem.data.xs[:count], problem.data.ys[:count])
    return functools.partial(jax.jit(train), problem.start, data)


def _diagnosis(problem: Problem, **options: Any) -> Callable[[], Any]:
    data = (problem.data.xs, problem.data.ys)

    def call() -> Any:
        return pn.diagnose(
            problem.net,
            problem.loss,
            problem.start,
            data,
            optimizer=problem.optimizer,
            batch_size=_DIGITS.batch,
            **options,
        )

    return call


TRUST = Suite("the laws of a layer; a diagnosis against 20 training steps of the MNIST network", contests)
