"""graphviz: the boxes and arrows of every kind of network, as DOT text."""

import re

import jax
import jax.numpy as jnp
import pytest
from refusals import refuses

import purenet as pn


def drawn(net, spec):
    """The boxes' labels, and the arrows as pairs of labels and a shape."""
    text = pn.graphviz(net, spec)
    boxes = dict(re.findall(r'^  (n\d+) \[label="((?:[^"\\]|\\.)*)"', text, re.MULTILINE))
    arrows = re.findall(r'^  (n\d+) -> (n\d+) \[label="(.*)"\];$', text, re.MULTILINE)
    return list(boxes.values()), [(boxes[start], boxes[end], shape) for start, end, shape in arrows]


def test_a_chain_is_a_chain():
    boxes, arrows = drawn(pn.serial(pn.dense(3), pn.tanh), pn.spec(2))
    assert boxes == ["x", r"dense\n9 params", "tanh", "y"]
    assert arrows == [
        ("x", r"dense\n9 params", "(2,)"),
        (r"dense\n9 params", "tanh", "(3,)"),
        ("tanh", "y", "(3,)"),
    ]


def test_a_graph_shows_each_node_and_where_values_fan_out():
    x, z, shared = pn.node("x"), pn.node("z"), pn.dense(3)
    h = pn.tanh(shared(x))
    net = pn.graph({"x": x, "z": z}, (pn.concatenate()(shared(h), h), z))
    boxes, arrows = drawn(net, {"x": pn.spec(3), "z": pn.spec((), jnp.int32)})
    dense = r"dense\n12 params"
    assert boxes == ["x['x']", "x['z']", dense, "tanh", dense, "concatenate", "y"]
    assert arrows == [
        ("x['x']", dense, "(3,)"),
        (dense, "tanh", "(3,)"),
        ("tanh", dense, "(3,)"),
        (dense, "concatenate", "(3,)"),
        ("tanh", "concatenate", "(3,)"),
        ("concatenate", "y", "(6,)"),
        ("x['z']", "y", "()"),
    ]


def test_combinators_are_opened_and_repeat_is_one_box():
    net = pn.serial(pn.repeat(pn.each(pn.dense(4)), 12), pn.residual(pn.each(pn.relu)), pn.branch(pn.tanh, pn.flatten))
    boxes, arrows = drawn(net, pn.spec((7, 4)))
    assert boxes == ["x", r"repeat: 12 × each\n240 params", "relu", "+", "tanh", "flatten", "y"]
    assert [arrow[:2] for arrow in arrows[1:]] == [
        (boxes[1], "relu"),
        ("relu", "+"),
        (boxes[1], "+"),
        ("+", "tanh"),
        ("+", "flatten"),
        ("tanh", "y"),
        ("flatten", "y"),
    ]


def test_one_repetition_is_opened():
    assert drawn(pn.repeat(pn.tanh, 1), pn.spec(2))[0] == ["x", "tanh", "y"]


def test_users_layers_with_operations_and_choices_of_their_own():
    def either(params, x):
        chosen = jax.lax.cond(x[0] > 0, lambda x: pn.relu.apply((), x), lambda x: pn.tanh.apply((), x), x)
        return chosen * pn.sigmoid.apply((), x)

    boxes, arrows = drawn(pn.layer(either), pn.spec(2))
    assert boxes == ["x", "sigmoid", "×", "y"]
    assert arrows[1:] == [("x", "×", "(2,)"), ("sigmoid", "×", "(2,)"), ("×", "y", "(2,)")]


def test_names_are_quoted_and_paths_are_tooltips():
    text = pn.graphviz(pn.serial(pn.layer(lambda params, x: x, name='a "b" \\')), pn.spec(1))
    assert r'n1 [label="a \"b\" \\", tooltip="serial[0].a \"b\" \\", shape=box];' in text
    assert text.startswith('digraph "serial" {\n')
    assert text.endswith("\n}")


def test_bad_input_is_refused_in_whole_sentences():
    with refuses(
        TypeError, "graphviz: expected a layer, got the function dense, which makes one. Call it: pn.dense(…)."
    ):
        pn.graphviz(pn.dense, pn.spec(1))
    message = "expected the spec of one example, got 1.5. Pass pn.spec(784), pn.spec((28, 28)) or a tree of such."
    with refuses(TypeError, f"graphviz: {message}"):
        pn.graphviz(pn.relu, 1.5)


@pytest.mark.parametrize("net", [jnp.sin, pn.relu])
def test_a_single_layer_is_drawn_between_input_and_output(net):
    assert len(drawn(net, pn.spec(3))[0]) == 3
