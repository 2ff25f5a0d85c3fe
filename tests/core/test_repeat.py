"""repeat is serial with stacked params in one loop: the same numbers, keys, states and cotangents."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from refusals import refuses

import purenet as pn

BLOCK = pn.residual(pn.dense(4), pn.tanh, pn.dropout(0.3), pn.dense(3))
NET, DEPTH = pn.repeat(BLOCK, 5), 5
LOSS = pn.losses.half_squared_error


def unstacked(tree):
    return tuple(jax.tree.map(lambda a, i=i: a[i], tree[0]) for i in range(DEPTH))


def drawn(key, net=NET, dtype=jnp.float64):
    params, state = net.init(key, pn.spec(3, dtype))
    return params, state, jax.random.normal(key, (7, 3), dtype)


def test_it_is_serial_of_as_many_layers(x64, key):
    params, state, xs = drawn(key)
    flat = pn.serial(*[BLOCK] * DEPTH)
    chex.assert_trees_all_close(unstacked(params), flat.init(key, pn.spec(3, jnp.float64))[0])
    ys, _ = NET.forward(params, xs, state, key)
    expected, _ = flat.forward(unstacked(params), xs, unstacked(state), key)
    chex.assert_trees_all_close(ys, expected, rtol=1e-12)
    _, _, pullback = NET.vjp(params, xs, state, key)
    _, _, serial_pullback = flat.vjp(unstacked(params), xs, unstacked(state), key)
    dparams, dxs = pullback(ys)
    expected_params, expected_xs = serial_pullback(ys)
    chex.assert_trees_all_close((unstacked(dparams), dxs), (expected_params, expected_xs), rtol=1e-11, atol=1e-13)
    chex.assert_trees_all_close(
        NET.apply(params, xs[0], state), flat.apply(unstacked(params), xs[0], unstacked(state)), rtol=1e-12
    )


def test_every_repetition_has_params_of_its_own(key):
    params, _ = pn.repeat(pn.dense(3), 4).init(key, pn.spec(3))
    kernels = np.asarray(params[0]["kernel"])
    assert len({kernel.tobytes() for kernel in kernels}) == 4


def test_state_is_that_of_each_repetition(key):
    counter = pn.layer(
        lambda params, x, state: x + state,
        init=lambda key, spec: ((), jnp.zeros(())),
        forward=lambda params, xs, state, key: (xs + state, state + 1),
    )
    net = pn.repeat(counter, 3)
    params, state = net.init(None, pn.spec(2))
    for _ in range(2):
        ys, state = net.forward(params, jnp.zeros((1, 2)), state)
    assert (ys.tolist(), state[0].tolist()) == ([[3, 3]], [2, 2, 2])
    ys, state, pullback = net.vjp(params, jnp.zeros((1, 2)), state)
    assert (ys.tolist(), state[0].tolist()) == ([[6, 6]], [3, 3, 3])
    assert pullback(ys)[1].tolist() == [[6, 6]]
    assert net.apply(params, jnp.zeros(2), state).tolist() == [9, 9]


def test_layers_without_a_rule_of_their_own_are_repeated_too(x64):
    net = pn.repeat(jnp.sin, 3)
    assert not net.proven
    xs = jnp.array([[0.5]])
    ys, _, pullback = net.vjp(((),), xs)
    np.testing.assert_allclose(ys, np.sin(np.sin(np.sin(0.5))))
    expected = np.cos(0.5) * np.cos(np.sin(0.5)) * np.cos(np.sin(np.sin(0.5)))
    np.testing.assert_allclose(pullback(jnp.ones((1, 1)))[1], [[expected]])


def test_layers_with_nothing_to_loop_over(key):
    net = pn.repeat(pn.dropout(0), 3)
    ys, _, pullback = net.vjp(((),), jnp.ones((1, 2)), ((),), key)
    assert ys.tolist() == pullback(ys)[1].tolist() == net.apply(((),), jnp.ones((1, 2))).tolist() == [[1, 1]]


def test_trees_with_integers_go_through(x64, key):
    """The integers choose a row in every repetition; no cotangent of theirs is made in the loop."""
    words, x, table = pn.node("words"), pn.node("x"), pn.embedding(4, 3)
    net = pn.repeat(pn.graph((words, x), (words, pn.tanh(pn.add(x, table(words))))), 3)
    params, state = net.init(key, (pn.spec((), jnp.int32), pn.spec(3)))
    params = jax.tree.map(lambda a: a.astype(jnp.float64), params)
    xs = jnp.array([1, 3]), jax.random.normal(key, (2, 3), jnp.float64)
    (same, ys), _, pullback = net.vjp(params, xs, state)
    assert same.tolist() == [1, 3]
    dparams, (dwords, dx) = pullback((np.zeros(2, jax.dtypes.float0), ys))
    assert (dwords.dtype, dwords.shape) == (jax.dtypes.float0, (2,))

    def plain(params, x):
        return jax.vmap(lambda word, x: net.apply(params, (word, x))[1])(xs[0], x)

    chex.assert_trees_all_close((dparams, dx), jax.vjp(plain, params, xs[1])[1](ys), rtol=1e-12)


def test_params_that_are_integers_have_stacked_cotangents_of_nothing():
    shift = pn.layer(
        lambda params, x: jnp.roll(x, params["by"]),
        init=lambda key, spec: ({"by": jnp.array(1, jnp.int32)}, ()),
    )
    net = pn.repeat(shift, 2)
    params, state = net.init(None, pn.spec(3))
    ys, _, pullback = net.vjp(params, jnp.array([[1.0, 2.0, 3.0]]), state)
    assert ys.tolist() == [[2, 3, 1]]
    (dparams,), dxs = pullback(jnp.array([[1.0, 0.0, 0.0]]))
    assert dxs.tolist() == [[0, 1, 0]]
    assert (dparams["by"].dtype, dparams["by"].shape) == (jax.dtypes.float0, (2,))


def test_the_loop_keeps_no_copy_of_the_params(key):
    """Two kernels and biases a repetition, of 100 times 100: as the loop's residuals they would be stacked again."""
    net = pn.repeat(pn.serial(pn.dense(100), pn.tanh), 4)
    params, state = net.init(key, pn.spec(100))
    given = {leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(params)}
    pullback = net.vjp(params, jnp.ones((2, 100)), state)[2]
    kept = [leaf for leaf in jax.tree.leaves(pullback) if leaf.unsafe_buffer_pointer() not in given]
    assert sum(leaf.size for leaf in kept) < 4 * 4 * 2 * 100  # the mini-batch's values, a few times


