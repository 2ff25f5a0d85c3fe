"""summary counts each layer once and each call's work and memory, through all combinators; recording disturbs none."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws.tools import LAYER_ROWS, draw
from refusals import refuses

import purenet as pn
from purenet.recording import recording

NESTED = pn.serial(
    pn.each(pn.dense(8)),
    pn.repeat(pn.remat(pn.each(pn.residual(pn.dense(8), pn.tanh))), 5),
    pn.flatten,
    pn.branch(pn.dense(2), pn.dropout(0.5)),
)


def by_path(net, spec):
    return {row.path: row for row in pn.summary(net, spec).rows}


def test_the_table_of_a_nested_network():
    """Dense 8 of 4 on 7 steps: 7·(2·4·8 + 8) = 504 operations; five times 8 of 8: 5·7·(2·8·8 + 8) = 4,760."""
    expected = """\
layer                      output       params  state  flops  activations
-------------------------------------------------------------------------
serial                     (2,); (56,)     514      0  6,050      2,920 B
  [0] each                 (7, 8)           40      0    504        224 B
    [0] dense              (7, 8)           40      0    504        224 B
  [1] repeat               (7, 8)          360      0  5,320      2,240 B
    [0] remat × 5          (7, 8)          360      0  5,320      2,240 B
      [0] each × 5         (7, 8)          360      0  5,320      2,240 B
        [0] residual × 5   (7, 8)          360      0  5,320      2,240 B
          [0] serial × 5   (7, 8)          360      0  5,040      2,240 B
            [0] dense × 5  (7, 8)          360      0  4,760      1,120 B
            [1] tanh × 5   (7, 8)            0      0    280      1,120 B
  [2] flatten              (56,)             0      0      0        224 B
  [3] branch               (2,); (56,)     114      0    226        232 B
    [0] dense              (2,)            114      0    226          8 B
    [1] dropout            (56,)             0      0      0        224 B
-------------------------------------------------------------------------
total                      (2,); (56,)     514      0  6,050      2,920 B"""
    assert str(pn.summary(NESTED, pn.spec((7, 4)))) == expected


def test_totals_are_those_of_init_and_flops(key):
    params, _ = NESTED.init(key, pn.spec((7, 4)))
    total = pn.summary(NESTED, pn.spec((7, 4))).total
    assert total.params == sum(leaf.size for leaf in jax.tree.leaves(params))
    assert total.flops == pn.flops(NESTED.apply, params, pn.spec((7, 4)))


@pytest.mark.parametrize("row", LAYER_ROWS)
def test_every_layer_of_the_table_is_summarised_and_drawn(row):
    net = row.make()
    given = draw(net, row.cases[0], jnp.float32, 0)
    spec = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), given.xs)
    whole, *rows = pn.summary(net, spec).rows
    assert whole.params == sum(leaf.size for leaf in jax.tree.leaves(given.params))
    if rows:
        assert whole.params == sum(row.params for row in rows if row.depth == 1)
    assert all(row.output is not None for row in (whole, *rows))
    assert pn.graphviz(net, spec).count("label=") >= 3


def test_shared_layers_are_counted_once_in_params_and_twice_in_work():
    words, table, shared = pn.node("words"), pn.embedding(10, 4), pn.each(pn.dense(4))
    net = pn.graph(words, pn.unembed(table)(shared(shared(table(words)))))
    rows = by_path(net, pn.spec(3, jnp.int32))
    assert [row.params for row in rows.values()] == [60, 40, 20, 20, 0]
    assert [row.calls for row in rows.values()] == [1, 1, 2, 2, 1]
    dense = rows["graph[1].each[0].dense"]
    assert (dense.flops.matmul, dense.activations) == (2 * 3 * 2 * 4 * 4, 2 * 3 * 4 * 4)
    assert rows["graph[2].unembed"].output == pn.spec((3, 10))


def test_trees_of_inputs_and_outputs_dtypes_and_state():
    counter = pn.layer(
        lambda params, x, state: x,
        init=lambda key, spec: ((), {"seen": jnp.zeros(3)}),
        name="counter",
    )
    x, y = pn.node("x"), pn.node("y")
    net = pn.graph({"x": x, "y": y}, {"a": counter(x), "b": y})
    lines = str(pn.summary(net, {"x": pn.spec((2, 2)), "y": pn.spec((), jnp.int32)})).split("\n")
    assert lines[2] == "graph          {a: (2, 2), b: () int32}       0      3      0         16 B"
    assert lines[3] == "  [0] counter  (2, 2)                         0      3      0         16 B"


def test_users_combinators_are_seen_through_and_unknown_costs_are_said():
    def mapped(params, x):
        return jax.lax.map(lambda a: pn.tanh.apply((), a), x)

    rows = by_path(pn.layer(mapped, parts=(pn.tanh,)), pn.spec((6, 2)))
    assert rows["mapped"].activations == 6 * 2 * 4
    spectrum = pn.layer(lambda params, x: jnp.linalg.eigh(x)[0], name="spectrum")
    table = pn.summary(pn.serial(spectrum, pn.relu), pn.spec((3, 3)))
    assert [row.flops for row in table.rows] == [None, None, pn.Flops(0, 3)]
    assert str(table).split("\n")[3].split() == ["[0]", "spectrum", "(3,)", "0", "0", "?", "12", "B"]


def test_a_part_that_only_training_calls_is_listed():
    only = pn.layer(lambda params, x: x, parts=(pn.relu,), name="skips")
    assert by_path(only, pn.spec(2))["skips[0].relu"].output is None
    assert "not called" in str(pn.summary(only, pn.spec(2)))


def test_what_jax_traced_for_another_summary_is_counted_where_it_is_now():
    """JAX hands a rematerialised function's program back, with the calls as they were numbered the first time."""
    inside = pn.serial(pn.dense(3), pn.relu)
    again = jax.checkpoint(inside.apply)
    users = pn.layer(lambda params, x: again(params, x), init=inside.init, name="users")
    assert by_path(users, pn.spec(3))["users"].calls == 1
    rows = by_path(pn.serial(pn.tanh, pn.dense(3), users), pn.spec(3))
    assert [(row.calls, row.flops.total) for row in rows.values()] == [(1, 48), (1, 3), (1, 21), (1, 24)]


