"""Every loss's gradient is the derivative of its value, and every loss is one strict function of one example."""

import functools

import chex
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from laws.test_hand_rules import DRAWS, seeds, settings
from laws.tools import LOSS_ROWS, draw_pair, pick, relative_gap
from specs import TOLERANCE


@functools.cache
def _program(row):
    loss = row.make()

    def gap(prediction, target):
        return relative_gap(loss.grad(prediction, target), jax.grad(loss.value)(prediction, target))

    return jax.jit(jax.vmap(gap))


@pytest.mark.parametrize("row", LOSS_ROWS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_gradient_is_autodiff_of_the_value(row, dtype, x64):
    @settings
    @hypothesis.given(seeds)
    def check(seed):
        gaps = _program(row)(*draw_pair(row, dtype, seed, (DRAWS,)))
        chex.assert_shape(gaps, (DRAWS,))
        assert np.max(gaps) <= TOLERANCE[dtype], f"gradients differ by {np.max(gaps)} (seed {seed})"

    check()


@pytest.mark.parametrize("row", LOSS_ROWS)
def test_gradient_is_central_differences(row, x64):
    loss, step = row.make(), 1e-6

    def gap(prediction, target):
        flat, unflatten = ravel_pytree(prediction)
        basis = step * jnp.eye(len(flat))
        numeric = jax.vmap(
            lambda d: (loss.value(unflatten(flat + d), target) - loss.value(unflatten(flat - d), target)) / (2 * step)
        )(basis)
        return relative_gap(ravel_pytree(loss.grad(prediction, target))[0], numeric)

    gaps = jax.jit(jax.vmap(gap))(*draw_pair(row, jnp.float64, 0, (50,)))
    assert np.max(gaps) <= 1e-6, gaps


@pytest.mark.parametrize("row", [case for case in LOSS_ROWS if case.values[0].kinks])
def test_both_gradients_choose_the_convention_at_kinks(row, x64):
    loss = row.make()
    for prediction, target, gradient in row.kinks:
        prediction = jnp.array(prediction)
        target = jnp.array(target)
        expected = jnp.array(gradient)
        chex.assert_trees_all_close(loss.grad(prediction, target), expected, rtol=1e-14)
        chex.assert_trees_all_close(jax.grad(loss.value)(prediction, target), expected, rtol=1e-14)


@pytest.mark.parametrize("row", LOSS_ROWS)
def test_jit_and_vmap_are_eager_and_a_loop(row, x64):
    loss = row.make()
    many = draw_pair(row, jnp.float64, 1, (3,))

    def both(prediction, target):
        return loss.value(prediction, target), loss.grad(prediction, target)

    together = jax.jit(jax.vmap(both))(*many)
    for index in range(3):
        with jax.disable_jit():
            alone = both(*pick(many, index))
        chex.assert_trees_all_close(pick(together, index), alone, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
@pytest.mark.parametrize("row", LOSS_ROWS)
def test_dtype_in_is_dtype_out(row, dtype, x64):
    loss = row.make()
    prediction, target = draw_pair(row, dtype, 2)
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
        run(*draw_pair(row, jnp.float32, seed))


@pytest.mark.parametrize("row", LOSS_ROWS)
def test_nothing_broadcasts(row):
    loss = row.make()
    prediction, target = draw_pair(row, jnp.float32, 3)
    longer = jnp.stack([target, target])
    for function in (loss.value, loss.grad):
        with pytest.raises((ValueError, TypeError), match=rf"^{loss.name}: expected "):
            function(prediction, longer)
