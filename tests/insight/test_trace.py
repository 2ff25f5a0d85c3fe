"""Every value that a function computes, and dJ/d(value)."""

import functools
import re
import xml.etree.ElementTree

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import purenet as pn
from purenet.insight.showing import value_text
from purenet.insight.tracing import trace


def numbers(found):
    return {row.name: (float(row.value), float(row.gradient)) for row in found.rows}


def test_the_notes_first_example():
    def J(a, b, c):  # noqa: N802
        u = a * b
        v = u + c
        return 3 * v

    found = trace(J, 6.0, 4.0, 1.0)
    assert numbers(found) == {"a": (6, 12), "b": (4, 18), "c": (1, 3), "u": (24, 3), "v": (25, 3), "J": (75, 1)}
    assert [float(g) for g in found.gradients] == [12.0, 18.0, 3.0]
    assert [row.inputs for row in found.rows] == [(), (), (), ("a", "b"), ("u", "c"), ("3.0", "v")]
    assert [row.code for row in found.rows[3:]] == ["a * b", "u + c", "3 * v"]
    assert [row.text for row in found.rows[3:]] == ["u = a * b", "v = u + c", "return 3 * v"]
    line = found.rows[3].line
    assert str(found) == (
        "J = 75\n"
        "name  by           value  gradient of J  line\n"
        "---------------------------------------------------------------\n"
        "a     argument     6      12\n"
        "b     argument     4      18\n"
        "c     argument     1      3\n"
        f"u     mul(a, b)    24     3              test_trace.py:{line} a * b\n"
        f"v     add(u, c)    25     3              test_trace.py:{line + 1} u + c\n"
        f"J     mul(3.0, v)  75     1              test_trace.py:{line + 2} 3 * v"
    )


def test_the_notes_second_example():
    found = trace(lambda x, y, z: (x + y) * z, 2.0, 5.0, -4.0)
    assert float(found.value) == -28.0
    assert [float(g) for g in found.gradients] == [-4.0, -4.0, 7.0]
    assert (found.name, float(found.rows[3].value), float(found.rows[3].gradient)) == ("lambda", 7.0, -4.0)


def test_the_notes_sigmoid_network_to_every_digit(x64):
    def loss(w1, w2, x, y):
        h = jax.nn.sigmoid(w1 @ x + 0.35)
        o = jax.nn.sigmoid(w2 @ h + 0.60)
        return 0.5 * jnp.sum((o - y) ** 2)

    w1, w2 = np.array([[0.15, 0.20], [0.25, 0.30]]), np.array([[0.40, 0.45], [0.50, 0.55]])
    found = trace(loss, w1, w2, np.array([0.05, 0.10]), np.array([0.01, 0.99]))
    rows = {row.name: row for row in found.rows}
    assert round(float(rows["h"].value[0]), 9) == 0.593269992
    np.testing.assert_array_equal(np.round(np.asarray(rows["o"].value), 9), [0.751365070, 0.772928465])
    assert round(float(found.value), 9) == 0.298371109
    assert round(float(found.gradients[1][0, 0]), 9) == 0.082167041
    assert "[0.75136507 0.772928465]" in str(found)
    assert "0.298371109" in str(found)


@jax.custom_jvp
def gate(x):
    return jnp.maximum(x, 0.0)


gate.defjvp(lambda x, t: (gate(x[0]), jnp.where(x[0] > 0, t[0], 0.25 * t[0])))


@jax.custom_vjp
def halved(x):
    return jnp.sin(x)


halved.defvjp(lambda x: (jnp.sin(x), x), lambda x, dy: (0.5 * dy * jnp.cos(x),))


def recurrent(w, xs):
    def body(h, x):
        h = jnp.tanh(w @ h + x)
        return h, jnp.sum(h * h)

    last, sizes = jax.lax.scan(body, jnp.ones(2), xs)
    return jnp.sum(last) + jnp.sum(sizes * jnp.arange(3.0))


def backward_in_time(w, xs):
    return jnp.sum(jax.lax.scan(lambda h, x: (jnp.sin(w @ h) + x, h), jnp.ones(2), xs, reverse=True)[1] ** 2)


def with_rules(w, xs):
    return jnp.sum(gate(xs @ w) + halved(xs) @ w + jax.nn.relu(xs))


def with_a_rule_that_holds_values(w, xs):
    offset = jnp.ones(2)

    @jax.custom_vjp
    def shifted(x):
        return x * offset

    shifted.defvjp(lambda x: (x * offset, ()), lambda kept, dy: (dy * 2.0,))

    def body(h, x):
        return shifted(h) + x, None

    return jnp.sum(shifted(xs @ w)) + jnp.sum(jax.lax.scan(body, w[0], xs)[0])


