"""What the comparisons with other libraries share: our numbers, by the hand rules, and how close others come."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import purenet as pn

BATCH = 3


def draw(shape, seed=0):
    """Numbers in float64, none of them special."""
    return np.random.default_rng(seed).normal(size=shape)


def drawn_params(net, spec, seed=1):
    """Params and state of a network, without the time that its init takes."""
    made = jax.eval_shape(lambda: net.init(jax.random.key(0), spec))
    numbers = iter(range(seed, 1000))
    params = jax.tree.map(lambda a: jnp.asarray(draw(a.shape, next(numbers)) / 2), made[0])
    return params, jax.tree.map(lambda a: jnp.asarray(np.abs(draw(a.shape, next(numbers))) + 0.3), made[1])


def spec_of(xs):
    """The spec of one example of a mini-batch."""
    return jax.tree.map(lambda a: pn.spec(a.shape[1:], a.dtype), xs)


def cotangent(shape, seed=7):
    return draw(shape, seed)


def trained(net, params, state, xs, dys):
    """A training step's outputs, new state and gradients, by the hand rules."""
    return _compiled(net)(params, state, xs, dys)


@functools.lru_cache(maxsize=1)
def _compiled(net):
    @jax.jit
    def run(params, state, xs, dys):
        ys, new, pullback = net.vjp(params, xs, state, None)
        return ys, new, *pullback(dys)

    return run


def differentiated(function, *args):
    """The value of another library's function on JAX, a cotangent for it, and the gradients by all arguments."""
    dys = cotangent(jax.eval_shape(function, *args).shape)

    @jax.jit
    def run(*args):
        out, pullback = jax.vjp(function, *args)
        return out, pullback(jnp.asarray(dys))

    out, grads = run(*args)
    return out, dys, grads


def applied(net, params, state, xs):
    """Outputs at inference."""
    return jax.vmap(lambda x: net.apply(params, x, state))(xs)


def out_shape(net, params, state, xs):
    shapes = jax.eval_shape(lambda p, x: applied(net, p, state, x), params, xs)
    return jax.tree.map(lambda a: a.shape, shapes)


def agree(ours, theirs, what, tolerance=1e-11):
    """Asserts that two arrays agree, relative to the largest number in them."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape, f"{what}: {ours.shape} and {theirs.shape}"
    assert ours.dtype == theirs.dtype == np.float64, f"{what}: {ours.dtype} and {theirs.dtype}"
    gap = np.max(np.abs(ours - theirs), initial=0) / max(np.max(np.abs(theirs), initial=0), 1e-3)
    assert gap <= tolerance, f"{what}: {gap:.2e} apart"
