"""Equinox as its examples have it: a `filter_jit` make_step, called from a Python loop, donating the old state.

Once more with the flattening that its page of tricks advises for steps that are short ("Low-overhead training loops").
"""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

PACKAGES = ("equinox", "jax", "jaxlib", "optax")


class MLP(eqx.Module):
    """Linear layers with an activation between them."""

    layers: list
    activation: str = eqx.field(static=True)

    def __call__(self, x):
        """Applies the layers to one example."""
        for layer in self.layers[:-1]:
            x = getattr(jax.nn, self.activation)(layer(x))
        return self.layers[-1](x)


def _make(problem, *, flattened):
    optim = optax.adam(problem.rate)
    batches = [(jnp.asarray(x), jnp.asarray(y)) for x, y in zip(problem.xs, problem.ys, strict=True)]

    def start():
        layers = [eqx.nn.Linear(*pair, key=jax.random.key(0)) for pair in itertools.pairwise(problem.widths)]
        given = [jnp.array(a) for kernel, bias in problem.weights for a in (kernel.T, bias)]
        layers = eqx.tree_at(lambda layers: [a for layer in layers for a in (layer.weight, layer.bias)], layers, given)
        model = MLP(layers, problem.activation)
        return jax.block_until_ready((model, optim.init(eqx.filter(model, eqx.is_array))))

    @eqx.filter_value_and_grad
    def compute_loss(model, x, y):
        outputs = jax.vmap(model)(x)
        if problem.loss == "half_squared_error":
            return jnp.mean(jnp.sum(optax.l2_loss(outputs, y), axis=1))
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs, y))

    structures = [jax.tree.structure(part) for part in start()]

    # The batch comes first, as the next run needs it again and "all-except-first" donates the others.
    @eqx.filter_jit(donate="all-except-first")
    def make_step(batch, model, opt_state):
        if flattened:
            model, opt_state = map(jax.tree.unflatten, structures, (model, opt_state))
        loss, grads = compute_loss(model, *batch)
        updates, opt_state = optim.update(grads, opt_state, eqx.filter(model, eqx.is_array))
        model = eqx.apply_updates(model, updates)
        return (jax.tree.leaves(model), jax.tree.leaves(opt_state), loss) if flattened else (model, opt_state, loss)

    def run(state):
        model, opt_state = map(jax.tree.leaves, state) if flattened else state
        for batch in batches:
            model, opt_state, _ = make_step(batch, model, opt_state)
        state = jax.block_until_ready((model, opt_state))
        return tuple(map(jax.tree.unflatten, structures, state)) if flattened else state

    def weights(state):
        return [(np.asarray(layer.weight).T, np.asarray(layer.bias)) for layer in state[0].layers]

    return start, run, weights


CONTENDERS = {
    "Equinox": lambda problem: _make(problem, flattened=False),
    "Equinox, flattened": lambda problem: _make(problem, flattened=True),
}
