"""repeat: a layer many times over, each time with its own params, as one loop."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purenet.compose.parts import as_parts, expect_parts, key_of, states_of
from purenet.contract import Layer, Spec, Tree, layer, out_spec, spec_of
from purenet.errors import ShapeError, StructureError, at, describe, is_whole


def repeat(part: Any, times: int) -> Layer:
    """A layer many times over, y = f_n(… f₂(f₁(x))), where every fᵢ has params of its own.

    The same network as `serial` of so many layers, but one loop in the program (`jax.lax.scan`), which compiles in the
    time of one layer however deep it is. On a CPU, wide layers on large mini-batches can be slower than in `serial`.

    Args:
      part: f, a layer whose output has shapes and dtypes of its input.
      times: the depth n, 1 or more.

    Returns:
      A layer; params and state are tuples with one entry, each leaf of which has the axis (n,) in front. Repetition
      i is initialised, and draws in training, by a key of its own.

    Raises:
      ShapeError: if `times` is below 1; at `init` or trace time, if f's output is unlike its input.
      StructureError: if `part` is not a layer or `times` not a whole number; at trace time, for params or state of
        another network or depth.

    Derivation:
      The chain rule, as for `serial`: δᵢ₋₁ = (∂fᵢ/∂xᵢ₋₁)ᵀ δᵢ. The loop forward keeps each repetition's pullback, but
      for the params in it, which are there already; the loop backward runs them reversed, and stacks the dJ/dθᵢ.

    References:
      Griewank and Walther (2008), Evaluating Derivatives, section 3.2.

    Example:
      >>> import jax, jax.numpy as jnp, purenet as pn
      >>> net = pn.repeat(pn.residual(pn.dense(3), pn.tanh), 12)
      >>> params, state = net.init(jax.random.key(0), pn.spec(3))
      >>> [leaf.shape for leaf in jax.tree.leaves(params)]
      [(12, 3), (12, 3, 3)]
      >>> net.apply(params, jnp.ones(3)).shape
      (3,)
    """
    parts = as_parts("repeat", (part,))
    inner = parts[0]
    if not is_whole(times):
        raise StructureError(f"repeat: expected times to be a whole number, got {times!r}. Give an int.")
    if times < 1:
        raise ShapeError(f"repeat: expected times of 1 or more, got {times}. Give the number of repetitions.")
    numbers = np.arange(times)

    def init(key: Any, spec: Spec) -> tuple[Tree, Tree]:
        with at("[0]"):
            params, state = jax.vmap(lambda i: inner.init(key_of(key, i), spec))(numbers)
            one_params, one_state = jax.tree.map(_without_axis, (params, state))
            expect_same(out_spec(inner, one_params, spec, one_state), spec)
        return (params,), (state,)

    def check(params: Tree, x: Spec) -> None:
        expect_parts("params", params, parts)
        expect_depth("params", params)

    def expect_depth(what: str, tree: Tree) -> None:
        for leaf in jax.tree.leaves(tree):
            if np.shape(leaf)[:1] != (times,):
                raise StructureError(
                    f"expected {what} whose leaves have {times} repetitions along the first axis, got a leaf of shape "
                    f"{np.shape(leaf)}. Pass the {what} that this network's init made."
                )

    def state_of(state: Tree) -> Tree:
        inside = states_of(parts, state)[0]
        expect_depth("state", inside)
        return inside

    def apply(params: Tree, x: Tree, state: Tree) -> Tree:
        def body(x: Tree, own: Any) -> tuple[Tree, None]:
            return onward(inner.apply(own[0], x, own[1]), x), None

        own = (params[0], state_of(state))
        with at("[0]"):
            return jax.lax.scan(body, _strong(x), own, times)[0]

    def forward(params: Tree, xs: Tree, state: Tree, key: Any) -> tuple[Tree, Tree]:
        def body(xs: Tree, own: Any) -> tuple[Tree, Tree]:
            i, param, state = own
            ys, state = inner.forward(param, xs, state, key_of(key, i))
            return onward(ys, xs), state

        own = (numbers, params[0], state_of(state))
        with at("[0]"):
            ys, new = jax.lax.scan(body, _strong(xs), own)
        return ys, (new,)

    def vjp(params: Tree, xs: Tree, state: Tree, key: Any) -> Any:
        def body(xs: Tree, own: Any) -> tuple[Tree, Any]:
            i, *own = own
            ys, state, pullback = inner.vjp(own[0], xs, own[1], key_of(key, i))
            return onward(ys, xs), (state, _keep(pullback, own))

        own = (params[0], state_of(state))
        with at("[0]"):
            ys, (new, kept) = jax.lax.scan(body, _strong(xs), (numbers, *own))
        return ys, (new,), jax.tree_util.Partial(pullback, own, kept)

    def pullback(own: Tree, kept: _Kept, dys: Tree) -> tuple[Tree, Tree]:
        return _backward(times, own, kept, dys)

    def onward(y: Tree, x: Tree) -> Tree:
        expect_same(spec_of(y), spec_of(x))
        return _strong(y)

    def expect_same(y: Spec, x: Spec) -> None:
        if y != x:
            raise ShapeError(
                f"expected an output like the input, that of the next one, got {describe(y)} from {describe(x)}. "
                "Use pn.serial for layers that change the shape."
            )

    return layer(apply, init=init, forward=forward, vjp=vjp, name="repeat", parts=parts, check=check)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Kept:
    """A pullback without those of its leaves that are the layer's own params and state.

    Attributes:
      leaves: the others.
      places: for each leaf of the pullback, which of the layer's own it is, or None.
      tree: the pullback's structure.
    """

    leaves: list[Any]
    places: tuple[int | None, ...] = dataclasses.field(metadata={"static": True})
    tree: Any = dataclasses.field(metadata={"static": True})

    def pullback(self, own: Sequence[Any]) -> Any:
        """Puts the layer's own leaves back."""
        others = iter(self.leaves)
        return jax.tree.unflatten(self.tree, [next(others) if i is None else own[i] for i in self.places])


