"""Numbers worked by hand, to every printed digit."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

import purenet as pn


def test_xor_by_hand_is_exact():
    net = pn.serial(pn.dense(2), pn.relu, pn.dense(1))
    params = (
        {"kernel": jnp.ones((2, 2)), "bias": jnp.array([0.0, -1.0])},
        (),
        {"kernel": jnp.array([[1.0], [-2.0]]), "bias": jnp.zeros(1)},
    )
    xs = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    hidden = pn.serial(*net.parts[:2])
    codes = jax.vmap(hidden.apply, (None, 0))(params[:2], xs)
    assert codes.tolist() == [[0, 0], [1, 0], [1, 0], [2, 1]]
    assert jax.vmap(net.apply, (None, 0))(params, xs).ravel().tolist() == [0, 1, 1, 0]


def test_no_line_does_better_on_xor_than_one_half_everywhere(x64):
    xs = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
    best, *_ = np.linalg.lstsq(xs, np.array([0.0, 1.0, 1.0, 0.0]))
    params = {"kernel": jnp.array(best[:2, None]), "bias": jnp.array(best[2:])}
    batch = (jnp.array(xs[:, :2]), jnp.array([[0.0], [1.0], [1.0], [0.0]]))
    (value, _), grads = pn.backprop(pn.dense(1), pn.losses.half_squared_error)(params, (), batch)
    np.testing.assert_allclose(jax.vmap(pn.dense(1).apply, (None, 0))(params, batch[0]), 0.5, atol=1e-14)
    np.testing.assert_allclose(value, 1 / 8, rtol=1e-14)
    chex.assert_trees_all_close(grads, jax.tree.map(jnp.zeros_like, grads), atol=1e-14)


def test_the_two_layer_sigmoid_network(x64):
    net = pn.serial(pn.dense(2), pn.sigmoid, pn.dense(2), pn.sigmoid)
    params = (
        {"kernel": jnp.array([[0.15, 0.20], [0.25, 0.30]]).T, "bias": jnp.array([0.35, 0.35])},
        (),
        {"kernel": jnp.array([[0.40, 0.45], [0.50, 0.55]]).T, "bias": jnp.array([0.60, 0.60])},
        (),
    )
    x, y = jnp.array([0.05, 0.10]), jnp.array([0.01, 0.99])

    def near(got, printed):
        np.testing.assert_allclose(got, printed, atol=6e-10)

    near(pn.dense(2).apply(params[0], x)[0], 0.3775)
    near(pn.serial(*net.parts[:2]).apply(params[:2], x)[0], 0.593269992)
    near(net.apply(params, x), [0.751365070, 0.772928465])
    batch = (x[None], y[None])
    (value, _), grads = pn.backprop(net, pn.losses.half_squared_error)(params, ((), (), (), ()), batch)
    near(value, 0.298371109)
    near(grads[2]["kernel"][0, 0], 0.082167041)
    stepped = jax.tree.map(lambda p, g: p - 0.5 * g, params, grads)
    near(stepped[2]["kernel"].T, [[0.358916480, 0.408666186], [0.511301270, 0.561370121]])
    near(stepped[0]["kernel"][0, 0], 0.149780716)


def test_chains_of_products_and_sums():
    grads = jax.grad(lambda a, b, c: 3 * (a * b + c), argnums=(0, 1, 2))(6.0, 4.0, 5.0)
    assert tuple(map(float, grads)) == (12, 18, 3)
    value, grads = jax.value_and_grad(lambda x, y, z: (x + y) * z, argnums=(0, 1, 2))(2.0, 5.0, -4.0)
    assert (float(value), *map(float, grads)) == (-28, -4, -4, 7)


def test_cross_entropy_after_softmax_or_sigmoid_has_the_gradient_p_minus_y(x64, rng):
    logits, label = jnp.array(rng.normal(size=5)), 3
    wanted = jax.nn.softmax(logits) - jax.nn.one_hot(label, 5)
    loss = pn.losses.softmax_cross_entropy
    chex.assert_trees_all_close(loss.grad(logits, jnp.int32(label)), wanted, rtol=1e-13)
    chex.assert_trees_all_close(jax.grad(loss.value)(logits, jnp.int32(label)), wanted, rtol=1e-12)
    target = jnp.array(rng.uniform(size=1))
    loss = pn.losses.sigmoid_cross_entropy
    chex.assert_trees_all_close(loss.grad(logits[:1], target), jax.nn.sigmoid(logits[:1]) - target, rtol=1e-13)
