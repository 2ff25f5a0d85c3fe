"""Counts the floating-point operations of a function without running it."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from jax.extend import source_info_util
from jax.extend.core import jaxprs_in_params
from jax.interpreters import partial_eval

from purenet.errors import ShapeError, StructureError, by, describe, is_whole
from purenet.flop_rules import Eqn, Flops, cost, is_counted, size, window

_NONE = Flops(0, 0)


def flops(fn: Callable[..., Any], *args: Any, trips: int | None = None) -> Flops:
    """Counts the floating-point operations that a function does, from its shapes; nothing is computed.

    The function is traced, what its results do not need is dropped, and the rest is counted in exact whole numbers:

        matmul       2 for each multiply-add: 2·m·k·n for (m, k) times (k, n), and as much for each of a batch; for a
                     convolution 2·(outputs)·(kernel positions)·(input channels of a group), with its padding but
                     without the zeros that a transposed one inserts; n(n+1)(2n+1)/6 for Cholesky, 2n³/3 + … for LU,
                     n² for each right-hand side of a triangular solve
        elementwise  1 for each element of the result of an elementwise function, be it a sum, `exp` or `x**3`; 1 for
                     each element that is reduced, accumulated or scatter-added, and of each pooling window;
                     5·n·log₂ n for a Fourier transform, half of it for a real one

    Only floating and complex numbers count; an operation on complex numbers is one operation, as on real ones.
    Integers, comparisons, choices, moves, conversions and random bits are free. A scan counts as often as it is
    long, so do loops with static bounds; `cond` and `switch` count their costliest branch, what depends on the
    platform its default; `shard_map` all of its devices, and `jax.checkpoint` what it computes again. The compiler
    may do less, where it finds a value twice.

    Args:
      fn: a function of arrays, such as `net.apply`, `jax.grad(loss)` or what `pn.train` returns, jitted or not.
      *args: its arguments, arrays or `jax.ShapeDtypeStruct` in their place, such as from `pn.spec`; pytrees of them.
        Numbers are traced like arrays: one that must stay a plain Python number, or a keyword, goes in by
        `lambda x: f(x, 3)`.
      trips: how often to count a `while` loop that does floating-point work, for its length is known only when it
        runs; 0 or more, for each such loop, also one inside another. Its condition counts once more.

    Returns:
      The counts `matmul` and `elementwise`, and `total`.

    Raises:
      ShapeError: for a `while` loop with floating-point work and no `trips`; for a negative `trips`.
      StructureError: for an operation of unknown cost, such as `eigh`, a callback or a Pallas kernel; if `fn` is no
        function or `trips` no whole number; and what `fn` raises when traced.

    References:
      Golub and Van Loan (2013), Matrix Computations, chapters 1, 3 and 4; Van Loan (1992),
      Computational Frameworks for the Fast Fourier Transform, chapter 1.

    Example:
      >>> import jax, optax, purenet as pn
      >>> net, key = pn.serial(pn.dense(128), pn.relu, pn.dense(10)), jax.random.key(0)
      >>> params, _ = net.init(key, pn.spec(784))
      >>> pn.flops(net.apply, params, pn.spec(784))
      Flops(matmul=203264, elementwise=266)
      >>> run = pn.train(net, pn.losses.softmax_cross_entropy, optax.sgd(0.1), batch_size=128, epochs=10)
      >>> data = pn.spec((60_000, 784)), pn.spec(60_000, "int32")
      >>> pn.flops(run, pn.train_state(net, optax.sgd(0.1), key, pn.spec(784)), data).matmul
      245452800000
    """
    with by("flops"):
        if not callable(fn):
            raise StructureError(
                f"expected fn to be a function, got {describe(fn)}. Give the function, then its arguments: flops(f, x)."
            )
        trips = _as_trips(trips)
    traced = jax.make_jaxpr(fn)(*args)
    with by("flops"):
        return count_jaxpr(traced.jaxpr, trips)


def count_jaxpr(jaxpr: Any, trips: int | None = None) -> Flops:
    """Counts the operations of a traced function, but for what its results do not need."""
    needed, _ = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
    return _count(needed, trips)


def _as_trips(trips: Any) -> int | None:
    if trips is None:
        return None
    if not is_whole(trips):
        raise StructureError(f"expected trips to be a whole number, got {trips!r}. Give an int of 0 or more.")
    if trips < 0:
        raise ShapeError(f"expected trips of 0 or more, got {trips}. Give an int of 0 or more.")
    return int(trips)


def _count(jaxpr: Any, trips: int | None) -> Flops:
    return sum((_count_one(eqn, trips) for eqn in jaxpr.eqns), _NONE)


def _count_one(eqn: Eqn, trips: int | None) -> Flops:
    """An operation of the tables, or one that holds others; any that is known from neither is refused."""
    name = eqn.primitive.name
    if name in _HOLDERS:
        return _HOLDERS[name](eqn, partial(_count, trips=trips), trips)
    known = cost(eqn)
    if known is not None:
        return known
    inner = _inner(eqn)
    if name in _OPAQUE or (not inner and any(map(is_counted, (*eqn.invars, *eqn.outvars)))):
        raise StructureError(
            f"expected operations of known cost, got {name}{_where(eqn)}. "
            "Count the function without it, or with a plain JAX version in its place."
        )
    return sum((_count(jaxpr, trips) for jaxpr in inner), _NONE)


def _inner(eqn: Eqn) -> list[Any]:
    """What a call of whatever kind holds: jaxprs, or a primitive that expands into others."""
    inner = list(jaxprs_in_params(eqn.params))
    high: Any = eqn.params.get("_prim")
    if not inner and hasattr(high, "expand"):
        specs = jax.tree.map(lambda aval: jax.ShapeDtypeStruct(aval.shape, aval.dtype), high.in_avals)
        inner = [jax.make_jaxpr(high.expand)(*specs).jaxpr]
    return inner


def _where(eqn: Eqn) -> str:
    place = source_info_util.summarize(eqn.source_info)
    return f" at {place}" if place else ""


_Counter = Callable[[Any], Flops]
_Rule = Callable[[Eqn, _Counter, int | None], Flops]


def _scan(eqn: Eqn, count: _Counter, trips: int | None) -> Flops:
    return count(eqn.params["jaxpr"]) * int(eqn.params["length"])


def _while(eqn: Eqn, count: _Counter, trips: int | None) -> Flops:
    body, condition = count(eqn.params["body_jaxpr"]), count(eqn.params["cond_jaxpr"])
    if (body + condition).total == 0:
        return _NONE
    if trips is None:
        raise ShapeError(
            f"expected loops of known length, got a while loop with floating-point work{_where(eqn)}. "
            "Say how often to count it with trips=N, or use jax.lax.scan or static bounds."
        )
    return trips * body + (trips + 1) * condition


def _cond(eqn: Eqn, count: _Counter, trips: int | None) -> Flops:
    platforms = eqn.params.get("branches_platforms")
    if platforms and None in platforms:  # from `jax.lax.platform_dependent`
        return count(eqn.params["branches"][platforms.index(None)])
    return max(map(count, eqn.params["branches"]), key=lambda branch: branch.total)


def _shard_map(eqn: Eqn, count: _Counter, trips: int | None) -> Flops:
    """The body is one device's part, along the axes over which it is manual."""
    axes = eqn.params["newly_manual_axes" if "newly_manual_axes" in eqn.params else "manual_axes"]
    return count(eqn.params["jaxpr"]) * math.prod(int(eqn.params["mesh"].shape[axis]) for axis in axes)


