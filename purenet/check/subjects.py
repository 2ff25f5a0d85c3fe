"""What the gradient laws look at: a function of arrays that move, and the rules that claim to be its gradient."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxprs_in_params

from purenet.check import leaves
from purenet.contract import Layer, Tree
from purenet.losses.base import Loss

Moving = tuple[Any, ...]
Rule = Callable[[Moving, Tree, Moving], Moving]


class Subject(NamedTuple):
    """A function under check.

    Attributes:
      name: shown in messages.
      value: `(moving, fixed) -> floating arrays`.
      rules: by the name of their law: `(moving, fixed, cotangents) -> a gradient like moving`.
      paths: the names of what moves.
      composite: whether it is made of parts, so that at a kink no rule need be within the slopes of the whole.
      batch: how many examples its arrays hold, or None.
      point: what a draw without a label is called.
    """

    name: str
    value: Callable[[Moving, Tree], Moving]
    rules: Mapping[str, Rule]
    paths: Sequence[str]
    composite: bool = False
    batch: int | None = None
    point: str = "a random point"


class Draws(NamedTuple):
    """Points to look at, stacked along the first axis of every array.

    Attributes:
      moving: the arrays that move, in float64.
      fixed: all else that the value needs.
      cotangents: of the value.
      labels: where each point lies: empty for a random one, else such as `x = 0`.
    """

    moving: Moving
    fixed: Tree
    cotangents: Moving
    labels: tuple[str, ...]


class Given(NamedTuple):
    """Everything that a layer's functions take."""

    params: Tree
    xs: Tree
    state: Tree
    key: Any


def stack_draws(rows: Sequence[tuple[Moving, Tree, Moving]], labels: Sequence[str]) -> Draws:
    """Stacks points, each `(moving, fixed, cotangents)`."""
    moving, fixed, cotangents = leaves.stacked(rows)
    return Draws(moving, fixed, cotangents, tuple(labels))


def layer_subject(layer: Layer, one: Given, apart: bool) -> Subject:
    """Makes the subject of a layer; `apart` says that it differs in training, so that `apply` has no say."""
    structure = jax.tree.structure((one.params, one.xs))

    def given(moving: Moving, fixed: Tree) -> Given:
        rest, state, key = fixed
        params, xs = leaves.join(structure, moving, rest)
        return Given(params, xs, state, key)

    def value(moving: Moving, fixed: Tree) -> Moving:
        now = given(moving, fixed)
        return leaves.floats(layer.forward(now.params, now.xs, now.state, now.key)[0])

    def applied(moving: Moving, fixed: Tree) -> Moving:
        now = given(moving, fixed)
        return leaves.floats(jax.vmap(lambda x: layer.apply(now.params, x, now.state))(now.xs))

    def by_hand(moving: Moving, fixed: Tree, cotangents: Moving) -> Moving:
        now = given(moving, fixed)
        ys, _, pullback = layer.vjp(now.params, now.xs, now.state, now.key)
        grads = jax.tree.leaves(pullback(like(ys, cotangents)), is_leaf=leaves.is_none)
        return tuple(
            grad
            for grad, leaf in zip(grads, jax.tree.leaves((now.params, now.xs)), strict=True)
            if leaves.is_float(leaf)
        )

    rules: dict[str, Rule] = {"hand rule": by_hand, "forward's autodiff": autodiff(value)}
    if not apart:
        rules["apply's autodiff"] = autodiff(applied)
    paths = [path for path, leaf in leaves.entries(params=one.params, x=one.xs) if leaves.is_float(leaf)]
    batch = len(jax.tree.leaves(one.xs)[0])
    return Subject(layer.name, value, rules, paths, bool(layer.parts), batch)


def loss_subject(loss: Loss, prediction: Tree) -> Subject:
    """Makes the subject of a loss, which moves with the prediction."""
    structure = jax.tree.structure(prediction)

    def value(moving: Moving, fixed: Tree) -> Moving:
        rest, target = fixed
        return (loss.value(leaves.join(structure, moving, rest), target),)

    def by_hand(moving: Moving, fixed: Tree, cotangents: Moving) -> Moving:
        rest, target = fixed
        grads = leaves.floats(loss.grad(leaves.join(structure, moving, rest), target))
        return tuple(grad * cotangents[0] for grad in grads)

    paths = [path for path, leaf in leaves.entries(prediction=prediction) if leaves.is_float(leaf)]
    return Subject(loss.name, value, {"hand rule": by_hand, "autodiff": autodiff(value)}, paths)


def autodiff(value: Callable[[Moving, Tree], Moving]) -> Rule:
    """The gradient by `jax.vjp`."""

    def rule(moving: Moving, fixed: Tree, cotangents: Moving) -> Moving:
        grads: Moving = jax.vjp(lambda moving: value(moving, fixed), moving)[1](cotangents)[0]
        return grads

    return rule


def like(ys: Tree, cotangents: Sequence[Any]) -> Tree:
    """Puts cotangents of floats in the places of a tree's floats, and JAX's float0 in the others."""
    given = iter(cotangents)
    return jax.tree.map(lambda y: next(given) if leaves.is_float(y) else np.zeros(jnp.shape(y), jax.dtypes.float0), ys)


def equations(jaxpr: Any) -> Iterator[Any]:
    """All operations of a traced program, those of programs inside it too."""
    for eqn in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        yield eqn
        for inner in jaxprs_in_params(eqn.params):
            yield from equations(inner)


def coarsest(jaxpr: Any) -> float:
    """The largest rounding among the formats that a program of float64 narrows its numbers to: 2⁻⁵² if to none."""
    dtypes = [out.aval.dtype for eqn in equations(jaxpr) if _narrows(eqn) for out in eqn.outvars]
    return max([float(jnp.finfo(dtype).eps) for dtype in dtypes] + [float(jnp.finfo(jnp.float64).eps)])


def has_own_rule(jaxpr: Any) -> bool:
    """Whether a program holds a gradient that somebody wrote with `jax.custom_vjp`."""
    return any(eqn.primitive.name.startswith("custom_vjp_call") for eqn in equations(jaxpr))


def _narrows(eqn: Any) -> bool:
    def has(variables: Any, wide: bool) -> bool:
        kinds = [getattr(v.aval, "dtype", None) for v in variables]
        kept = [kind for kind in kinds if kind is not None and jnp.issubdtype(kind, jnp.floating)]
        return any((kind == jnp.float64) == wide for kind in kept)

    inside = any(True for _ in jaxprs_in_params(eqn.params))
    return not inside and has(eqn.invars, True) and has(eqn.outvars, False)
