"""The curvature of a run's loss: the largest eigenvalues of its Hessian, as plain descent or as Adam sees it."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from purenet.contract import Layer, Tree
from purenet.gradients import Batch, objective
from purenet.insight.curvature import ritz_values
from purenet.insight.noise_scale import squared_norm
from purenet.losses.base import Loss
from purenet.optim.curvature import hessian_product
from purenet.optimizers import states_with
from purenet.streams import stream
from purenet.updates import TrainState

STEPS = 6  # of Lanczos' iteration: within a tenth of the largest eigenvalue, begun at the gradient
CURVED = 40  # examples looked at, as a product costs two gradients


@functools.lru_cache(maxsize=16)
def make_sharpness(net: Layer, loss: Loss, steps: int, scaled: bool, exact: bool) -> Callable[..., jax.Array]:
    """Compiles the largest eigenvalues of the Hessian, or of P^-½ H P^-½ with Adam's preconditioner P."""

    def sharpness(state: TrainState, examples: Batch) -> jax.Array:
        key = stream(state.key, "forward", state.step)

        def value(params: Tree) -> jax.Array:
            return objective(net, loss, params, state.state, examples, key).value

        plain = hessian_product(value, state.params)
        grads = jax.grad(value)(state.params)
        noise = _noise_like(stream(key, "lanczos"), grads)
        length = jnp.sqrt(squared_norm(grads))
        factor = 1 / jnp.where(length > 0, length, 1)
        start = jax.tree.map(lambda g, e: factor.astype(g.dtype) * g + e, grads, noise)
        if not scaled:
            return ritz_values(plain, start, steps, exact=exact)
        roots = _roots(adam_of(state))

        def product(v: Tree) -> Tree:
            return jax.tree.map(jnp.multiply, roots, plain(jax.tree.map(jnp.multiply, roots, v)))

        return ritz_values(product, start, steps, exact=exact)

    return jax.jit(sharpness)


def adam_of(state: TrainState) -> Any:
    """Finds Adam's moments of all the parameters in the optimizer's state, or None."""
    found = states_with(state.opt_state, "mu", "nu", "count")
    tree: Any = jax.tree.structure(state.params)
    return found[0] if len(found) == 1 and jax.tree.structure(found[0].nu) == tree else None


def _roots(adam: Any) -> Tree:
    """P^-½ with P = √ν̂ + ε; β₂ and ε are optax's defaults, as the state does not tell them."""
    correction = 1 - 0.999 ** adam.count.astype(jnp.float32)
    return jax.tree.map(lambda nu: jax.lax.rsqrt(jnp.sqrt(nu / correction.astype(nu.dtype)) + 1e-8), adam.nu)


def _noise_like(key: Any, tree: Tree) -> Tree:
    """A random direction of norm about 1/10, so that a start at a gradient misses no eigenvector."""
    leaves, structure = jax.tree.flatten(tree)
    total = sum(leaf.size for leaf in leaves)
    keys = jax.random.split(key, max(1, len(leaves)))
    limit = 0.1 * (3 / total) ** 0.5  # uniform numbers: normal ones take a CPU several times as long
    drawn = [jax.random.uniform(k, a.shape, a.dtype, -limit, limit) for k, a in zip(keys, leaves, strict=False)]
    return jax.tree.unflatten(structure, drawn)