def gathered(w, xs):
    picked = xs[jnp.array([2, 0, 0])]
    return jnp.sum(jnp.zeros((3, 2)).at[jnp.array([1, 1, 2])].add(picked @ w) ** 2)


def chosen(w, xs):
    y = jax.lax.cond(xs[0, 0] > 0, lambda a: jnp.sum(a @ w), lambda a: jnp.prod(a), xs)
    return y * jax.lax.switch(2, [jnp.sin, jnp.cos, jnp.exp], w[0, 0])


def mapped(w, xs):
    return jnp.sum(jax.vmap(lambda x: jax.jit(jax.checkpoint(lambda x: jnp.einsum("i,ij->j", x, w) ** 2))(x))(xs))


def with_a_gradient_inside(w, xs):
    return jnp.sum(jax.vmap(jax.grad(lambda x: jnp.sum(jnp.sin(w @ x) ** 3)))(xs))


@pytest.mark.parametrize(
    "fn",
    [
        recurrent,
        backward_in_time,
        with_rules,
        with_a_rule_that_holds_values,
        gathered,
        chosen,
        mapped,
        with_a_gradient_inside,
    ],
    ids=lambda fn: fn.__name__,
)
def test_gradients_are_those_of_jax_grad(fn, rng):
    w, xs = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((2, 2), (3, 2)))
    found = trace(fn, w, xs)
    value, gradients = jax.value_and_grad(fn, (0, 1))(w, xs)
    np.testing.assert_allclose(found.value, value, rtol=1e-5)
    for mine, theirs in zip(found.gradients, gradients, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)
    assert found.bad is None


def test_a_dynamic_while_has_gradients_though_jax_has_none():
    def fn(x):
        return jax.lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] * x), (0, 1.0))[1]

    found = trace(fn, 2.0)
    assert (float(found.value), float(found.gradients[0])) == (8.0, 12.0)
    assert found.rows[-1].place == ("while[2]",)


def test_rows_in_loops_and_layers_say_where():
    net = pn.serial(pn.dense(2), pn.tanh)
    params, _ = net.init(jax.random.key(0), pn.spec(3))
    found = trace(lambda params, x: jnp.sum(jax.jit(net.apply)(params, x)), params, jnp.ones(3))
    layers = [row.layer for row in found.rows]
    assert "serial[0].dense" in layers
    assert layers[-2:] == ["serial[1].tanh", ""]
    assert found.rows[0].name == "params[0]['bias']"


def test_layers_are_named_in_functions_that_are_compiled_already():
    net = pn.serial(pn.tanh, pn.softplus)
    fn = jax.jit(lambda x: jnp.sum(net.apply(((), ()), x)))
    fn(jnp.ones(3))
    assert {row.layer for row in trace(fn, jnp.ones(3)).rows} == {"", "serial[0].tanh", "serial[1].softplus"}


def test_a_train_step_can_be_followed():
    net, optimizer = pn.serial(pn.dense(2), pn.relu, pn.dense(1)), optax.sgd(0.1)
    state = pn.train_state(net, optimizer, jax.random.key(0), pn.spec(2))
    batch = (jnp.ones((4, 2)), jnp.ones((4, 1)))
    step = pn.train_step(net, pn.losses.half_squared_error, optimizer)
    found = trace(step, state, batch)
    assert found.bad is None
    assert found.gradients is None
    assert found.notes == (
        "no gradients: the result is not one floating number. Give cotangent=, a tree like the result.",
    )
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-5), found.value[0].params, step(state, batch)[0].params
    )


def test_cotangents_can_be_given():
    found = trace(
        lambda x: (x**2, 3.0 * x),
        np.array([1.0, 2.0], np.float32),
        cotangent=(np.ones(2, np.float32), np.float32([0, 1])),
    )
    assert found.gradients[0].tolist() == [2.0, 7.0]


def test_a_long_loop_is_one_row_and_has_its_gradient():
    def fn(x):
        return jax.lax.scan(lambda c, i: (c * 1.0001 + 0.0 * i, None), x, jnp.arange(5000.0))[0]

    found = trace(fn, 1.0, limit=100)
    assert "scan" in [row.operation for row in found.rows]
    assert found.notes == ("scan of 5,000 turns is one row: its inside is more than limit=100",)
    np.testing.assert_allclose(found.gradients[0], jax.grad(fn)(1.0), rtol=1e-5)


