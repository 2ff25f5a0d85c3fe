"""The contract's defaults, and what it takes."""

import chex
import jax
import jax.numpy as jnp
import pytest

import purenet as pn

NET = pn.serial(pn.flatten, pn.residual(pn.dense(6), pn.relu), pn.dense(3))
PARAMS, STATE = NET.init(jax.random.key(0), pn.spec((2, 3)))


def square(params, x):
    """Squares."""
    return x * x


def test_layer_takes_the_contracts_defaults(key):
    made = pn.layer(square)
    params, state = made.init(None, pn.spec(3))
    assert (params, state, made.parts, made.proven) == ((), (), (), False)
    assert (repr(made), made.__doc__) == ("square", "Squares.")
    xs = jnp.arange(6.0).reshape(2, 3)
    ys, state, pullback = made.vjp((), xs, (), key)
    chex.assert_trees_all_close(ys, xs**2)
    chex.assert_trees_all_close(pullback(jnp.ones_like(ys))[1], 2 * xs)
    assert made.forward((), xs, state, key)[1] == ()


def test_layer_with_state_and_training_of_its_own(key):
    counter = pn.layer(
        lambda params, x, state: x + state,
        init=lambda key, spec: ((), jnp.zeros(())),
        forward=lambda params, xs, state, key: (xs + state, state + 1),
        name="counter",
    )
    net = pn.serial(counter, pn.relu, counter)
    params, state = net.init(key, pn.spec(2))
    ys, state = net.forward(params, jnp.ones((4, 2)), state, None)
    chex.assert_trees_all_close((ys, state), (jnp.ones((4, 2)), (jnp.ones(()), (), jnp.ones(()))))
    chex.assert_trees_all_close(net.apply(params, jnp.ones(2), state), 3 * jnp.ones(2))
    (_, new), _ = pn.backprop(net, pn.losses.half_squared_error)(params, state, (jnp.ones((4, 2)), jnp.ones((4, 2))))
    assert float(new[0]) == 2


@pytest.mark.parametrize("state", [None, (), STATE])
def test_a_network_without_state_takes_and_returns_any_way_to_write_none(state):
    xs = jnp.ones((4, 2, 3))
    assert NET.forward(PARAMS, xs, state, None)[1] == state
    assert NET.vjp(PARAMS, xs, state, None)[1] == state
    run = pn.backprop(NET, pn.losses.half_squared_error)
    assert run(PARAMS, state, (xs, jnp.ones((4, 3))))[0][1] == state


def test_plain_functions_are_layers(key):
    net = pn.serial(pn.dense(2), jnp.sin, lambda x: x[::-1])
    params, _ = net.init(key, pn.spec(2))
    assert repr(net) == "serial(dense, sin, lambda)"
    assert not net.proven
    x = jnp.array([0.3, 0.4])
    chex.assert_trees_all_close(net.apply(params, x), jnp.sin(x @ params[0]["kernel"])[::-1])


def test_options_of_a_users_function_are_not_its_state():
    def norm(params, x, axis=-1):
        return x / jnp.sum(x, axis=axis, keepdims=True)

    xs = jnp.ones((2, 3, 4))
    chex.assert_trees_all_close(pn.layer(norm).forward((), xs, (), None)[0], xs / 4)
    chex.assert_trees_all_close(pn.layer(norm).apply((), xs[0]), xs[0] / 4)


def test_layers_are_static_arguments_of_jit():
    run = jax.jit(lambda net, params, x: net.apply(params, x))
    chex.assert_trees_all_close(run(NET, PARAMS, jnp.ones((2, 3))), NET.apply(PARAMS, jnp.ones((2, 3))))


def test_any_initializer_of_jax_makes_a_kernel(key):
    made = pn.dense(4, kernel_init=jax.nn.initializers.orthogonal(), bias_init=jax.nn.initializers.ones)
    params, _ = made.init(key, pn.spec(4))
    chex.assert_trees_all_close(params["kernel"] @ params["kernel"].T, jnp.eye(4), atol=1e-5)
    chex.assert_trees_all_close(params["bias"], jnp.ones(4))


def test_legacy_keys_work():
    params, _ = NET.init(jax.random.PRNGKey(0), pn.spec((2, 3)))
    chex.assert_trees_all_equal_shapes(params, PARAMS)


def test_an_empty_first_axis_maps_to_an_empty_one(key):
    net = pn.each(pn.dense(2))
    params, state = net.init(key, pn.spec((0, 3)))
    chex.assert_shape(net.apply(params, jnp.zeros((0, 3))), (0, 2))
    ys, _, pullback = net.vjp(params, jnp.zeros((5, 0, 3)), state, None)
    chex.assert_shape([ys, pullback(ys)[1]], [(5, 0, 2), (5, 0, 3)])
