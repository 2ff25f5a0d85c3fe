"""Optax's optimizers in training: what they are told beside the gradient, and what their states tell."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from purenet.contract import Tree
from purenet.errors import StructureError, describe


def as_optimizer(optimizer: Any) -> optax.GradientTransformationExtraArgs:
    """Takes an optax optimizer, or an object with `init` and `update` such as `optax.MultiSteps`."""
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        raise StructureError(
            f"expected an optax optimizer, got {describe(optimizer)}. Call the factory, such as optax.adam(1e-3)."
        )
    if not isinstance(optimizer, optax.GradientTransformation):
        return optax.GradientTransformationExtraArgs(optimizer.init, optimizer.update)
    return optax.with_extra_args_support(optimizer)


def strong(leaf: Any) -> Any:
    """An array of strong type, which leaves have after the first update, so that nothing is traced twice."""
    leaf = jnp.asarray(leaf)
    return leaf if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else jax.lax.convert_element_type(leaf, leaf.dtype)


def extras(
    optimizer: Any,
    opt_state: Tree,
    *,
    value: jax.Array,
    grads: Tree,
    value_fn: Callable[[Tree], jax.Array],
    grad_fn: Callable[[Tree], Tree],
    **more: Any,
) -> dict[str, Any]:
    """What an optimizer's `update` is told beside the gradient: only what it asks for.

    It asks by the names of its arguments. One that takes any, such as `optax.chain`, gets `value`, `grad` and
    `value_fn`, for line searches refuse the others, and what the states in its own name as `wants`.

    Args:
      optimizer: an optimizer from `as_optimizer`.
      opt_state: its state.
      value: the loss.
      grads: its gradient.
      value_fn: the loss as a function of the params.
      grad_fn: its gradient, likewise.
      **more: what this kind of training can tell beyond.

    Returns:
      The keyword arguments.
    """
    given = {"value": value, "grad": grads, "value_fn": value_fn, "obj_fn": value_fn, **more}
    given["grad_fn"] = lambda params, *_: grad_fn(params)
    parameters = inspect.signature(optimizer.update).parameters.values()
    names = {parameter.name for parameter in parameters}
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        names |= {"value", "grad", "value_fn"}
        names |= {name for node in states_with(opt_state, "wants") for name in node.wants}
    return {name: what for name, what in given.items() if name in names}


def rates_in_force(opt_state: Tree) -> list[jax.Array]:
    """Finds the learning rates that `optax.inject_hyperparams` keeps in the state: those of the last update."""
    rates: list[jax.Array] = []
    for node in states_with(opt_state, "hyperparams"):
        if "learning_rate" in node.hyperparams:
            rates.append(jnp.asarray(node.hyperparams["learning_rate"]))
        else:
            rates += rates_in_force(node.inner_state)
    return rates


def rate_row(opt_state: Tree) -> dict[str, jax.Array]:
    """The rate in force as an entry of the history: a number, or an array if there are several; empty if untold."""
    rates = rates_in_force(opt_state)
    if not rates:
        return {}
    return {"learning_rate": rates[0] if len(rates) == 1 else jnp.stack(rates)}


def troubles_of(opt_state: Tree) -> list[str]:
    """Asks, on the host, the states that have a method `trouble() -> str | None` what went wrong in them."""
    told = (node.trouble() for node in states_with(opt_state, "trouble"))
    return [text for text in told if text is not None]


def unmasked(params: Tree, whole: Tree) -> Tree:
    """Fills in what a mask took from an optimizer's params, as `optax.partition` does for each of its parts."""

    def is_masked(node: Any) -> bool:
        return isinstance(node, optax.MaskedNode)

    return jax.tree.map(lambda p, own: own if is_masked(p) else p, params, whole, is_leaf=is_masked)


def states_with(tree: Tree, *names: str) -> list[Any]:
    """Finds the nodes of an optimizer's state that have attributes of all these names."""

    def fits(node: Any) -> bool:
        return all(hasattr(node, name) for name in names)

    return [node for node in jax.tree.leaves(tree, is_leaf=fits) if fits(node)]
