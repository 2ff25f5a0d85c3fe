"""check.grad: numbers known to every printed digit, kinks, and gradients that others wrote."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refuses

import purenet as pn
from purenet import check


def told(fn, *args, **more):
    with pytest.raises(check.CheckError) as caught:
        check.grad(fn, *args, **more)
    return caught.value.report.failures[0]


def numbers(report):
    return {name: np.asarray(slope).tolist() for name, slope in report.measured.items()}


def test_chains_of_products_and_sums_to_every_digit():
    report = check.grad(lambda a, b, c: 3 * (a * b + c), 6.0, 4.0, 5.0)
    assert {name: f"{value:.9f}" for name, value in numbers(report).items()} == {
        "a": "12.000000000",
        "b": "18.000000000",
        "c": "3.000000000",
    }
    report = check.grad(lambda x, y, z: (x + y) * z, 2.0, 5.0, -4.0)
    assert {name: f"{value:.9f}" for name, value in numbers(report).items()} == {
        "x": "-4.000000000",
        "y": "-4.000000000",
        "z": "7.000000000",
    }


def test_the_two_layer_sigmoid_network_to_every_digit():
    net = pn.serial(pn.dense(2), pn.sigmoid, pn.dense(2), pn.sigmoid)
    params = (
        {"kernel": np.array([[0.15, 0.20], [0.25, 0.30]]).T, "bias": np.array([0.35, 0.35])},
        (),
        {"kernel": np.array([[0.40, 0.45], [0.50, 0.55]]).T, "bias": np.array([0.60, 0.60])},
        (),
    )
    x, y = np.array([0.05, 0.10]), np.array([0.01, 0.99])

    def objective(params):
        return pn.losses.half_squared_error.value(net.apply(params, jnp.asarray(x)), jnp.asarray(y))

    measured = check.grad(objective, params).measured
    first, second = measured["params[0]['kernel']"], measured["params[2]['kernel']"]
    assert f"{second[0, 0]:.9f}" == "0.082167041"
    assert [f"{w:.9f}" for w in (params[2]["kernel"] - 0.5 * second).T.ravel()] == [
        "0.358916480",
        "0.408666186",
        "0.511301270",
        "0.561370121",
    ]
    assert f"{params[0]['kernel'][0, 0] - 0.5 * first[0, 0]:.9f}" == "0.149780716"


def test_float32_arguments_are_checked_in_float64_and_whole_numbers_stay():
    params = {"w": jnp.ones((2, 2), jnp.float32), "n": jnp.int32(3)}
    report = check.grad(lambda p, power: jnp.sum(p["w"] ** power) * p["n"].astype(p["w"].dtype), params, 2)
    np.testing.assert_allclose(report.measured["p['w']"], np.full((2, 2), 6.0), rtol=1e-12)
    assert list(report.measured) == ["p['w']"]


def test_argnums_choose_and_several_outputs_are_checked_at_once():
    report = check.grad(lambda x, y: (jnp.sin(x) * y, {"sum": x + y}), 0.5, jnp.arange(3.0), argnums=1)
    assert list(report.measured) == ["y"]
    assert report["autodiff"].gap < 1e-10


def test_at_a_kink_any_slope_between_is_right_and_reported():
    report = check.grad(lambda x: jnp.max(x), jnp.ones(3))
    assert report.conventions == ("x at the point given: autodiff takes 0.333333 of [0, 1]",)
    assert report["second order"].note == "the gradient has a kink or a jump here"
    assert check.grad(jax.nn.relu, 0.0).conventions == ("x at the point given: autodiff takes 0 of [0, 1]",)
    assert check.grad(lambda x: jax.nn.relu(x[0]) - jax.nn.relu(-x[1]), jnp.zeros(2)).held


def test_a_smooth_function_whose_gradient_is_wrong_at_one_point_is_told():
    failure = told(lambda x: jax.nn.relu(x) - jax.nn.relu(-x), 0.0)
    assert (failure.law, failure.leaf, failure.got) == ("autodiff", "x", 0.0)
    assert failure.expected == pytest.approx(1.0)
    assert np.isnan(told(lambda x: jnp.where(x > 0, jnp.sqrt(x), 0.0) + 0 * x, -1.0).got)
    failure = told(lambda x: jnp.linalg.norm(x), jnp.zeros(2))
    assert failure.law == "kinks"
    assert failure.expected == "a slope in [-1, 1]"


def with_rule(value, forward, backward):
    fn = jax.custom_vjp(value)
    fn.defvjp(forward, backward)
    return fn


def product_with(backward):
    return with_rule(lambda x, y: x * y, lambda x, y: (x * y, (x, y)), backward)


RULES = {
    "exchanged": (
        lambda saw, dy: (dy * saw[0], dy * saw[1]),
        "x",
        "gradient of y: the rule gives it in the wrong place",
    ),
    "forgotten": (lambda saw, dy: (dy * saw[1], 0 * dy), "y", "nothing flows back"),
    "minus": (lambda saw, dy: (-dy * saw[1], dy * saw[0]), "x", "The sign is wrong"),
    "without dy": (lambda saw, dy: (0 * dy + saw[1], dy * saw[0]), "x", ""),
    "not finite": (lambda saw, dy: (dy * saw[1] / 0, dy * saw[0]), "x", "not finite in 3 of 3"),
}


@pytest.mark.parametrize("name", RULES)
def test_wrong_rules_of_a_product_are_told(name):
    backward, leaf, words = RULES[name]
    fn = product_with(backward)
    failure = told(fn, jnp.arange(1.0, 4.0), jnp.array([0.3, -2.0, 5.0]), skip=("second order",))
    assert failure.leaf == leaf
    assert words in failure.reason


def test_a_wrong_custom_jvp_is_told():
    fn = jax.custom_jvp(lambda x: jnp.exp(x))
    fn.defjvp(lambda primals, tangents: (jnp.exp(primals[0]), 2 * jnp.exp(primals[0]) * tangents[0]))
    assert told(fn, 0.5, skip=("second order",)).reason.startswith("The gradient is doubled")


def test_ties_that_each_take_all_are_told():
    fn = with_rule(
        lambda x: jnp.max(x), lambda x: (jnp.max(x), x), lambda x, dy: (jnp.where(x == jnp.max(x), dy, 0.0),)
    )
    failure = told(fn, jnp.ones(3))
    assert (failure.law, failure.leaf) == ("kinks", "x")
    assert "ties doubled" in failure.reason
    assert check.grad(fn, jnp.array([1.0, 3.0, 2.0])).held


def test_a_mean_that_forgot_its_divisor_is_told():
    fn = with_rule(lambda x: jnp.mean(x), lambda x: (jnp.mean(x), x), lambda x, dy: (jnp.full_like(x, dy),))
    assert "backward forgot the 1/5" in told(fn, jnp.arange(5.0)).reason


def test_close_to_a_kink_nobody_is_blamed():
    for distance in (1e-3, 1e-4, 1e-5):
        assert check.grad(lambda x: jnp.abs(x) + jnp.sin(x), distance, skip=("second order",)).held


def test_gradients_through_scans_and_sorts():
    def fn(x):
        return jax.lax.scan(lambda c, a: (jnp.tanh(c + a), c * a), jnp.zeros((), x.dtype), jnp.sort(x))

    assert check.grad(fn, jnp.array([0.3, -1.0, 2.0, 0.1])).held


def test_wrong_arguments_are_refused():
    with refuses(pn.StructureError, "check.grad: expected fn to be a function, got 3. Pass it without calling it."):
        check.grad(3, 1.0)
    with refuses(pn.StructureError, "check.grad: expected arguments with floats, got 2. Write 2.0, not 2."):
        check.grad(lambda x: x * 1.0, 2)
    with refuses(pn.ShapeError, "check.grad: expected argnums from 0 to 0, got 1. Give places of arguments."):
        check.grad(lambda x: x, 2.0, argnums=1)
    with refuses(
        pn.StructureError,
        "check.grad: expected fn to return floats, got none. Return what shall be differentiated.",
    ):
        check.grad(lambda x: x > 0, 2.0)
