"""Noise beside dropout: what is drawn together, means and variances, keys, and what is refused."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refuses

import purenet as pn
from purenet.errors import ShapeError, StructureError

pytestmark = pytest.mark.slow

KEY = jax.random.key(20150427)
DROPPING = ["channel_dropout", "drop_path", "gaussian_dropout", "alpha_dropout"]


def test_channels_are_dropped_whole_and_one_by_one():
    n = 4000
    ys, _ = pn.channel_dropout(0.25).forward((), jnp.ones((n, 2, 3, 4)), (), KEY)
    chex.assert_trees_all_equal(ys, jnp.broadcast_to(ys[:, :1, :1], ys.shape))
    kept = np.asarray(ys[:, 0, 0])
    chex.assert_trees_all_close(kept, np.where(kept != 0, 4 / 3, 0).astype(np.float32), rtol=1e-6)
    assert abs(np.mean(kept != 0) - 0.75) < 4 * math.sqrt(0.25 * 0.75 / kept.size)
    assert np.abs(np.corrcoef(kept.T) - np.eye(4)).max() < 5 / math.sqrt(n)


def test_of_vectors_each_element_is_a_channel():
    ys = pn.channel_dropout(0.5).forward((), jnp.ones((4, 50)), (), KEY)[0]
    chex.assert_trees_all_equal(ys, pn.dropout(0.5).forward((), jnp.ones((4, 50)), (), KEY)[0])


def test_paths_are_dropped_for_whole_examples():
    n = 10_000
    ys, _ = pn.drop_path(0.2).forward((), jnp.ones((n, 2, 3)), (), KEY)
    chex.assert_trees_all_equal(ys, jnp.broadcast_to(ys[:, :1, :1], ys.shape))
    assert abs(float(jnp.mean(ys[:, 0, 0] != 0)) - 0.8) < 4 * math.sqrt(0.2 * 0.8 / n)
    assert set(np.asarray(ys).ravel().tolist()) == {0.0, 1.25}


def test_a_dropped_path_leaves_a_residual_its_shortcut():
    net = pn.residual(pn.relu, pn.drop_path(0.5))
    xs = jnp.arange(1.0, 9.0).reshape(8, 1)
    params, state = net.init(KEY, pn.spec(1))
    ys = net.forward(params, xs, state, KEY)[0]
    assert set((ys / xs).ravel().tolist()) == {1.0, 3.0}


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_gaussian_noise_is_normal(dtype):
    xs = jnp.full((200, 500), 2, dtype)
    ys, _ = pn.gaussian_noise(0.5).forward((), xs, (), KEY)
    assert ys.dtype == dtype
    noise = (np.asarray(ys, np.float64) - 2) / 0.5
    n = noise.size
    assert abs(noise.mean()) < 4 / math.sqrt(n)
    assert abs(noise.var() - 1) < 4 * math.sqrt(2 / n)
    assert abs((noise**4).mean() - 3) < 5 * math.sqrt(96 / n)
    assert noise.max() > 3.7  # 16-bit draws would end before


def test_gaussian_dropout_keeps_the_mean_and_has_the_variance_of_dropout():
    xs = jnp.full((200, 500), 3.0)
    ys = np.asarray(pn.gaussian_dropout(0.2).forward((), xs, (), KEY)[0], np.float64)
    n = ys.size
    assert abs(ys.mean() - 3) < 4 * 1.5 / math.sqrt(n)
    assert abs(ys.var() / 9 - 0.25) < 4 * 0.25 * math.sqrt(2 / n)


@pytest.mark.parametrize("drop_prob", [0.05, 0.5])
def test_alpha_dropout_keeps_mean_and_variance_of_standard_inputs(drop_prob):
    xs = jax.random.normal(jax.random.key(1), (400, 500))
    ys = np.asarray(pn.alpha_dropout(drop_prob).forward((), xs, (), KEY)[0], np.float64)
    assert abs(ys.mean()) < 5 / math.sqrt(ys.size)
    assert abs(ys.var() - 1) < 5 * math.sqrt(2 / ys.size)


def test_alpha_dropout_puts_selus_saturation_where_it_drops():
    p, low = 0.3, float(pn.selu.apply((), jnp.float32(-40.0)))
    a = ((1 - p) * (1 + p * low**2)) ** -0.5
    ys = pn.alpha_dropout(p).forward((), jnp.zeros((20, 20)), (), KEY)[0]
    found = np.unique(np.asarray(ys))
    chex.assert_trees_all_close(found, np.array([a * (1 - p) * low, -a * p * low], np.float32), rtol=1e-5)


@pytest.mark.parametrize("name", [*DROPPING, "gaussian_noise"])
def test_the_pullback_is_that_of_the_same_draw(name):
    net, xs = getattr(pn, name)(0.4), jax.random.normal(jax.random.key(1), (3, 4, 5))
    ys, _, pullback = net.vjp((), xs, (), KEY)
    expected, through_forward = jax.vjp(lambda xs: net.forward((), xs, (), KEY)[0], xs)
    chex.assert_trees_all_equal(ys, expected)
    chex.assert_trees_all_close(pullback(2 * xs)[1], through_forward(2 * xs)[0], rtol=1e-6)
    chex.assert_trees_all_equal(net.apply((), xs[0]), xs[0])


@pytest.mark.parametrize("name", [*DROPPING, "gaussian_noise"])
def test_without_noise_no_key_is_needed(name):
    net, xs = getattr(pn, name)(0), jnp.arange(6.0).reshape(2, 3)
    ys, _, pullback = net.vjp((), xs)
    chex.assert_trees_all_equal((net.forward((), xs)[0], ys, pullback(xs)), (xs, xs, ((), xs)))


@pytest.mark.parametrize("which", ["forward", "vjp"])
@pytest.mark.parametrize("name", [*DROPPING, "gaussian_noise"])
def test_a_missing_key_is_asked_for(name, which):
    option = "stddev" if name == "gaussian_noise" else "drop_prob"
    with refuses(
        StructureError,
        f"{name}: expected a key for {option} = 0.25, got None. "
        "Pass key=jax.random.key(…), or use apply for inference.",
    ):
        getattr(getattr(pn, name)(0.25), which)((), jnp.ones((2, 3)))
    with refuses(StructureError, f"{name}: expected a JAX random key, got 0. Make one with jax.random.key(0)."):
        getattr(getattr(pn, name)(0.25), which)((), jnp.ones((2, 3)), (), 0)


@pytest.mark.parametrize("name", DROPPING)
def test_probabilities_out_of_range_are_refused(name):
    with refuses(
        ShapeError,
        f"{name}: expected 0 <= drop_prob < 1, got 1. It is the probability of dropping, not of keeping.",
    ):
        getattr(pn, name)(1)
    with refuses(StructureError, f"{name}: expected drop_prob to be a Python number, got True. Give one such as 0.5."):
        getattr(pn, name)(True)


@pytest.mark.parametrize("stddev", [-0.1, math.inf, math.nan])
def test_deviations_out_of_range_are_refused(stddev):
    with refuses(
        ShapeError,
        f"gaussian_noise: expected a finite stddev of 0 or more, got {stddev}. It is a standard deviation.",
    ):
        pn.gaussian_noise(stddev)


def test_what_is_no_number_or_has_no_channels_is_refused():
    with refuses(
        StructureError, "gaussian_noise: expected stddev to be a Python number, got '1'. Give one such as 0.1."
    ):
        pn.gaussian_noise("1")
    with refuses(
        ShapeError,
        "channel_dropout: expected x with the channels on its last axis, got (). Use pn.dropout for single numbers.",
    ):
        pn.channel_dropout(0.5).forward((), jnp.ones(3), (), KEY)
    with refuses(
        StructureError,
        "drop_path: expected x of floating dtype, got int32. Convert the examples, such as x.astype(np.float32).",
    ):
        pn.drop_path(0.5).apply((), jnp.arange(3))
