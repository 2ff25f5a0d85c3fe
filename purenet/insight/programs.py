"""Reading traced programs: what is in an operation, how to run it, and whether a value is a number at all."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxpr_as_fun, jaxprs_in_params

from purenet.errors import ShapeError, StructureError, describe, expect_kept
from purenet.insight.sources import Source, source_of

# How a layer's place is written into the name stack, where it goes through jit, vmap and grad.
MARK = "purenet "
_PLACE = re.compile(re.escape(MARK) + r"([^/()]+)")


class Body(NamedTuple):
    """A program within an operation.

    Attributes:
      jaxpr: the program.
      consts: the values of its constants.
    """

    jaxpr: Any
    consts: Sequence[Any]


def body_of(closed: Any) -> Body:
    """Takes a program with its constants; newer JAX has one type for both kinds."""
    return Body(getattr(closed, "jaxpr", closed), getattr(closed, "consts", ()))


_CALLS = {"jit": "jaxpr", "pjit": "jaxpr", "remat2": "jaxpr", "checkpoint": "jaxpr", "remat": "jaxpr"}
_CALLS |= dict.fromkeys(("closed_call", "core_call", "custom_lin"), "call_jaxpr")
_RULES = {"custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr", "custom_vjp_call_jaxpr": "fun_jaxpr"}


def called(eqn: Any) -> Body | None:
    """The program that an operation calls once, on its own operands; None for anything else."""
    held = eqn.params.get(_CALLS.get(eqn.primitive.name, ""))
    return None if held is None else body_of(held)


def ruled(eqn: Any) -> Body | None:
    """The program of a function with a derivative of the user's own; None for anything else."""
    held = eqn.params.get(_RULES.get(eqn.primitive.name, ""))
    return None if held is None else body_of(held)


def name_of(eqn: Any) -> str:
    """What an operation is called: the function's name for a call."""
    return str(eqn.params.get("name", eqn.primitive.name))


def layer_of(eqn: Any) -> str:
    """The place of the innermost layer that an operation belongs to, if the program was traced by `marked`."""
    found = _PLACE.findall(str(eqn.source_info.name_stack))
    return found[-1] if found else ""


def is_transposed(eqn: Any) -> bool:
    """Tells whether an operation belongs to the backward pass of `jax.grad` or `jax.vjp`."""
    return "transpose(" in str(eqn.source_info.name_stack)


def run_eqn(eqn: Any, operands: Sequence[Any]) -> list[Any]:
    """Computes one operation; operands that a call may use up are kept."""
    params = eqn.primitive.get_bind_params(eqn.params)
    if "donated_invars" in params:
        params = {**params, "donated_invars": (False,) * len(operands)}
    with _context(eqn):
        results = eqn.primitive.bind(*operands, **params)
    return list(results) if eqn.primitive.multiple_results else [results]


def _context(eqn: Any) -> Any:
    return getattr(getattr(eqn, "ctx", None), "manager", contextlib.nullcontext())


def compiled(closed: Any) -> Any:
    """The program as one compiled function of its flat operands."""
    return jax.jit(jaxpr_as_fun(closed))


@contextlib.contextmanager
def plainly() -> Iterator[None]:
    """Lets NaN and infinity pass: JAX's own alarms would go off at what is looked for."""
    with jax.debug_nans(False), jax.debug_infs(False), np.errstate(all="ignore"):
        yield


def array_of(leaf: Any, remedy: str) -> jax.Array:
    """A leaf of an argument as an array; refuses what JAX does not take, or would change."""
    if isinstance(leaf, (jax.Array, np.ndarray, np.generic)):
        fits = any(jnp.issubdtype(leaf.dtype, kind) for kind in (np.number, np.bool_, jax.dtypes.extended))
    else:
        fits = isinstance(leaf, (int, float, complex)) or hasattr(leaf, "__jax_array__")
    if not fits:
        what = ("a spec, " if isinstance(leaf, jax.ShapeDtypeStruct) else "") + describe(leaf)
        raise StructureError(f"expected arguments of arrays and numbers, got {what}. {remedy}")
    expect_kept(leaf)
    try:
        return leaf if isinstance(leaf, jax.Array) else jnp.asarray(leaf)
    except OverflowError:
        most = jnp.result_type(int)
        raise ShapeError(
            f"expected whole numbers that {most} holds, got {leaf}. Give a smaller one, or a float."
        ) from None


def is_number(value: Any) -> bool:
    """Tells whether a value is floating or complex, so that it may have a gradient and may be no number."""
    return hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jnp.inexact)


def as_numpy(value: Any) -> np.ndarray:
    """The value on the host; 16 bits and fewer as float32, which holds them exactly."""
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        value = jax.random.key_data(value)
    array = np.asarray(value)
    small = jnp.issubdtype(array.dtype, jnp.floating) and array.dtype.itemsize < 4
    return array.astype(np.float32) if small else array


def not_finite(value: Any) -> np.ndarray:
    """Where a value is NaN or infinite."""
    if not is_number(value):
        return np.zeros(np.shape(value), bool)
    return ~np.isfinite(as_numpy(value))


def is_finite(value: Any) -> bool:
    """Tells whether no element is NaN or infinite."""
    return not is_number(value) or not not_finite(value).any()


def has_nan(value: Any) -> bool:
    """Tells whether an element is NaN."""
    return is_number(value) and bool(np.isnan(as_numpy(value)).any())


