"""The first NaN or infinity of a program, forward or backward, with the user's line that made it."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purenet.contract import Tree
from purenet.insight.blaming import ELEMENTWISE, Blame, Origin, blame
from purenet.insight.hints import CHOICES, hint_for
from purenet.insight.marking import Traced, trace_marked
from purenet.insight.programs import Where, as_numpy, compiled, has_nan, is_finite, is_number, name_of, not_finite
from purenet.insight.ruling import Ruled, blame_rule
from purenet.insight.showing import value_text
from purenet.insight.sources import Source, library_source_of


class BadValue(NamedTuple):
    """The first value of a program that is no number.

    Attributes:
      kind: `nan` or `inf`.
      direction: `forward` if it reaches the result, `backward` if it reaches a gradient alone.
      operation: what made it; `argument` or `constant` if it was none before the program began.
      value: all of what the operation made.
      operands: what it took.
      element: the index of the first element that is blamed.
      file: the file of the user's line that made it; of purenet's if no line of the user's did.
      line: the number of that line; 0 if none is known.
      function: the function that it stands in.
      text: that line.
      code: the expression in it.
      place: the calls, loops and choices that it was made in, such as `("jit step", "scan[3]")`.
      layer: the place of the purenet layer that made it, such as `serial[0].dense`; empty outside layers.
      argument: the argument's name and place in it, such as `params['kernel']`.
      hint: what usually helps.
      then: where infinities first became NaN, if that is another operation.
    """

    kind: str
    direction: str
    operation: str
    value: Any
    operands: tuple[Any, ...]
    element: tuple[int, ...]
    file: str
    line: int
    function: str
    text: str
    code: str
    place: tuple[str, ...]
    layer: str
    argument: str
    hint: str
    then: "BadValue | None"

    def __str__(self) -> str:
        lines = [f"first {_KINDS[self.kind]}: {self._what} ({self.direction} pass){self._where}"]
        if self.text:
            lines.append(f"  {self.text}")
        if self.operands and not self.argument:
            lines.append(f"  {self.operation} of {', '.join(self._given)} gave {self._shown}")
        if self.then is not None:
            then = self.then
            lines.append(f"  it became NaN in {then._what} ({then.direction} pass){then._where}")
            lines += [f"    {then.text}"] if then.text and then.line != self.line else []
        return "\n".join([*lines, f"  {self.hint}"])

    @property
    def _what(self) -> str:
        return f"argument {self.argument}{_at(self.element)}" if self.argument else self.operation

    @property
    def _where(self) -> str:
        parts = [f"at {self.file}:{self.line}, in {self.function}"] if self.line else []
        parts += [f"in {' > '.join(self.place)}"] if self.place else []
        parts += [f"layer {self.layer}"] if self.layer else []
        return "".join(", " + part for part in parts)

    @property
    def _shown(self) -> str:
        return value_text(_pick(self.value, self.element)) + (f" at {_at(self.element)}" if self.element else "")

    @property
    def _given(self) -> list[str]:
        same = self.operation in ELEMENTWISE
        texts = [
            value_text(_pick(a, self.element) if same and np.shape(a) == np.shape(self.value) else a, small=8)
            for a in self.operands
            if is_number(a)
        ]
        return texts[:_SHOWN] + ["…"] * (len(texts) > _SHOWN)


_SHOWN = 4  # operands in the text
_KINDS = {"nan": "NaN", "inf": "infinity"}
_CONSTANT = "a constant that the program holds is no number: look where it was made."
_ARGUMENT = "it is no number before anything is computed: look where it comes from."


def find_forward(
    traced: Traced, operands: Sequence[Any], names: Sequence[str], results: Sequence[Any]
) -> BadValue | None:
    """Searches a program for the first value that is no number, if its results are none."""
    if all(is_finite(value) for value in results):
        return None
    found = blame(traced.body, operands, None, Where())
    return _verdict(found, operands, names, backward=False) or _constant(traced, results)


def _constant(traced: Traced, results: Sequence[Any]) -> BadValue | None:
    """A NaN that the function gives back without computing anything; such an infinity is meant."""
    jaxpr = traced.body.jaxpr
    for atom, value in zip(jaxpr.outvars, results, strict=True):
        if has_nan(value) and (hasattr(atom, "val") or atom in jaxpr.constvars):
            index, kind = _first(value, not_finite(value))
            where = ("", 0, "", "", "", (), "", "")
            return BadValue(kind, "forward", "constant", value, (), index, *where, _CONSTANT, None)
    return None


class Backward(NamedTuple):
    """The gradient of a function as a program.

    Attributes:
      traced: the program, from the floating leaves of the arguments to their gradients.
      moving: which leaves these are.
      floating: their values.
      gradients: what the program gives, compiled.
    """

    traced: Traced
    moving: tuple[int, ...]
    floating: tuple[Any, ...]
    gradients: tuple[Any, ...]


def backward_of(fn: Callable[..., Any], args: tuple[Any, ...], cotangent: Tree) -> Backward | None:
    """Traces the gradient as `jax.grad` takes it, and runs it; None where JAX has none, as through a while loop."""
    leaves, tree = jax.tree.flatten(args)
    moving = [i for i, leaf in enumerate(leaves) if is_number(leaf)]

    def gradient(*floating: Any) -> Any:
        def run(*floating: Any) -> Any:
            full = list(leaves)
            for i, value in zip(moving, floating, strict=True):
                full[i] = value
            return fn(*jax.tree.unflatten(tree, full))

        out, pullback = jax.vjp(run, *floating)
        return pullback(jax.tree.map(jnp.ones_like, out) if cotangent is None else cotangent)

    floating = tuple(leaves[i] for i in moving)
    try:
        traced = trace_marked(gradient, floating)
    except (ValueError, TypeError, NotImplementedError):
        return None
    return Backward(traced, tuple(moving), floating, tuple(compiled(traced.closed)(*floating)))


def find_backward(backward: Backward, names: Sequence[str]) -> BadValue | None:
    """Searches the gradient of a function that is finite itself."""
    if all(is_finite(value) for value in backward.gradients):
        return None
    found = blame(backward.traced.body, backward.floating, None, Where())
    return _verdict(found, backward.floating, [names[i] for i in backward.moving], backward=True)


def find_in_rules(rules: Sequence[Ruled], values: Sequence[Any], gradients: dict[int, Any]) -> BadValue | None:
    """Searches the user's own backward rules, in the order in which the backward pass comes to them."""
    for call in reversed(rules):
        found = blame_rule(call, values, gradients)
        bad = None if found is None else _verdict(found._replace(reached={}), (), (), backward=True)
        if bad is not None:
            return bad
    return None


