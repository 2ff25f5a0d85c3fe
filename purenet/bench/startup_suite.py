"""The suite `startup`: from an empty process to the import, and to the first update made."""

import sys
from collections.abc import Callable, Iterator

from purenet.bench.contests import Contender, Contest, Settings, Suite
from purenet.bench.peers import OURS, PEERS
from purenet.bench.problems import Case, make_problem
from purenet.bench.processes import peer_process, problem_file, run_process

# Rounding, in one update.
_TOLERANCE = 1e-4

# The same small network from nothing, by hand and with purenet.
_HAND = """
import jax, jax.numpy as jnp, optax
def loss(weights, xs, ys):
    (a, b), (c, d) = weights
    logits = jax.nn.relu(xs @ a + b) @ c + d
    return -jnp.mean(jnp.sum(jax.nn.one_hot(ys, 10) * jax.nn.log_softmax(logits), axis=1))
glorot, (one, two) = jax.nn.initializers.glorot_uniform(), jax.random.split(jax.random.key(0))
weights = [(glorot(one, (784, 128)), jnp.zeros(128)), (glorot(two, (128, 10)), jnp.zeros(10))]
optimizer = optax.adam(1e-3)
@jax.jit
def step(weights, state, xs, ys):
    updates, state = optimizer.update(jax.grad(loss)(weights, xs, ys), state, weights)
    return optax.apply_updates(weights, updates), state
made = step(weights, optimizer.init(weights), jnp.ones((128, 784)), jnp.zeros(128, jnp.int32))
jax.block_until_ready(made)
"""
_OURS = """
import jax, jax.numpy as jnp, optax
import purenet as pn
net = pn.serial(pn.dense(128), pn.relu, pn.dense(10))
optimizer = optax.adam(1e-3)
step = jax.jit(pn.train_step(net, pn.losses.softmax_cross_entropy, optimizer))
state = pn.train_state(net, optimizer, jax.random.key(0), pn.spec(784))
jax.block_until_ready(step(state, (jnp.ones((128, 784)), jnp.zeros(128, jnp.int32))))
"""


def contests(settings: Settings) -> Iterator[Contest]:
    """Makes the contest of imports and that of first updates.

    Args:
      settings: the peers that start as well; a quick run leaves the imports alone out.

    Yields:
      One contest after the other.
    """
    scripts = {
        "import": {"import jax, optax": "import jax, optax", "import purenet": "import purenet"},
        "first update of 784-128-10 B=128": {"hand-written JAX": _HAND, "purenet": _OURS},
    }
    if settings.quick:  # the second imports as well
        del scripts["import"]
    for case, named in scripts.items():
        yield Contest(
            case=case,
            per="process",
            per_call=1,
            agreement=None,
            tolerance=0.0,
            contenders=tuple(Contender(name, process(script), None) for name, script in named.items()),
            processes=True,
            dtype=None,
            compiles=False,
            slowness=4,
        )
    if settings.peers:
        yield from _beside_peers(settings.peers)


def _beside_peers(names: tuple[str, ...]) -> Iterator[Contest]:
    """The first update of every peer in its first way of training, from an empty process on."""
    case = Case((784, 128, 10), 128, 128, 1)
    with problem_file(make_problem(case)) as path:
        calls = {
            (name := peer.contenders[0]): peer_process(peer, name, path, 0)
            for peer in (OURS, *(PEERS[one] for one in names))
        }
        yield Contest(
            case=f"first update of {case.name}, beside peers",
            per="process",
            per_call=1,
            agreement="loss after it",
            tolerance=_TOLERANCE,
            contenders=tuple(Contender(name, call, lambda told: float(told["result"])) for name, call in calls.items()),
            dtype=None,
            compiles=False,
            processes=True,
            slowness=5,
        )


def process(script: str) -> Callable[[], None]:
    """Makes a call that runs a script in a new process of this Python.

    Args:
      script: Python source.

    Returns:
      The call.
    """

    def call() -> None:
        run_process([sys.executable, "-c", script])

    return call


STARTUP = Suite("a new process on the first device: its imports, and everything up to its first update", contests)