class Loop(NamedTuple):
    """A `scan` or `while`, taken apart.

    Attributes:
      body: the program of one turn, `(*consts, *carry, *x) -> (*carry, *y)`.
      test: the program that tells whether to go on, `(*test_consts, *carry)`; None for a scan.
      test_consts, consts, carry, xs: how many of the operands are what, in this order.
      length: how many turns; None for a while.
      reverse: whether a scan goes from the last to the first.
      mapped: whether a while is several of `jax.vmap`, each of which stops by itself: the test takes all consts then.
    """

    body: Body
    test: Body | None
    test_consts: int
    consts: int
    carry: int
    xs: int
    length: int | None
    reverse: bool
    mapped: bool = False

    def at(self, turn: int) -> int:
        """Which slice a turn takes."""
        return (self.length or 0) - 1 - turn if self.reverse else turn


def loop_of(eqn: Any) -> Loop | None:
    """Takes a loop apart; None for anything else."""
    params, given = eqn.params, len(eqn.invars)
    if eqn.primitive.name == "while":
        first, consts = params["cond_nconsts"], params["body_nconsts"]
        body, test = body_of(params["body_jaxpr"]), body_of(params["cond_jaxpr"])
        loop = Loop(body, test, first, consts, given - first - consts, 0, None, False)
        return _mapped(loop, eqn) if test.jaxpr.outvars[0].aval.shape else loop
    if eqn.primitive.name != "scan":
        return None
    if "ft_in" in params:  # JAX from 0.11 on
        consts, carry, xs = (len(list(part)) for part in params["ft_in"].update(range(given)).unpack())
    else:
        consts, carry = params["num_consts"], params["num_carry"]
        xs = given - consts - carry
    return Loop(body_of(params["jaxpr"]), None, 0, consts, carry, xs, int(params["length"]), bool(params["reverse"]))


def _mapped(loop: Loop, eqn: Any) -> Loop:
    """Several while loops at once: a turn keeps what those carry that are done."""
    assert loop.test is not None
    held, first = loop.test_consts + loop.consts, loop.test_consts

    def goes_on(*operands: Any) -> Any:
        assert loop.test is not None
        return run_body(loop.test, [*operands[:first], *operands[held:]])[0]

    def turn(*operands: Any) -> list[Any]:
        on, news = goes_on(*operands), run_body(loop.body, operands[first:])
        return [_select(on, new, old) for new, old in zip(news, operands[held:], strict=True)]

    specs = [jax.ShapeDtypeStruct(var.aval.shape, var.aval.dtype) for var in eqn.invars]
    test = body_of(jax.make_jaxpr(lambda *operands: jnp.any(goes_on(*operands)))(*specs))
    return Loop(body_of(jax.make_jaxpr(turn)(*specs)), test, 0, held, loop.carry, 0, None, False, mapped=True)


def _select(on: Any, new: Any, old: Any) -> Any:
    on = jnp.reshape(on, on.shape + (1,) * (new.ndim - on.ndim))
    return jax.lax.select(jnp.broadcast_to(on, new.shape), new, old)


def chosen(eqn: Any, operands: Sequence[Any]) -> tuple[int, Body] | None:
    """The branch that a `cond` or `switch` takes, by number and program; None for anything else."""
    if eqn.primitive.name != "cond":
        return None
    number = int(operands[0])
    return number, body_of(eqn.params["branches"][number])


def run_body(body: Body, operands: Sequence[Any]) -> list[Any]:
    """Runs a program as a whole."""
    return list(jax.core.eval_jaxpr(body.jaxpr, body.consts, *operands))


def count_turns(loop: Loop, operands: Sequence[Any]) -> int:
    """How many turns a loop makes; a `while` is run to find out, compiled."""
    if loop.length is not None:
        return loop.length
    consts = operands[loop.test_consts :][: loop.consts]
    test_consts = consts if loop.mapped else operands[: loop.test_consts]
    carry = operands[loop.test_consts + loop.consts :]

    def test(state: Any) -> Any:
        assert loop.test is not None
        return run_body(loop.test, [*test_consts, *state[1]])[0]

    def turn(state: Any) -> Any:
        return state[0] + 1, run_body(loop.body, [*consts, *state[1]])

    return int(jax.jit(lambda start: jax.lax.while_loop(test, turn, start))((0, list(carry)))[0])


class Where(NamedTuple):
    """Where in a program an operation stands.

    Attributes:
      place: the calls, loops and choices around it, from the outside in.
      source: the user's line; within a library's function that of the call.
      layer: the place of the innermost layer.
      backward: whether it belongs to the backward pass of a gradient.
    """

    place: tuple[str, ...] = ()
    source: Source | None = None
    layer: str = ""
    backward: bool = False

    def of(self, eqn: Any) -> "Where":
        """Where an operation of the program that stands here is."""
        source = source_of(eqn) or self.source
        backward = self.backward or is_transposed(eqn)
        return Where(self.place, source, layer_of(eqn) or self.layer, backward)

    def inside(self, label: str) -> "Where":
        """One call, loop or choice further in."""
        return self._replace(place=(*self.place, label)) if label else self


def is_users(body: Body) -> bool:
    """Tells whether a line of the user's is in a program; else it is a library's affair."""
    return any(
        source_of(eqn) is not None or any(is_users(body_of(inner)) for inner in jaxprs_in_params(eqn.params))
        for eqn in body.jaxpr.eqns
    )


def label_of(eqn: Any, body: Body) -> str:
    """How a call is called in places; nothing for a library's."""
    kind = {"jit": "jit", "pjit": "jit"}.get(eqn.primitive.name, "")
    if not is_users(body):
        return ""
    function = str(eqn.params.get("name", "")) or getattr(getattr(body.jaxpr, "debug_info", None), "func_name", "")
    return f"{kind or eqn.primitive.name.removesuffix('_call').removesuffix('2')} {function}".strip()