def _verdict(found: Blame, operands: Sequence[Any], names: Sequence[str], backward: bool) -> BadValue | None:
    """Chooses the first of what a search found; infinities that stand in the program from the start are meant."""
    births = sorted(found.births, key=lambda origin: origin.order)
    origins = sorted(found.origins, key=lambda origin: origin.order)
    given = {i: mask for i, mask in found.reached.items() if mask.any()}
    nan = [i for i, mask in given.items() if np.isnan(as_numpy(operands[i])[mask]).any()]
    if nan or (given and not births and not origins):
        i = min(nan or given)
        return _argument(operands[i], given[i], names[i], backward)
    if origins:
        bad = _told(origins[0], backward)
        later = [birth for birth in births if birth.order > origins[0].order]
        return bad._replace(then=_told(later[0], backward)) if bad.kind == "inf" and later else bad
    return _told(births[0], backward) if births else None


def _argument(value: Any, mask: np.ndarray, name: str, backward: bool) -> BadValue:
    index, kind = _first(value, mask)
    direction = "backward" if backward else "forward"
    return BadValue(kind, direction, "argument", value, (), index, "", 0, "", "", "", (), "", name, _ARGUMENT, None)


def _told(origin: Origin, backward: bool) -> BadValue:
    eqn, where = origin.eqn, origin.where
    index, kind = _first(origin.result, origin.mask)
    source = where.source or library_source_of(eqn) or Source()
    backward = backward or where.backward
    operation = name_of(eqn)
    operands = tuple(a if hasattr(a, "dtype") else np.asarray(a) for a in origin.operands)
    # A NaN that a choice takes may be meant, so that it has a hint of its own.
    plain = origin.held and operation not in CHOICES
    hint = _CONSTANT if plain else hint_for(operation, operands, backward)
    direction = "backward" if backward else "forward"
    return BadValue(
        kind,
        direction,
        operation,
        origin.result,
        operands,
        index,
        *source[:5],
        where.place,
        where.layer,
        "",
        hint,
        None,
    )


def _first(value: Any, mask: np.ndarray) -> tuple[tuple[int, ...], str]:
    """The first blamed element, and what it is; NaN before infinity."""
    array = as_numpy(value)
    nan = np.isnan(array) & mask
    chosen = nan if nan.any() else np.broadcast_to(mask & not_finite(value), array.shape)
    index = tuple(int(i) for i in np.argwhere(chosen)[0]) if array.ndim else ()
    return index, "nan" if nan.any() else "inf"


def _pick(value: Any, index: tuple[int, ...]) -> Any:
    return value[index] if index and np.ndim(value) else value


def _at(index: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, index))}]" if index else ""
