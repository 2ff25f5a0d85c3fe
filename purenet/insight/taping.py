"""A tape: the values that a program made, in order, and how to go back over them to dJ/d(value)."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purenet.insight.programs import is_number, ruled, run_eqn

Pull = Callable[[list[Any]], Sequence[Any]]


class Step(NamedTuple):
    """What made some values of others, all by number; `pull` takes the cotangents of the results to the operands'."""

    operands: tuple[int, ...]
    results: tuple[int, ...]
    pull: Pull


class Tape:
    """Values by number, and the steps between them."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.steps: list[Step] = []
        self.blocked: list[str] = []
        self.partial: set[int] = set()
        self.dependent: set[int] = set()

    def put(self, value: Any, dependent: bool = False) -> int:
        """Writes a value, and gives its number; `dependent` is an argument, and what is made of one."""
        self.values.append(value)
        number = len(self.values) - 1
        if dependent:
            self.dependent.add(number)
        return number

    def step(self, operands: Sequence[int], results: Sequence[Any], pull: Pull) -> list[int]:
        """Writes what a step made."""
        dependent = not self.dependent.isdisjoint(operands)
        numbers = [self.put(value, dependent) for value in results]
        self.steps.append(Step(tuple(operands), tuple(numbers), pull))
        return numbers

    def operation(self, eqn: Any, operands: Sequence[int], results: Sequence[Any]) -> list[int]:
        """Writes what an operation of a program made; backward it goes by `jax.vjp` of itself."""
        given = [self.values[number] for number in operands]
        moving = [i for i, value in enumerate(given) if is_number(value) and i >= _constants_of(eqn)]
        needed = [i for i in moving if operands[i] in self.dependent]

        def pull(cotangents: list[Any]) -> Sequence[Any]:
            for some in (moving, needed):  # rules inside may refuse values that do not depend on the arguments
                try:
                    shares = pull_eqn(eqn, given, results, cotangents, some)
                except Exception as error:  # JAX has no one kind for what cannot be differentiated
                    reason = str(error).split(". ")[0].splitlines()[0]
                else:
                    self.partial.update(n for i, n in enumerate(operands) if i not in some and is_number(given[i]))
                    return shares
            self.partial.update(operands)
            self.blocked.append(f"no gradient goes through {eqn.primitive.name}: {reason}")
            return [None] * len(given)

        return self.step(operands, results, pull)

    def backward(self, seeds: dict[int, Any]) -> dict[int, Any]:
        """Goes back from the results' cotangents: dJ/d(value) by number, for all that J depends on.

        Where a step gives no gradient to a value, there is none for it and for all that it is made of: what comes by
        other ways is only a part.
        """
        found = dict(seeds)
        for step in reversed(self.steps):
            if not self.partial.isdisjoint(step.results):
                self.partial.update(step.operands)
            cotangents = [found.get(number) for number in step.results]
            if all(cotangent is None for cotangent in cotangents):
                continue
            for number, share in zip(step.operands, step.pull(cotangents), strict=True):
                if share is not None:
                    found[number] = found[number] + share if number in found else share
        return {number: cotangent for number, cotangent in found.items() if number not in self.partial}


def _constants_of(eqn: Any) -> int:
    """How many of the first operands a function with a derivative of its own holds: its rule knows nothing of them."""
    return int(eqn.params.get("num_consts", 0)) if ruled(eqn) is not None else 0


def pull_eqn(
    eqn: Any, given: Sequence[Any], results: Sequence[Any], cotangents: Sequence[Any], moving: Sequence[int]
) -> list[Any]:
    """Takes cotangents through one operation to the operands `moving`; the others get None."""
    wanted = [i for i, value in enumerate(results) if is_number(value)]

    def run(*floating: Any) -> list[Any]:
        operands = list(given)
        for i, value in zip(moving, floating, strict=True):
            operands[i] = value
        outs = run_eqn(eqn, operands)
        return [outs[i] for i in wanted]

    _, pullback = jax.vjp(run, *(given[i] for i in moving))
    shares: list[Any] = [None] * len(given)
    full = [jnp.zeros_like(results[i]) if cotangents[i] is None else cotangents[i] for i in wanted]
    for i, share in zip(moving, pullback(full), strict=True):
        shares[i] = share
    return shares
