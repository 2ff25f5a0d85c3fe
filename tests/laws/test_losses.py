"""Every loss's gradient is the derivative of its value, and every loss is one strict function of one example."""

import functools

import chex
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree
from laws.test_hand_rules import DRAWS, settings
from laws.tools import LOSS_ROWS, pick, relative_gap
from specs import TOLERANCE


@functools.cache
def _program(row, dtype):
    loss = row.make()

    def gap(key):
        prediction, target = row.draw(key, dtype)
        return relative_gap(loss.grad(prediction, target), jax.grad(loss.value)(prediction, target))

    return jax.jit(lambda key: jax.vmap(gap)(jax.random.split(key, DRAWS)))


@pytest.mark.parametrize("row", LOSS_ROWS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_gradient_is_autodiff_of_the_value(row, dtype, x64):
    @settings
    @hypothesis.given(st.integers(0, 2**31 - 1))
    def check(seed):
        gaps = _program(row, dtype)(jax.random.key(seed))
        chex.assert_shape(gaps, (DRAWS,))
        assert np.max(gaps) <= TOLERANCE[dtype], f"gradients differ by {np.max(gaps)} (seed {seed})"

    check()


@pytest.mark.parametrize("row", LOSS_ROWS)
def test_gradient_is_central_differences(row, x64):
    loss, step = row.make(), 1e-6

    def gap(key):
        prediction, target = row.draw(key, jnp.float64)
        flat, unflatten = ravel_pytree(prediction)
        basis = step * jnp.eye(len(flat))
        numeric = jax.vmap(
            lambda d: (loss.value(unflatten(flat + d), target) - loss.value(unflatten(flat - d), target)) / (2 * step)
        )(basis)
        return relative_gap(ravel_pytree(loss.grad(prediction, target))[0], numeric)

    gaps = jax.jit(lambda key: jax.vmap(gap)(jax.random.split(key, 50)))(jax.random.key(0))
    assert np.max(gaps) <= 1e-6, gaps


@pytest.mark.parametrize("row", [case for case in LOSS_ROWS if case.values[0].kinks])
def test_both_gradients_choose_the_convention_at_kinks(row, x64):
    loss = row.make()
    for prediction, target, gradient in row.kinks:
        prediction = jax.tree.map(jnp.float64, prediction)
        target = jnp.asarray(target, jnp.float64)
        expected = jax.tree.map(jnp.float64, gradient)
        chex.assert_trees_all_close(loss.grad(prediction, target), expected, rtol=1e-14)
        chex.assert_trees_all_close(jax.grad(loss.value)(prediction, target), expected, rtol=1e-14)


@pytest.mark.parametrize("row", LOSS_ROWS)
def test_jit_and_vmap_are_eager_and_a_loop(row, x64):
    loss = row.make()
    given = [row.draw(jax.random.key(seed), jnp.float64) for seed in range(3)]

    def both(prediction, target):
        return loss.value(prediction, target), loss.grad(prediction, target)

    together = jax.jit(jax.vmap(both))(*jax.tree.map(lambda *leaves: jnp.stack(leaves), *given))
    for index, one in enumerate(given):
        with jax.disable_jit():
            alone = both(*one)
        chex.assert_trees_all_close(pick(together, index), alone, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
@pytest.mark.parametrize("row", LOSS_ROWS)
def test_dtype_in_is_dtype_out(row, dtype, x64):
    loss = row.make()
    prediction, target = row.draw(jax.random.key(0), dtype)
    value, grad = loss.value(prediction, target), loss.grad(prediction, target)
    assert value.shape == ()
    assert {str(leaf.dtype) for leaf in jax.tree.leaves((value, grad))} == {dtype}
    chex.assert_trees_all_equal_shapes(grad, prediction)
    chex.assert_tree_all_finite((value, grad))


@pytest.mark.parametrize("row", LOSS_ROWS)
def test_other_values_are_not_traced_again(row):
    loss = row.make()
    run = jax.jit(chex.assert_max_traces(lambda p, y: (loss.value(p, y), loss.grad(p, y)), n=1))
    for seed in range(3):
        run(*row.draw(jax.random.key(seed), jnp.float32))


@pytest.mark.parametrize("row", LOSS_ROWS)
def test_nothing_broadcasts(row):
    loss = row.make()
    prediction, target = row.draw(jax.random.key(0), jnp.float32)
    longer = jnp.stack([target, target])
    for function in (loss.value, loss.grad):
        with pytest.raises((ValueError, TypeError), match=rf"^{loss.name}: expected "):
            function(prediction, longer)
