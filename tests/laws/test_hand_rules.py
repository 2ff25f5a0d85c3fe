"""The hand rule is the derivative: against autodiff of the plain function, and against central differences."""

import functools

import chex
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree
from laws.tools import LAYER_CASES, LAYER_ROWS, draw, floats, made, plain, relative_gap
from specs import TOLERANCE

DRAWS = 40  # times five Hypothesis examples: 200 a shape
settings = hypothesis.settings(
    max_examples=5, derandomize=True, deadline=None, database=None, phases=[hypothesis.Phase.generate]
)
seeds = st.integers(0, 2**31 - 1)


@functools.cache
def _program(row):
    """Compiles the gaps between hand rule and autodiff, for many draws at once."""
    layer = made(row)

    def gaps(given):
        ys, _, pullback = layer.vjp(given.params, given.xs, given.state, given.key)
        expected, autodiff = jax.vjp(plain(row, layer, given.state, given.key), given.params, given.xs)
        return relative_gap(ys, expected), relative_gap(pullback(given.dys), autodiff(given.dys))

    return jax.jit(jax.vmap(gaps))


@pytest.mark.parametrize(("row", "case"), LAYER_CASES)
@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
def test_hand_rule_is_autodiff_of_the_plain_function(row, case, dtype, x64):
    @settings
    @hypothesis.given(seeds)
    def check(seed):
        values, gradients = _program(row)(draw(made(row), case, dtype, seed, (DRAWS,)))
        chex.assert_shape([values, gradients], (DRAWS,))
        assert np.max(values) <= TOLERANCE[dtype], f"values differ by {np.max(values)} (seed {seed})"
        assert np.max(gradients) <= TOLERANCE[dtype], f"gradients differ by {np.max(gradients)} (seed {seed})"

    check()


@pytest.mark.slow
@pytest.mark.parametrize(("row", "case"), LAYER_CASES)
def test_hand_rule_is_central_differences_away_from_kinks(row, case, x64):
    layer, step = made(row), 1e-6

    def gap(given):
        leaves, tree = jax.tree.flatten((given.params, given.xs))
        moving = [jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves]
        flat, unflatten = ravel_pytree([leaf for leaf, moves in zip(leaves, moving, strict=True) if moves])

        def value(flat):
            moved = iter(unflatten(flat))
            args = [next(moved) if moves else leaf for leaf, moves in zip(leaves, moving, strict=True)]
            ys = plain(row, layer, given.state, given.key)(*jax.tree.unflatten(tree, args))
            return sum(jnp.sum(a * b) for a, b in zip(jax.tree.leaves(ys), jax.tree.leaves(given.dys), strict=True))

        basis = step * jnp.eye(len(flat))
        numeric = jax.vmap(lambda d: (value(flat + d) - value(flat - d)) / (2 * step))(basis)
        by_hand = layer.vjp(given.params, given.xs, given.state, given.key)[2](given.dys)
        return relative_gap(ravel_pytree(floats(by_hand))[0], numeric)

    given = draw(layer, case, jnp.float64, 0, (10,))
    xs = given.xs
    for kink, _ in row.kinks:
        xs = jnp.where(jnp.abs(xs - kink) < 1e-3, kink + 1e-3, xs)
    gaps = jax.jit(jax.vmap(gap))(given._replace(xs=xs))
    assert np.max(gaps) <= 1e-7, gaps


@pytest.mark.parametrize("row", [case for case in LAYER_ROWS if case.values[0].kinks])
def test_both_rules_choose_the_convention_at_kinks(row, x64):
    layer = made(row)
    for point, derivative in row.kinks:
        xs = jnp.full((1, 2), point)
        ys, _, pullback = layer.vjp((), xs, (), None)
        by_hand = pullback(jnp.ones_like(ys))[1]
        by_autodiff = jax.vjp(plain(row, layer, (), None), (), xs)[1](jnp.ones_like(ys))[1]
        chex.assert_trees_all_close(by_hand, jnp.full((1, 2), derivative), rtol=1e-15)
        chex.assert_trees_all_close(by_autodiff, jnp.full((1, 2), derivative), rtol=1e-15)
