"""One small net that optimizers of several libraries train for a hundred steps, with equal weights and batches.

Where a library means something else by a name, its definition is written out here in optax's form, leaf by leaf.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from peers.agreement import agree, draw, drawn_params

import purenet as pn

STEPS, BATCH, RATE, EPS = 100, 6, 0.02, 1e-3  # with so large an epsilon its place shows
LOSS = pn.losses.half_squared_error
XS = draw((24, 3))
YS = np.stack([np.sin(XS[:, 0]) * XS[:, 1], np.tanh(XS[:, 2])], axis=1) * 2
# Which examples each step sees; all of them where an optimizer takes differences of gradients.
ORDER = np.random.default_rng(5).permuted(np.tile(np.arange(24), (STEPS, 1)), axis=1)[:, :BATCH]
WHOLE = np.tile(np.arange(24), (STEPS, 1))


class Row(NamedTuple):
    """An optimizer of optax or purenet, its peer, and what is different about the peer's definition.

    Attributes:
      ours: the optimizer under the same name.
      theirs: makes the peer's.
      note: how the peer's definition differs; None if it does not.
      written: the peer's definition in optax's form, where it differs.
      options: for the net and the batches.
    """

    ours: Any
    theirs: Any
    note: str | None = None
    written: Any = None
    options: dict = {}  # noqa: RUF012 - never changed


def problem(bias=True):
    """The net and its params: kernels and biases of two layers, in that order and layout for every library."""
    net = pn.serial(pn.dense(4, bias=bias), pn.tanh, pn.dense(2, bias=bias))
    return net, drawn_params(net, pn.spec(3, jnp.float64))[0]


def path_of(optimizer, bias=True, order=ORDER):
    """The params after each step, by `pn.train_step`."""
    net, params = problem(bias)
    step = pn.train_step(net, LOSS, optimizer)
    state = pn.train_state(net, optimizer, jax.random.key(0), pn.spec(3, jnp.float64), params=params)

    def one(state, batch):
        state, _ = step(state, batch)
        return state, state.params

    return jax.jit(lambda state, batches: jax.lax.scan(one, state, batches)[1])(state, (XS[order], YS[order]))


def expect_equal_paths(row, path):
    """Asserts that the peer's hundred steps are ours, and if there is a note, that the namesake's are others."""
    ours = path_of(row.ours if row.note is None else row.written, **row.options)
    for mine, other in zip(jax.tree.leaves(ours), jax.tree.leaves(path), strict=True):
        agree(mine, other, "params", 1e-6)
    start, end = (jax.tree.map(lambda a, i=i: np.asarray(a)[i], path) for i in (0, -1))
    assert mean_loss(end) < 0.8 * mean_loss(start)
    if row.note is not None:
        namesake = path_of(row.ours, **row.options)
        gaps = jax.tree.map(lambda a, b: np.abs(a - b).max() / np.abs(b).max(), namesake, path)
        assert max(jax.tree.leaves(gaps)) > 1e-6, f"no longer different: {row.note}"


def mean_loss(params):
    net, _ = problem("bias" in params[0])
    outputs = jax.vmap(net.apply, (None, 0))(params, jnp.asarray(XS))
    return float(jnp.mean(jnp.sum((outputs - YS) ** 2, axis=1)))


def written(rule, *starts):
    """A transformation from a rule `(g, slots, t) -> (step, slots)` of one leaf; its slots begin at `starts`."""

    def init(params):
        return jnp.zeros((), jnp.int32), tuple(jax.tree.map(lambda p, s=s: jnp.full_like(p, s), params) for s in starts)

    def update(grads, state, params=None):
        count, slots = state
        leaves, structure = jax.tree.flatten(grads)
        rows = zip(leaves, *(structure.flatten_up_to(slot) for slot in slots), strict=True)
        made = [rule(g, own, (count + 1).astype(g.dtype)) for g, *own in rows]
        steps = structure.unflatten([step for step, _ in made])
        return steps, (
            count + 1,
            tuple(structure.unflatten(column) for column in zip(*(s for _, s in made), strict=True)),
        )

    return optax.GradientTransformation(init, update)


def descent(*parts, rate=RATE):
    return optax.chain(*parts, optax.scale(-rate))


def outside_adagrad(eps, start=0.0):
    """g / (√Σg² + ε); optax has ε in the root."""

    def rule(g, slots, t):
        total = slots[0] + g**2
        return g / (jnp.sqrt(total) + eps), (total,)

    return written(rule, start)


def hatted_adam(eps, amsgrad=False, b1=0.9, b2=0.999):
    """Keras: the ε̂ of Kingma and Ba's last remark, beside the uncorrected root: it is ε √(1 − β₂ᵗ) of optax."""

    def rule(g, slots, t):
        m, v = b1 * slots[0] + (1 - b1) * g, b2 * slots[1] + (1 - b2) * g**2
        top = jnp.maximum(slots[2], v)
        alpha = jnp.sqrt(1 - b2**t) / (1 - b1**t)
        return alpha * m / (jnp.sqrt(top if amsgrad else v) + eps), (m, v, top)

    return written(rule, 0.0, 0.0, 0.0)


def late_amsgrad(eps, b1=0.9, b2=0.999):
    """PyTorch: the largest ν so far, and then its bias correction; optax corrects each ν first."""

    def rule(g, slots, t):
        m, v = b1 * slots[0] + (1 - b1) * g, b2 * slots[1] + (1 - b2) * g**2
        top = jnp.maximum(slots[2], v)
        return m / (1 - b1**t) / (jnp.sqrt(top / (1 - b2**t)) + eps), (m, v, top)

    return written(rule, 0.0, 0.0, 0.0)


def outside_adamax(eps, b1=0.9, b2=0.999):
    """Keras: ε is added to the norm at every step; optax adds it to |g|, in the norm."""

    def rule(g, slots, t):
        m, u = b1 * slots[0] + (1 - b1) * g, jnp.maximum(b2 * slots[1], jnp.abs(g))
        return m / (1 - b1**t) / (u + eps), (m, u)

    return written(rule, 0.0, 0.0)


def scheduled_nadam(eps, decay, b1=0.9, b2=0.999):
    """Dozat's momentum schedule μₜ = β₁ (1 − ½ 0.96^(t decay)), which optax leaves out."""

    def mu(t):
        return b1 * (1 - 0.5 * 0.96 ** (t * decay))

    def rule(g, slots, t):
        m, v, product = b1 * slots[0] + (1 - b1) * g, b2 * slots[1] + (1 - b2) * g**2, slots[2] * mu(t)
        step = mu(t + 1) * m / (1 - product * mu(t + 1)) + (1 - mu(t)) * g / (1 - product)
        return step / (jnp.sqrt(v / (1 - b2**t)) + eps), (m, v, product)

    return written(rule, 0.0, 0.0, 1.0)


def plain_muon(scale, beta=0.95):
    """Muon of Nesterov's momentum as it is; optax corrects the bias of both of its parts first."""
    coefficients = jnp.array([3.4445, -4.7750, 2.0315])

    def orthogonal(g, slots, t):
        x = g.T if g.shape[0] > g.shape[1] else g
        x = x / (jnp.linalg.norm(x) + 1e-7)
        for _ in range(5):
            a = x @ x.T
            x = coefficients[0] * x + (coefficients[1] * a + coefficients[2] * a @ a) @ x
        return scale(*g.shape) * (x.T if g.shape[0] > g.shape[1] else x), ()

    return optax.chain(optax.trace(beta, nesterov=True), written(orthogonal))
