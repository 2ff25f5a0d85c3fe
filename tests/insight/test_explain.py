"""A network's forward and backward pass, layer by layer."""

import re
import xml.etree.ElementTree

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purenet as pn
from purenet.insight.explaining import explain

HALF = pn.losses.half_squared_error


def test_the_notes_sigmoid_network_to_every_digit(x64):
    net = pn.serial(pn.dense(2), pn.sigmoid, pn.dense(2), pn.sigmoid)
    first = {"kernel": jnp.array([[0.15, 0.25], [0.20, 0.30]]), "bias": jnp.full(2, 0.35)}
    second = {"kernel": jnp.array([[0.40, 0.50], [0.45, 0.55]]), "bias": jnp.full(2, 0.60)}
    params = (first, (), second, ())
    found = explain(net, HALF, params, jnp.array([0.05, 0.10]), jnp.array([0.01, 0.99]), rate=0.5)
    rows = {row.path: row for row in found.rows}
    hidden, sigmoid, out, last = (rows[f"serial[{i}].{n}"] for i, n in enumerate(["dense", "sigmoid"] * 2))
    assert round(float(hidden.output[0]), 9) == 0.3775
    assert round(float(sigmoid.output[0]), 9) == 0.593269992
    assert [round(float(o), 9) for o in last.output] == [0.751365070, 0.772928465]
    assert round(float(found.loss), 9) == 0.298371109
    assert round(float(out.gradient["kernel"][0, 0]), 9) == 0.082167041
    new = found.updated
    assert [round(float(w), 9) for w in new[2]["kernel"].T.ravel()] == [
        0.358916480,
        0.408666186,
        0.511301270,
        0.561370121,
    ]
    assert round(float(new[0]["kernel"][0, 0]), 9) == 0.149780716
    text = str(found)
    for printed in ("0.593269992 0.596884378", "0.75136507 0.772928465", "J = half_squared_error = 0.298371109"):
        assert printed in text
    for printed in ("0.35891648 0.51130127", "0.408666186 0.561370121", "0.149780716"):
        assert printed in text
    assert "dJ/dW = Xᵀδ" in out.formula
    assert "y (1 - y)" in last.formula


def test_the_xor_network_to_every_digit():
    net = pn.serial(pn.dense(2), pn.relu, pn.dense(1))
    hidden = {"kernel": jnp.ones((2, 2)), "bias": jnp.array([0.0, -1.0])}
    params = (hidden, (), {"kernel": jnp.array([[1.0], [-2.0]]), "bias": jnp.zeros(1)})
    xs, ys = jnp.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), jnp.array([[0.0], [1], [1], [0]])
    found = explain(net, HALF, params, xs, ys, batch=True)
    assert found.rows[2].output.tolist() == [[0, 0], [1, 0], [1, 0], [2, 1]]
    assert found.prediction.tolist() == ys.tolist()
    assert float(found.loss) == 0.0
    assert found.rows[1].path == "serial[0].dense"


NETS = {
    "graph": (lambda: _graph(), (2,)),
    "weight_norm": (lambda: pn.serial(pn.weight_norm(pn.dense(3)), jnp.sin), (2,)),
    "remat in repeat": (lambda: pn.serial(pn.repeat(pn.remat(pn.residual(pn.dense(2))), 2), pn.dense(1)), (2,)),
    "batch_norm": (lambda: pn.serial(pn.dense(2), pn.batch_norm(), pn.dropout(0.5)), (3,)),
    "each": (lambda: pn.each(pn.dense(2)), (3, 2)),
}
SLOW = {
    "convolution": (
        lambda: pn.serial(pn.conv(2, (3, 3)), pn.relu, pn.max_pool((2, 2)), pn.flatten, pn.dense(1)),
        (4, 4, 1),
    ),
    "lstm": (lambda: pn.lstm(2), (3, 2)),
    "transformer": (lambda: pn.transformer_block(2, 1), (3, 2)),
}


def _graph():
    x = pn.node()
    shared = pn.dense(2)
    return pn.graph(x, pn.add(shared(x), pn.tanh(shared(x))))


def explained(make, shape, rng):
    net = make()
    params, state = net.init(jax.random.key(0), pn.spec(shape))
    xs = np.asarray(rng.normal(size=(3, *shape)), np.float32)
    key = jax.random.key(1)
    out = jax.eval_shape(net.forward, params, xs, state, key)[0]
    ys = np.asarray(rng.normal(size=out.shape), np.float32)
    found = explain(net, HALF, params, xs, ys, state, key, batch=True)
    (value, _), grads = jax.jit(pn.backprop(net, HALF))(params, state, (xs, ys), key)
    np.testing.assert_allclose(found.loss, value, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found.gradient, grads)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b), found.rows[0].gradient, found.gradient)
    assert all(row.delta is not None for row in found.rows)
    return found


