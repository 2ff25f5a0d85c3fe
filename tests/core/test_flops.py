"""Counted operations of networks, runs, loops and calls are those that one counts by hand; the rest is refused."""

import operator
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax
from refusals import refuses

import purenet as pn

X, SQUARE = pn.spec((4, 6)), pn.spec((5, 5))


def test_counts_add_and_multiply():
    one = pn.Flops(matmul=60, elementwise=3)
    assert one + one == 2 * one == one * 2 == pn.Flops(120, 6)
    assert one.total == 63
    assert sum([one, one], pn.Flops(0, 0)) == 2 * one
    assert np.int64(2) * one == one * np.int64(2) == 2 * one
    with pytest.raises(TypeError, match="unsupported operand"):
        operator.add(one, (1, 2))
    with pytest.raises(TypeError, match="integer"):
        one * 0.5


# Networks and training

NET = pn.serial(pn.dense(128), pn.relu, pn.dense(10))
SGD = optax.sgd(0.1)
LOSS = pn.losses.softmax_cross_entropy
FORWARD = 2 * (784 * 128 + 128 * 10)  # of one example
STEP = 2 * FORWARD + 2 * 128 * 10  # and dW of both layers, dX of the second


def start(net=NET, optimizer=SGD, features=784):
    return pn.train_state(net, optimizer, jax.random.key(0), pn.spec(features))


def batch(n):
    return pn.spec((n, 784)), pn.spec(n, jnp.int32)


def test_a_network():
    params, _ = NET.init(jax.random.key(0), pn.spec(784))
    once = pn.Flops(FORWARD, 128 + 128 + 10)
    assert pn.flops(NET.apply, params, pn.spec(784)) == once
    assert pn.flops(jax.vmap(NET.apply, (None, 0)), params, np.zeros((32, 784), np.float32)) == 32 * once


@pytest.mark.parametrize("gradient", ["autodiff", "backprop"])
@pytest.mark.parametrize("optimizer", [SGD, optax.adam(1e-3)], ids=["sgd", "adam"])
def test_a_step(gradient, optimizer):
    step = pn.train_step(NET, LOSS, optimizer, gradient=gradient)
    assert pn.flops(step, start(optimizer=optimizer), batch(32)).matmul == 32 * STEP


def test_the_gradient_of_a_loss():
    params, _ = NET.init(jax.random.key(0), pn.spec(784))
    value = lambda params, x, y: LOSS.value(NET.apply(params, x), y)  # noqa: E731
    assert pn.flops(jax.jit(jax.grad(value)), params, pn.spec(784), pn.spec((), jnp.int32)).matmul == STEP
    of_x = jax.grad(value, argnums=1)
    assert pn.flops(of_x, params, pn.spec(784), pn.spec((), jnp.int32)).matmul == 2 * FORWARD  # without dW


@pytest.mark.parametrize("n", [96, 100, 32])
def test_a_run_counts_every_step_also_the_smaller_last(n):
    run = pn.train(NET, LOSS, SGD, batch_size=32, epochs=3)
    count = pn.flops(run, start(), batch(n))
    assert count.matmul == 3 * n * STEP
    assert pn.flops(lambda state, data: jax.jit(run)(state, data), start(), batch(n)) == count


def test_a_run_over_eight_keys():
    run = pn.train(NET, LOSS, SGD, batch_size=32, epochs=2)
    states = jax.vmap(lambda key: pn.train_state(NET, SGD, key, pn.spec(784)))(jax.random.split(jax.random.key(0), 8))
    assert pn.flops(jax.vmap(run, (0, None)), states, batch(100)).matmul == 8 * 2 * 100 * STEP


def test_an_optimizer_that_searches_needs_trips():
    optimizer = optax.lbfgs()
    step, state = pn.train_step(NET, LOSS, optimizer), start(optimizer=optimizer)
    with pytest.raises(pn.ShapeError, match="linesearch"):
        pn.flops(step, state, batch(32))
    few, more = (pn.flops(step, state, batch(32), trips=trips).matmul for trips in (1, 2))
    assert more - few >= 32 * STEP


