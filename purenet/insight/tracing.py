"""trace: every value that a function computes, and dJ/d(value), with the line that made it."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purenet.contract import Tree
from purenet.errors import ShapeError, StructureError, by, describe, expect_like, is_whole
from purenet.insight.alarms import Backward, BadValue, backward_of, find_backward, find_forward, find_in_rules
from purenet.insight.interpreting import Entry, Interpreter
from purenet.insight.marking import Traced, trace_marked
from purenet.insight.programs import Where, array_of, as_numpy, is_number, plainly
from purenet.insight.showing import fitted, paragraph_html, table_html, table_text, value_text
from purenet.insight.sources import Source

# Longer expressions are cut in the table; the rows have them in full.
_LONGEST = 40
# Results of more arrays are cut in the title; the value has them in full.
_MOST = 8


class TraceRow(NamedTuple):
    """One value of a traced function.

    Attributes:
      name: what the user's line calls it, else `v` and a number.
      operation: what made it, such as `mul`; `argument` for what was given.
      inputs: the names of what it was made of; numbers that stand in the program as themselves.
      value: the value, an array.
      gradient: dJ/d(value), where J is the function's result; None where there is none.
      file: the file of the user's line that made it; empty if no line of the user's did.
      line: the number of that line; 0 if there is none.
      function: the function that it stands in.
      text: that line.
      code: the expression in it.
      place: the calls, loops and choices that it was made in, such as `("jit step", "scan[3]")`.
      layer: the place of the purenet layer that it was made in, such as `serial[0].dense`.
    """

    name: str
    operation: str
    inputs: tuple[str, ...]
    value: Any
    gradient: Any
    file: str
    line: int
    function: str
    text: str
    code: str
    place: tuple[str, ...]
    layer: str


class Trace(NamedTuple):
    """What `trace` gives: its text, by `str` or `print`, is a table; a notebook shows it as one.

    Attributes:
      name: of the function.
      rows: the arguments, then one for each value in the order of computation.
      value: the function's result.
      gradients: dJ/d(argument), a tuple like the arguments with None for what has no gradient; None if there is no J.
      bad: the first NaN or infinity that reaches a result or a gradient; None if all is well.
      notes: what is left out, and why.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> found = pn.trace(lambda a: 3.0 * a, 2.0)
      >>> float(found.value), float(found.gradients[0])
      (6.0, 3.0)
    """

    name: str
    rows: tuple[TraceRow, ...]
    value: Tree
    gradients: Tree
    bad: BadValue | None
    notes: tuple[str, ...]

    def __str__(self) -> str:
        table = table_text(self._head, [_cells(row) for row in self.rows])
        return "\n".join([*map(fitted, self._title), table, *map(fitted, self.notes)])

    def __repr__(self) -> str:
        bad = "" if self.bad is None else f", first {self.bad.kind} in line {self.bad.line}"
        return f"Trace({self.name}, {len(self.rows)} rows{bad})"

    def _repr_html_(self) -> str:
        marked = [
            any(not np.isfinite(as_numpy(a)).all() for a in (r.value, r.gradient) if is_number(a)) for r in self.rows
        ]
        title, notes = ("\n".join(map(fitted, texts)) for texts in (self._title, self.notes))
        table = table_html(self._head, [_cells(row) for row in self.rows], marked)
        return "\n".join(part for part in (paragraph_html(title), table, notes and paragraph_html(notes)) if part)

    @property
    def _title(self) -> list[str]:
        leaves = jax.tree.leaves(self.value)
        more = [f"… ({len(leaves)} arrays)"] if len(leaves) > _MOST else []
        result = ", ".join([value_text(leaf) for leaf in leaves[:_MOST]] + more)
        return [f"{self.name} = {result}", *([] if self.bad is None else [str(self.bad), ""])]

    @property
    def _head(self) -> tuple[str, ...]:
        return "name", "by", "value", f"gradient of {self.name}", "line"


def trace(fn: Callable[..., Any], *args: Any, cotangent: Tree = None, limit: int = 2000) -> Trace:
    """Follows a function: every value that it computes, dJ/d(value), the line that made it, and the first NaN.

    J is the function's result, one floating number. Calls are opened, loops and choices followed as they run. Each
    operation goes back by its own derivative, and a function with a derivative of its own (`jax.custom_vjp`) by that.
    The search for NaN and infinity goes back from the results, and from the gradients: an infinity that a mask takes
    out again raises no alarm. It opens only the call or the turn of a loop that is guilty, so that long loops are fine.
    The function is run several times, operation by operation, so the first trace of a program takes seconds.

    Args:
      fn: any function that JAX can trace; inside it jit, scan, vmap, grad and purenet's networks.
      *args: its arguments, pytrees of arrays and numbers.
      cotangent: dJ/d(result), a tree like the result, where that is not one number; None for the result's own gradient.
      limit: how many values to write down; the rest is computed and left out. A loop of more is one row.

    Returns:
      The values with their gradients, and the first one that is no number.

    Raises:
      StructureError: if `fn` is no function, `limit` no whole number, an argument no array, or `cotangent` unlike the
        result.
      ShapeError: if `limit` is below 1.

    References:
      Baydin, Pearlmutter, Radul and Siskind (2018), Automatic differentiation in machine learning: a survey, table 3.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> def J(a, b, c):
      ...     u = a * b
      ...     return 3 * (u + c)
      >>> found = pn.trace(J, 6.0, 4.0, 1.0)
      >>> [(row.name, float(row.value), float(row.gradient)) for row in found.rows]
      [('a', 6.0, 12.0), ('b', 4.0, 18.0), ('c', 1.0, 3.0), ('u', 24.0, 3.0), ('v4', 25.0, 3.0), ('J', 75.0, 1.0)]
      >>> print(found)
      J = 75
      name  by            value  gradient of J  line
      -----------------------------------------------...
      a     argument      6      12
      b     argument      4      18
      c     argument      1      3
      u     mul(a, b)     24     3              ... a * b
      v4    add(u, c)     25     3              ... u + c
      J     mul(3.0, v4)  75     1              ... 3 * (u + c)
      >>> print(pn.trace(lambda x: jnp.sum(jnp.log(x)), jnp.array([1.0, 0.0])).bad.hint)
      log of 0 or less: add an eps inside, or use a loss on logits, such as pn.losses.softmax_cross_entropy.
    """
    with by("trace"):
        _expect_function(fn, limit)
        args = jax.tree.map(_array, args)
        with plainly():
            traced = trace_marked(fn, args)
            return _followed(fn, args, traced, cotangent, limit)


def _followed(fn: Callable[..., Any], args: tuple[Any, ...], traced: Traced, cotangent: Tree, limit: int) -> Trace:
    interpreter, leaves, names = Interpreter(limit), jax.tree.leaves(args), _names(fn, args)
    numbers = [interpreter.tape.put(leaf, dependent=True) for leaf in leaves]
    interpreter.names.update(zip(numbers, names, strict=True))
    results = interpreter.run(traced.body, numbers, Where())
    values = [interpreter.tape.values[number] for number in results]
    notes = list(interpreter.notes)
    seeds, why_not = _seeds(values, results, traced.out, cotangent)
    title = getattr(fn, "__name__", type(fn).__name__).strip("<>")
    _name_results(interpreter, results, title)
    gradients = interpreter.tape.backward(seeds) if seeds else {}
    bad = find_forward(traced, leaves, names, values)
    whole = backward_of(fn, args, cotangent) if seeds and (bad is None or interpreter.tape.blocked) else None
    if bad is None and whole is not None:
        bad = _backward_alarm(whole, names, interpreter, gradients)
    if whole is not None and interpreter.tape.blocked:
        gradients |= {numbers[i]: value for i, value in zip(whole.moving, whole.gradients, strict=True)}
    notes += [why_not] if why_not else []
    notes += list(dict.fromkeys(interpreter.tape.blocked))
    if interpreter.left_out:
        notes.append(f"{interpreter.left_out:,} more values are left out: give a limit above {limit}.")
    rows = [_argument_row(name, leaf, gradients.get(i)) for name, leaf, i in zip(names, leaves, numbers, strict=True)]
    rows += [_row(entry, interpreter, gradients) for entry in interpreter.entries]
    if bad is None:
        notes += _harmless(rows)
    tree = jax.tree.structure(args)
    backward = jax.tree.unflatten(tree, [gradients.get(number) for number in numbers]) if seeds else None
    value = jax.tree.unflatten(jax.tree.structure(traced.out), values)
    return Trace(title, tuple(rows), value, backward, bad, tuple(notes))


def _backward_alarm(
    whole: Backward, names: list[str], interpreter: Interpreter, gradients: dict[int, Any]
) -> BadValue | None:
    """The first value of the backward pass that is no number; in a rule of the user's own, at the rule's line."""
    bad = find_backward(whole, names)
    if bad is None or bad.argument:
        return bad
    inside = find_in_rules(interpreter.rules, interpreter.tape.values, gradients)
    return inside if inside is not None and inside.operation == bad.operation else bad


def _expect_function(fn: Any, limit: Any) -> None:
    if not callable(fn):
        raise StructureError(f"expected fn to be a function, got {describe(fn)}. Pass it uncalled: pn.trace(fn, x).")
    if not is_whole(limit):
        raise StructureError(f"expected limit to be a whole number, got {describe(limit)}. Give an int.")
    if limit < 1:
        raise ShapeError(f"expected limit of 1 or more, got {limit}. Give the number of values to write down.")


def _array(leaf: Any) -> Any:
    if isinstance(leaf, jax.core.Tracer):
        raise StructureError("expected arguments with values, got a tracer. Call pn.trace outside jit, vmap and grad.")
    return array_of(leaf, "Bind it first: pn.trace(lambda x: fn(x, option), x).")


def _names(fn: Callable[..., Any], args: tuple[Any, ...]) -> list[str]:
    """What each array in the arguments is called: the parameter and the place in it."""
    try:
        parameters = list(inspect.signature(fn).parameters.values())
    except (ValueError, TypeError):  # a builtin without a signature
        parameters = []
    plain = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    names = []
    for i, arg in enumerate(args):
        name = plain[i] if i < len(plain) else f"args[{i}]"
        names += [name + jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(arg)]
    return names


def _seeds(values: list[Any], numbers: list[int], out: Tree, cotangent: Tree) -> tuple[dict[int, Any], str]:
    """dJ/d(result) by number; or why there is none."""
    if cotangent is not None:
        cotangent = jax.tree.map(_array, cotangent)
        specs = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), out)
        expect_like("cotangent like the function's result", cotangent, specs, "Give dJ/d(result).")
        pairs = zip(numbers, jax.tree.leaves(cotangent), strict=True)
        return {number: leaf for number, leaf in pairs if is_number(leaf)}, ""
    if len(values) == 1 and jnp.shape(values[0]) == () and jnp.issubdtype(jnp.result_type(values[0]), jnp.floating):
        return {numbers[0]: jnp.ones_like(values[0])}, ""
    return {}, "no gradients: the result is not one floating number. Give cotangent=, a tree like the result."


def _name_results(interpreter: Interpreter, results: list[int], title: str) -> None:
    if len(results) == 1 and title.isidentifier() and title != "lambda":
        interpreter.names.setdefault(results[0], title)


def _argument_row(name: str, value: Any, gradient: Any) -> TraceRow:
    return TraceRow(name, "argument", (), value, gradient, "", 0, "", "", "", (), "")


def _row(entry: Entry, interpreter: Interpreter, gradients: dict[int, Any]) -> TraceRow:
    source = entry.where.source or Source()
    inputs = tuple(interpreter.name(number) for number in entry.operands)
    value, gradient = interpreter.tape.values[entry.number], gradients.get(entry.number)
    name, place = interpreter.name(entry.number), entry.where.place
    return TraceRow(name, entry.operation, inputs, value, gradient, *source[:5], place, entry.where.layer)


def _harmless(rows: list[TraceRow]) -> list[str]:
    """Says where a NaN came up that no result shows; one that stands in the program is meant."""
    bad = [row for row in rows if is_number(row.value) and np.isnan(as_numpy(row.value)).any()]
    meant, made = {"nan"}, []
    for row in bad:
        if meant.isdisjoint(row.inputs):
            made.append(row)
        else:
            meant.add(row.name)
    if not made:
        return []
    line, operation = Source(made[0].file, made[0].line).place, made[0].operation
    whence = f"in argument {made[0].name}" if operation == "argument" else f"made by {operation}"
    return [f"NaN {whence}{f' in {line}' if line else ''} reaches no result and no gradient."]


def _cells(row: TraceRow) -> tuple[str, ...]:
    inputs = f"({', '.join(row.inputs)})" if row.inputs else ""
    where = " > ".join([*row.place, *([f"layer {row.layer}"] if row.layer else [])])
    code = row.code if len(row.code) <= _LONGEST else row.code[: _LONGEST - 1] + "…"
    line = " ".join(part for part in (Source(row.file, row.line).place, code, where and f"in {where}") if part)
    return row.name, row.operation + inputs, value_text(row.value), value_text(row.gradient), line
