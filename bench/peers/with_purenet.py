"""purenet as its README has it: `pn.train`, the whole run jitted as one program, and `pn.fit`.

Both shuffle and gather the mini-batches for themselves, inside their own time.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import purenet as pn
from purenet.bench import networks

PACKAGES = ("jax", "jaxlib", "optax")


def _make(problem):
    shapes = [[a.shape for a in layer] for layer in problem.weights]
    net = networks.build(problem.kind, shapes, problem.activation)
    loss, optimizer = getattr(pn.losses, problem.loss), optax.adam(problem.rate)
    spec = pn.spec(problem.xs.shape[2:], problem.xs.dtype)

    def start():
        arrays = [tuple(map(jnp.array, layer)) for layer in problem.weights]
        key, params = jax.random.key(problem.seed), networks.params_of(problem.kind, arrays)
        return jax.block_until_ready(pn.train_state(net, optimizer, key, spec, params=params))

    return net, pn.losses.each(loss) if problem.kind == "transformer" else loss, optimizer, start


def _weights_of(problem):
    def weights(state):
        return [tuple(map(np.asarray, layer)) for layer in networks.weights_of(problem.kind, state.params)]

    return weights


def train(problem):
    """The whole run as one compiled program."""
    net, loss, optimizer, start = _make(problem)
    data = tuple(jnp.asarray(a) for a in problem.examples)
    program = jax.jit(pn.train(net, loss, optimizer, batch_size=problem.xs.shape[1], epochs=problem.epochs))

    def run(state):
        return jax.block_until_ready(program(state, data))[0]

    return start, run, _weights_of(problem)


def fit(problem):
    """The same with fit's checks of the data and its history, from NumPy arrays, without the bar."""
    net, loss, optimizer, start = _make(problem)
    told = {"loss": loss, "optimizer": optimizer, "batch_size": problem.xs.shape[1], "epochs": problem.epochs}

    def run(state):
        return jax.block_until_ready(pn.fit(net, problem.examples, **told, state=state, progress=False).train_state)

    return start, run, _weights_of(problem)


CONTENDERS = {"pn.train": train, "pn.fit": fit}
