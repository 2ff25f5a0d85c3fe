"""remat: a layer that computes its intermediate values again on the way back, and so need not store them."""

from typing import Any

import jax

from purenet.compose.parts import as_parts, check_parts, key_of, states_of
from purenet.contract import Layer, Spec, Tree, layer
from purenet.errors import at


def remat(part: Any) -> Layer:
    """A layer that stores only its input in training and computes all else again on the way back, y = f(x).

    Value and gradient stay the same. A gradient takes one more forward pass of f, and f's intermediate values need not
    stay in memory until then: `repeat(remat(block), n)` stores one input per block and one block's values at a time.
    Outside of a loop jax 0.10 on a CPU finds the first pass's values again, and nothing is saved; jax 0.12 saves it.

    Args:
      part: f, a layer or a plain function of one example.

    Returns:
      A layer; params and state are tuples with one entry.

    Raises:
      StructureError: if `part` is not a layer; at trace time, for params or state of another network.

    Derivation:
      The rule is f's own: dJ/dθ = (∂f/∂θ)ᵀ dJ/dy and dJ/dx = (∂f/∂x)ᵀ dJ/dy, only that the pullback starts from x, the
      params, the state and the key, and runs f forward once more, with the same random numbers.

    References:
      Griewank and Walther (2008), Evaluating Derivatives, chapter 12, on checkpointing.
      Chen, Xu, Zhang and Guestrin (2016), Training deep nets with sublinear memory cost, section 3.

    Example:
      >>> import jax, jax.numpy as jnp, purenet as pn
      >>> block = pn.residual(pn.dense(64), pn.gelu, pn.dense(3))
      >>> net = pn.repeat(pn.remat(block), 12)
      >>> params, state = net.init(jax.random.key(0), pn.spec(3))
      >>> net.apply(params, jnp.ones(3)).shape
      (3,)
    """
    parts = as_parts("remat", (part,))
    inner = parts[0]

    def init(key: Any, spec: Spec) -> tuple[Tree, Tree]:
        with at("[0]"):
            params, state = inner.init(key_of(key, 0), spec)
        return (params,), (state,)

    def apply(params: Tree, x: Tree, state: Tree) -> Tree:
        with at("[0]"):
            return inner.apply(params[0], x, states_of(parts, state)[0])

    def forward(params: Tree, xs: Tree, state: Tree, key: Any) -> tuple[Tree, Tree]:
        def again(param: Tree, xs: Tree, state: Tree, key: Any) -> tuple[Tree, Tree]:
            result: tuple[Tree, Tree] = inner.forward(param, xs, state, key)
            return result

        with at("[0]"):
            given = (params[0], xs, states_of(parts, state)[0], key_of(key, 0))
            ys, new = jax.checkpoint(again)(*given)
        return ys, (new,)

    def vjp(params: Tree, xs: Tree, state: Tree, key: Any) -> Any:
        given = (params[0], xs, states_of(parts, state)[0], key_of(key, 0))
        with at("[0]"):
            ys, new, _ = inner.vjp(*given)
        return ys, (new,), jax.tree_util.Partial(pullback, given)

    def pullback(given: Any, dys: Tree) -> tuple[Tree, Tree]:
        _, _, inner_pullback = inner.vjp(*_not_before(given, dys))
        dparam, dxs = inner_pullback(dys)
        return (dparam,), dxs

    return layer(apply, init=init, forward=forward, vjp=vjp, name="remat", parts=parts, check=check_parts(parts))


def _not_before(given: Tree, dys: Tree) -> Tree:
    """Makes `given` wait for the cotangents: else the compiler finds the first pass's values and stores them."""
    arrived = [leaf for leaf in jax.tree.leaves(dys) if leaf.dtype != jax.dtypes.float0]
    return jax.lax.optimization_barrier((given, arrived))[0]
