"""plot.activation and relu_sum: curves are the functions, dashes the hand rules' derivatives, kinks where they bend."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refuses

import purenet as pn


def curves_of(ax):
    return {line.get_label(): line.get_data() for line in ax.lines}


def test_activations_and_their_derivatives():
    ax = pn.plot.activation(pn.tanh, pn.sigmoid, jnp.sin, span=(-3, 3))
    curves = curves_of(ax)
    assert list(curves) == ["tanh", "tanh′", "sigmoid", "sigmoid′", "sin", "sin′"]
    xs, ys = curves["tanh"]
    np.testing.assert_allclose(ys, np.tanh(xs), atol=1e-6)
    np.testing.assert_allclose(curves["tanh′"][1], 1 - np.tanh(xs) ** 2, atol=1e-6)
    np.testing.assert_allclose(curves["sin′"][1], np.cos(xs), atol=1e-6)
    dashes = {line.get_label(): line.get_linestyle() for line in ax.lines}
    assert (dashes["tanh"], dashes["tanh′"]) == ("-", "--")
    assert len({line.get_color() for line in ax.lines}) == len({line.get_marker() for line in ax.lines}) == 3
    assert ax.get_xlim() == (-3, 3)


def test_a_jump_is_no_upright_line():
    step = curves_of(pn.plot.activation(pn.step))["step"][1]
    assert np.ma.count_masked(step) == 1
    assert set(np.ma.compressed(step)) == {0.0, 1.0}
    assert np.ma.count_masked(curves_of(pn.plot.activation(pn.sigmoid, span=(-900, 900)))["sigmoid"][1]) == 0


def test_the_derivative_is_that_of_the_hand_rule():
    def rule(params, xs, state, key):
        return xs, state, lambda dys: ((), 3 * dys)

    wrong = pn.layer(lambda params, x: x, vjp=rule, name="wrong")
    assert set(curves_of(pn.plot.activation(wrong))["wrong′"][1]) == {3.0}


NET = pn.serial(pn.dense(2), pn.relu, pn.dense(1))


def params_of(a, b, w, c):
    def array(numbers, *shape):
        return np.array(numbers, np.float32).reshape(shape)

    count = len(a)
    first = {"kernel": array(a, 1, count), "bias": array(b, count)}
    return first, (), {"kernel": array(w, count, 1), "bias": array([c], 1)}


PARAMS = params_of([1.0, -2.0], [0.0, 1.0], [1.0, -1.0], 0.5)


def test_units_add_up_to_what_the_net_gives():
    ax = pn.plot.relu_sum(NET, PARAMS, np.sin, span=(-1, 1), points=5)
    curves = curves_of(ax)
    xs, total = curves["sum"]
    assert xs.tolist() == [-1, -0.5, 0, 0.5, 1]
    wanted = [float(NET.apply(PARAMS, jnp.array([x], jnp.float32))[0]) for x in xs]
    np.testing.assert_allclose(total, wanted, atol=1e-6)
    np.testing.assert_allclose(curves["unit, w > 0"][1] + curves["unit, w < 0"][1] + 0.5, total, atol=1e-12)
    np.testing.assert_allclose(curves["target"][1], np.sin(xs))
    places, heights = curves["kink"]
    assert places.tolist() == [0, 0.5]
    np.testing.assert_allclose(heights, [-0.5, 1.0], atol=1e-12)
    assert list(curves["bias, 0.5"][1]) == [0.5, 0.5]


def test_many_units_make_one_entry_in_the_legend():
    rng = np.random.default_rng(0)
    params = params_of(*rng.normal(size=(3, 30)), 0.0)
    ax = pn.plot.relu_sum(pn.serial(pn.dense(30), pn.relu, pn.dense(1)), params)
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert sorted(texts) == ["kink", "sum", "unit, w < 0", "unit, w > 0"]
    assert len(ax.lines) == 32


def test_data_set_the_span():
    xs = np.linspace(-3, 2, 5)[:, None]
    ax = pn.plot.relu_sum(NET, PARAMS, (xs, xs**2))
    assert ax.get_xlim() == pytest.approx((-3.1, 2.1))
    assert curves_of(ax)["data"][1].tolist() == (xs**2).ravel().tolist()


REFUSED = {
    "activation: none": (
        lambda: pn.plot.activation(),
        pn.StructureError,
        "plot.activation: expected one activation or more, got none. Pass some, such as pn.tanh, pn.relu.",
    ),
    "activation: a maker": (
        lambda: pn.plot.activation(pn.leaky_relu),
        pn.StructureError,
        "plot.activation: expected a layer, got the function leaky_relu, which makes one. Call it: pn.leaky_relu(…).",
    ),
    "activation: no activation": (
        lambda: pn.plot.activation(pn.dense(3)),
        pn.ShapeError,
        "dense: expected an activation, one number for each, got shape (3,) for one number. plot.network draws layers "
        "of all kinds.",
    ),
    "activation: an endless span": (
        lambda: pn.plot.activation(pn.relu, span=(0, np.inf)),
        pn.ShapeError,
        "plot.activation: expected span to be finite numbers (low, high) with low < high, got (0, inf). Set both ends.",
    ),
    "relu_sum: another net": (
        lambda: pn.plot.relu_sum(pn.dense(1), PARAMS),
        pn.StructureError,
        "plot.relu_sum: expected serial(dense, relu, dense), got dense. Make the net pn.serial of these three.",
    ),
    "relu_sum: two inputs": (
        lambda: pn.plot.relu_sum(NET, ({"kernel": np.ones((2, 2))}, (), PARAMS[2])),
        pn.ShapeError,
        "plot.relu_sum: expected one input and one output, got 2 and 1. Curves show one variable; plot.decision shows "
        "two inputs.",
    ),
    "relu_sum: params of one layer": (
        lambda: pn.plot.relu_sum(NET, PARAMS[0]),
        pn.StructureError,
        "plot.relu_sum: expected params of this network, got a dict of 2. Pass what its init made.",
    ),
    "relu_sum: a target that sums": (
        lambda: pn.plot.relu_sum(NET, PARAMS, np.sum, points=2),
        pn.ShapeError,
        "plot.relu_sum: expected target to give shape (4,), that of xs, got (). Use NumPy in it.",
    ),
    "relu_sum: a number as target": (
        lambda: pn.plot.relu_sum(NET, PARAMS, 3.0),
        pn.StructureError,
        "plot.relu_sum: expected target to be a function or (xs, ys), got 3.0. Pass either.",
    ),
    "relu_sum: params of several networks": (
        lambda: pn.plot.relu_sum(
            NET, ({"kernel": np.ones((1, 4)), "bias": np.ones(3)}, (), {"kernel": np.ones((4, 1))})
        ),
        pn.StructureError,
        "plot.relu_sum: expected params of one network, got 4 units, 3 biases and 4 weights. Pass its own.",
    ),
    "relu_sum: nan": (
        lambda: pn.plot.relu_sum(NET, jax.tree.map(lambda a: a * np.nan, PARAMS)),
        pn.ShapeError,
        "plot.relu_sum: expected finite params, got nan or inf among them. Has training diverged?",
    ),
    "relu_sum: a target without a place": (
        lambda: pn.plot.relu_sum(NET, PARAMS, ([0.0, np.nan], [1.0, 2.0])),
        pn.ShapeError,
        "plot.relu_sum: expected finite xs in target, got nan or inf among them. Leave those examples out.",
    ),
}


def test_a_curve_of_infinities_is_drawn_without_a_warning():
    ax = pn.plot.activation(jnp.exp, span=(-1e3, 1e3))
    assert np.isinf(ax.lines[0].get_ydata()[-1])


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused(case):
    call, kind, message = REFUSED[case]
    with refuses(kind, message):
        call()