def test_nothing_is_allocated_for_ten_billion_numbers():
    wide = pn.residual(pn.dense(32_768), pn.gelu, pn.dense(8_192))
    for net in (pn.repeat(wide, 20), pn.serial(*[wide] * 20)):
        total = pn.summary(net, pn.spec(8_192)).total
        assert total.params == 20 * (2 * 32_768 * 8_192 + 32_768 + 8_192)


@pytest.mark.parametrize("kind", ["apply", "forward", "vjp"])
def test_recording_hears_every_call_with_its_place(kind, key):
    net = pn.serial(pn.residual(pn.dense(3)), pn.relu)
    params, state = net.init(key, pn.spec(3))
    heard = []

    def recorder(call, run):
        heard.append((call.path, call.kind))
        return run(*call.args)

    xs = jnp.ones(3) if kind == "apply" else jnp.ones((2, 3))
    with recording(recorder):
        recorded = getattr(net, kind)(params, xs, state)
    places = ["serial", "serial[0].residual", "serial[0].residual[0].dense", "serial[1].relu"]
    assert heard == [(place, kind) for place in places]
    np.testing.assert_array_equal(
        jax.tree.leaves(recorded)[0], jax.tree.leaves(getattr(net, kind)(params, xs, state))[0]
    )
    assert len(heard) == 4  # the last call was not recorded


def test_recording_ends_with_its_block_also_by_an_error_and_belongs_to_its_thread():
    heard = []

    def recorder(call, run):
        heard.append(call.path)
        other = threading.Thread(target=lambda: pn.tanh.apply((), jnp.ones(1)))
        other.start()
        other.join()
        return run(*call.args)

    net = pn.serial(pn.relu, pn.dense(2))
    with pytest.raises(ValueError, match=r"^serial\[1\]\.dense: expected x of shape"), recording(recorder):
        net.apply(((), {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}), jnp.ones(1))
    pn.sigmoid.apply((), jnp.ones(1))
    with recording(recorder):
        pn.sigmoid.apply((), jnp.ones(1))
    assert heard == ["serial", "serial[0].relu", "sigmoid"]


def test_the_summary_of_a_summary_is_short():
    assert repr(pn.summary(pn.dense(3), pn.spec(2))) == "Summary(1 rows, 9 params)"


BAD = {
    "a shape for a spec": (
        lambda: pn.summary(pn.relu, (3,)),
        TypeError,
        "summary: expected the spec of one example, got 3. Pass pn.spec(784), pn.spec((28, 28)) or a tree of such.",
    ),
    "no network": (
        lambda: pn.summary(3, pn.spec(1)),
        TypeError,
        "summary: expected a layer or a function of one example, got 3. "
        "Give layers as separate arguments, such as pn.serial(pn.dense(3), pn.relu).",
    ),
    "a network for other examples": (
        lambda: pn.summary(pn.serial(pn.flatten, pn.reshape((2, 2))), pn.spec(3)),
        ValueError,
        "serial[1].reshape: expected x with elements that fill (2, 2), got (3,), which has 3. "
        "Leave the mini-batch axis out: reshape sees one example.",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_whole_sentences(case):
    function, kind, message = BAD[case]
    with refuses(kind, message):
        function()
