"""Convolutions: every option against loops over single numbers, gradients against autodiff, and conventions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from layers.conv_loops import correlated

import purenet as pn

# (shape of x, features, window, options, what "same" and its kin add before and behind)
CASES = {
    "1-D even": ((5, 2), 3, 2, {}, [(0, 1)]),
    "1-D stride": ((7, 2), 2, 3, {"stride": 2}, [(1, 1)]),
    "1-D stride beyond the window": ((7, 2), 2, 2, {"stride": 3}, [(0, 1)]),
    "1-D valid, rest unseen": ((8, 2), 2, 3, {"stride": 3, "padding": "valid"}, [(0, 0)]),
    "1-D causal": ((6, 2), 2, 3, {"padding": "causal", "dilation": 2}, [(4, 0)]),
    "1-D circular": ((5, 1), 2, 4, {"padding": "circular"}, [(1, 2)]),
    "1-D circular, dilated": ((5, 2), 1, 2, {"padding": "circular", "dilation": 3, "stride": 2}, [(1, 2)]),
    "1-D wide pads": ((3, 2), 2, 2, {"padding": 4}, [(4, 4)]),
    "2-D": ((4, 5, 3), 2, (3, 3), {}, [(1, 1), (1, 1)]),
    "2-D one channel, one feature": ((4, 4, 1), 1, (3, 2), {}, [(1, 1), (0, 1)]),
    "2-D six channels": ((5, 4, 6), 2, (3, 3), {"stride": (2, 1)}, [(1, 1), (1, 1)]),
    "2-D six channels, dilated": ((5, 4, 6), 2, (2, 3), {"dilation": (2, 1), "padding": (0, (2, 1))}, [(0, 0), (2, 1)]),
    "2-D large window": ((6, 6, 1), 2, (6, 5), {"padding": "valid"}, [(0, 0), (0, 0)]),
    "2-D 1x1": ((3, 4, 5), 2, (1, 1), {}, [(0, 0), (0, 0)]),
    "2-D 1x1 stride": ((4, 4, 2), 3, (1, 1), {"stride": 2, "padding": 1}, [(1, 1), (1, 1)]),
    "2-D patches": ((4, 6, 5), 3, (2, 3), {"stride": (2, 3), "padding": "valid"}, [(0, 0), (0, 0)]),
    "2-D circular": ((3, 4, 2), 2, (3, 2), {"padding": "circular"}, [(1, 1), (0, 1)]),
    "2-D groups": ((4, 3, 4), 6, (2, 3), {"groups": 2}, [(0, 1), (1, 1)]),
    "2-D wide groups": ((3, 3, 20), 4, (2, 2), {"groups": 2, "stride": 2}, [(0, 1), (0, 1)]),
    "2-D groups of one": ((4, 4, 3), 6, (3, 3), {"groups": 3, "stride": 2, "dilation": 2}, [(1, 2), (1, 2)]),
    "3-D": ((3, 2, 3, 2), 2, (2, 2, 3), {}, [(0, 1), (0, 1), (1, 1)]),
    "3-D stride": ((4, 3, 3, 5), 2, (3, 2, 2), {"stride": (2, 1, 2), "dilation": (1, 2, 1)}, [(0, 1), (1, 1), (0, 1)]),
    "3-D groups": ((2, 3, 2, 4), 4, (2, 2, 2), {"groups": 2, "padding": ((2, 0), 1, 0)}, [(2, 0), (1, 1), (0, 0)]),
}
cases = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])


def draw(net, shape, batch=2, seed=0):
    rng = np.random.default_rng(seed)
    made, _ = jax.eval_shape(lambda: net.init(jax.random.key(0), pn.spec(shape, jnp.float64)))
    params = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape)), made)
    return params, jnp.asarray(rng.normal(size=(batch, *shape)))


def options(window, stride=1, dilation=1, groups=1, padding="same"):
    rank = len(window) if isinstance(window, tuple) else 1
    each = [value if isinstance(value, tuple) else (value,) * rank for value in (stride, dilation)]
    return {"stride": each[0], "dilation": each[1], "groups": groups, "circular": padding == "circular"}


@cases
def test_it_is_the_sum_over_taps_and_channels_of_the_group(case, x64):
    shape, features, window, given, pads = case
    net = pn.conv(features, window, **given)
    params, xs = draw(net, shape)
    numbers = [np.asarray(params[name]) for name in ("kernel", "bias")]
    expected = [correlated(np.asarray(x), *numbers, pads=pads, **options(window, **given)) for x in xs]
    np.testing.assert_allclose(jax.jit(net.forward)(params, xs)[0], expected, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(jax.vmap(net.apply, (None, 0))(params, xs), expected, rtol=1e-11, atol=1e-12)


def gradients(net, params, xs):
    """By hand, by forward's rules, and by autodiff of apply."""

    def plain(params, xs):
        return jax.vmap(net.apply, (None, 0))(params, xs)

    @jax.jit
    def run(params, xs):
        ys, _, pullback = net.vjp(params, xs)
        dys = jnp.cos(jnp.arange(ys.size, dtype=ys.dtype)).reshape(ys.shape)
        through = jax.vjp(lambda params, xs: net.forward(params, xs)[0], params, xs)[1](dys)
        return pullback(dys), through, jax.vjp(plain, params, xs)[1](dys)

    return run(params, xs)


def assert_close(one, other):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11), one, other)


@cases
def test_the_hand_rule_and_forwards_rules_are_autodiff_of_apply(case, x64):
    shape, features, window, given, _ = case
    net = pn.conv(features, window, **given)
    by_hand, through, expected = gradients(net, *draw(net, shape))
    assert_close(by_hand, expected)
    assert_close(through, expected)