def test_the_program_is_as_long_for_a_hundred_layers_as_for_two(key):
    def length(times, gradient):
        net = pn.repeat(BLOCK, times)
        state = jax.eval_shape(lambda key: pn.train_state(net, optax.adam(1e-3), key, pn.spec(3)), key)
        run = pn.train(net, LOSS, optax.adam(1e-3), batch_size=4, epochs=2, gradient=gradient)
        return jax.jit(run).lower(state, (pn.spec((8, 3)), pn.spec((8, 3)))).as_text().count("\n")

    for gradient in ("autodiff", "backprop"):
        assert length(100, gradient) == length(2, gradient)


def test_it_trains_alone_and_as_many_networks(key):
    xs = jax.random.normal(key, (10, 3))
    losses = []
    for gradient in ("autodiff", "backprop"):
        optimizer = optax.adam(1e-2)
        run = pn.train(NET, LOSS, optimizer, batch_size=4, epochs=4, gradient=gradient)
        many = jax.vmap(lambda key, run=run, o=optimizer: run(pn.train_state(NET, o, key, pn.spec(3)), (xs, -xs))[1])
        losses.append(jax.jit(many)(jax.random.split(key))["loss"])
    chex.assert_trees_all_close(*losses, rtol=1e-4)
    assert np.all(losses[0][:, -1] < losses[0][:, 0])


