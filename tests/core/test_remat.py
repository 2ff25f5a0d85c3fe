"""remat changes no number, and what a gradient keeps of a layer is its input alone."""

import chex
import jax
import jax.numpy as jnp
import pytest
from refusals import refuses

import purenet as pn

BLOCK = pn.residual(pn.dense(64), pn.gelu, pn.dropout(0.2), pn.dense(64), pn.tanh, pn.dense(8))
LOSS = pn.losses.half_squared_error
GRADIENTS = pytest.mark.parametrize("gradient", [pn.value_and_grad, pn.backprop])


@GRADIENTS
def test_the_numbers_are_those_of_the_layer(gradient, x64, key):
    net = pn.remat(BLOCK)
    params, state = net.init(key, pn.spec(8, jnp.float64))
    xs = jax.random.normal(key, (5, 8), jnp.float64)
    (value, _), grads = jax.jit(gradient(net, LOSS))(params, state, (xs, -xs), key)
    inside = jax.random.fold_in(key, 0)
    expected = jax.jit(gradient(BLOCK, LOSS))(params[0], state[0], (xs, -xs), inside)
    chex.assert_trees_all_close((value, grads[0]), (expected[0][0], expected[1]), rtol=1e-12, atol=1e-14)
    chex.assert_trees_all_equal(net.apply(params, xs[0], state), BLOCK.apply(params[0], xs[0], state[0]))


def test_state_passes_through():
    counter = pn.layer(
        lambda params, x, state: x,
        init=lambda key, spec: ((), jnp.zeros(())),
        forward=lambda params, xs, state, key: (xs, state + 1),
    )
    net = pn.remat(counter)
    params, state = net.init(None, pn.spec(2))
    assert net.forward(params, jnp.ones((1, 2)), state)[1][0].tolist() == 1
    _, new, pullback = net.vjp(params, jnp.ones((1, 2)), state)
    assert new[0].tolist() == 1
    assert pullback(jnp.ones((1, 2)))[1].tolist() == [[1, 1]]


def test_the_pullback_holds_params_input_and_key_alone(key):
    net = pn.remat(BLOCK)
    params, state = net.init(key, pn.spec(8))
    xs = jnp.ones((5, 8))
    kept = jax.tree.leaves(net.vjp(params, xs, state, key)[2])
    assert len(kept) == len(jax.tree.leaves(params)) + 2
    assert sum(leaf.size for leaf in kept) == sum(leaf.size for leaf in jax.tree.leaves(params)) + xs.size + 1


@GRADIENTS
def test_a_loop_of_it_needs_a_fraction_of_the_memory(gradient, key):
    """Sixteen blocks that hold hundreds of values per example, and take and give eight."""

    def memory(block):
        net = pn.repeat(block, 16)
        params, state = jax.eval_shape(lambda key: net.init(key, pn.spec(8)), key)
        xs = pn.spec((256, 8))
        compiled = jax.jit(gradient(net, LOSS)).lower(params, state, (xs, xs), key).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert memory(pn.remat(BLOCK)) < memory(BLOCK) / 5


def test_it_is_proven_where_its_layer_is():
    assert pn.remat(BLOCK).proven
    assert not pn.remat(jnp.sin).proven


BAD = {
    "a maker": (
        lambda: pn.remat(pn.dense),
        TypeError,
        "remat[0]: expected a layer, got the function dense, which makes one. Call it: pn.dense(…).",
    ),
    "other params": (
        lambda: pn.remat(pn.relu).apply((), jnp.ones(2)),
        TypeError,
        "remat: expected params to be a tuple of 1, one entry per part, got a tuple of 0. "
        "Pass the params that this network's init made.",
    ),
    "a wrong shape inside": (
        lambda: pn.remat(pn.dense(2)).init(None, pn.spec(())),
        ValueError,
        "remat[0].dense: expected a spec with one axis, got (). Leave the mini-batch axis out; "
        "put pn.flatten before it, or pn.each around it to map it over an axis.",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_whole_sentences(case):
    function, kind, message = BAD[case]
    with refuses(kind, message):
        function()
