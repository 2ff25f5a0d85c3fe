"""The three bilinear maps of convolution: all derivatives, many at once, what other platforms run, what they cost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purenet as pn
from purenet.layers import conv_by_lax, conv_forms, correlation
from purenet.layers.conv_geometry import Geometry

PLAIN = Geometry((6, 5), (3, 2), (2, 1), (1, 2), ((1, 1), (0, 1)), groups=2)
NARROW = Geometry((4, 4), (3, 3), (1, 1), (1, 1), ((1, 1), (1, 1)))


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def operands(geometry, channels=4, features=6, many=()):
    kernel = (*geometry.window, channels // geometry.groups, features)
    return draw(*many, 3, *geometry.space, channels), draw(*many, *kernel, seed=1)


def objective(module, geometry):
    return lambda x, kernel: jnp.sum(jnp.sin(module.correlate(x, kernel, geometry)))


def assert_close(one, other):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-11), one, other)


DERIVATIVES = {
    "jvp": lambda f: lambda *args: jax.jvp(f, args, args),
    "gradient": lambda f: jax.grad(f, (0, 1)),
    "Hessian-vector product": lambda f: lambda *args: jax.jvp(jax.grad(f, (0, 1)), args, args),
    "gradient of gradients": lambda f: jax.grad(
        lambda *args: sum(jnp.sum(jnp.square(g)) for g in jax.grad(f, (0, 1))(*args)), (0, 1)
    ),
}


@pytest.mark.parametrize("name", DERIVATIVES)
@pytest.mark.parametrize("geometry", [PLAIN, NARROW])
def test_every_derivative_is_that_of_jaxs_own(geometry, name, x64):
    args = operands(geometry)
    got, expected = (jax.jit(DERIVATIVES[name](objective(m, geometry)))(*args) for m in (correlation, conv_by_lax))
    assert_close(got, expected)


@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0)])
def test_many_at_once_are_a_loop(axes, x64):
    x, kernel = operands(PLAIN, many=(2,))
    args = [a if axis == 0 else a[0] for a, axis in zip((x, kernel), axes, strict=True)]
    got, expected = (
        jax.jit(jax.vmap(jax.grad(objective(m, PLAIN), (0, 1)), axes))(*args) for m in (correlation, conv_by_lax)
    )
    assert_close(got, expected)


@pytest.mark.parametrize("geometry", [PLAIN, NARROW, NARROW._replace(stride=(2, 3), dilation=(2, 1))])
def test_other_platforms_run_the_convolutions_that_autodiff_makes(geometry, x64):
    def convolutions(function, *args):
        eqns = jax.make_jaxpr(function)(*args).jaxpr.eqns
        params = [eqn.params for eqn in eqns if eqn.primitive.name == "conv_general_dilated"]
        return [{name: value for name, value in p.items() if name != "out_sharding"} for p in params]

    x, kernel = operands(geometry)
    y, vjp = jax.vjp(lambda *args: conv_by_lax.correlate(*args, geometry), x, kernel)
    by_autodiff = convolutions(vjp, y)
    by_hand = [
        *convolutions(lambda y: conv_by_lax.spread(y, kernel, geometry), y),
        *convolutions(lambda y: conv_by_lax.correlate_kernels(x, y, geometry), y),
    ]
    assert len(by_autodiff) == 2
    assert sorted(map(str, by_hand)) == sorted(map(str, by_autodiff))


def test_jaxs_own_gradients_agree(x64):
    x, kernel = operands(PLAIN)
    y, vjp = jax.vjp(lambda *args: conv_by_lax.correlate(*args, PLAIN), x, kernel)
    assert_close((conv_by_lax.spread(y, kernel, PLAIN), conv_by_lax.correlate_kernels(x, y, PLAIN)), vjp(y))


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the form is that of CPUs")
def test_on_a_cpu_no_convolution_has_a_layout_or_a_group_that_its_library_lacks():
    x, kernel = (a.astype(jnp.float32) for a in operands(PLAIN, channels=24))
    program = jax.jit(jax.grad(objective(correlation, PLAIN), (0, 1))).lower(x, kernel).as_text()
    assert "stablehlo.convolution" in program
    assert "feature_group_count = 1" in program
    assert "feature_group_count = 2" not in program
    assert "batch_group_count = 2" not in program
    assert "lhs_dilate = [2" not in program


def test_the_precision_around_the_trace_holds_behind_it():
    x, kernel = operands(NARROW, channels=8)

    def run(x, kernel):
        with jax.default_matmul_precision("highest"):
            return correlation.correlate(x, kernel, NARROW)

    assert "precision_config = [HIGHEST, HIGHEST]" in jax.jit(run).lower(x, kernel).as_text().replace(
        "#stablehlo<precision ", ""
    ).replace(">", "")


@pytest.mark.parametrize("geometry", [PLAIN, NARROW])
def test_flops_are_those_of_jaxs_own(geometry):
    x, kernel = operands(geometry)
    y = jax.eval_shape(lambda: conv_by_lax.correlate(x, kernel, geometry))
    for args, name in (((x, kernel), "correlate"), ((y, kernel), "spread"), ((x, y), "correlate_kernels")):
        got, expected = (
            pn.flops(lambda *args, m=m, name=name: getattr(m, name)(*args, geometry), *args)
            for m in (correlation, conv_by_lax)
        )
        assert got.matmul == expected.matmul > 0


@pytest.mark.parametrize(
    "net",
    [pn.conv(6, (3, 3), stride=2, groups=2), pn.depthwise_conv((3, 3)), pn.conv_transpose(3, (3, 3), stride=2)],
)
def test_flops_count_layers_and_their_gradients(net):
    spec = pn.spec((5, 5, 4))
    params, _ = net.init(jax.random.key(0), spec)
    one = pn.flops(net.apply, params, spec).matmul
    xs = pn.spec((2, 5, 5, 4))
    assert pn.flops(net.forward, params, xs).matmul == 2 * one > 0

    def gradient(params, xs):
        return jax.grad(lambda params, xs: jnp.sum(net.forward(params, xs)[0]), (0, 1))(params, xs)

    assert pn.flops(gradient, params, xs).matmul > 2 * one


def test_in_many_groups_narrow_ones_are_joined():
    assert [conv_forms._joined(*args) for args in ((32, 4), (8, 16), (6, 3), (5, 1), (2, 100))] == [4, 1, 3, 5, 1]
