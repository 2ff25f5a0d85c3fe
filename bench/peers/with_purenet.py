"""purenet as its README has it: `pn.train`, the whole run jitted as one program, and `pn.fit`.

Both shuffle and gather the mini-batches for themselves, inside their own time.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import purenet as pn

PACKAGES = ("jax", "jaxlib", "optax")


def _make(problem):
    parts = []
    for width in problem.widths[1:]:
        parts += [pn.dense(width), getattr(pn, problem.activation)]
    net, loss, optimizer = pn.serial(*parts[:-1]), getattr(pn.losses, problem.loss), optax.adam(problem.rate)

    def start():
        params = [()] * len(parts[:-1])
        params[::2] = [{"kernel": jnp.array(kernel), "bias": jnp.array(bias)} for kernel, bias in problem.weights]
        key, spec = jax.random.key(problem.seed), pn.spec(problem.widths[0])
        return jax.block_until_ready(pn.train_state(net, optimizer, key, spec, params=tuple(params)))

    return net, loss, optimizer, start


def _weights(state):
    return [(np.asarray(params["kernel"]), np.asarray(params["bias"])) for params in state.params[::2]]


def train(problem):
    """The whole run as one compiled program."""
    net, loss, optimizer, start = _make(problem)
    data = tuple(jnp.asarray(a) for a in problem.examples)
    program = jax.jit(pn.train(net, loss, optimizer, batch_size=problem.xs.shape[1], epochs=problem.epochs))

    def run(state):
        return jax.block_until_ready(program(state, data))[0]

    return start, run, _weights


def fit(problem):
    """The same with fit's checks of the data and its history, from NumPy arrays, without the bar."""
    net, loss, optimizer, start = _make(problem)
    told = {"loss": loss, "optimizer": optimizer, "batch_size": problem.xs.shape[1], "epochs": problem.epochs}

    def run(state):
        return jax.block_until_ready(pn.fit(net, problem.examples, **told, state=state, progress=False).train_state)

    return start, run, _weights


CONTENDERS = {"pn.train": train, "pn.fit": fit}
