"""Activations against independent references, at their kinks, in their tails and at the ends of every dtype."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

import purenet as pn
from purenet.errors import ShapeError, StructureError

LAMBDA, ALPHA = 1.0507009873554805, 1.6732632423543772

# name: layer, reference in NumPy, dy/dx far left and far right, whether y and dy/dx have limits at ±∞
TABLE = {
    "relu": (pn.relu, lambda x: np.maximum(x, 0), (0, 1), True),
    "relu6": (pn.relu6, lambda x: np.clip(x, 0, 6), (0, 0), True),
    "leaky_relu": (pn.leaky_relu(), lambda x: 0.01 * x + 0.99 * np.maximum(x, 0), (0.01, 1), True),
    "elu": (pn.elu(), lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), (0, 1), True),
    "elu(2)": (pn.elu(2), lambda x: np.where(x > 0, x, 2 * np.expm1(np.minimum(x, 0))), (0, 1), True),
    "celu(2)": (pn.celu(2.0), lambda x: np.where(x > 0, x, 2 * np.expm1(np.minimum(x, 0) / 2)), (0, 1), True),
    "selu": (
        pn.selu,
        lambda x: LAMBDA * np.where(x > 0, x, ALPHA * np.expm1(np.minimum(x, 0))),
        (0, LAMBDA),
        True,
    ),
    "gelu": (pn.gelu, lambda x: x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2, (0, 1), False),
    "gelu_tanh": (
        pn.gelu_tanh,
        lambda x: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
        (0, 1),
        False,
    ),
    "silu": (pn.silu, lambda x: x * scipy.special.expit(x), (0, 1), False),
    "mish": (pn.mish, lambda x: x * np.tanh(np.logaddexp(x, 0)), (0, 1), False),
    "softplus": (pn.softplus, lambda x: np.logaddexp(x, 0), (0, 1), True),
    "soft_sign": (pn.soft_sign, lambda x: x / (1 + np.abs(x)), (0, 0), False),
    "sigmoid": (pn.sigmoid, scipy.special.expit, (0, 0), True),
    "hard_sigmoid": (pn.hard_sigmoid, lambda x: np.clip(x / 6 + 0.5, 0, 1), (0, 0), True),
    "log_sigmoid": (pn.log_sigmoid, scipy.special.log_expit, (1, 0), True),
    "tanh": (pn.tanh, np.tanh, (0, 0), True),
    "hard_tanh": (pn.hard_tanh, lambda x: np.clip(x, -1, 1), (0, 0), True),
    "step": (pn.step, lambda x: np.heaviside(x, 1), (0, 0), True),
}
DTYPES = {"float16": 1e-3, "bfloat16": 8e-3, "float32": 1e-6, "float64": 1e-15}


def by_hand(net, xs):
    """The derivative of an elementwise layer at every element of `xs`, by its rule."""
    ys, _, pullback = net.vjp((), xs)
    return pullback(jnp.ones_like(ys))[1]


def by_autodiff(net, xs):
    return jax.grad(lambda xs: jnp.sum(jax.vmap(net.apply, (None, 0))((), xs)))(xs)


@jax.jit
def both_ways(xs):
    """Values, derivatives by hand and by autodiff of every layer, in one program."""
    nets = {name: net for name, (net, *_) in TABLE.items()}
    values = {name: net.forward((), xs)[0] for name, net in nets.items()}
    return values, *({name: way(net, xs) for name, net in nets.items()} for way in (by_hand, by_autodiff))


def wide(tree):
    return jax.tree.map(lambda a: a.astype(jnp.float64), tree)


def test_values_are_those_of_an_independent_reference():
    x = np.concatenate([np.linspace(-9, 9, 73), [-1e-9, 1e-9, -1e-3, 1e-3]])
    with jax.enable_x64(True):
        values = both_ways(jnp.asarray(x))[0]
        for name, (_, reference, _, _) in TABLE.items():
            atol = 4e-15 if name == "gelu_tanh" else 3e-16  # 1 + tanh cancels for negative x
            chex.assert_trees_all_close(values[name], reference(x), rtol=1e-12, atol=atol, custom_message=name)


def test_numbers_known_from_elsewhere():
    with jax.enable_x64(True):
        one = jnp.ones((), jnp.float64)
        known = {
            pn.gelu: 0.8413447460685429,  # Φ(1)
            pn.silu: 0.7310585786300049,
            pn.mish: 0.8650983882673103,
            pn.softplus: 1.3132616875182228,
            pn.log_sigmoid: -0.3132616875182228,
            pn.tanh: 0.7615941559557649,
            pn.selu: LAMBDA,
            pn.hard_sigmoid: 2 / 3,
            pn.soft_sign: 0.5,
        }
        for net, value in known.items():
            chex.assert_trees_all_close(net.apply((), one), value, rtol=1e-15)
        chex.assert_trees_all_close(pn.selu.apply((), -one), LAMBDA * ALPHA * (1 / math.e - 1), rtol=1e-15)
        chex.assert_trees_all_close(pn.sigmoid.apply((), 0.3775 * one), 0.593269992, atol=5e-10)


def test_gelu_tanh_is_near_gelu():
    x = jnp.linspace(-6, 6, 401)
    chex.assert_trees_all_close(pn.gelu_tanh.apply((), x), pn.gelu.apply((), x), atol=5e-4)


def test_leaky_relu_is_the_leak_of_the_textbooks():
    x, leak = jnp.linspace(-2, 2, 9), 0.125
    textbook = leak * x + (1 - leak) * jnp.maximum(0, x)
    chex.assert_trees_all_close(pn.leaky_relu(leak).apply((), x), textbook, rtol=1e-6)
    chex.assert_trees_all_equal(by_hand(pn.leaky_relu(0.0), x), by_hand(pn.relu, x))


@pytest.mark.parametrize(("net", "y"), [(pn.leaky_relu(), -0.02), (pn.elu(), np.expm1(-2)), (pn.relu, 0)])
def test_a_python_number_is_an_example(net, y):
    chex.assert_trees_all_close(net.apply((), -2.0), np.float32(y), rtol=1e-6)


def test_swish_is_silu():
    assert pn.swish is pn.silu


# layer, kink, dy/dx just before it, at it, just after it
KINKS = [
    (pn.relu, 0, 0, 0, 1),
    (pn.relu6, 0, 0, 0, 1),
    (pn.relu6, 6, 1, 0, 0),
    (pn.leaky_relu(0.25), 0, 0.25, 0.25, 1),
    (pn.elu(1.0), 0, 1, 1, 1),
    (pn.elu(2.0), 0, 2, 2, 1),
    (pn.celu(2.0), 0, 1, 1, 1),
    (pn.selu, 0, LAMBDA * ALPHA, LAMBDA * ALPHA, LAMBDA),
    (pn.hard_tanh, -1, 0, 0, 1),
    (pn.hard_tanh, 1, 1, 0, 0),
    (pn.hard_sigmoid, -3, 0, 0, 1 / 6),
    (pn.hard_sigmoid, 3, 1 / 6, 0, 0),
    (pn.soft_sign, 0, 1, 1, 1),
    (pn.step, 0, 0, 0, 0),
]


def test_derivatives_at_kinks_are_the_documented_ones():
    @jax.jit
    def at_the_kinks(xs):
        return [[way(net, x) for (net, *_), x in zip(KINKS, xs, strict=True)] for way in (by_hand, by_autodiff)]

    with jax.enable_x64(True):
        expected = [jnp.array(slopes, jnp.float64) for _, _, *slopes in KINKS]
        by_rule, by_jax = at_the_kinks([kink + jnp.array([-1e-13, 0.0, 1e-13]) for _, kink, *_ in KINKS])
        chex.assert_trees_all_close(by_rule, expected, rtol=1e-12)
        chex.assert_trees_all_close(by_jax, expected, rtol=1e-12)


def test_the_derivative_at_negative_zero_is_that_at_zero():
    _, by_rule, expected = both_ways(jnp.array([-0.0, 0.0]))
    for tree in (by_rule, expected):
        chex.assert_trees_all_equal(jax.tree.map(lambda a: a[0], tree), jax.tree.map(lambda a: a[1], tree))


@pytest.mark.parametrize("dtype", DTYPES)
def test_far_out_everything_is_finite_and_the_derivative_at_its_limit(dtype):
    with jax.enable_x64(True):
        far = jnp.array([1e3, 1e4, float(jnp.finfo(dtype).max) / 4]).astype(dtype)
        ys, by_rule, by_jax = both_ways(jnp.concatenate([-far, far]))
        chex.assert_trees_all_equal_dtypes(ys, by_rule, by_jax, dict.fromkeys(TABLE, far))
        chex.assert_tree_all_finite((ys, by_rule, by_jax))
        limits = {name: jnp.repeat(jnp.array(limit, jnp.float64), 3) for name, (_, _, limit, _) in TABLE.items()}
        chex.assert_trees_all_close(wide(by_rule), limits, rtol=DTYPES[dtype], atol=1.1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_in_between_the_rule_is_autodiff_in_every_dtype(dtype):
    with jax.enable_x64(True):
        x = jnp.array([-150, -45, -20, -6, -1.5, -0.25, 0.5, 1.75, 4, 7, 20, 45, 150]).astype(dtype)
        _, by_rule, by_jax = both_ways(x)
        # autodiff of x·g(x) cancels terms as large as x·eps
        chex.assert_trees_all_close(wide(by_rule), wide(by_jax), rtol=4 * DTYPES[dtype], atol=8 * DTYPES[dtype])


def test_at_infinity_values_and_derivatives_are_the_limits():
    with jax.enable_x64(True):
        limiting = [name for name, (_, _, _, has_limits) in TABLE.items() if has_limits]
        ys, by_rule, by_jax = ({name: t[name] for name in limiting} for t in both_ways(jnp.array([-jnp.inf, jnp.inf])))
        far = jnp.array([-1e4, 1e4])  # where a bounded y is at its limit
        bounded = {name: TABLE[name][0].apply((), far) for name in limiting}
        expected = {name: jnp.where(jnp.abs(y) < 50, y, far * jnp.inf) for name, y in bounded.items()}
        chex.assert_trees_all_close(ys, expected | {"leaky_relu": far * jnp.inf}, atol=1e-300)
        limits = {name: jnp.array(TABLE[name][2], jnp.float64) for name in limiting}
        chex.assert_trees_all_close(by_rule, limits, rtol=1e-15)
        chex.assert_trees_all_close(by_jax, limits, rtol=1e-15)


def test_nan_is_never_turned_into_a_number():
    values = both_ways(jnp.array([jnp.nan]))[0]
    assert all(jnp.isnan(y).all() for y in values.values()), values


def test_derivatives_keep_their_relative_accuracy_in_the_tails():
    def density(x):
        return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)

    tails = [
        (pn.sigmoid, -300.0, math.exp(-300)),
        (pn.log_sigmoid, 50.0, math.exp(-50)),
        (pn.softplus, -50.0, math.exp(-50)),
        (pn.elu(3.0), -50.0, 3 * math.exp(-50)),
        (pn.celu(2.0), -50.0, math.exp(-25)),
        (pn.gelu, -10.0, float(scipy.special.ndtr(-10.0)) - 10 * density(10)),
        (pn.silu, -50.0, (1 - 50) * math.exp(-50)),
        (pn.mish, -50.0, (1 - 50) * math.exp(-50)),
        (pn.soft_sign, 1e6, (1 + 1e6) ** -2),
    ]
    with jax.enable_x64(True):
        for net, x, expected in tails:
            chex.assert_trees_all_close(by_hand(net, jnp.array([x]))[0], expected, rtol=1e-12)


def test_rules_can_be_differentiated_once_more_at_zero():
    nets = (pn.tanh, pn.sigmoid, pn.softplus, pn.log_sigmoid, pn.gelu, pn.gelu_tanh, pn.silu, pn.mish)

    def summed(net):
        return lambda xs: jnp.sum(net.forward((), xs)[0])

    @jax.jit
    def second(xs):
        once_more = [jax.grad(lambda xs, net=net: jnp.sum(by_hand(net, xs)))(xs) for net in nets]
        return once_more, [jax.grad(lambda xs, net=net: jnp.sum(jax.grad(summed(net))(xs)))(xs) for net in nets]

    with jax.enable_x64(True):
        chex.assert_trees_all_close(*second(jnp.array([-0.7, 0.0, 0.7])), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("net", [pn.relu, pn.gelu, pn.elu(), pn.softmax, pn.log_softmax])
def test_integers_are_refused(net):
    with pytest.raises(StructureError) as error:
        net.apply((), jnp.arange(3))
    assert str(error.value) == (
        f"{net.name}: expected x of floating dtype, got int32. Convert the examples, such as x.astype(np.float32)."
    )


# --- options ---------------------------------------------------------------------------------------------------------

OPTIONS = {"leaky_relu": (pn.leaky_relu, "slope", 0.01), "elu": (pn.elu, "alpha", 1.0), "celu": (pn.celu, "alpha", 1.0)}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_that_are_no_numbers_are_refused(name):
    factory, option, usual = OPTIONS[name]
    start = f"{name}: expected {option} to be"
    cases = [
        ("0.1", StructureError, f"{start} a number, got '0.1'. Give one such as {usual}."),
        (True, StructureError, f"{start} a number, got True. Give one such as {usual}."),
        (None, StructureError, f"{start} a number, got None. Give one such as {usual}."),
        (np.ones(2), StructureError, f"{start} a number, got float64 of shape (2,). Give one such as {usual}."),
        (math.nan, ShapeError, f"{start} finite, got nan. Give a number such as {usual}."),
        (-math.inf, ShapeError, f"{start} finite, got -inf. Give a number such as {usual}."),
        (
            jnp.ones(2),
            ShapeError,
            f"{start} one number, got float32 of shape (2,). For several, jax.vmap over them.",
        ),
        (
            jnp.array(1),
            StructureError,
            f"{name}: expected {option} of floating dtype, got int32. Convert it with astype.",
        ),
    ]
    for value, kind, message in cases:
        with pytest.raises(kind) as error:
            factory(value)
        assert str(error.value) == message


@pytest.mark.parametrize("alpha", [0, -1.5])
def test_celu_refuses_an_alpha_that_is_not_above_zero(alpha):
    with pytest.raises(ShapeError) as error:
        pn.celu(alpha)
    assert str(error.value) == f"celu: expected alpha above 0, got {alpha}. It is the depth of the negative side."


@pytest.mark.parametrize("option", [np.float32(0.5), jnp.float32(0.5)])
def test_an_array_as_option_keeps_the_dtype_of_x(option):
    for factory, _, _ in OPTIONS.values():
        xs = jnp.array([[-1.0, 2.0]], jnp.bfloat16)
        ys, _, pullback = factory(option).vjp((), xs)
        dxs = pullback(jnp.ones_like(ys))[1]
        assert ys.dtype == dxs.dtype == factory(option).apply((), xs[0]).dtype == jnp.bfloat16
        chex.assert_trees_all_equal(ys, factory(0.5).forward((), xs)[0])


@pytest.mark.parametrize(
    ("factory", "by_option"),
    [
        (pn.leaky_relu, lambda a: -1.5),
        (pn.elu, lambda a: math.expm1(-1.5)),
        (pn.celu, lambda a: math.expm1(-1.5 / a) + 1.5 / a * math.exp(-1.5 / a)),
    ],
)
def test_options_can_be_differentiated_and_vmapped(factory, by_option):
    with jax.enable_x64(True):
        x, options = jnp.array(-1.5), [0.25, 0.5, 2.0]
        values, slopes = jax.vmap(jax.value_and_grad(lambda a: factory(a).apply((), x)))(jnp.array(options))
        chex.assert_trees_all_close(values, jnp.stack([factory(a).apply((), x) for a in options]), rtol=1e-15)
        chex.assert_trees_all_close(slopes, jnp.array([by_option(a) for a in options]), rtol=1e-12)


@pytest.mark.parametrize("name", OPTIONS)
def test_the_pullback_of_a_traced_option_can_leave_jit(name):
    factory = OPTIONS[name][0]
    xs = jnp.array([[-1.0, 2.0]])
    pullback = jax.jit(lambda option: factory(option).vjp((), xs)[2])(jnp.float32(0.5))
    expected = factory(0.5).vjp((), xs)[2](jnp.ones_like(xs))
    chex.assert_trees_all_close(pullback(jnp.ones_like(xs)), expected, rtol=1e-6)


# --- softmax ---------------------------------------------------------------------------------------------------------


def test_softmax_and_its_logarithm_are_those_of_scipy():
    x = np.random.default_rng(0).normal(size=(4, 3, 5)) * 3
    with jax.enable_x64(True):
        xs = jnp.asarray(x)
        for net, reference in ((pn.softmax, scipy.special.softmax), (pn.log_softmax, scipy.special.log_softmax)):
            chex.assert_trees_all_close(net.forward((), xs)[0], reference(x, axis=-1), rtol=1e-12)
            chex.assert_trees_all_close(net.apply((), xs[0]), reference(x[0], axis=-1), rtol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("net", [pn.softmax, pn.log_softmax])
def test_softmax_of_extreme_scores_is_finite(net, dtype):
    with jax.enable_x64(True):
        xs = jnp.array([[1e4, -1e4, 1e4], [-1e4, -1e4, -1e4], [0, 1e4, -1e4]]).astype(dtype)
        ys, _, pullback = net.vjp((), xs)
        dxs = pullback(jnp.array([[1, 2, 3]] * 3).astype(dtype))[1]
        assert ys.dtype == dxs.dtype == xs.dtype
        chex.assert_tree_all_finite((ys, dxs))
        chex.assert_trees_all_close(dxs.sum(axis=-1), jnp.zeros(3).astype(dtype), atol=10 * DTYPES[dtype])


def test_a_class_ruled_out_by_minus_infinity_gets_nothing():
    xs = jnp.array([[0.0, -jnp.inf, 0.0]])
    ys, _, pullback = pn.softmax.vjp((), xs)
    chex.assert_trees_all_close(ys, jnp.array([[0.5, 0, 0.5]]))
    chex.assert_trees_all_close(pullback(jnp.array([[1.0, 7.0, 3.0]]))[1], jnp.array([[-0.5, 0, 0.5]]))
    _, _, pullback = pn.log_softmax.vjp((), xs)
    chex.assert_trees_all_close(pullback(jnp.array([[1.0, 0.0, 3.0]]))[1], jnp.array([[-1.0, 0, 1.0]]))


@pytest.mark.parametrize("net", [pn.softmax, pn.log_softmax])
def test_softmax_refuses_a_single_number(net):
    message = (
        f"{net.name}: expected x with an axis to sum over, got shape (). For two classes and one score use sigmoid."
    )
    for call in (lambda: net.apply((), jnp.float32(1)), lambda: net.forward((), jnp.ones(3))):
        with pytest.raises(ShapeError) as error:
            call()
        assert str(error.value) == message
