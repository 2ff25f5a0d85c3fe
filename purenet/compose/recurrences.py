"""Combinators of recurrent layers: bidirectional and stacked."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from purenet.compose.carried import Given, parted, read
from purenet.compose.parts import add_cotangents, as_parts, expect_parts, key_of, states_of
from purenet.contract import Layer, Spec, Tree, layer, out_spec
from purenet.errors import ShapeError, at, describe


def bidirectional(part: Any) -> Layer:
    """A recurrent layer over time and a second one against it, side by side, y = (f(x), ←f'(←x)).

    ← reverses the steps, within the length where there is one; the second layer's outputs are turned around again, so
    that both belong to the same time. With outputs="last" the second one's is that after the first step.

    Args:
      part: a layer for sequences, such as `pn.lstm(64)`; it is used twice, each time with params of its own. What it
        takes, so does this: x, `(x, length)`, `(x, carry)` or `(x, length, carry)`, with a pair of carries.

    Returns:
      A layer from shape (T, n) to (T, 2h), or to (2h,) from a part that gives (h,); where carries come in, the output
      is `(y, carries)`. Params and state are tuples of two.

    Raises:
      ShapeError: at trace time, if x has not the shape (T, n) with T of 1 or more, or by the part.
      StructureError: if `part` is not a layer; at trace time, for params, state or carries of another network.

    Derivation:
      Reversing is a permutation P of the steps, and its own inverse, so its transpose is itself: the cotangent of
      P f'(P x) passes P, the part's own rule, and P again. x goes to both parts, so dJ/dx is the sum of theirs;
      outputs that stand side by side have cotangents that do.

    References:
      Schuster and Paliwal (1997), Bidirectional recurrent neural networks.

    Example:
      >>> import jax, jax.numpy as jnp, purenet as pn
      >>> net = pn.bidirectional(pn.gru(3, lengths=True))
      >>> params, state = net.init(jax.random.key(0), (pn.spec((7, 2)), pn.spec((), jnp.int32)))
      >>> net.apply(params, (jnp.ones((7, 2)), jnp.int32(4))).shape
      (7, 6)
    """
    parts = as_parts("bidirectional", (part,)) * 2

    def init(key: Any, spec: Spec) -> tuple[Tree, Tree]:
        given = read(spec)
        made = []
        for i, way in enumerate(parts):
            with at(f"[{i}]"):
                made.append(way.init(key_of(key, i), given.to(given.x, given.carries(2)[i])))
        params, states = zip(*made, strict=True)
        return params, states

    def check(params: Tree, spec: Spec) -> None:
        expect_parts("params", params, parts)
        given = read(spec)
        if not isinstance(given.x, jax.ShapeDtypeStruct) or len(given.x.shape) != 2 or given.x.shape[0] == 0:
            raise ShapeError(
                f"expected x of shape (T, n) with T of 1 or more, got {describe(given.x)}. Give one sequence."
            )
        given.carries(2)

    def apply(params: Tree, x: Tree, state: Tree) -> Tree:
        given, states, ys = read(x), states_of(parts, state), []
        for i, way in enumerate(parts):
            with at(f"[{i}]"):
                turned = _turned(given.x, given.length) if i else given.x
                ys.append(way.apply(params[i], given.to(turned, given.carries(2)[i]), states[i]))
        return _side_by_side(given, ys, _turned, 2)

    def forward(params: Tree, xs: Tree, state: Tree, key: Any) -> tuple[Tree, Tree]:
        given, states, ys = read(xs), list(states_of(parts, state)), []
        for i, way in enumerate(parts):
            with at(f"[{i}]"):
                turned = _turn_by_rule(given.x, given.length) if i else given.x
                y, states[i] = way.forward(params[i], given.to(turned, given.carries(2)[i]), states[i], key_of(key, i))
            ys.append(y)
        return _side_by_side(given, ys, _turn_by_rule, 3), tuple(states)

    def vjp(params: Tree, xs: Tree, state: Tree, key: Any) -> Any:
        given, states, ys, pullbacks = read(xs), list(states_of(parts, state)), [], []
        for i, way in enumerate(parts):
            with at(f"[{i}]"):
                turned = _turn(given.x, given.length) if i else given.x
                y, states[i], pullback = way.vjp(
                    params[i], given.to(turned, given.carries(2)[i]), states[i], key_of(key, i)
                )
            ys.append(y)
            pullbacks.append(pullback)
        back = jax.tree_util.Partial(_both_pullbacks, pullbacks, given.length)
        return _side_by_side(given, ys, _turn, 3), tuple(states), back

    return layer(apply, init=init, forward=forward, vjp=vjp, name="bidirectional", parts=parts, check=check)


def _turned(x: jax.Array, length: tuple[Any, ...]) -> jax.Array:
    """Reverses the steps of one example, within its length."""
    if not length:
        return jnp.flip(x, axis=0)
    return jnp.take(x, _order(x.shape[0], length[0]), axis=0, mode="clip")


def _turn(xs: jax.Array, length: tuple[Any, ...]) -> jax.Array:
    """Reverses the steps of a mini-batch, within the lengths."""
    return jax.vmap(_turned)(xs, length)


@jax.custom_vjp
def _turn_by_rule(xs: jax.Array, length: tuple[Any, ...]) -> jax.Array:
    """The same, its own transpose: autodiff makes a scatter of the gather, which XLA on CPU runs element by element."""
    return _turn(xs, length)


_turn_by_rule.defvjp(
    lambda xs, length: (_turn(xs, length), length), lambda length, dys: (_turn(dys, length), (None,) * len(length))
)


def _order(steps: int, length: Any) -> jax.Array:
    times = jnp.arange(steps, dtype=jnp.int32)
    return jnp.where(times < length, length - 1 - times, times)


def _side_by_side(given: Given, outs: Sequence[Tree], turn: Any, rank: int) -> Tree:
    """Joins the outputs of both directions; `rank` is that of outputs with an axis of time."""
    (one, first), (other, second) = (parted(out, given) for out in outs)
    y = jnp.concatenate([one, turn(other, given.length) if other.ndim == rank else other], axis=-1)
    return (y, (first, second)) if given.carry else y


def _both_pullbacks(pullbacks: Sequence[Any], length: tuple[Any, ...], dys: Tree) -> tuple[Tree, Tree]:
    dy, dcarries = dys if isinstance(dys, tuple) else (dys, None)
    one, other = jnp.split(dy, 2, axis=-1)
    halves: tuple[Tree, ...] = (one, _turn(other, length) if dy.ndim == 3 else other)
    if dcarries is not None:
        halves = tuple(zip(halves, dcarries, strict=True))
    dparams, ways = zip(*(pullback(half) for pullback, half in zip(pullbacks, halves, strict=True)), strict=True)
    first, second = (way if isinstance(way, tuple) else (way,) for way in ways)
    dx = add_cotangents(first[0], _turn(second[0], length))
    if len(first) == 1:
        return dparams, dx
    carries = () if dcarries is None else ((first[-1], second[-1]),)
    return dparams, (dx, *first[1 : 1 + len(length)], *carries)


def stacked(*layers: Any, between: Any = None) -> Layer:
    """Recurrent layers one upon the other, each with the outputs of the one below as its sequence.

    Without lengths and carries this is `serial`; here the length goes to every layer, and each has its own carry.

    Args:
      *layers: recurrent layers, such as `pn.lstm(64)` or `pn.bidirectional(pn.gru(32))`, all with the same `lengths`
        and `carry`; all but the last with outputs="all".
      between: a layer for the sequence between each two of them, such as `pn.dropout(0.2)`; with params of its own at
        each place.

    Returns:
      A layer from what the layers take, x, `(x, length)`, `(x, carries)` or `(x, length, carries)` with a tuple of one
      carry per layer, to the last one's outputs, or `(outputs, carries)` where carries come in. Params and state are
      tuples with one entry per layer, those between included.

    Raises:
      ShapeError: if there is no layer; at trace time, by the layers.
      StructureError: if an argument is not a layer; at trace time, for params, state or carries of another network.

    Derivation:
      The chain rule, as in `serial`: the cotangent of a layer's outputs is that of the next one's sequence. Each carry
      belongs to one layer, and so does its cotangent; lengths have none.

    References:
      Graves, Mohamed and Hinton (2013), Speech recognition with deep recurrent neural networks, eq. 11.

    Example:
      >>> import jax, jax.numpy as jnp, purenet as pn
      >>> net = pn.stacked(pn.lstm(4, lengths=True), pn.lstm(3, lengths=True), between=pn.dropout(0.2))
      >>> params, state = net.init(jax.random.key(0), (pn.spec((7, 2)), pn.spec((), jnp.int32)))
      >>> net.apply(params, (jnp.ones((7, 2)), jnp.int32(4))).shape
      (7, 3)
    """
    own = as_parts("stacked", layers)
    gaps = () if between is None else as_parts("stacked", (between,))
    parts = own[:1]
    for part in own[1:]:
        parts = (*parts, *gaps, part)
    stride = 1 + len(gaps)

    def walk(x: Tree, call: Any) -> Tree:
        """Calls `call(i, input)` for each part in turn."""
        given = read(x)
        starts, ends, y = given.carries(len(own)), [], given.x
        for i in range(len(parts)):
            with at(f"[{i}]"):
                if i % stride:
                    y = call(i, y)
                else:
                    y, end = parted(call(i, given.to(y, starts[i // stride])), given)
                    ends.append(end)
        return (y, tuple(ends)) if given.carry else y

    def init(key: Any, spec: Spec) -> tuple[Tree, Tree]:
        params, states = [], []

        def call(i: int, spec: Spec) -> Spec:
            param, state = parts[i].init(key_of(key, i), spec)
            params.append(param)
            states.append(state)
            return out_spec(parts[i], param, spec, state)

        walk(spec, call)
        return tuple(params), tuple(states)

    def check(params: Tree, spec: Spec) -> None:
        expect_parts("params", params, parts)
        read(spec).carries(len(own))

    def apply(params: Tree, x: Tree, state: Tree) -> Tree:
        states = states_of(parts, state)
        return walk(x, lambda i, x: parts[i].apply(params[i], x, states[i]))

    def forward(params: Tree, xs: Tree, state: Tree, key: Any) -> tuple[Tree, Tree]:
        states = list(states_of(parts, state))

        def call(i: int, xs: Tree) -> Tree:
            ys, states[i] = parts[i].forward(params[i], xs, states[i], key_of(key, i))
            return ys

        return walk(xs, call), tuple(states)

    def vjp(params: Tree, xs: Tree, state: Tree, key: Any) -> Any:
        states, pullbacks = list(states_of(parts, state)), []

        def call(i: int, xs: Tree) -> Tree:
            ys, states[i], pullback = parts[i].vjp(params[i], xs, states[i], key_of(key, i))
            pullbacks.append(pullback)
            return ys

        return walk(xs, call), tuple(states), jax.tree_util.Partial(_downwards(stride), pullbacks)

    return layer(apply, init=init, forward=forward, vjp=vjp, name="stacked", parts=parts, check=check)


@functools.cache  # one function a stride, so that equal pullbacks have equal tree structures
def _downwards(stride: int) -> Any:
    def pullback(pullbacks: Sequence[Any], dys: Tree) -> tuple[Tree, Tree]:
        with_carry = isinstance(dys, tuple)
        dy, dcarries = dys if with_carry else (dys, ())
        dparams, starts = [], []
        rest: list[Any] = []
        for i in reversed(range(len(pullbacks))):
            if i % stride:
                dparam, dy = pullbacks[i](dy)
            else:
                dparam, dx = pullbacks[i]((dy, dcarries[i // stride]) if with_carry else dy)
                dy, *rest = dx if isinstance(dx, tuple) else (dx,)
                if with_carry:
                    starts.append(rest.pop())
            dparams.append(dparam)
        carries = (tuple(reversed(starts)),) if with_carry else ()
        dxs = (dy, *rest, *carries)
        return tuple(reversed(dparams)), dxs if len(dxs) > 1 else dy

    return pullback
