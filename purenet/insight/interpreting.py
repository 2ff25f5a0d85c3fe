"""Running a traced program operation by operation, with every value written down."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import jaxprs_in_params

from purenet.insight.programs import (
    Body,
    Loop,
    Where,
    body_of,
    called,
    chosen,
    count_turns,
    is_users,
    label_of,
    loop_of,
    name_of,
    ruled,
    run_body,
    run_eqn,
)
from purenet.insight.ruling import Ruled
from purenet.insight.taping import Tape


class Entry(NamedTuple):
    """One value that an operation made.

    Attributes:
      number: of the value on the tape.
      operation: what made it.
      operands: what it was made of: numbers on the tape.
      where: in which line, call, loop and layer.
    """

    number: int
    operation: str
    operands: tuple[int, ...]
    where: Where


class Interpreter:
    """Runs programs and keeps a tape of values and a list of what made them, at most `limit` of these."""

    def __init__(self, limit: int):
        self.limit = limit
        self.tape = Tape()
        self.entries: list[Entry] = []
        self.names: dict[int, str] = {}
        self.notes: dict[str, None] = {}
        self.rules: list[Ruled] = []
        self.left_out = 0
        self._said: dict[Any, int] = {}

    def run(self, body: Body, operands: Sequence[int], where: Where) -> list[int]:
        """Runs a program on values of the tape; gives the numbers of its results."""
        known = dict(zip(body.jaxpr.invars, operands, strict=True))
        known.update((var, self.constant(value)) for var, value in zip(body.jaxpr.constvars, body.consts, strict=True))

        def look(atom: Any) -> int:
            return self.constant(atom.val) if hasattr(atom, "val") else known[atom]

        for eqn in body.jaxpr.eqns:
            results = self.operation(eqn, [look(atom) for atom in eqn.invars], where.of(eqn))
            known.update(zip(eqn.outvars, results, strict=True))
        return [look(atom) for atom in body.jaxpr.outvars]

    def constant(self, value: Any) -> int:
        """Puts a literal or a constant on the tape."""
        number = self.tape.put(value)
        whole = isinstance(value, int) and not isinstance(value, bool)  # JAX's own kind of int prints its dtype
        plain = f"{int(value) if whole else value}"
        self.names[number] = plain if jnp.ndim(value) == 0 else f"constant {_shape(value)}"
        return number

    def operation(self, eqn: Any, operands: list[int], where: Where) -> list[int]:
        """Runs one operation, from the inside if it is a call, a loop or a choice."""
        given = [self.tape.values[number] for number in operands]
        body, loop, rule, choice = called(eqn), loop_of(eqn), ruled(eqn), chosen(eqn, given)
        if body is not None:
            return self.named(self.run(body, operands, where.inside(label_of(eqn, body))), where)
        if choice is not None:
            number, branch = choice
            return self.named(self.run(branch, operands[1:], where.inside(f"cond branch {number}")), where)
        if rule is not None:
            return self.with_rule(eqn, rule, operands, where)
        if loop is not None:
            turns = count_turns(loop, given)
            # A loop of no turns gives back what it carries; of what it would make it knows the shapes alone.
            open_to_all = turns or len(eqn.outvars) == loop.carry
            if open_to_all and turns * operations_in(loop.body) <= self.limit - len(self.entries):
                return self.turns(eqn, loop, turns, operands, where)
            if turns:
                why = f"its inside is more than limit={self.limit}"
                self.notes[f"{name_of(eqn)} of {turns:,} turns is one row: {why}"] = None
        results = self.tape.operation(eqn, operands, run_eqn(eqn, given))
        self.write(name_of(eqn), operands, results, where)
        return results

    def with_rule(self, eqn: Any, rule: Body, operands: list[int], where: Where) -> list[int]:
        """Runs a function with a derivative of its own, by which it goes back: its inside has no gradients."""
        given = [self.tape.values[number] for number in operands]
        if is_users(rule):
            copies = [self.tape.put(value) for value in given]
            self.names.update((copy, self.name(number)) for copy, number in zip(copies, operands, strict=True))
            inner = self.run(rule, copies, where.inside(label_of(eqn, rule)))
            values = [self.tape.values[number] for number in inner]
        else:
            values = run_body(rule, given)
        results = self.tape.operation(eqn, operands, values)
        if "bwd" in eqn.params:
            self.rules.append(Ruled(eqn, tuple(operands), tuple(results), where))
        function = getattr(getattr(rule.jaxpr, "debug_info", None), "func_name", "") or eqn.primitive.name
        self.write(function, operands, results, where)
        return results

    def turns(self, eqn: Any, loop: Loop, turns: int, operands: list[int], where: Where) -> list[int]:
        """Runs a loop turn by turn."""
        consts = operands[loop.test_consts :][: loop.consts]
        carry = operands[loop.test_consts + loop.consts :][: loop.carry]
        xs = operands[len(operands) - loop.xs :]
        made: dict[int, list[int]] = {}
        for turn in range(turns):
            slices = [self.slice(number, loop.at(turn)) for number in xs]
            inside = where.inside(f"{eqn.primitive.name}[{loop.at(turn)}]")
            outs = self.run(loop.body, [*consts, *carry, *slices], inside)
            carry, made[loop.at(turn)] = outs[: loop.carry], outs[loop.carry :]
        columns = zip(*(made[turn] for turn in sorted(made)), strict=True)
        stacked = [self.stack(column) for column in columns]
        self.write(eqn.primitive.name, operands, stacked, where)
        return [*carry, *stacked]

    def slice(self, number: int, at: int) -> int:
        """One slice of what a loop goes over."""
        whole = self.tape.values[number]

        def pull(dys: list[Any]) -> list[Any]:
            return [jnp.zeros_like(whole).at[at].set(dys[0])]

        (result,) = self.tape.step([number], [whole[at]], pull)
        self.names[result] = f"{self.name(number)}[{at}]"
        return result

    def stack(self, numbers: Sequence[int]) -> int:
        """What all turns made, together."""
        values = [self.tape.values[number] for number in numbers]
        (result,) = self.tape.step(numbers, [jnp.stack(values)], lambda dys: list(dys[0]))
        return result

    def write(self, operation: str, operands: Sequence[int], results: Sequence[int], where: Where) -> None:
        """Notes what an operation made, while there is room."""
        for number in results:
            if len(self.entries) >= self.limit:
                self.left_out += 1
                continue
            self.entries.append(Entry(number, operation, tuple(operands), where))
        if len(results) == 1:
            self.named(list(results), where)

    def named(self, results: list[int], where: Where) -> list[int]:
        """Gives a result the name that the user's line gives it; of several by one expression the last has it."""
        source = where.source
        if source is not None and source.name and len(results) == 1 and results[0] not in self.names:
            said = (where.place, source)
            self.names.pop(self._said.get(said, -1), None)
            self._said[said] = results[0]
            self.names[results[0]] = source.name
        return results

    def name(self, number: int) -> str:
        """What a value is called."""
        return self.names.get(number, f"v{number}")


def operations_in(body: Body) -> int:
    """About how many operations a program is, with loops unrolled."""
    total = 0
    for eqn in body.jaxpr.eqns:
        loop = loop_of(eqn)
        inner = [operations_in(body_of(held)) for held in jaxprs_in_params(eqn.params)]
        times = 1 if loop is None or loop.length is None else loop.length
        total += 1 + times * max(inner, default=0)
    return total


def _shape(value: Any) -> str:
    return f"{jax.numpy.asarray(value).dtype}{list(jnp.shape(value))}".replace(" ", "")
