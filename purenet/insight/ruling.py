"""Inside a backward rule of the user's own (`jax.custom_vjp`): its operations only know where the function was called.

The rule is traced again by itself, so that its operations know the rule's own lines.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purenet.insight.blaming import Blame, blame
from purenet.insight.programs import Where, body_of, is_finite, is_number, label_of, ruled


class Ruled(NamedTuple):
    """A call of a function with a backward rule of its own, on a tape: operands and results by number."""

    eqn: Any
    operands: tuple[int, ...]
    results: tuple[int, ...]
    where: Where


def blame_rule(call: Ruled, values: Sequence[Any], gradients: dict[int, Any]) -> Blame | None:
    """Searches a backward rule that made numbers into none; None if this one did not, or cannot be looked into."""
    given, results = ([values[number] for number in numbers] for numbers in (call.operands, call.results))
    cotangents = [gradients.get(number) for number in call.results]
    shares = [gradients.get(number) for number in call.operands]
    if any(cotangent is None or not is_finite(cotangent) for cotangent in cotangents) or not all(map(is_finite, given)):
        return None
    if all(share is None or is_finite(share) for share in shares) or not all(map(is_number, results)):
        return None
    try:
        residuals = _residuals(call.eqn, given)
        rule = call.eqn.params["bwd"]
        traced = jax.make_jaxpr(lambda *kept: _arrays(rule.call_wrapped(*kept)))(*residuals, *cotangents)
    except (AttributeError, KeyError, TypeError, ValueError):  # another JAX keeps rules in another way
        return None
    body = ruled(call.eqn)
    label = label_of(call.eqn, body) if body is not None else ""
    where = Where(call.where.place, call.where.source, call.where.layer, backward=True).inside(label)
    return blame(body_of(traced), [*residuals, *cotangents], None, where)


def _residuals(eqn: Any, given: Sequence[Any]) -> list[Any]:
    """What the forward rule keeps for the backward rule; some of it are operands as they came."""
    params = eqn.params
    primals = list(given[params["num_consts"] :])
    program, consts = params["fwd_jaxpr_thunk"].call_wrapped(*[is_number(value) for value in primals])
    outs = list(jax.core.eval_jaxpr(program, consts, *primals))
    forwarded = params["out_trees"]()[2]
    return [outs.pop(0) if operand is None else given[operand] for operand in forwarded]


def _arrays(tree: Any) -> list[Any]:
    return [jnp.asarray(leaf) for leaf in jax.tree.leaves(tree) if isinstance(leaf, (jax.Array, jax.core.Tracer))]
