"""Dropout: how many it keeps, what it does to them, and that forward and vjp agree on which."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purenet as pn
from purenet.errors import ShapeError, StructureError

KEY = jax.random.key(20140615)


@pytest.mark.parametrize("drop_prob", [0.1, 0.5, 0.9])
def test_as_many_are_kept_as_chance_allows(drop_prob):
    n = 200_000
    ys, _ = pn.dropout(drop_prob).forward((), jnp.ones((100, n // 100)), (), KEY)
    kept = int(jnp.sum(ys != 0))
    deviation = math.sqrt(n * drop_prob * (1 - drop_prob))
    assert abs(kept - n * (1 - drop_prob)) < 4 * deviation, kept
    per_example = np.asarray(jnp.sum(ys != 0, axis=1))
    deviation /= 10  # of 100 examples the worst stays within 5 with probability 0.9999
    assert abs(per_example - n / 100 * (1 - drop_prob)).max() < 5 * deviation


def test_what_is_kept_is_scaled_so_that_the_mean_stays():
    xs = jax.random.normal(jax.random.key(1), (20, 30))
    net = pn.dropout(0.2)
    ys, _ = net.forward((), xs, (), KEY)
    chex.assert_trees_all_close(ys, jnp.where(ys != 0, xs / 0.8, 0), rtol=1e-6)
    many = jax.vmap(lambda key: net.forward((), xs, (), key)[0])(jax.random.split(KEY, 1000))
    error = jnp.abs(xs) * math.sqrt(0.2 / 0.8 / 1000)
    assert jnp.all(jnp.abs(jnp.mean(many, axis=0) - xs) < 5 * error)


def test_elements_and_examples_are_dropped_independently():
    keep = pn.dropout(0.5).forward((), jnp.ones((4000, 8)), (), KEY)[0] - 1
    chex.assert_trees_all_close(keep.T @ keep / 4000, jnp.eye(8), atol=5 / math.sqrt(4000))


def test_the_same_key_drops_the_same_and_another_key_others():
    net, xs = pn.dropout(0.5), jnp.ones((8, 64))
    first = net.forward((), xs, (), KEY)[0]
    chex.assert_trees_all_equal(first, jax.jit(net.forward)((), xs, (), KEY)[0])
    other = net.forward((), xs, (), jax.random.fold_in(KEY, 1))[0]
    assert 150 < int(jnp.sum(first != other)) < 362  # half of 512, within nine deviations


def test_the_mask_depends_on_neither_values_nor_precision():
    with jax.enable_x64(True):
        xs = jax.random.normal(jax.random.key(2), (4, 16), jnp.float64)
        net = pn.dropout(0.5)
        dropped = net.forward((), xs, (), KEY)[0] == 0
        for dtype in (jnp.float16, jnp.bfloat16, jnp.float32):
            ys = net.forward((), jnp.ones((4, 16), dtype), (), KEY)[0]
            assert ys.dtype == dtype
            chex.assert_trees_all_equal(ys == 0, dropped)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_the_pullback_uses_the_mask_of_forward(dtype):
    net, xs = pn.dropout(0.25), jnp.ones((5, 7), dtype)
    ys, state = net.forward((), xs, (), KEY)
    by_hand, _, pullback = jax.jit(net.vjp)((), xs, (), KEY)
    chex.assert_trees_all_equal(by_hand, ys)
    assert state == ()
    dparams, dxs = pullback(3 * jnp.ones_like(ys))
    assert dparams == ()
    assert dxs.dtype == dtype
    chex.assert_trees_all_equal(dxs, 3 * ys)
    by_autodiff = jax.grad(lambda xs: jnp.sum(3 * net.forward((), xs, (), KEY)[0]))(xs)
    chex.assert_trees_all_equal(dxs, by_autodiff)


def test_what_is_dropped_is_zero_whatever_it_was():
    ys, _ = pn.dropout(0.5).forward((), jnp.full((4, 64), jnp.inf), (), KEY)
    assert set(ys.ravel().tolist()) == {0.0, math.inf}


def test_at_inference_it_is_the_identity():
    x = jax.random.normal(KEY, (3, 2))
    chex.assert_trees_all_equal(pn.dropout(0.5).apply((), x), x)


@pytest.mark.parametrize("drop_prob", [0, 0.0, np.float32(0)])
def test_dropping_nothing_needs_no_key(drop_prob):
    xs = jnp.arange(6.0).reshape(2, 3)
    net = pn.dropout(drop_prob)
    chex.assert_trees_all_equal(net.forward((), xs)[0], xs)
    ys, _, pullback = net.vjp((), xs)
    chex.assert_trees_all_equal((ys, pullback(xs)), (xs, ((), xs)))


def test_next_to_one_almost_all_is_dropped():
    ys, _ = pn.dropout(math.nextafter(1, 0)).forward((), jnp.ones((10, 1000)), (), KEY)
    chex.assert_trees_all_equal(ys, jnp.zeros_like(ys))


def test_old_style_keys_work():
    old = jax.random.key_data(jax.random.key(3))
    net, xs = pn.dropout(0.5), jnp.ones((4, 16))
    chex.assert_trees_all_equal(net.forward((), xs, (), old), net.forward((), xs, (), jax.random.key(3)))


@pytest.mark.parametrize("which", ["forward", "vjp"])
def test_a_missing_key_is_asked_for(which):
    net = pn.serial(pn.relu, pn.dropout(0.25))
    with pytest.raises(StructureError) as error:
        getattr(net, which)(((), ()), jnp.ones((2, 3)), ((), ()), None)
    assert str(error.value) == (
        "serial[1].dropout: expected a key for drop_prob = 0.25, got None. "
        "Pass key=jax.random.key(…), or use apply for inference."
    )


def test_what_is_no_key_is_refused():
    with pytest.raises(StructureError) as error:
        pn.dropout(0.5).forward((), jnp.ones((2, 3)), (), 0)
    assert str(error.value) == "dropout: expected a JAX random key, got 0. Make one with jax.random.key(0)."


@pytest.mark.parametrize("drop_prob", [1, 1.0, -0.1, 1.5, math.nan, math.inf])
def test_probabilities_out_of_range_are_refused(drop_prob):
    with pytest.raises(ShapeError) as error:
        pn.dropout(drop_prob)
    assert str(error.value) == (
        f"dropout: expected 0 <= drop_prob < 1, got {drop_prob}. It is the probability of dropping, not of keeping."
    )


@pytest.mark.parametrize(
    ("drop_prob", "came"),
    [("0.5", "'0.5'"), (True, "True"), (None, "None"), (jnp.float32(0.5), "float32 of shape ()")],
)
def test_probabilities_that_are_no_python_numbers_are_refused(drop_prob, came):
    with pytest.raises(StructureError) as error:
        pn.dropout(drop_prob)
    assert str(error.value) == (f"dropout: expected drop_prob to be a Python number, got {came}. Give one such as 0.5.")


def test_integers_are_refused():
    with pytest.raises(StructureError) as error:
        pn.dropout(0.5).apply((), jnp.arange(3))
    assert str(error.value) == (
        "dropout: expected x of floating dtype, got int32. Convert the examples, such as x.astype(np.float32)."
    )
