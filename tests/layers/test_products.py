import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import purenet as pn
from purenet.layers import products
from purenet.layers.products import product

SHAPES = [(1, 1, 1), (4, 2, 16), (4, 16, 1), (16, 8, 32), (1, 64, 64), (2048, 2, 1), (3, 700, 1), (17, 3, 5)]


def draw(*shape, dtype="float32", seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


@pytest.mark.parametrize(("m", "k", "n"), [*SHAPES, (65, 64, 1), (16, 16, 17), (0, 3, 2), (3, 0, 2)])
def test_it_is_the_product(m, k, n):
    left, right = draw(m, k), draw(k, n, seed=1)
    expected = np.asarray(left, np.float64) @ np.asarray(right, np.float64)
    for multiply in (product, jax.jit(product)):
        got = multiply(left, right)
        assert got.dtype == jnp.float32
        np.testing.assert_allclose(got, expected, atol=1e-5 * (1 + k**0.5))


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the form is that of CPUs")
@pytest.mark.parametrize(("m", "k", "n"), SHAPES)
def test_small_products_on_a_cpu_call_no_library_and_leave_no_choice_to_run_time(m, k, n):
    assert m * k * n <= products._SMALL
    program = jax.jit(jax.value_and_grad(lambda left, right: jnp.sum(product(left, right) ** 2), argnums=(0, 1)))
    text = program.lower(draw(m, k), draw(k, n)).compile().as_text()
    assert " dot(" not in text
    assert " conditional(" not in text
    assert "kind=kCustom" not in text


@pytest.mark.parametrize(("shapes", "dtype"), [(((32, 16), (16, 17)), "float32"), (((4, 2), (2, 16)), "bfloat16")])
def test_large_and_16_bit_products_are_left_to_the_library(shapes, dtype):
    left, right = (draw(*shape, dtype=dtype) for shape in shapes)
    assert "small_product" not in str(jax.make_jaxpr(product)(left, right))


def test_sums_are_cut_before_xla_takes_them_for_a_library():
    """XLA hands sums over 4,096 elements or more to a library, which would take the loop apart again."""
    jaxpr = str(jax.make_jaxpr(products._by_sums)(draw(16, 8), draw(8, 32)))
    assert jaxpr.count("reduce_sum") == 2


@pytest.mark.parametrize(("m", "k", "n"), [(4, 2, 16), (16, 8, 32)])
def test_every_derivative_is_that_of_the_plain_product(m, k, n):
    left, right = draw(m, k), draw(k, n, seed=1)

    def squared(multiply):
        return lambda left, right: jnp.sum(jnp.tanh(multiply(left, right)))

    for derivative in (
        lambda f: jax.grad(f, argnums=(0, 1)),
        lambda f: jax.jacfwd(f, argnums=(0, 1)),
        lambda f: lambda a, b: jax.jvp(jax.grad(f), (a, b), (a, b)),
        lambda f: jax.grad(lambda a, b: jnp.sum(jax.grad(f)(a, b) ** 2), argnums=1),
    ):
        got, expected = derivative(squared(product))(left, right), derivative(squared(jnp.dot))(left, right)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-5), got, expected)


def test_it_can_be_mapped_over_either_side():
    lefts, rights = draw(5, 4, 2), draw(5, 2, 16, seed=1)
    for axes in ((0, 0), (0, None), (None, 0), (1, 2), (2, 0), (None, 1)):
        left, right = (
            a[0] if axis is None else jnp.moveaxis(a, 0, axis) for a, axis in zip((lefts, rights), axes, strict=True)
        )
        for mapped in (jax.vmap(product, axes), jax.jit(jax.vmap(product, axes))):
            np.testing.assert_allclose(mapped(left, right), jax.vmap(jnp.dot, axes)(left, right), rtol=1e-5, atol=1e-5)


def test_many_at_once_are_left_to_the_library():
    """As sums they would take several times as long."""
    many = str(jax.make_jaxpr(jax.vmap(product))(draw(5, 4, 2), draw(5, 2, 16)))
    assert "dot_general" in many
    assert "small_product" not in many


def test_an_unknown_size_is_left_to_the_library():
    spec = jax.ShapeDtypeStruct(jax.export.symbolic_shape("b, 2"), jnp.float32)
    exported = jax.export.export(jax.jit(product))(spec, draw(2, 16))
    np.testing.assert_allclose(exported.call(draw(3, 2), draw(2, 16)), draw(3, 2) @ draw(2, 16), rtol=1e-5)


def test_inside_a_shard_map_it_is_left_to_the_library():
    auto = (jax.sharding.AxisType.Auto,)
    mesh = jax.make_mesh((1,), ("data",), axis_types=auto, devices=jax.devices()[:1])
    spec = jax.sharding.PartitionSpec
    mapped = jax.shard_map(product, mesh=mesh, in_specs=(spec("data"), spec()), out_specs=spec("data"))
    np.testing.assert_allclose(mapped(draw(4, 2), draw(2, 16)), draw(4, 2) @ draw(2, 16), rtol=1e-5)


def test_other_platforms_are_given_the_plain_product():
    exported = jax.export.export(jax.jit(product), platforms=["cuda"])(draw(4, 2), draw(2, 16))
    assert "dot_general" in exported.mlir_module()


def test_a_not_a_number_stays_in_its_row():
    left = draw(4, 2).at[1, 0].set(jnp.nan)
    got = product(left, draw(2, 16))
    assert np.isnan(got[1]).all()
    assert np.isfinite(np.delete(np.asarray(got), 1, axis=0)).all()


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the form is that of CPUs")
def test_training_a_small_network_calls_no_library_in_its_loop():
    """What makes XLA compile the loop into one function."""
    net, optimizer = pn.serial(pn.dense(16), pn.tanh, pn.dense(1)), optax.adam(1e-3)
    for gradient in ("autodiff", "backprop"):
        run = pn.train(net, pn.losses.half_squared_error, optimizer, batch_size=4, epochs=3, gradient=gradient)
        state = pn.train_state(net, optimizer, jax.random.key(0), pn.spec(2))
        text = jax.jit(run).lower(state, (draw(64, 2), draw(64, 1))).compile().as_text()
        assert not re.search(r"kind=kCustom| dot\(", text)
