"""Up-sampling against loops over outputs and against jax.image: values, the transposed rule, edges, refusals."""

import itertools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refuses

import purenet as pn
from purenet.errors import ShapeError, StructureError

CASES = [((3,), (4,)), ((2, 3), (3, 2)), ((4, 1), (2, 3)), ((5, 2), (1, 2)), ((2, 1, 3), (2, 3, 2))]


def matrix(times, n, method):
    """Of one axis: which inputs each output is made of."""
    weights = np.zeros((times * n, n))
    for o in range(times * n):
        if method == "nearest":
            weights[o, o // times] = 1
            continue
        centre = (o + 0.5) / times - 0.5
        low = math.floor(centre)
        for i, weight in ((low, low + 1 - centre), (low + 1, centre - low)):
            weights[o, min(max(i, 0), n - 1)] += weight
    return weights


def looped(x, scale, method):
    """Every output as a sum over all inputs."""
    weights = [matrix(s, n, method) for s, n in zip(scale, x.shape, strict=False)]
    ys = np.zeros((*(len(w) for w in weights), x.shape[-1]))
    for out in np.ndindex(*ys.shape[:-1]):
        for at in itertools.product(*map(range, x.shape[:-1])):
            ys[out] += x[at] * math.prod(w[o, i] for w, o, i in zip(weights, out, at, strict=True))
    return ys


@pytest.mark.parametrize("method", ["nearest", "linear"])
@pytest.mark.parametrize(("scale", "space"), CASES, ids=str)
def test_it_is_the_loop_and_back_is_the_transpose(scale, space, method, rng, x64):
    net = pn.upsample(scale, method)
    xs = rng.normal(size=(2, *space, 2))
    expected = np.stack([looped(x, scale, method) for x in xs])
    dys = rng.normal(size=expected.shape)

    @jax.jit
    def both(xs, dys):
        applied, by_autodiff = jax.vjp(lambda xs: jax.vmap(lambda x: net.apply((), x))(xs), xs)
        ys, _, pullback = net.vjp((), xs)
        return applied, ys, net.forward((), xs)[0], by_autodiff(dys)[0], pullback(dys)[1]

    *values, by_autodiff, by_hand = both(xs, dys)
    chex.assert_trees_all_close(values, [expected] * 3, rtol=1e-13, atol=1e-15)
    chex.assert_trees_all_close(by_hand, by_autodiff, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(np.vdot(dys, expected), np.vdot(by_hand, xs), rtol=1e-12)


@pytest.mark.parametrize("scale", [(2, 3), (5, 4)])
def test_it_agrees_with_jax_image(scale, rng):
    x = rng.normal(size=(4, 3, 2)).astype(np.float32)
    shape = (4 * scale[0], 3 * scale[1], 2)
    for method in ("nearest", "linear"):
        expected = jax.image.resize(x, shape, method)
        chex.assert_trees_all_close(pn.upsample(scale, method).apply((), x), expected, rtol=1e-5, atol=1e-6)


def test_known_values_of_half_pixel_centres():
    image = jnp.array([[1.0, 3.0], [5.0, 7.0]])[..., None]
    ys = pn.upsample((2, 2), "linear").apply((), image)[..., 0]
    assert ys.tolist() == [[1.0, 1.5, 2.5, 3.0], [2.0, 2.5, 3.5, 4.0], [4.0, 4.5, 5.5, 6.0], [5.0, 5.5, 6.5, 7.0]]
    line = jnp.array([[0.0], [3.0]])
    assert pn.upsample(3, "linear").apply((), line)[:, 0].tolist() == [0.0, 0.0, 1.0, 2.0, 3.0, 3.0]


@pytest.mark.parametrize("method", ["nearest", "linear"])
def test_constants_stay_and_nan_spreads_no_further_than_it_must(method):
    x = jnp.full((3, 3, 1), 7.0)
    chex.assert_trees_all_close(pn.upsample((2, 5), method).apply((), x), jnp.full((6, 15, 1), 7.0), rtol=1e-6)
    line = jnp.array([[jnp.nan], [1.0], [2.0]])
    ys = pn.upsample(2, method).apply((), line)[:, 0]
    assert jnp.isnan(ys).tolist() == [True, True, method == "linear", False, False, False]


def test_scale_one_changes_nothing():
    x = jnp.arange(6.0).reshape(3, 2)
    chex.assert_trees_all_equal(pn.upsample(1, "linear").apply((), x), x)


def test_cotangents_of_16_bits_are_summed_in_32():
    ys, _, pullback = pn.upsample(1024).vjp((), jnp.ones((1, 1, 1), jnp.bfloat16))
    dxs = pullback(jnp.ones_like(ys))[1]
    assert dxs.item() == 1024  # bfloat16 stands still at 256
    assert dxs.dtype == jnp.bfloat16


def test_second_derivatives_pass(rng, x64):
    net = pn.upsample((2, 2), "linear")
    xs, v = rng.normal(size=(2, 1, 3, 2, 1))

    def cost(xs):
        return jnp.sum(net.forward((), xs)[0] ** 3)

    product = jax.jit(lambda xs: jax.jvp(jax.grad(cost), (xs,), (v,))[1])(xs)
    a = np.kron(matrix(2, 3, "linear"), matrix(2, 2, "linear"))
    expected = a.T @ (6 * (a @ xs.ravel()) * (a @ v.ravel()))
    chex.assert_trees_all_close(product.ravel(), expected, rtol=1e-12)


def test_flops_of_up_sampling():
    nearest, linear = pn.upsample((2, 2)), pn.upsample(2, "linear")
    assert pn.flops(nearest.apply, (), pn.spec((3, 4, 5))) == pn.Flops(0, 0)
    back = pn.flops(lambda x: nearest.vjp((), x)[2](jnp.ones((1, 6, 8, 5)))[1], pn.spec((1, 3, 4, 5)))
    assert back == pn.Flops(0, 6 * 8 * 5 + 6 * 4 * 5)  # all that is summed, an axis at a time
    assert pn.flops(linear.apply, (), pn.spec((4, 3))) == pn.Flops(0, 3 * 8 * 3)  # two products and a sum


def test_what_does_not_fit_is_refused():
    with refuses(
        ShapeError,
        "upsample: expected x of 3 axes, 2 of space and the channels last, got (4, 4). "
        "For a mini-batch use jax.vmap(net.apply, (None, 0)); for one channel put pn.reshape before it.",
    ):
        pn.upsample((2, 2)).apply((), jnp.ones((4, 4)))
    with refuses(
        ShapeError, "upsample: expected x with space of 1 or more along each axis, got (0, 1). Drop empty examples."
    ):
        pn.upsample(2).apply((), jnp.ones((0, 1)))
    with refuses(
        ShapeError,
        "upsample: expected method to be one of ('nearest', 'linear'), got 'cubic'. Choose one of them.",
    ):
        pn.upsample(2, "cubic")
    with refuses(
        ShapeError,
        "upsample: expected method to be one of ('nearest', 'linear'), got array([1., 1.]). Choose one of them.",
    ):
        pn.upsample(2, np.ones(2))
    with refuses(
        ShapeError, "upsample: expected scale of one to three axes, got (2, 2, 2, 2). Leave the channels out."
    ):
        pn.upsample((2, 2, 2, 2))
    with refuses(ShapeError, "upsample: expected scale of 1 or more, got 0. Give 1 or more for each axis."):
        pn.upsample(0)
    with refuses(
        StructureError,
        "upsample: expected scale to be a whole number or a tuple of them, got 1.5. Such as (3, 3).",
    ):
        pn.upsample(1.5)