def _linear_solve(eqn: Eqn, count: _Counter, trips: int | None) -> Flops:
    """Only the solver runs; the operator and the transposes serve derivatives."""
    return count(eqn.params["jaxprs"].solve)


def _linear_call(eqn: Eqn, count: _Counter, trips: int | None) -> Flops:
    return count(eqn.params["callee"])


def _for_each(operand: int, jaxpr: str) -> _Rule:
    """A scalar function for each element of an operand; None, where there is none, only moves."""

    def counted(eqn: Eqn, count: _Counter, trips: int | None) -> Flops:
        function = eqn.params[jaxpr]
        return _NONE if function is None else size(eqn.invars[operand]) * count(function)

    return counted


def _reduce_window(eqn: Eqn, count: _Counter, trips: int | None) -> Flops:
    return count(eqn.params["jaxpr"]) * window(eqn)


# Whatever else holds other operations is a call, and counts them once.
_HOLDERS: dict[str, _Rule] = {
    "cond": _cond,
    "custom_linear_solve": _linear_solve,
    "linear_call": _linear_call,
    "reduce": _for_each(0, "jaxpr"),
    "reduce_window": _reduce_window,
    "scan": _scan,
    "scatter": _for_each(2, "update_jaxpr"),
    "shard_map": _shard_map,
    "while": _while,
}
# These hold operations that do not run once.
_OPAQUE = frozenset(("core_map", "mpmd_map", "pallas_call", "select_and_scatter"))