def test_a_long_while_loop_says_that_no_gradient_goes_through():
    def fn(x):
        return jax.lax.while_loop(lambda s: s[0] < 5000, lambda s: (s[0] + 1, s[1] * x), (0, 1.0))[1]

    found = trace(fn, 1.0, limit=100)
    assert found.notes[1].startswith("no gradient goes through while: Reverse-mode differentiation does not work")
    assert found.gradients == (None,)


def test_what_lies_behind_a_rule_without_gradient_shows_none_rather_than_a_part():
    w, xs = jnp.eye(2), jnp.ones((3, 2))
    found = trace(with_a_rule_that_holds_values, w, xs)
    assert found.notes == ("no gradient goes through custom_vjp_call: Encountered an unexpected tracer",)
    shown = {row.code: row.gradient for row in found.rows}
    assert shown["xs @ w"] is None
    assert shown["shifted(xs @ w)"].tolist() == [[1.0, 1.0]] * 3


def test_a_limit_leaves_rows_out_and_keeps_gradients():
    found = trace(lambda x: jnp.sin(jnp.sin(jnp.sin(x))), 1.0, limit=2)
    assert len(found.rows) == 3
    assert found.notes == ("1 more values are left out: give a limit above 2.",)
    np.testing.assert_allclose(found.gradients[0], jax.grad(lambda x: jnp.sin(jnp.sin(jnp.sin(x))))(1.0), rtol=1e-6)


def test_large_arrays_show_statistics_at_120_columns(rng):
    def fn(w, x):
        return jnp.sum(jnp.where(x @ w > 0, x @ w, jnp.log(-1.0 - 0 * x @ w)))

    x = np.asarray(rng.normal(size=(16, 12)), np.float32)
    text = str(trace(fn, np.asarray(rng.normal(size=(12, 20)), np.float32), x))
    table = text[text.index("name") :]
    assert max(map(len, table.splitlines())) <= 120
    assert re.fullmatch(r"float32\[16,12\] min -\d\.\d+ mean -?\d\.\d+ max \d\.\d+", value_text(x))
    assert "320 NaN" in text


def test_html_is_well_formed_and_escaped():
    html = trace(lambda x: jnp.sum(jnp.where(x < 1, jnp.log(x), 2.0)), jnp.array([0.0, 2.0]))._repr_html_()
    assert "x &lt; 1" in html
    tree = xml.etree.ElementTree.fromstring(f"<div>{html}</div>")
    assert [cell.text for cell in tree.find("table").find("tr")] == [
        "name",
        "by",
        "value",
        "gradient of lambda",
        "line",
    ]
    assert any("background" in row.get("style", "") for row in tree.iter("tr"))


def test_numbers_show_no_more_digits_than_their_dtype_has():
    found = trace(lambda x: x * 1, jnp.array([1 / 3, 2.0], jnp.bfloat16))
    assert "[0.334 2]" in str(found)
    assert "[0.33333334 2]" in str(trace(lambda x: x * 1, jnp.array([1 / 3, 2.0])))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: trace(3.0),
            pn.StructureError,
            "trace: expected fn to be a function, got 3.0. Pass it uncalled: pn.trace(fn, x).",
        ),
        (
            lambda: trace(jnp.sin, 1.0, limit=0),
            pn.ShapeError,
            "trace: expected limit of 1 or more, got 0. Give the number of values to write down.",
        ),
        (
            lambda: trace(jnp.sin, 1.0, limit=2.5),
            pn.StructureError,
            "trace: expected limit to be a whole number, got 2.5. Give an int.",
        ),
        (
            lambda: trace(jnp.sin, "1"),
            pn.StructureError,
            "trace: expected arguments of arrays and numbers, got '1'. Bind it first: "
            "pn.trace(lambda x: fn(x, option), x).",
        ),
        (
            lambda: jax.jit(lambda x: trace(jnp.sin, x).value)(1.0),
            pn.StructureError,
            "trace: expected arguments with values, got a tracer. Call pn.trace outside jit, vmap and grad.",
        ),
        (
            lambda: trace(jnp.sin, np.ones(2)),
            pn.StructureError,
            "trace: expected arrays of a dtype that JAX keeps, got float64 of shape (2,), which it would turn into "
            "float32. Convert it with astype('float32'), or the data with pn.data.check_data.",
        ),
        (
            lambda: trace(jnp.sin, 1.0, cotangent=jnp.ones(2)),
            pn.StructureError,
            "trace: expected cotangent like the function's result, with float32 of shape (), "
            "got float32 of shape (2,). Give dJ/d(result).",
        ),
    ],
)
def test_wrong_arguments_are_refused(call, error, message):
    with pytest.raises(error, match="^" + re.escape(message) + r"(\n|$)"):  # inside jit JAX adds a line
        call()
