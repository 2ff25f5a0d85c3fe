"""A loop that ran, asked afterwards: what it carried into any turn, and since when that was no number."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from purenet.insight.programs import Loop, count_turns, is_number, run_body


class Turns:
    """A loop's turns. Each question runs the loop again up to one turn, compiled once; nothing is kept of the rest."""

    def __init__(self, name: str, loop: Loop, operands: Sequence[Any]):
        operands = [value if hasattr(value, "dtype") else jnp.asarray(value) for value in operands]
        self.name, self.loop = name, loop
        self.consts = operands[loop.test_consts :][: loop.consts]
        self.init = operands[loop.test_consts + loop.consts :][: loop.carry]
        self.xs = operands[len(operands) - loop.xs :] if loop.xs else []
        self.length = count_turns(loop, operands)
        self._run = jax.jit(self._until)
        self._reached = functools.lru_cache(maxsize=4)(lambda turn: self._run(turn, self.consts, self.init, self.xs))

    def label(self, turn: int) -> str:
        """How a turn is called in places."""
        return f"{self.name}[{self.loop.at(turn)}]"

    def operands(self, turn: int) -> list[Any]:
        """What the body is given in a turn."""
        return [*self.consts, *self._reached(turn)[0], *(whole[self.loop.at(turn)] for whole in self.xs)]

    def start(self, turn: int, k: int) -> int:
        """The turn that made carried value k no number, which it is without break up to this turn; -1: the start."""
        return int(self._reached(turn)[1][k])

    def _until(self, turn: Any, consts: list[Any], init: list[Any], xs: list[Any]) -> Any:
        def step(i: Any, state: Any) -> Any:
            carry, since = state
            at = (self.length - 1 - i) if self.loop.reverse else i
            slices = [jax.lax.dynamic_index_in_dim(whole, at, keepdims=False) for whole in xs]
            outs = run_body(self.loop.body, [*consts, *carry, *slices])[: len(carry)]
            bad = [_is_bad(value) for value in outs]
            since = [
                jnp.where(now, jnp.where(before == _NEVER, i, before), _NEVER)
                for now, before in zip(bad, since, strict=True)
            ]
            return outs, since

        since = [jnp.where(_is_bad(value), jnp.int32(-1), _NEVER) for value in init]
        return jax.lax.fori_loop(jnp.int32(0), jnp.int32(turn), step, (list(init), since))


_NEVER = 2**31 - 1  # the largest number of a turn that 32 bits hold


def _is_bad(value: Any) -> Any:
    return ~jnp.all(jnp.isfinite(value)) if is_number(value) else jnp.asarray(False)