def test_nothing_is_allocated_or_computed():
    huge = 2**40
    count = pn.flops(lambda a, b: jnp.sum(a @ b), pn.spec((huge, huge)), pn.spec((huge, huge)))
    assert count == pn.Flops(2 * huge**3, huge**2)


# Loops, branches and calls


def dynamic(x, n):
    return lax.fori_loop(0, n, lambda i, x: x * 2, x)


def halve(x):
    return lax.while_loop(lambda x: jnp.sum(x) > 1, lambda x: x / 2, x)


def nested(x):
    return lax.scan(lambda x, _: (lax.fori_loop(0, 5, lambda i, x: x @ x, x), None), x, length=7)[0]


def by_hand():
    fn = jax.custom_vjp(lambda x: jnp.sin(x @ x))
    fn.defvjp(lambda x: (jnp.sin(x @ x), x), lambda x, dy: (dy @ x,))
    return fn


PRODUCT = 2 * 5**3
CALLS = {
    "scan": (lambda x: lax.scan(lambda x, _: (x @ x, jnp.sum(x)), x, length=7), 7 * PRODUCT, 7 * 25),
    "a scan that nobody enters": (lambda x: lax.scan(lambda x, _: (x @ x, None), x, length=0), 0, 0),
    "static bounds in a scan": (nested, 35 * PRODUCT, 0),
    "map": (lambda x: lax.map(jnp.sin, x), 0, 25),
    "cond": (lambda x: lax.cond(x[0, 0] > 0, lambda x: x @ x, jnp.sin, x), PRODUCT, 0),
    "switch": (lambda x: lax.switch(jnp.argmax(x), [jnp.sin, lambda x: x + x * x, jnp.cos], x), 0, 50),
    "jit in jit": (jax.jit(lambda x: jax.jit(jnp.sin)(x) @ x), PRODUCT, 25),
    "custom_vjp": (by_hand(), PRODUCT, 25),
    "custom_vjp, its rule": (jax.value_and_grad(lambda x: jnp.sum(by_hand()(x))), 2 * PRODUCT, 25 + 25),
    "checkpoint": (jax.checkpoint(lambda x: jnp.sin(x @ x)), PRODUCT, 25),
    # None, where JAX adds up cotangents as it likes.
    "sin and its gradient": (jax.value_and_grad(lambda x: jnp.sum(jnp.sin(x @ x))), 3 * PRODUCT, None),
    # Again x @ x for the cosine; the sine's value is not needed again.
    "sin and its gradient, checkpoint": (
        jax.value_and_grad(lambda x: jnp.sum(jax.checkpoint(lambda x: jnp.sin(x @ x))(x))),
        4 * PRODUCT,
        None,
    ),
    "a linear function": (
        lambda x: jax.custom_derivatives.linear_call(jnp.dot, lambda x, dy: dy @ x, x, x),
        PRODUCT,
        0,
    ),
    "a loop of integers": (lambda x: x + lax.while_loop(lambda i: i < 9, lambda i: i + 2, 0), 0, 25),
}


@pytest.mark.parametrize("name", CALLS)
def test_loops_branches_and_calls(name):
    fn, matmul, elementwise = CALLS[name]
    count = pn.flops(fn, SQUARE)
    assert count.matmul == matmul
    if elementwise is not None:
        assert count.elementwise == elementwise


def test_all_devices_count():
    mesh = jax.make_mesh((1,), ("devices",), axis_types=(jax.sharding.AxisType.Auto,))
    part = jax.sharding.PartitionSpec("devices")
    fn = jax.shard_map(
        lambda x: lax.psum(x @ x.T, "devices"), mesh=mesh, in_specs=part, out_specs=part, check_vma=False
    )
    assert pn.flops(fn, SQUARE) == pn.Flops(PRODUCT, 25)
    four = jax.sharding.AbstractMesh((4,), ("devices",), axis_types=(jax.sharding.AxisType.Auto,))
    fn = jax.shard_map(lambda x: x @ x.T, mesh=four, in_specs=part, out_specs=part, check_vma=False)
    assert pn.flops(fn, pn.spec((8, 5))) == pn.Flops(4 * 2 * 2 * 5 * 2, 0)


