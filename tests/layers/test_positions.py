"""Positions: the numbers of the tables, what they do to sequences, and refusals."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refuses

import purenet as pn
from purenet.errors import ShapeError, StructureError


def test_sinusoidal_positions_are_the_papers_numbers():
    got = pn.sinusoidal_positions().apply((), jnp.zeros((7, 6)))
    expected = np.zeros((7, 6))
    for t in range(7):
        for i in range(3):
            angle = t / 10000 ** (2 * i / 6)
            expected[t, 2 * i], expected[t, 2 * i + 1] = math.sin(angle), math.cos(angle)
    chex.assert_trees_all_close(got, expected.astype(np.float32), atol=1e-7)


def test_sinusoidal_positions_are_added():
    x = jax.random.normal(jax.random.key(0), (2, 5, 4))
    net = pn.sinusoidal_positions(base=100.0)
    waves = net.apply((), jnp.zeros((5, 4)))
    chex.assert_trees_all_close(net.forward((), x)[0], x + waves[None], rtol=1e-6)


def test_late_positions_are_exact(x64):
    got = pn.sinusoidal_positions().apply((), jnp.zeros((100_001, 2), jnp.float32))[-1]
    assert abs(float(got[0]) - math.sin(100_000)) < 1e-7


def test_rotary_turns_pairs_and_keeps_lengths():
    x = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    got = pn.rotary(base=50.0).apply((), jnp.asarray(x))
    expected = np.zeros((6, 4))
    for t in range(6):
        for i in range(2):
            angle = t * 50.0 ** (-2 * i / 4)
            turned = complex(x[t, i], x[t, i + 2]) * complex(math.cos(angle), math.sin(angle))
            expected[t, i], expected[t, i + 2] = turned.real, turned.imag
    chex.assert_trees_all_close(got, expected.astype(np.float32), atol=1e-6)


def test_inner_products_after_rotary_depend_on_the_distance_alone():
    a, b = jax.random.normal(jax.random.key(1), (2, 8))
    turn = pn.rotary().apply
    one, other = turn((), jnp.tile(a[None], (9, 1))), turn((), jnp.tile(b[None], (9, 1)))
    products = one @ other.T
    for distance in (-3, 0, 5):
        along = jnp.diagonal(products, distance)
        chex.assert_trees_all_close(along, jnp.full_like(along, along[0]), rtol=1e-4)
    assert abs(products[0, 0] - products[0, 5]) > 1e-2


def test_rotary_in_16_bits_turns_in_32():
    x = jax.random.normal(jax.random.key(2), (300, 4)).astype(jnp.bfloat16)
    got = pn.rotary().apply((), x)
    assert got.dtype == jnp.bfloat16
    chex.assert_trees_all_equal(got, pn.rotary().apply((), x.astype(jnp.float32)).astype(jnp.bfloat16))


def test_learned_positions_are_added_to_sequences_of_any_shorter_length():
    net = pn.learned_positions(4)
    params = {"embedding": jnp.arange(8.0).reshape(4, 2)}
    xs = jnp.ones((3, 2, 2))
    ys, _, pullback = net.vjp(params, xs)
    chex.assert_trees_all_equal(ys, xs + jnp.array([[[0.0, 1.0], [2.0, 3.0]]]))
    dparams, dxs = pullback(jnp.ones_like(ys))
    chex.assert_trees_all_equal(dparams["embedding"], jnp.array([[3.0] * 2, [3.0] * 2, [0.0] * 2, [0.0] * 2]))
    chex.assert_trees_all_equal(dxs, jnp.ones_like(xs))


def test_longer_sequences_are_refused():
    net = pn.learned_positions(2)
    message = "learned_positions: expected x of up to 2 positions, got 3. Cut the sequence, or give a larger length."
    with refuses(ShapeError, message):
        net.init(jax.random.key(0), pn.spec((3, 4)))
    with refuses(ShapeError, message):
        net.apply({"embedding": jnp.ones((2, 4))}, jnp.ones((3, 4)))


@pytest.mark.parametrize("net", [pn.sinusoidal_positions(), pn.rotary(), pn.learned_positions(9)], ids=str)
def test_sequences_have_two_axes(net):
    params = {"embedding": jnp.ones((9, 4))} if net.name == "learned_positions" else ()
    message = f"{net.name}: expected x of shape (positions, features), got (2, 3, 4). Leave the mini-batch axis out."
    with refuses(ShapeError, message):
        net.apply(params, jnp.ones((2, 3, 4)))


@pytest.mark.parametrize("net", [pn.sinusoidal_positions(), pn.rotary()], ids=str)
def test_odd_features_have_no_pairs(net):
    message = f"{net.name}: expected x with an even number of features, got 3. They belong together in pairs."
    with refuses(ShapeError, message):
        net.apply((), jnp.ones((2, 3)))


def test_learned_positions_refuse_other_params():
    net, x = pn.learned_positions(2), jnp.ones((2, 4))
    with refuses(
        ShapeError,
        "learned_positions: expected params['embedding'] of shape (2, 4), got (2, 3). "
        "Initialise the network with the spec of the examples that it gets, and pass the params that it made.",
    ):
        net.apply({"embedding": jnp.ones((2, 3))}, x)
    with refuses(
        StructureError,
        "learned_positions: expected x of dtype bfloat16, that of the parameters, got float32. "
        "Cast x or the parameters with astype.",
    ):
        net.apply({"embedding": jnp.ones((2, 4), jnp.bfloat16)}, x)


def test_options_out_of_range_are_refused():
    with refuses(ShapeError, "learned_positions: expected length of 1 or more, got 0. Give the longest sequence's."):
        pn.learned_positions(0)
    with refuses(StructureError, "learned_positions: expected length to be a whole number, got '8'. Give an int."):
        pn.learned_positions("8")
    with refuses(ShapeError, "rotary: expected base above 0 and finite, got 0. Give one such as 10000.0."):
        pn.rotary(base=0)
    with refuses(
        StructureError,
        "sinusoidal_positions: expected base to be a Python number, got None. Give one such as 10000.0.",
    ):
        pn.sinusoidal_positions(base=None)
