"""The gradient of a mini-batch, by autodiff and by hand: one signature, the same numbers."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refuses

import purenet as pn

NET = pn.serial(pn.flatten, pn.dense(5), pn.tanh, pn.dropout(0.4), pn.residual(pn.dense(5), pn.sigmoid), pn.dense(3))
LOSSES = {
    "softmax": (pn.losses.softmax_cross_entropy, lambda rng, n: jnp.array(rng.integers(0, 3, n), jnp.int32)),
    "squared": (pn.losses.half_squared_error, lambda rng, n: jnp.array(rng.normal(size=(n, 3)))),
    "a function": (lambda p, y: jnp.sum((p - y) ** 4), lambda rng, n: jnp.array(rng.normal(size=(n, 3)))),
}


def problem(name, rng, n=7):
    loss, targets = LOSSES[name]
    params, state = NET.init(jax.random.key(0), pn.spec((2, 2), jnp.float64))
    return loss, params, state, (jnp.array(rng.normal(size=(n, 2, 2))), targets(rng, n))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_backprop_gives_the_numbers_of_autodiff(name, weighted, x64, rng, key):
    loss, params, state, batch = problem(name, rng)
    if weighted:
        batch = (*batch, jnp.array(rng.uniform(0.5, 2, 7)))
    by_autodiff = jax.jit(pn.value_and_grad(NET, loss))(params, state, batch, key)
    by_hand = jax.jit(pn.backprop(NET, loss))(params, state, batch, key)
    chex.assert_trees_all_close(by_hand, by_autodiff, rtol=1e-11, atol=1e-13)


def test_weights_make_the_weighted_mean(x64, rng, key):
    loss, params, state, (xs, ys) = problem("softmax", rng)
    net = pn.serial(*(part for part in NET.parts if part.name != "dropout"))
    params, state = net.init(key, pn.spec((2, 2), jnp.float64))
    twice = jnp.array([0, 0, 1, 2])
    repeated = pn.backprop(net, loss)(params, state, (xs[twice], ys[twice]))
    weighted = pn.backprop(net, loss)(params, state, (xs[:3], ys[:3], jnp.array([2.0, 1.0, 1.0])))
    chex.assert_trees_all_close(weighted, repeated, rtol=1e-12)


@pytest.mark.parametrize("run", [pn.value_and_grad, pn.backprop])
@pytest.mark.parametrize("weight", [None, 1e-8, 1.0, 1e30])
def test_sixteen_bits_count_any_number_of_examples(run, weight):
    """Σw of 70,000 weights of 1 would overflow float16."""
    xs = jnp.full((70_000, 1), 2.0, jnp.float16)
    batch = (xs, jnp.zeros_like(xs)) if weight is None else (xs, jnp.zeros_like(xs), jnp.full(70_000, weight))
    (value, _), grads = run(pn.dense(1, bias=False), pn.losses.half_squared_error)(
        {"kernel": jnp.ones((1, 1), jnp.float16)}, (), batch
    )
    np.testing.assert_allclose(np.float32(value), 2.0, rtol=1e-3)
    np.testing.assert_allclose(np.float32(grads["kernel"]), 4.0, rtol=0.1)


@pytest.mark.parametrize("weighted", [False, True])
def test_gradients_of_examples_add_up_to_that_of_the_batch(weighted, x64, rng):
    loss, _, _, batch = problem("softmax", rng)
    net = pn.serial(pn.flatten, pn.dense(4), pn.tanh, pn.dense(3))
    params, state = net.init(jax.random.key(1), pn.spec((2, 2), jnp.float64))
    weights = jnp.array(rng.uniform(0.5, 2, 7)) if weighted else jnp.ones(7)
    batch = (*batch, weights) if weighted else batch
    (values, _), grads = jax.jit(pn.per_example_grad(net, loss))(params, state, batch)
    (value, _), expected = pn.value_and_grad(net, loss)(params, state, batch)
    chex.assert_shape(values, (7,))
    np.testing.assert_allclose(jnp.sum(values) / jnp.sum(weights), value, rtol=1e-12)
    summed = jax.tree.map(lambda g: jnp.sum(g, axis=0) / jnp.sum(weights), grads)
    chex.assert_trees_all_close(summed, expected, rtol=1e-11, atol=1e-14)


def test_each_example_draws_from_a_key_of_its_own(key):
    net = pn.dropout(0.5)
    batch = (jnp.ones((64, 8)), jnp.zeros((64, 8)))
    (values, _), _ = pn.per_example_grad(net, pn.losses.half_squared_error)((), (), batch, key)
    assert len(set(values.tolist())) > 2


def test_several_inputs_and_outputs(x64, rng):
    """A net over a dict with a loss over a tuple: everything between is a pytree."""
    net = pn.layer(
        lambda params, x: (x["a"] * params, x["b"] @ x["b"]), init=lambda key, spec: (jnp.float64(2.0), ()), name="two"
    )
    batch = ({"a": jnp.array(rng.normal(size=4)), "b": jnp.array(rng.normal(size=(4, 3)))}, jnp.zeros(4))

    def loss(prediction, target):
        return jnp.square(prediction[0]) + prediction[1] + target

    by_autodiff = pn.value_and_grad(net, loss)(jnp.float64(2.0), (), batch)
    by_hand = pn.backprop(net, loss)(jnp.float64(2.0), (), batch)
    chex.assert_trees_all_close(by_hand, by_autodiff, rtol=1e-12)


@pytest.mark.parametrize("mode", ["autodiff", "backprop"])
@pytest.mark.parametrize("label", [-1, 3, 127])
def test_a_bad_label_under_jit_is_nan_in_loss_and_gradient(mode, label, key):
    net = pn.dense(3)
    params, state = net.init(key, pn.spec(2))
    run = (pn.value_and_grad if mode == "autodiff" else pn.backprop)(net, pn.losses.softmax_cross_entropy)
    (value, _), grads = jax.jit(run)(params, state, (jnp.ones((4, 2)), jnp.array([0, 1, label, 2])))
    assert np.isnan(value)
    assert all(np.isnan(leaf).all() for leaf in jax.tree.leaves(grads))


@pytest.mark.parametrize("run", [pn.value_and_grad, pn.backprop])
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_huge_logits_stay_finite(run, size, key):
    for loss, targets in [
        (pn.losses.softmax_cross_entropy, jnp.array([0, 1])),
        (pn.losses.sigmoid_cross_entropy, jnp.array([[0.0, 1.0], [1.0, 0.0]])),
    ]:
        params = {"kernel": jnp.array([[size, -size]]), "bias": jnp.zeros(2)}
        chex.assert_tree_all_finite(run(pn.dense(2), loss)(params, (), (jnp.ones((2, 1)), targets)))


PARAMS = {"kernel": jnp.ones((2, 1)), "bias": jnp.ones(1)}
RUN = pn.value_and_grad(pn.dense(1), pn.losses.half_squared_error)
BAD = {
    "(N, 1) against (N,)": (
        lambda: RUN(PARAMS, (), (jnp.ones((4, 2)), jnp.ones(4))),
        ValueError,
        "half_squared_error: expected target of shape (1,), that of the prediction, got (). "
        "Reshape the targets, or the network's output with pn.reshape; losses never broadcast.",
    ),
    "integers as targets": (
        lambda: RUN(PARAMS, (), (jnp.ones((4, 2)), jnp.ones((4, 1), jnp.int32))),
        TypeError,
        "half_squared_error: expected target of dtype float32, that of the prediction, got int32. "
        "Convert it: target.astype('float32').",
    ),
    "other lengths": (
        lambda: RUN(PARAMS, (), (jnp.ones((4, 2)), jnp.ones((3, 1)))),
        ValueError,
        "value_and_grad: expected arrays with one common first axis, the examples, got the shapes [(4, 2), (3, 1)]. "
        "Give as many targets (and weights) as inputs.",
    ),
    "no examples": (
        lambda: RUN(PARAMS, (), (jnp.ones((0, 2)), jnp.ones((0, 1)))),
        ValueError,
        "value_and_grad: expected at least one example, got 0. The mean over nothing is not a number.",
    ),
    "no targets": (
        lambda: RUN(PARAMS, (), jnp.ones((4, 2))),
        TypeError,
        "value_and_grad: expected a batch (xs, ys) or (xs, ys, weights), got float32 of shape (4, 2). "
        "Pass a tuple of arrays.",
    ),
    "lists": (
        lambda: RUN(PARAMS, (), ([1.0, 2.0], jnp.ones((2, 1)))),
        TypeError,
        "value_and_grad: expected a batch of arrays, got 1.0 in it. Use jnp.asarray.",
    ),
    "NumPy's float64": (
        lambda: RUN(PARAMS, (), (np.ones((2, 2)), jnp.ones((2, 1)))),
        TypeError,
        "value_and_grad: expected arrays of a dtype that JAX keeps, got float64 of shape (2, 2), which it would turn "
        "into float32. Convert it with astype('float32'), or the data with pn.data.check_data.",
    ),
    "weights per output": (
        lambda: RUN(PARAMS, (), (jnp.ones((4, 2)), jnp.ones((4, 1)), jnp.ones((4, 1)))),
        TypeError,
        "value_and_grad: expected weights to be one floating number per example, got float32 of shape (4, 1). "
        "Give an array of shape (B,).",
    ),
    "a loss of many numbers": (
        lambda: pn.backprop(pn.dense(1), lambda p, y: p - y)(PARAMS, (), (jnp.ones((4, 2)), jnp.ones((4, 1)))),
        ValueError,
        "lambda: expected a loss of one number per example, got shape (1,). Sum or average over the outputs.",
    ),
    "a loss that counts": (
        lambda: pn.backprop(pn.dense(1), lambda p, y: jnp.argmax(p))(PARAMS, (), (jnp.ones((4, 2)), jnp.ones((4, 1)))),
        TypeError,
        "lambda: expected a loss of floating dtype, got int32. It would have no gradient.",
    ),
    "two keys": (
        lambda: RUN(PARAMS, (), (jnp.ones((4, 2)), jnp.ones((4, 1))), jax.random.split(jax.random.key(0))),
        ValueError,
        "value_and_grad: expected one random key, got key<fry> of shape (2,). "
        "Pass one of them, or use jax.vmap over keys.",
    ),
    "a loss that is none": (
        lambda: pn.backprop(pn.dense(1), "mse"),
        TypeError,
        "backprop: expected a loss or a function of prediction and target, got 'mse'. Give one of pn.losses.",
    ),
    "a maker of losses": (
        lambda: pn.backprop(pn.dense(1), pn.losses.huber),
        TypeError,
        "backprop: expected a loss, got the function huber, which makes one. Call it: pn.losses.huber(…).",
    ),
    "a seed for a key": (
        lambda: RUN(PARAMS, (), (jnp.ones((4, 2)), jnp.ones((4, 1))), 3),
        TypeError,
        "value_and_grad: expected a JAX random key, got 3. Make one with jax.random.key(0).",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_whole_sentences(case):
    function, kind, message = BAD[case]
    with refuses(kind, message):
        function()
