"""Flax NNX: `nnx.jit`, as its guides have it, and `nnx.jit_partial`, for modules that are trees: its fastest way.

`cached_partial` and the functional style of its page "Performance considerations" took times between the two. Both
donate, as the reference of `nnx.jit` has it.
"""

import functools

import jax
import jax.numpy as jnp
import models_in_flax
import numpy as np
import optax
from flax import nnx

PACKAGES = ("flax", "jax", "jaxlib", "optax")


def _make(problem, jit):
    batches = [(jnp.asarray(x), jnp.asarray(y)) for x, y in zip(problem.xs, problem.ys, strict=True)]
    model = models_in_flax.make(problem)
    places = models_in_flax.variables(problem, model)
    optimizer = nnx.Optimizer(model, optax.adam(problem.rate), wrt=nnx.Param)
    beginning = jax.tree.map(np.array, nnx.state(optimizer))

    def start():
        models_in_flax.set_all(places, problem.weights)
        nnx.update(optimizer, jax.tree.map(jnp.array, beginning))
        jax.block_until_ready(nnx.state((model, optimizer)))

    def train_step(model, optimizer, x, y):
        def loss_fn(model):
            outputs = model(x)
            if problem.loss == "half_squared_error":
                return jnp.mean(jnp.sum(optax.l2_loss(outputs, y), axis=1))
            return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs, y))

        loss, grads = nnx.value_and_grad(loss_fn)(model)
        optimizer.update(model, grads)
        return loss

    step = jit(train_step, model, optimizer)

    def run(_):
        for x, y in batches:
            step(x, y)
        jax.block_until_ready(nnx.state((model, optimizer)))

    def weights(_):
        return [tuple(np.asarray(variable[...]) for variable in layer) for layer in places]

    return start, run, weights


_jit = functools.partial(nnx.jit, donate_argnums=(0, 1))
_jit_partial = functools.partial(nnx.jit_partial, donate_argnums=(0, 1), graph=False)
CONTENDERS = {
    "Flax NNX": lambda problem: _make(problem, lambda step, *parts: functools.partial(_jit(step), *parts)),
    "Flax NNX, jit_partial": lambda problem: _make(problem, _jit_partial),
}
