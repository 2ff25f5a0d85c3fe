"""The hand rule is the derivative: against autodiff of the plain function; tests/check measures it by differences."""

import functools

import chex
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from laws.tools import LAYER_CASES, LAYER_ROWS, draw, made, plain, relative_gap
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
    tolerance = TOLERANCE[dtype] * (row.rounding if dtype == "float32" else 1)

    @settings
    @hypothesis.given(seeds)
    def check(seed):
        values, gradients = _program(row)(draw(made(row), case, dtype, seed, (DRAWS,)))
        chex.assert_shape([values, gradients], (DRAWS,))
        assert np.max(values) <= tolerance, f"values differ by {np.max(values)} (seed {seed})"
        assert np.max(gradients) <= tolerance, f"gradients differ by {np.max(gradients)} (seed {seed})"

    check()


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