@pytest.mark.parametrize(
    ("shape", "net"),
    [
        ((5, 3), pn.depthwise_conv(3, multiplier=2, stride=2)),
        ((4, 5, 2), pn.depthwise_conv((3, 2), padding="circular")),
        ((4, 4, 1), pn.depthwise_conv((3, 3), multiplier=3, dilation=2)),
        ((3, 3, 2, 2), pn.depthwise_conv((2, 2, 2), padding="valid", bias=False)),
        ((5, 5, 2), pn.separable_conv(3, (3, 3), multiplier=2, stride=2)),
    ],
)
def test_depthwise_gradients_are_autodiff_of_apply(shape, net, x64):
    by_hand, through, expected = gradients(net, *draw(net, shape))
    assert_close(by_hand, expected)
    assert_close(through, expected)


def test_depthwise_is_a_group_a_channel(x64):
    net = pn.depthwise_conv((3, 2), multiplier=2, stride=2)
    params, xs = draw(net, (5, 4, 3))
    same = pn.conv(6, (3, 2), stride=2, groups=3)
    assert_close(net.forward(params, xs)[0], same.forward(params, xs)[0])
    # Feature c·m + j sees channel c alone.
    moved = net.forward(params, xs.at[..., 1].add(1.0))[0] != net.forward(params, xs)[0]
    assert jnp.any(moved, axis=(0, 1, 2)).tolist() == [False, False, True, True, False, False]


def test_separable_is_depthwise_then_one_by_one(x64):
    net = pn.separable_conv(4, (3, 3), multiplier=2)
    params, xs = draw(net, (4, 4, 2))
    between = pn.depthwise_conv((3, 3), multiplier=2, bias=False).forward(params[0], xs)[0]
    mixed = jnp.einsum("bhwc,cf->bhwf", between, params[1]["kernel"][0, 0]) + params[1]["bias"]
    assert_close(net.forward(params, xs)[0], mixed)


def test_the_kernel_is_not_flipped():
    params = {"kernel": jnp.array([1.0, 10.0, 100.0]).reshape(3, 1, 1), "bias": jnp.array([0.5])}
    got = pn.conv(1, 3, padding="valid").apply(params, jnp.array([1.0, 2.0, 3.0])[:, None])
    assert got.tolist() == [[321.5]]


def test_causal_sees_nothing_behind():
    net = pn.conv(2, 3, padding="causal", dilation=2)
    params, _ = net.init(jax.random.key(0), pn.spec((8, 1)))
    x = jnp.arange(8.0)[:, None]
    changed = net.apply(params, x.at[5].add(1.0)) != net.apply(params, x)
    assert jnp.any(changed, axis=1).tolist() == [False] * 5 + [True, False, True]


def test_a_circular_convolution_commutes_with_going_round(x64):
    net = pn.conv(2, (3, 4), padding="circular")
    params, xs = draw(net, (5, 6, 2))
    rolled = net.forward(params, jnp.roll(xs, (2, -1), (1, 2)))[0]
    assert_close(rolled, jnp.roll(net.forward(params, xs)[0], (2, -1), (1, 2)))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("net", [pn.conv(3, (3, 3)), pn.conv(4, (3, 3), groups=2), pn.depthwise_conv((3, 3))])
def test_16_bits_are_rounded_once(net, dtype):
    with jax.enable_x64(True):
        params, xs = jax.tree.map(lambda a: a.astype(dtype), draw(net, (5, 5, 4)))
        params["bias"] = jnp.zeros_like(params["bias"])
        exact = net.forward(*jax.tree.map(lambda a: a.astype(jnp.float64), (params, xs)))[0]
        got = net.forward(params, xs)[0]
        assert got.dtype == dtype
        bound = jnp.finfo(dtype).eps * jnp.maximum(jnp.abs(exact), 1e-4)
        assert jnp.all(jnp.abs(got.astype(jnp.float64) - exact) <= bound)


def test_a_batch_of_none_and_of_one():
    net = pn.conv(3, (3, 3))
    params, _ = net.init(jax.random.key(0), pn.spec((4, 4, 2)))
    for many in (0, 1):
        ys, _, pullback = net.vjp(params, jnp.ones((many, 4, 4, 2)))
        assert ys.shape == (many, 4, 4, 3)
        dparams, dxs = pullback(jnp.ones_like(ys))
        assert dxs.shape == (many, 4, 4, 2)
        assert dparams["bias"].tolist() == [16.0 * many] * 3


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_windows(bad):
    net = pn.conv(1, 3)
    ys = net.forward({"kernel": jnp.ones((3, 1, 1)), "bias": jnp.zeros(1)}, jnp.ones((1, 6, 1)).at[0, 1, 0].set(bad))[0]
    assert jnp.isfinite(ys[0, :, 0]).tolist() == [False, False, False, True, True, True]


def test_it_runs_on_symbolic_shapes():
    net = pn.conv(2, (3, 3))
    params, _ = net.init(jax.random.key(0), pn.spec((4, 4, 1)))
    (many,) = jax.export.symbolic_shape("b")
    spec = jax.ShapeDtypeStruct((many, 4, 4, 1), jnp.float32)
    exported = jax.export.export(jax.jit(lambda xs: jax.vmap(net.apply, (None, 0))(params, xs)))(spec)
    xs = jax.random.normal(jax.random.key(1), (3, 4, 4, 1))
    np.testing.assert_allclose(exported.call(xs), net.forward(params, xs)[0], rtol=1e-5, atol=1e-6)
