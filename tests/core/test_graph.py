"""Any topology: values fan out and cotangents add up, layers and owners share params, and bad wiring is refused."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from refusals import refuses

import purenet as pn

LOSS = pn.losses.half_squared_error


def scaled(name="scaled"):
    return pn.layer(
        lambda params, x: params["scale"] * x,
        init=lambda key, spec: ({"scale": jnp.ones((), spec.dtype)}, ()),
        name=name,
    )


def counter():
    """Adds its state, which counts its calls in training."""
    return pn.layer(
        lambda params, x, state: x + state,
        init=lambda key, spec: ((), jnp.zeros((), spec.dtype)),
        forward=lambda params, xs, state, key: (xs + state, state + 1),
        name="counter",
    )


def test_values_and_gradients_worked_by_hand():
    """With y = (ab + c)·3 at a=6, b=4, c=2: dy/da = 12, dy/db = 18, dy/dc = 3."""
    a, b, c = (pn.node(name) for name in "abc")
    three = pn.layer(lambda params, x: 3 * x, name="three")
    net = pn.graph((a, b, c), three(pn.add(pn.multiply(a, b), c)))
    xs = tuple(jnp.array([number]) for number in (6.0, 4.0, 2.0))
    params, state = net.init(jax.random.key(0), (pn.spec(()),) * 3)
    ys, _, pullback = net.vjp(params, xs, state, None)
    assert ys.tolist() == [78]
    assert [dx.tolist() for dx in pullback(jnp.ones(1))[1]] == [[12], [18], [3]]


def test_a_layer_used_twice_has_one_entry_and_the_sum_of_both_gradients():
    x, shared = pn.node(), scaled()
    net = pn.graph(x, shared(shared(x)))
    params, _ = net.init(None, pn.spec(()))
    assert (net.parts, len(params)) == ((shared,), 1)
    params = ({"scale": jnp.array(5.0)},)
    xs, dys = jnp.array([2.0]), jnp.ones(1)
    plain = jax.vjp(lambda params: jax.vmap(lambda x: net.apply(params, x))(xs), params)[1](dys)
    by_hand = net.vjp(params, xs, (), None)[2](dys)
    assert float(plain[0][0]["scale"]) == float(by_hand[0][0]["scale"]) == 20  # d/ds s²x = 2sx
    assert by_hand[1].tolist() == [25]


def test_an_owner_lends_its_params(x64, rng, key):
    words, table = pn.node("words"), pn.embedding(5, 3)
    net = pn.graph(words, pn.unembed(table)(pn.tanh(table(words))))
    params, state = net.init(key, pn.spec(4, jnp.int32))
    assert [part.name for part in net.parts] == ["embedding", "tanh", "unembed"]
    assert (params[2], state, net.proven) == ((), ((), (), ()), True)
    params = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape)), params)
    xs = jnp.array([[0, 4, 4, 1], [2, 2, 2, 2]])
    assert net.apply(params, xs[0]).shape == (4, 5)
    plain = jax.grad(lambda params: jnp.sum(jnp.sin(jax.vmap(lambda x: net.apply(params, x))(xs))))(params)
    ys, _, pullback = net.vjp(params, xs, state, None)
    dparams, dxs = pullback(jnp.cos(ys))
    chex.assert_trees_all_close(dparams, plain, rtol=1e-12)
    assert (dxs.dtype, dxs.shape) == (jax.dtypes.float0, xs.shape)


def test_an_owner_may_stand_behind_in_the_order_of_the_outputs(key):
    words, codes, table = pn.node("words"), pn.node("codes"), pn.embedding(5, 3)
    net = pn.graph((words, codes), (pn.unembed(table)(codes), table(words)))
    assert [part.name for part in net.parts] == ["embedding", "unembed"]
    params, _ = net.init(key, (pn.spec(2, jnp.int32), pn.spec(3)))
    scores, _ = net.apply(params, (jnp.array([1, 1]), jnp.ones(3)))
    chex.assert_trees_all_close(scores, params[0]["embedding"] @ jnp.ones(3), rtol=1e-6)


def test_integers_fan_out_and_their_cotangents_carry_nothing():
    chosen, x = pn.node("chosen"), pn.node("x")
    pick = pn.layer(lambda params, given: given[0] * given[1][0], name="pick")
    net = pn.graph({"chosen": chosen, "x": x}, {"y": pn.add(pick(x, chosen), pick(x, chosen)), "same": chosen})
    xs = {"chosen": jnp.array([[3], [5]]), "x": jnp.array([1.0, 2.0])}
    ys, _, pullback = net.vjp(((), ()), xs, (), None)
    assert ys["y"].tolist() == [6, 20]
    _, dxs = pullback({"y": jnp.ones(2), "same": np.zeros((2, 1), jax.dtypes.float0)})
    assert dxs["x"].tolist() == [6, 10]
    assert dxs["chosen"].dtype == jax.dtypes.float0


def test_state_goes_from_node_to_node_and_keys_differ(key):
    x, twice, noise = pn.node(), counter(), pn.dropout(0.5)
    net = pn.graph(x, (twice(twice(x)), noise(x), noise(x)))
    params, state = net.init(key, pn.spec(64))
    (counted, one, other), state = net.forward(params, jnp.ones((1, 64)), state, key)
    assert counted.tolist() == [[2.0] * 64]  # 1 + 0, then + 1
    assert [leaf.tolist() for leaf in jax.tree.leaves(state)] == [2]
    assert not np.array_equal(one, other)
    assert net.apply(params, jnp.zeros(64), state)[0].tolist() == [4.0] * 64
    by_hand, state_by_hand, _ = net.vjp(params, jnp.ones((1, 64)), (jnp.zeros(()), ()), key)
    chex.assert_trees_all_equal((by_hand, state_by_hand), ((counted, one, other), state))


def test_order_is_depth_first_from_the_outputs_and_each_layer_has_its_own_key(key):
    x = pn.node()
    left, right, last = pn.dense(2), pn.dense(2), pn.dense(1)
    net, again = (pn.graph(x, (last(pn.add(left(x), right(x))), pn.relu(x))) for _ in range(2))
    assert net.parts == again.parts == (left, right, pn.add, last, pn.relu)
    params, _ = net.init(key, pn.spec(2))
    assert not np.array_equal(params[0]["kernel"], params[1]["kernel"])
    chex.assert_trees_all_equal(params, again.init(key, pn.spec(2))[0])


def test_a_graph_is_a_layer_in_layers_and_inputs_may_be_outputs(key):
    x = pn.node()
    same = pn.graph(x, [x, x])
    assert (repr(same), same.proven) == ("graph", True)
    assert same.apply((), jnp.ones(2))[1].tolist() == [1, 1]
    assert same.vjp((), jnp.ones((1, 2)), (), None)[2]([jnp.ones((1, 2))] * 2)[1].tolist() == [[2, 2]]
    inner = pn.graph(x, pn.dense(2)(x))
    net = pn.repeat(pn.residual(inner), 3)
    params, _ = net.init(key, pn.spec(2))
    assert net.apply(params, jnp.ones(2)).shape == (2,)
    assert not pn.graph(x, pn.layer(jnp.add, name="mine")(x)).proven


def test_deep_graphs_need_no_recursion():
    x = node = pn.node()
    for _ in range(3000):
        node = pn.relu(node)
    assert pn.graph(x, node).parts == (pn.relu,)


TWO = pn.node("a"), pn.node("b")
TWO_INPUTS = pn.graph({"a": TWO[0], "b": TWO[1]}, pn.concatenate()(*TWO))
NODES = "Make inputs with pn.node('x') and the others by calling layers on nodes, such as pn.dense(3)(x)."


def circle():
    first = pn.relu(pn.node())
    object.__setattr__(first, "inputs", (pn.tanh(first),))
    return pn.graph(pn.node(), first)


def owner_behind_its_user():
    words, table = pn.node("words"), pn.embedding(5, 3)
    return pn.graph(words, table(pn.layer(jnp.argmax, name="best")(pn.unembed(table)(words))))


X, Z = pn.node("x"), pn.node("z")
BAD = {
    "an input unused": (
        lambda: pn.graph((X, Z), pn.relu(X)),
        ValueError,
        "graph: expected every input to be used, got z, which no output needs. Drop it.",
    ),
    "an input twice": (
        lambda: pn.graph((X, X), pn.relu(X)),
        ValueError,
        "graph: expected every input once, got x twice. Use the one node several times.",
    ),
    "an input not listed": (
        lambda: pn.graph(X, pn.add(pn.relu(X), pn.dense(2)(Z))),
        ValueError,
        "graph: expected all inputs to be listed, got dense(z), which needs the node 'z', which is not. "
        "Add that very node to the inputs.",
    ),
    "an output not listed": (
        lambda: pn.graph(X, (X, Z)),
        ValueError,
        "graph: expected all inputs to be listed, got an output, the node 'z', which is not. "
        "Add that very node to the inputs.",
    ),
    "an input with a layer": (
        lambda: pn.graph(pn.relu(X), pn.tanh(X)),
        TypeError,
        "graph: expected inputs without a layer, got relu(x). Make inputs with pn.node('x').",
    ),
    "no outputs": (
        lambda: pn.graph(X, ()),
        ValueError,
        "graph: expected outputs with at least one node, got none. Make inputs with pn.node('x').",
    ),
    "a layer for a node": (
        lambda: pn.graph(X, pn.relu),
        TypeError,
        f"graph: expected outputs to be a node or a tuple or dict of nodes, got a Layer. {NODES}",
    ),
    "a spec for a node": (
        lambda: pn.graph((X, None), pn.relu(X)),
        TypeError,
        f"graph: expected inputs to be a node or a tuple or dict of nodes, got None. {NODES}",
    ),
    "a circle": (
        circle,
        ValueError,
        "graph: expected nodes without a circle, got tanh -> relu -> tanh. A node can only use nodes that were made "
        "before it, and the params of a layer used before it.",
    ),
    "an owner behind its user": (
        owner_behind_its_user,
        ValueError,
        "graph: expected nodes without a circle, got unembed -> best -> embedding -> unembed. A node can only use "
        "nodes that were made before it, and the params of a layer used before it.",
    ),
    "no owner": (
        lambda: pn.graph(X, pn.unembed(pn.embedding(5, 3))(X)),
        TypeError,
        "graph: expected embedding, whose params unembed uses, among the graph's layers with params of their own, got "
        "a graph without it. Call that very layer on a node of this graph.",
    ),
    "a node by hand of a function": (
        lambda: pn.graph(X, pn.Node(len, (X,), "len")),
        TypeError,
        "graph: expected nodes made by pn.node or by calling a layer, got a Node of a builtin_function_or_method. "
        "Such as pn.dense(3)(pn.node('x')).",
    ),
    "a node by hand of nothing": (
        lambda: pn.graph(X, pn.Node(pn.relu, (), "relu")),
        TypeError,
        "graph: expected an input without nodes before it and a layer with some, got relu() with 0. "
        "Make nodes with pn.node or by calling a layer.",
    ),
    "nodes in a list": (
        lambda: pn.add([X, Z]),
        TypeError,
        "add: expected nodes as separate arguments, got a list of 2. Write add(a, b).",
    ),
    "a node's name": (
        lambda: pn.node(3),
        TypeError,
        "node: expected name to be a string, got 3. Such as pn.node('image').",
    ),
    "a tuple for a dict": (
        lambda: TWO_INPUTS.apply(((),), (jnp.ones(1), jnp.ones(1))),
        TypeError,
        "graph: expected x of the structure of the graph's inputs, {'a': 'a', 'b': 'b'}, got a tuple of 2. "
        "Give each input its value.",
    ),
    "a spec without an input": (
        lambda: TWO_INPUTS.init(None, {"a": pn.spec(1)}),
        TypeError,
        "graph: expected x of the structure of the graph's inputs, {'a': 'a', 'b': 'b'}, got a dict of 1. "
        "Give each input its value.",
    ),
    "shapes inside": (
        lambda: TWO_INPUTS.init(None, {"a": pn.spec(1), "b": pn.spec((1, 1))}),
        ValueError,
        "graph[0].concatenate: expected arrays that differ only along axis -1, got (1,) and (1, 1). "
        "Choose another axis, or reshape one of them.",
    ),
    "another network's params": (
        lambda: TWO_INPUTS.apply((), {"a": jnp.ones(1), "b": jnp.ones(1)}),
        TypeError,
        "graph: expected params to be a tuple of 1, one entry per part, got a tuple of 0. "
        "Pass the params that this network's init made.",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_wiring_is_refused_in_whole_sentences(case):
    function, kind, message = BAD[case]
    with refuses(kind, message):
        function()


IMAGE, AGE = pn.node("image"), pn.node("age")
SIDE = pn.dense(3)
FULL = pn.graph(
    {"image": IMAGE, "age": AGE},
    pn.dense(1)(
        pn.concatenate()(
            pn.repeat(pn.remat(pn.residual(pn.dense(3), pn.tanh)), 2)(SIDE(IMAGE)),
            SIDE(pn.tanh(SIDE(IMAGE))),
            AGE,
        )
    ),
)
SPEC = {"image": pn.spec(3), "age": pn.spec(1)}


def examples(n=11):
    rng = np.random.default_rng(0)
    xs = {"image": rng.normal(size=(n, 3)).astype(np.float32), "age": rng.normal(size=(n, 1)).astype(np.float32)}
    return xs, rng.normal(size=(n, 1)).astype(np.float32)


def test_a_graph_trains_on_dicts_by_both_gradients_and_as_many_networks(key):
    optimizer, data = optax.adam(1e-2), jax.tree.map(jnp.asarray, examples())
    histories = []
    for gradient in ("autodiff", "backprop"):
        run = pn.train(FULL, LOSS, optimizer, batch_size=4, epochs=3, gradient=gradient)
        many = jax.vmap(lambda key, run=run: run(pn.train_state(FULL, optimizer, key, SPEC), data)[1]["loss"])
        histories.append(jax.jit(many)(jax.random.split(key)))
    chex.assert_trees_all_close(*histories, rtol=1e-5)
    assert np.all(histories[0][:, -1] < histories[0][:, 0])


def test_a_graph_is_fitted_and_evaluated_on_dicts_of_arrays(key):
    data = examples()
    result = pn.fit(FULL, data, loss=LOSS, optimizer=optax.adam(1e-2), batch_size=4, epochs=2, key=key, validation=data)
    measured = pn.evaluate(FULL, result.params, data, state=result.state, loss=LOSS, batch_size=4)
    np.testing.assert_allclose(measured["loss"], result.history["val_loss"][-1], rtol=1e-5)


def test_per_example_gradients_add_up_to_the_batchs(x64, key):
    data = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), examples(4))
    params, state = FULL.init(key, jax.tree.map(lambda a: pn.spec(a.shape, jnp.float64), SPEC))
    whole = jax.jit(pn.backprop(FULL, LOSS))(params, state, data)[1]
    chex.assert_trees_all_close(pn.value_and_grad(FULL, LOSS)(params, state, data)[1], whole, rtol=1e-11, atol=1e-13)
    each = jax.jit(pn.per_example_grad(FULL, LOSS))(params, state, data)[1]
    chex.assert_trees_all_close(jax.tree.map(lambda a: jnp.mean(a, axis=0), each), whole, rtol=1e-11, atol=1e-13)