def test_one_repetition_and_loops_in_loops(x64, key):
    net = pn.repeat(pn.repeat(pn.dense(3), 2), 1)
    params, state, xs = drawn(key, net)
    assert params[0][0]["kernel"].shape == (1, 2, 3, 3)
    ys, _, pullback = net.vjp(params, xs, state)
    one, other = params[0][0]["kernel"][0]
    chex.assert_trees_all_close(ys, xs @ one @ other, rtol=1e-12)
    chex.assert_trees_all_close(pullback(ys)[1], ys @ other.T @ one.T, rtol=1e-12)


OWN = "Pass the params that this network's init made."
BAD = {
    "another shape": (
        lambda: pn.repeat(pn.dense(2), 3).init(jax.random.key(0), pn.spec(3)),
        ValueError,
        "repeat[0]: expected an output like the input, that of the next one, got float32 of shape (2,) from float32 of "
        "shape (3,). Use pn.serial for layers that change the shape.",
    ),
    "another shape of examples": (
        lambda: pn.repeat(pn.layer(lambda params, x: x[:1], name="first"), 3).forward(((),), jnp.ones((2, 3))),
        ValueError,
        "repeat[0]: expected an output like the input, that of the next one, got float32 of shape (2, 1) from float32 "
        "of shape (2, 3). Use pn.serial for layers that change the shape.",
    ),
    "another dtype": (
        lambda: pn.repeat(lambda x: x.astype(jnp.bfloat16), 3).apply(((),), jnp.ones(3)),
        ValueError,
        "repeat[0]: expected an output like the input, that of the next one, got bfloat16 of shape (3,) from float32 "
        "of shape (3,). Use pn.serial for layers that change the shape.",
    ),
    "a wrong shape inside": (
        lambda: NET.init(jax.random.key(0), pn.spec((2, 2))),
        ValueError,
        "repeat[0].residual[0].serial[0].dense: expected a spec with one axis, got (2, 2). Leave the mini-batch axis "
        "out; put pn.flatten before it, or pn.each around it to map it over an axis.",
    ),
    "no times": (
        lambda: pn.repeat(pn.relu, 0),
        ValueError,
        "repeat: expected times of 1 or more, got 0. Give the number of repetitions.",
    ),
    "times that are no number": (
        lambda: pn.repeat(pn.relu, 2.0),
        TypeError,
        "repeat: expected times to be a whole number, got 2.0. Give an int.",
    ),
    "no layer": (
        lambda: pn.repeat(3, 3),
        TypeError,
        "repeat[0]: expected a layer or a function of one example, got 3. "
        "Give layers as separate arguments, such as pn.serial(pn.dense(3), pn.relu).",
    ),
    "params of another depth": (
        lambda: pn.repeat(pn.dense(3), 4).apply(
            ({"kernel": jnp.ones((3, 3, 3)), "bias": jnp.ones((3, 3))},), jnp.ones(3)
        ),
        TypeError,
        "repeat: expected params whose leaves have 4 repetitions along the first axis, got a leaf of shape (3, 3). "
        f"{OWN}",
    ),
    "state of another depth": (
        lambda: pn.repeat(pn.relu, 4).apply(((),), jnp.ones(3), (jnp.ones(3),)),
        TypeError,
        "repeat: expected state whose leaves have 4 repetitions along the first axis, got a leaf of shape (3,). "
        "Pass the state that this network's init made.",
    ),
    "params of one layer": (
        lambda: pn.repeat(pn.dense(3), 4).apply({"kernel": jnp.ones((3, 3)), "bias": jnp.ones(3)}, jnp.ones(3)),
        TypeError,
        f"repeat: expected params to be a tuple of 1, one entry per part, got a dict of 2. {OWN}",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_whole_sentences(case):
    function, kind, message = BAD[case]
    with refuses(kind, message):
        function()