def _keep(pullback: Any, own: Tree) -> _Kept:
    """Finds the layer's own leaves in its pullback: as a loop's output they would be copied, all of them."""
    leaves, tree = jax.tree.flatten(pullback)
    places = {id(leaf): i for i, leaf in enumerate(jax.tree.leaves(own))}
    found = tuple(places.get(id(leaf)) for leaf in leaves)
    return _Kept([leaf for leaf, place in zip(leaves, found, strict=True) if place is None], found, tree)


def _backward(times: int, own: Tree, kept: _Kept, dys: Tree) -> tuple[Tree, Tree]:
    """Runs the kept pullbacks from the last to the first; integers' cotangents (float0) cannot go through a loop."""

    def body(dys_moving: list[Any], of_one: Any) -> tuple[list[Any], list[Any]]:
        own, kept = of_one
        dparams, dxs = kept.pullback(jax.tree.leaves(own))(_whole(dys, dys_moving))
        return _moving(dxs), _moving(dparams)

    dxs, dparams = jax.lax.scan(body, _moving(dys), (own, kept), times, reverse=True)
    return (_whole(jax.tree.map(_cotangent, own[0]), dparams),), _whole(dys, dxs)


def _moving(tree: Tree) -> list[Any]:
    return [leaf for leaf in jax.tree.leaves(tree) if leaf.dtype != jax.dtypes.float0]


def _whole(like: Tree, moving: Sequence[Any]) -> Tree:
    """Puts `moving` into a tree in place of all that is not float0."""
    others = iter(moving)
    return jax.tree.map(
        lambda leaf: np.zeros(leaf.shape, jax.dtypes.float0) if leaf.dtype == jax.dtypes.float0 else next(others), like
    )


def _cotangent(a: Any) -> jax.ShapeDtypeStruct:
    floating = jnp.issubdtype(a.dtype, jnp.inexact)
    return jax.ShapeDtypeStruct(a.shape, a.dtype if floating else jax.dtypes.float0)


def _without_axis(a: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(a.shape[1:], a.dtype)


def _strong(tree: Tree) -> Tree:
    """Takes weak types off, which a loop's values may not gain or lose."""
    return jax.tree.map(lambda a: jax.lax.convert_element_type(a, jnp.result_type(a)), tree)