def test_trips():
    assert pn.flops(dynamic, SQUARE, 3, trips=10) == pn.Flops(0, 250)
    assert pn.flops(halve, SQUARE, trips=10) == pn.Flops(0, 10 * 25 + 11 * 25)  # the condition once more
    assert pn.flops(halve, SQUARE, trips=0) == pn.Flops(0, 25)
    assert pn.flops(lambda x: dynamic(halve(x), 7), SQUARE, trips=np.int64(2)) == pn.Flops(0, (2 + 3 + 7) * 25)
    twice = lambda x, n: lax.fori_loop(0, n, lambda i, x: dynamic(x, n), x)  # noqa: E731
    assert pn.flops(twice, SQUARE, 3, trips=4) == pn.Flops(0, 16 * 25)


def test_a_number_that_stays_a_number():
    reshape = lambda x, n: x.reshape(n, -1) * 2  # noqa: E731
    with pytest.raises(TypeError):
        pn.flops(reshape, X, 3)
    assert pn.flops(lambda x: reshape(x, 3), X) == pn.Flops(0, 24)
    assert pn.flops(lambda x, n: x * n, X, 3) == pn.Flops(0, 24)


# Refusals


@pytest.mark.parametrize("fn", [halve, lambda x: dynamic(x, jnp.int32(3) + jnp.int32(x[0, 0]))])
def test_a_loop_of_unknown_length(fn):
    message = (
        rf"flops: expected loops of known length, got a while loop with floating-point work at {re.escape(__file__)}:"
        r"\d+:\d+ \((halve|dynamic)\)\. "
        r"Say how often to count it with trips=N, or use jax\.lax\.scan or static bounds\."
    )
    with pytest.raises(pn.ShapeError) as caught:
        pn.flops(fn, SQUARE)
    assert re.fullmatch(message, str(caught.value))


def kernel(x):
    from jax.experimental import pallas

    def double(x_ref, y_ref):
        y_ref[...] = x_ref[...] * 2

    return pallas.pallas_call(double, out_shape=x)(x)


@pytest.mark.parametrize(
    ("name", "fn"),
    [
        ("eigh", jnp.linalg.eigh),
        ("svd", jnp.linalg.svd),
        ("qr", jnp.linalg.qr),
        ("pure_callback", lambda x: jax.pure_callback(np.sin, x, x)),
        ("ffi_call", lambda x: jax.ffi.ffi_call("somewhere", pn.spec(3))(x)),
        ("pallas_call", kernel),
        ("random_gamma", lambda x: x + jax.random.gamma(jax.random.key(0), 2.0)),
    ],
)
def test_operations_of_unknown_cost(name, fn):
    message = (
        rf"flops: expected operations of known cost, got {name}( at \S+ \(.*\))?\. "
        r"Count the function without it, or with a plain JAX version in its place\."
    )
    with pytest.raises(pn.StructureError) as caught:
        pn.flops(fn, SQUARE)
    assert re.fullmatch(message, str(caught.value))


@pytest.mark.parametrize(
    ("kind", "message", "fn", "trips"),
    [
        (
            pn.StructureError,
            "flops: expected fn to be a function, got 3.0. Give the function, then its arguments: flops(f, x).",
            3.0,
            None,
        ),
        (
            pn.StructureError,
            "flops: expected trips to be a whole number, got 2.5. Give an int of 0 or more.",
            jnp.sin,
            2.5,
        ),
        (
            pn.StructureError,
            "flops: expected trips to be a whole number, got True. Give an int of 0 or more.",
            jnp.sin,
            True,
        ),
        (pn.ShapeError, "flops: expected trips of 0 or more, got -1. Give an int of 0 or more.", jnp.sin, -1),
    ],
)
def test_refusals(kind, message, fn, trips):
    with refuses(kind, message):
        pn.flops(fn, X, trips=trips)


def test_errors_of_the_function_are_its_own():
    params, _ = NET.init(jax.random.key(0), pn.spec(784))
    with pytest.raises(pn.ShapeError, match=r"^serial\[0\]\.dense: "):
        pn.flops(NET.apply, params, pn.spec(783))
    with pytest.raises(ZeroDivisionError):
        pn.flops(lambda: 1 // 0)
