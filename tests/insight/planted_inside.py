"""NaN and infinities made inside calls, loops, rules, layers and training, in the line that says `# here`."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from insight.planting import few, planted

import purenet as pn


@planted(few(1.0, -1.0), kind="inf")
def inside_jit(x):
    @jax.jit
    def inner(x):
        s = jnp.sum(x)
        return 1.0 / s  # here

    return inner(x * 2.0)


@planted(few(0.5, 0.0))
def inside_nested_jit(x):
    def deep(x):
        return x / x  # here

    return jnp.sum(jax.jit(lambda x: jax.jit(deep)(x) + 1.0)(x))


@planted(few(3.0, 2.0, 1.0, 0.0, -1.0), kind="inf")
def inside_scan(xs):
    def body(c, x):
        y = 1.0 / x  # here
        return c + y, y

    return jax.lax.scan(body, 0.0, xs)[0]


@planted(few(1.0))
def inside_scan_carry(x):
    def body(c, _):
        c = c - 0.25
        r = jnp.sqrt(c)  # here
        return c, r

    _, ys = jax.lax.scan(body, x, length=8)
    return jnp.sum(ys)


@planted(few(0.0, 1.0), kind="inf", direction="backward")
def inside_scan_backward(x):
    def body(c, _):
        root = jnp.sqrt(c)  # here
        return root * 1.0, jnp.sum(root)

    _, ys = jax.lax.scan(body, x, length=3)
    return jnp.sum(ys)


@planted(few(10.0), kind="inf")
def inside_long_scan(x):
    def body(c, i):
        d = jnp.where(i == 70_000, 0.0, 1.0)
        c = c / d  # here
        return c, None

    return jnp.sum(jax.lax.scan(body, x, jnp.arange(100_000))[0])


@planted(few(1.0, 2.0, 0.0), kind="inf")
def inside_reversed_scan(xs):
    def body(c, x):
        c = c + jnp.log(x)  # here
        return c, c

    return jax.lax.scan(body, 0.0, xs, reverse=True)[0]


@planted(5.0, kind="inf")
def inside_while(x):
    def body(state):
        i, c = state
        return i + 1, c / (x - i)  # here

    return jax.lax.while_loop(lambda state: state[0] < 9, body, (0, 1.0))[1]


@planted(2.0)
def inside_fori(x):
    def body(i, c):
        return c + jnp.sqrt(x - i)  # here

    return jax.lax.fori_loop(0, 5, body, 0.0)


@planted(-1.0)
def inside_cond(x):
    return jax.lax.cond(
        x > 0,
        lambda a: a * 2.0,
        lambda a: jnp.log(a),  # here
        x,
    )


@planted(2, -1.0)
def inside_switch(i, x):
    def second(a):
        return jnp.arccosh(a)  # here

    return jax.lax.switch(i, [jnp.sin, jnp.cos, second], x)


@planted(few(1.0, 2.0, 0.0, 3.0))
def inside_vmap(xs):
    def one(x):
        return jnp.sin(x) / x  # here

    return jnp.sum(jax.vmap(one)(xs))


@planted(np.array([[1.0, 2.0], [0.0, 0.0]], np.float32), kind="inf", direction="backward")
def inside_vmap_of_grad(xs):
    def length(x):
        s = jnp.sum(x * x)
        return jnp.sqrt(s)  # here

    return jnp.sum(jax.vmap(jax.grad(length))(xs))


@planted(few(0.0), kind="inf", direction="backward")
def inside_grad(x):
    def value(x):
        return jnp.sum(jnp.sqrt(jnp.abs(x)))  # here

    return jnp.sum(jax.grad(value)(x))


@planted(few(0.0, 0.0), kind="nan")
def inside_remat(x):
    @jax.checkpoint
    def inner(x):
        return jnp.sum(x) / jnp.max(x)  # here

    return inner(jnp.sin(x))


@planted(few(0.0), kind="inf", direction="backward")
def inside_remat_backward(x):
    @jax.checkpoint
    def inner(x):
        y = jnp.cbrt(x)  # here
        return jnp.sum(y)

    return inner(x * 1.0)


@jax.custom_vjp
def ratio(a, b):
    return a / b


def ratio_forward(a, b):
    return a / b, (a, b)


def ratio_backward(kept, dy):
    a, b = kept
    return dy / b, dy * jnp.log(a - a)  # here: ratio_by_rule


ratio.defvjp(ratio_forward, ratio_backward)


@planted(2.0, 4.0, kind="inf", direction="backward")
def ratio_by_rule(a, b):
    return ratio(a, b) * 3.0


@planted(few(-1.0))
def inside_custom_vjp(x):
    @jax.custom_vjp
    def root(x):
        return jnp.sqrt(x)  # here

    root.defvjp(lambda x: (jnp.sqrt(x), x), lambda x, dy: (dy / jnp.sqrt(x),))
    return jnp.sum(root(x))


@planted(few(-1.0))
def inside_custom_jvp(x):
    @jax.custom_jvp
    def root(x):
        return jnp.sqrt(x)  # here

    root.defjvp(lambda x, t: (root(x[0]), t[0] / 2.0 / root(x[0])))
    return jnp.sum(root(x))


@planted(few(3.0, -3.0))
def inside_a_layer(x):
    root = pn.layer(
        lambda params, x: jnp.sqrt(x)  # here
    )
    net = pn.serial(pn.tanh, root, pn.softplus)
    return jnp.sum(net.apply(((), (), ()), x))


def _normalised(x):
    return x / jnp.sqrt(jnp.sum(x * x))  # here: inside_a_train_step


_net = pn.serial(pn.dense(3), pn.relu, pn.layer(lambda params, x: _normalised(x), name="normalised"), pn.dense(1))
_optimizer = optax.adam(1e-2)


def _start():
    state = pn.train_state(_net, _optimizer, jax.random.key(0), pn.spec(2))
    return state._replace(params=jax.tree.map(jnp.zeros_like, state.params))


@planted(_start(), (np.ones((4, 2), np.float32), np.ones((4, 1), np.float32)))
def inside_a_train_step(state, batch):
    return pn.train_step(_net, pn.losses.half_squared_error, _optimizer)(state, batch)


@planted(np.zeros((2, 3), np.float32), np.full((3, 2), 1e38, np.float32), kind="inf")
def inside_a_product(a, b):
    h = a + 2.0
    y = h @ b  # here
    return jnp.sum(jnp.tanh(y)) + jnp.sum(y)


@planted(few(1.0, 2.0, 5.0), kind="inf")
def inside_vmap_of_while(xs):
    def one(x):
        def body(state):
            i, c = state
            return i + 1, c / (x - i)  # here

        return jax.lax.while_loop(lambda state: state[0] < 4, body, (0.0, 1.0))[1]

    return jnp.sum(jax.vmap(one)(xs))


@planted(few(1.0, 2.0))
def one_of_two_carried(x):
    def body(carry, _):
        a, b = carry
        a = a - 1.0
        b = b + jnp.sqrt(a)  # here
        return (a, b), None

    return jnp.sum(jax.lax.scan(body, (x, jnp.zeros(2)), length=6)[0][1])


@planted(few(2.0, 3.0))
def taken_in_one_turn_alone(x):
    def body(c, i):
        bad = jnp.log(c - 10.0)  # here
        c = jnp.where(i == 1, bad, c)
        return c, c

    return jnp.sum(jax.lax.scan(body, x, jnp.arange(4))[1])


@planted(few(-np.inf, 1.0, 2.0))
def running_softmax_that_begins_masked(x):
    def body(carry, x):
        top, total = carry
        new = jnp.maximum(top, x)
        total = total * jnp.exp(top - new) + jnp.exp(x - new)  # here
        return (new, total), None

    return jax.lax.scan(body, (-jnp.inf, 0.0), x)[0][1]


@planted(few(0.0, 0.0))
def inside_an_optimizer(x):
    optimizer = optax.adam(1e-2, eps=0.0)
    updates, _ = optimizer.update(0.0 * x, optimizer.init(x), x)  # here
    return jnp.sum(updates)


_logs = pn.layer(lambda params, x: jnp.log(x), name="logs")  # here: inside_a_repeat
_deep = pn.serial(pn.tanh, pn.repeat(pn.residual(_logs), 2))


@planted(np.full((2, 3), -1.0, np.float32))
def inside_a_repeat(xs):
    return _deep.forward(((), ((((),),),)), xs)[0]
