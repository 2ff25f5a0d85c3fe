"""Layers stay the same functions under jit, vmap and scan, in every dtype, and are traced once."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws.tools import BATCH, LAYER_CASES, LAYER_ROWS, draw, everything, floats, made, pick, runner

SAME_IN_TRAINING = [case for case in LAYER_CASES if case.values[0].reference is None]
RANDOM = [case for case in LAYER_ROWS if case.values[0].random]
FORMATS = ["bfloat16", "float16", "float32", "float64"]


@pytest.mark.slow
@pytest.mark.parametrize("row", LAYER_ROWS)
def test_jit_is_eager(row, x64):
    layer = made(row)
    given = draw(layer, row.cases[0], jnp.float64, 1)
    chex.assert_trees_all_close(runner(row)(given), everything(layer, given), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("row", "case"), SAME_IN_TRAINING)
def test_forward_and_vjp_give_what_apply_gives_to_each_example(row, case, x64):
    applied, forwarded, by_hand, _ = runner(row)(draw(made(row), case, jnp.float64, 2))
    chex.assert_trees_all_close(forwarded, applied, rtol=1e-12, atol=1e-14)
    chex.assert_trees_all_close(by_hand, applied, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("row", [case for case in LAYER_ROWS if not case.values[0].random])
def test_deterministic_layers_need_no_key_and_heed_none(row, x64):
    given = draw(made(row), row.cases[0], jnp.float64, 3)
    jax.eval_shape(lambda given: everything(made(row), given), given._replace(key=None))
    chex.assert_trees_all_equal(runner(row)(given._replace(key=jax.random.key(99))), runner(row)(given))


@pytest.mark.parametrize("row", RANDOM)
def test_keys_decide_everything_random(row, x64):
    given = draw(made(row), row.cases[-1], jnp.float64, 4)
    once, again, other = (runner(row)(given._replace(key=jax.random.key(seed))) for seed in (4, 4, 5))
    chex.assert_trees_all_equal(once, again)
    assert not np.array_equal(once[1], other[1])
    assert not np.array_equal(once[2], other[2])
    chex.assert_trees_all_equal(once[0], other[0])  # inference draws nothing


@pytest.mark.slow
@pytest.mark.parametrize("row", LAYER_ROWS)
def test_vmap_over_networks_is_a_loop(row, x64):
    layer = made(row)
    many = draw(layer, row.cases[0], jnp.float64, 5, (3,))
    together = jax.jit(jax.vmap(lambda given: everything(layer, given)))(many)
    for index in range(3):
        alone = runner(row)(pick(many, index))
        chex.assert_trees_all_close(pick(together, index), alone, rtol=1e-12, atol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize("row", LAYER_ROWS)
def test_scan_is_a_loop_and_pullbacks_leave_it(row, x64):
    layer = made(row)
    many = draw(layer, row.cases[0], jnp.float64, 6, (2,))

    def step(_, given):
        ys, _, pullback = layer.vjp(given.params, given.xs, given.state, given.key)
        return None, (ys, pullback)

    _, (ys, pullbacks) = jax.lax.scan(step, None, many)
    for index in range(2):
        given = pick(many, index)
        gradients = jax.jit(lambda pullback, dys: floats(pullback(dys)))(pick(pullbacks, index), given.dys)
        _, _, expected, by_hand = runner(row)(given)
        chex.assert_trees_all_close((pick(ys, index), gradients), (expected, by_hand), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("row", LAYER_ROWS)
def test_dtype_in_is_dtype_out(row, dtype, x64):
    layer = made(row)
    given = draw(layer, row.cases[0], dtype, 7)
    spec = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), given.xs)
    params, _ = jax.eval_shape(lambda key: layer.init(key, spec), given.key)
    if not any(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(spec)):
        params = ()  # integers say nothing about params: their dtype is an option of the layer
    out = jax.eval_shape(lambda given: everything(layer, given), given)
    assert {str(leaf.dtype) for leaf in jax.tree.leaves((params, out))} == {dtype}


@pytest.mark.parametrize("row", [case for case in LAYER_ROWS if case.values[0].integers])
def test_integers_pass_and_have_no_cotangent(row):
    layer, shape = made(row), row.shapes[0]
    xs = jnp.arange(BATCH * int(np.prod(shape)), dtype=jnp.int32).reshape(BATCH, *shape)
    ys, _, pullback = layer.vjp((), xs, (), None)
    assert ys.dtype == jnp.int32
    _, dxs = pullback(np.zeros(ys.shape, jax.dtypes.float0))
    assert dxs.dtype == jax.dtypes.float0
    assert dxs.shape == xs.shape


@pytest.mark.parametrize("row", LAYER_ROWS)
def test_other_values_are_not_traced_again(row):
    layer = made(row)
    run = jax.jit(chex.assert_max_traces(lambda given: everything(layer, given), n=1))
    for seed in range(3):
        run.trace(draw(layer, row.cases[0], jnp.float32, seed))


@pytest.mark.parametrize("row", LAYER_ROWS)
def test_second_derivatives_go_through_forward(row, x64):
    layer = made(row)
    given = draw(layer, row.cases[0], jnp.float64, 8)

    def objective(function, params):
        return sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(function(params)))

    def forward(params):
        return layer.forward(params, given.xs, given.state, given.key)[0]

    def by_hand(params):
        ys, _, pullback = layer.vjp(params, given.xs, given.state, given.key)
        return pullback(jax.tree.map(lambda a: 2 * a, ys))[0]

    direction = jax.tree.map(jnp.ones_like, given.params)

    def product(gradient, params):
        return jax.jvp(gradient, (params,), (direction,))[1]

    def both(params):
        through_autodiff = product(jax.grad(lambda params: objective(forward, params)), params)
        return product(by_hand, params), through_autodiff

    chex.assert_trees_all_close(*jax.jit(both)(given.params), rtol=1e-9, atol=1e-11)
