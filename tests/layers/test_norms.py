"""Normalisations of single examples: values by a NumPy loop, scales of numbers, conventions, and what is refused."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refuses

import purenet as pn
from purenet.errors import ShapeError, StructureError

SINGLE = {
    "layer_norm": pn.layer_norm,
    "rms_norm": pn.rms_norm,
    "group_norm": lambda **options: pn.group_norm(2, **options),
    "instance_norm": pn.instance_norm,
}
SHAPES = [
    (name, shape) for name in SINGLE for shape in [(6,), (3, 4), (2, 3, 4)] if (name, shape) != ("instance_norm", (6,))
]
BARE = ({"scale": False}, {"offset": False}, {"scale": False, "offset": False})
OPTIONS = [(name, options) for name in SINGLE for options in BARE if (name, "offset" in options) != ("rms_norm", True)]


def drawn(net, shape, dtype=jnp.float32):
    """Params and a mini-batch of three examples."""
    rng = np.random.default_rng(0)
    params, _ = net.init(None, pn.spec(shape, dtype))
    params = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape), dtype), params)
    return params, jnp.asarray(rng.normal(size=(3, *shape)), dtype)


def family(name, x, index):
    """The numbers that the one at the index is normalised with."""
    *space, channel = index
    if name in ("layer_norm", "rms_norm"):
        return x[tuple(space)]
    if name == "instance_norm":
        return x[..., channel]
    half = x.shape[-1] // 2
    return x[..., :half] if channel < half else x[..., half:]


@pytest.mark.parametrize(("name", "shape"), SHAPES)
def test_values_are_those_of_a_loop(name, shape, x64):
    net = SINGLE[name](epsilon=0.01)
    params, xs = drawn(net, shape, jnp.float64)
    x, expected = np.asarray(xs[0]), np.zeros(shape)
    for index in np.ndindex(shape):
        others = family(name, x, index)
        mean = 0.0 if name == "rms_norm" else others.mean()
        x_hat = (x[index] - mean) / np.sqrt(((others - mean) ** 2).mean() + 0.01)
        expected[index] = x_hat * params["scale"][index[-1]] + params.get("offset", np.zeros(shape[-1]))[index[-1]]
    chex.assert_trees_all_close(net.apply(params, xs[0]), expected, rtol=1e-12)


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_without_scale_or_offset_the_hand_rule_is_autodiff(name, options, x64):
    net = SINGLE[name](**options)
    params, xs = drawn(net, (3, 4), jnp.float64)
    left = {"scale", "offset"} - set(options) - ({"offset"} if name == "rms_norm" else set())
    assert set(params) == left
    assert params or params == ()
    dys = jnp.cos(xs)
    ys, autodiff = jax.vjp(jax.vmap(net.apply, (None, 0)), params, xs)
    by_hand, _, pullback = net.vjp(params, xs)
    chex.assert_trees_all_close((by_hand, pullback(dys)), (ys, autodiff(dys)), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", SINGLE)
def test_forward_carries_the_hand_rule(name, x64):
    net = SINGLE[name]()
    params, xs = drawn(net, (3, 4), jnp.float64)
    installed = jax.vjp(lambda params, xs: net.forward(params, xs)[0], params, xs)[1](jnp.cos(xs))
    chex.assert_trees_all_equal(installed, net.vjp(params, xs)[2](jnp.cos(xs)))


def test_a_normalised_vector_by_hand():
    # Mean 4, squared deviations 9, 1, 1, 9: variance 5.
    net = pn.layer_norm(epsilon=4.0)
    params = {"scale": jnp.array([1.0, 2.0, 1.0, 1.0]), "offset": jnp.array([0.0, 0.0, 0.0, 1.0])}
    y = net.apply(params, jnp.array([1.0, 3.0, 5.0, 7.0]))
    chex.assert_trees_all_close(y, jnp.array([-1.0, -2 / 3, 1 / 3, 2.0]), rtol=1e-6)
    # Mean of squares 12.5, and 12.5 more.
    y = pn.rms_norm(epsilon=12.5).apply({"scale": jnp.ones(2)}, jnp.array([3.0, -4.0]))
    chex.assert_trees_all_close(y, jnp.array([0.6, -0.8]), rtol=1e-6)


def test_one_family_of_layers(x64):
    x = jnp.asarray(np.random.default_rng(1).normal(size=(2, 3, 4)))
    params = {"scale": jnp.arange(1.0, 5.0), "offset": jnp.arange(4.0)}
    chex.assert_trees_all_close(pn.group_norm(4).apply(params, x), pn.instance_norm().apply(params, x), rtol=1e-12)
    vector = x[0, 0]
    chex.assert_trees_all_close(
        pn.group_norm(1).apply(params, vector), pn.layer_norm().apply(params, vector), rtol=1e-12
    )
    bare = {"scale": False, "offset": False}
    whole = pn.layer_norm(**bare).apply((), x.ravel()).reshape(x.shape)
    chex.assert_trees_all_close(pn.group_norm(1, **bare).apply((), x), whole, rtol=1e-12)


@pytest.mark.parametrize("name", SINGLE)
def test_params_begin_as_ones_and_zeros_in_the_dtype_of_the_spec(name):
    params, state = SINGLE[name]().init(None, pn.spec((2, 4), jnp.bfloat16))
    expected = {"scale": jnp.ones(4, jnp.bfloat16), "offset": jnp.zeros(4, jnp.bfloat16)}
    chex.assert_trees_all_equal(params, {name: expected[name] for name in params})
    assert set(params) == ({"scale"} if name == "rms_norm" else {"scale", "offset"})
    assert state == ()


@pytest.mark.parametrize("name", ["layer_norm", "group_norm", "instance_norm"])
@pytest.mark.parametrize("rule", ["apply", "forward"])
def test_a_large_mean_does_not_swallow_the_variance(name, rule):
    net = SINGLE[name](epsilon=1e-12, scale=False, offset=False)
    deviations = np.random.default_rng(2).choice([-1.0, 1.0], (3, 8, 8))
    deviations -= deviations.mean()  # no longer representable beside 1e4, rounded to a thousandth
    xs = (1e4 + deviations).astype(np.float32)
    got = net.forward((), xs)[0] if rule == "forward" else jax.vmap(lambda x: net.apply((), x))(xs)
    with jax.enable_x64(True):
        expected = jax.vmap(lambda x: net.apply((), x))(xs.astype(np.float64))
    chex.assert_trees_all_close(got, np.asarray(expected, np.float32), atol=2e-3)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
@pytest.mark.parametrize("name", SINGLE)
def test_sixteen_bits_are_averaged_in_thirty_two(name, dtype):
    net = SINGLE[name]()
    params, xs = drawn(net, (64, 8), dtype)
    xs = 1000 * xs  # whose squares float16 does not hold
    wide_params, wide_xs = jax.tree.map(lambda a: a.astype(jnp.float32), (params, xs))
    (ys, _, pullback), (wide_ys, _, wide_pullback) = net.vjp(params, xs), net.vjp(wide_params, wide_xs)
    expected = jax.tree.map(lambda a: a.astype(dtype), (wide_ys, wide_pullback(wide_xs)))
    got = (ys, pullback(xs))
    chex.assert_trees_all_equal_dtypes(got, expected)
    eps = float(jnp.finfo(dtype).eps)
    chex.assert_trees_all_close(
        *(jax.tree.map(lambda a: a.astype(jnp.float32), tree) for tree in (got, expected)), rtol=eps, atol=1e-3
    )


@pytest.mark.parametrize("name", ["layer_norm", "group_norm", "instance_norm"])
def test_what_does_not_vary_becomes_the_offset(name):
    net = SINGLE[name]()
    params, _ = drawn(net, (4, 4))
    xs = jnp.full((2, 4, 4), 7.0)
    ys, _, pullback = net.vjp(params, xs)
    chex.assert_trees_all_equal(ys, jnp.broadcast_to(params["offset"], xs.shape))
    chex.assert_tree_all_finite(pullback(jnp.cos(xs)))


def test_zeros_have_a_root_mean_square_with_a_gradient():
    ys, _, pullback = pn.rms_norm(epsilon=0.25).vjp({"scale": jnp.array([1.0, 3.0])}, jnp.zeros((1, 2)))
    chex.assert_trees_all_equal(ys, jnp.zeros((1, 2)))
    chex.assert_trees_all_close(pullback(jnp.ones((1, 2)))[1], jnp.array([[2.0, 6.0]]), rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", SINGLE)
def test_nan_and_infinity_do_not_vanish(name, bad):
    net = SINGLE[name]()
    params, xs = drawn(net, (2, 4))
    ys = np.asarray(net.forward(params, xs.at[1, 0, 0].set(bad))[0])
    assert np.isnan(ys[1, 0, 0])
    chex.assert_tree_all_finite(ys[[0, 2]])


def test_the_gradient_is_orthogonal_to_ones_and_to_what_is_normalised():
    net = pn.layer_norm(epsilon=1e-12)
    params, xs = drawn(net, (5,))
    dxs = net.vjp(params, xs)[2](jnp.sin(xs))[1]
    chex.assert_trees_all_close((dxs.sum(1), (dxs * xs).sum(1)), (jnp.zeros(3), jnp.zeros(3)), atol=1e-6)


@pytest.mark.parametrize("shape", [(0, 4), (3, 0, 4)])
def test_nothing_to_normalise_is_fine_along_features(shape):
    net = pn.layer_norm()
    params, xs = drawn(net, shape)
    ys, _, pullback = net.vjp(params, xs)
    assert ys.shape == xs.shape
    chex.assert_trees_all_equal(pullback(ys)[0], {"scale": jnp.zeros(4), "offset": jnp.zeros(4)})


@pytest.mark.parametrize("make", [*SINGLE.items(), ("batch_norm", pn.batch_norm)])
@pytest.mark.parametrize("epsilon", [0, -1e-5, np.inf, np.nan])
def test_epsilon_out_of_range_is_refused(make, epsilon):
    name, maker = make
    with refuses(
        ShapeError,
        f"{name}: expected epsilon above 0, got {epsilon}. It keeps what does not vary from being divided by zero.",
    ):
        maker(epsilon=epsilon)


def test_other_options_are_refused():
    with refuses(
        StructureError, "layer_norm: expected epsilon to be a Python number, got 'small'. Give one such as 1e-5."
    ):
        pn.layer_norm(epsilon="small")
    with refuses(StructureError, "rms_norm: expected scale to be True or False, got 1. Give a bool."):
        pn.rms_norm(scale=1)
    with refuses(StructureError, "group_norm: expected groups to be a whole number, got 2.0. Give an int."):
        pn.group_norm(2.0)
    with refuses(ShapeError, "group_norm: expected groups of 1 or more, got 0. Give the number of groups."):
        pn.group_norm(0)


@pytest.mark.parametrize(
    ("net", "shape", "message"),
    [
        (pn.layer_norm(), (), "layer_norm: expected x with an axis of features, the last, got shape (). Put "
         "pn.reshape(1) before it."),
        (pn.layer_norm(), (3, 1), "layer_norm: expected two numbers or more in the last axis, got 1 in x of shape "
         "(3, 1). A number less its own mean is 0, whatever it was."),
        (pn.group_norm(3), (2, 4), "group_norm: expected a number of channels (the last axis of x) that 3 groups "
         "divide, got 4. Choose a divisor of it."),
        (pn.group_norm(4), (4,), "group_norm: expected two numbers or more in a group of channels over space, got 1 "
         "in x of shape (4,). A number less its own mean is 0, whatever it was."),
        (pn.instance_norm(), (4,), "instance_norm: expected two numbers or more in a channel over space, got 1 in x "
         "of shape (4,). A number less its own mean is 0, whatever it was."),
        (pn.batch_norm(), (), "batch_norm: expected x with an axis of features, the last, got shape (). Put "
         "pn.reshape(1) before it."),
        (pn.batch_norm(), (0, 3), "batch_norm: expected x with something in space, got (0, 3). The mean over nothing "
         "is not a number."),
    ],
)  # fmt: skip
def test_shapes_without_a_deviation_are_refused(net, shape, message):
    with refuses(ShapeError, message):
        net.init(None, pn.spec(shape))
    with refuses(ShapeError, message):
        net.apply({"scale": jnp.ones(4), "offset": jnp.ones(4)}, jnp.ones(shape))


@pytest.mark.parametrize("rule", ["apply", "forward", "vjp"])
def test_params_that_do_not_fit_are_refused(rule):
    net, x = pn.layer_norm(), jnp.ones(4) if rule == "apply" else jnp.ones((2, 4))
    run = getattr(net, rule)
    with refuses(
        StructureError,
        "layer_norm: expected params to be a dict of ['offset', 'scale'], got a dict of ['scale']. "
        "Pass the params that this network's init made.",
    ):
        run({"scale": jnp.ones(4)}, x)
    with refuses(
        ShapeError,
        "layer_norm: expected params['scale'] of shape (4,), one per feature (the last axis of x), got (3,). "
        "Initialise the network with the spec of the examples that it gets.",
    ):
        run({"scale": jnp.ones(3), "offset": jnp.ones(4)}, x)
    with refuses(
        StructureError,
        "layer_norm: expected params['offset'] of dtype float32, that of x, got bfloat16. "
        "Cast x or the parameters with astype.",
    ):
        run({"scale": jnp.ones(4), "offset": jnp.ones(4, jnp.bfloat16)}, x)


def test_layers_without_params_take_none():
    net = pn.rms_norm(scale=False)
    with refuses(
        StructureError,
        "rms_norm: expected no params, got a dict of ['scale']. Pass the params that this network's init made.",
    ):
        net.apply({"scale": jnp.ones(4)}, jnp.ones(4))


def test_integers_are_refused():
    with refuses(
        StructureError,
        "rms_norm: expected x of floating dtype, got int32. Convert the examples, such as x.astype(np.float32).",
    ):
        pn.rms_norm(scale=False).apply((), jnp.arange(3))