@pytest.mark.parametrize("name", NETS)
def test_networks_are_explained_with_the_gradients_of_backprop(name, rng):
    found = explained(*NETS[name], rng)
    assert str(found).count("dJ/dy") >= 1
    xml.etree.ElementTree.fromstring(f"<div>{found._repr_html_()}</div>")


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_networks_of_loops_are_explained(name, rng):
    explained(*SLOW[name], rng)


def test_each_turn_of_a_repeat_is_a_call_of_its_own(rng):
    found = explained(*NETS["remat in repeat"], rng)
    dense = [row for row in found.rows if row.path == "serial[0].repeat[0].remat[0].residual[0].dense"]
    assert len(dense) == 2
    for turn, row in enumerate(dense):
        np.testing.assert_allclose(row.gradient["kernel"], found.gradient[0][0][0][0]["kernel"][turn], rtol=1e-5)
    assert "residual[0].dense, call 2 of 2\n" in str(found)


def test_layers_of_layers_show_only_with_params_of_their_own(rng):
    found = explained(*NETS["weight_norm"], rng)
    assert [(row.path, row.shown) for row in found.rows] == [
        ("serial", False),
        ("serial[0].weight_norm", True),
        ("serial[0].weight_norm[0].dense", True),
        ("serial[1].sin", True),
    ]
    assert found.rows[3].formula == "jax.vjp: no hand rule"


def test_large_arrays_show_statistics():
    net = pn.serial(pn.dense(50), pn.relu)
    params, _ = net.init(jax.random.key(0), pn.spec(40))
    text = str(explain(net, HALF, params, jnp.ones(40), jnp.zeros(50)))
    assert re.search(r"kernel +float32\[40,50\] min -0\.\d+ mean -?0\.\d+ max 0\.\d+ norm \d\.\d+", text)
    assert max(map(len, text.splitlines())) <= 120


def test_rules_of_users_and_their_derivations_are_named():
    def rule(params, xs, state, key):
        """Doubles.

        Derivation:
          y = 2x, so dJ/dx = 2 dJ/dy.
        """
        return 2 * xs, state, jax.tree_util.Partial(lambda dys: ((), 2 * dys))

    double = pn.layer(lambda params, x: 2 * x, vjp=rule, name="double")
    found = explain(double, lambda p, y: jnp.sum(p * y), (), jnp.ones(2), jnp.ones(2))
    assert found.rows[0].formula == "y = 2x, so dJ/dx = 2 dJ/dy."
    assert found.loss_formula == "jax.grad"


def test_tracers_are_refused():
    message = "explain: expected values, got a tracer. Call pn.explain outside jit, vmap and grad."
    with pytest.raises(pn.StructureError, match="^" + re.escape(message) + r"(\n|$)"):  # JAX adds a line
        jax.jit(lambda x: explain(pn.relu, HALF, (), x, x).loss)(jnp.ones(2))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"rate": "fast"},
            pn.StructureError,
            "explain: expected rate to be a number, got 'fast'. Give one such as 0.1.",
        ),
        ({"rate": -0.1}, pn.ShapeError, "explain: expected rate above 0, got -0.1. Give one such as 0.1."),
        ({"batch": 1}, pn.StructureError, "explain: expected batch to be True or False, got 1. Give a bool."),
        (
            {"key": 3},
            pn.StructureError,
            "explain: expected a JAX random key, got 3. Make one with jax.random.key(0).",
        ),
        (
            {"loss": 3},
            pn.StructureError,
            "explain: expected a loss or a function of prediction and target, got 3. Give one of pn.losses.",
        ),
        (
            {"x": jnp.ones(3)},
            pn.ShapeError,
            "dense: expected x of shape (2,), got (3,). "
            "Initialise the network with the spec of the examples that it gets.",
        ),
    ],
)
def test_wrong_arguments_are_refused(options, error, message):
    net = pn.dense(1)
    params = {"kernel": jnp.ones((2, 1)), "bias": jnp.zeros(1)}
    given = {"net": net, "loss": HALF, "params": params, "x": jnp.ones(2), "y": jnp.ones(1)} | options
    with pytest.raises(error, match="^" + re.escape(message) + "$"):
        explain(**given)
