"""Plain JAX and optax, written by hand: a jitted update in a Python loop, with its old buffers donated.

And all updates as one `lax.scan` over the stacked mini-batches, which leaves Python out.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

PACKAGES = ("jax", "jaxlib", "optax")


def _make_update(problem, optimizer):
    activation = {"tanh": jnp.tanh, "relu": jax.nn.relu}[problem.activation]

    def loss_fn(params, x, y):
        for layer in params[:-1]:
            x = activation(x @ layer["kernel"] + layer["bias"])
        x = x @ params[-1]["kernel"] + params[-1]["bias"]
        if problem.loss == "half_squared_error":
            return jnp.mean(jnp.sum(optax.l2_loss(x, y), axis=1))
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(x, y))

    def update(params, opt_state, x, y):
        loss, grads = jax.value_and_grad(loss_fn)(params, x, y)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    return update


def _make_start(problem, optimizer):
    def start():
        params = [{"kernel": jnp.array(kernel), "bias": jnp.array(bias)} for kernel, bias in problem.weights]
        return jax.block_until_ready((params, optimizer.init(params)))

    return start


def _weights(state):
    return [(np.asarray(layer["kernel"]), np.asarray(layer["bias"])) for layer in state[0]]


def jit_per_step(problem):
    """One compiled program per update, called from a Python loop over mini-batches that lie on the device."""
    optimizer = optax.adam(problem.rate)
    train_step = jax.jit(_make_update(problem, optimizer), donate_argnums=(0, 1))
    batches = [(jnp.asarray(x), jnp.asarray(y)) for x, y in zip(problem.xs, problem.ys, strict=True)]

    def run(state):
        params, opt_state = state
        for x, y in batches:
            params, opt_state, _ = train_step(params, opt_state, x, y)
        return jax.block_until_ready((params, opt_state))

    return _make_start(problem, optimizer), run, _weights


def scan_by_hand(problem):
    """All updates in one compiled program."""
    optimizer = optax.adam(problem.rate)
    update = _make_update(problem, optimizer)
    batches = jnp.asarray(problem.xs), jnp.asarray(problem.ys)

    @jax.jit
    def train(params, opt_state, batches):
        def step(carry, batch):
            params, opt_state, loss = update(*carry, *batch)
            return (params, opt_state), loss

        return jax.lax.scan(step, (params, opt_state), batches)

    def run(state):
        return jax.block_until_ready(train(*state, batches))[0]

    return _make_start(problem, optimizer), run, _weights


CONTENDERS = {"JAX, jit per step": jit_per_step, "JAX, scan by hand": scan_by_hand}
