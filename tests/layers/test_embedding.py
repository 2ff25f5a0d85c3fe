"""Embedding and unembed: rows of a table, words that it has not, and one table for both."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refuses

import purenet as pn
from purenet.errors import ShapeError, StructureError

TABLE = jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
PARAMS = {"embedding": TABLE}
NET = pn.embedding(3, 2)


@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (0,)])
def test_it_looks_up_rows_for_words_of_any_shape(shape):
    words = np.random.default_rng(1).integers(0, 3, (5, *shape)).astype(np.int32)
    expected = np.asarray(TABLE)[words]
    chex.assert_trees_all_equal(NET.forward(PARAMS, jnp.asarray(words))[0], expected)
    chex.assert_trees_all_equal(jax.vmap(NET.apply, (None, 0))(PARAMS, jnp.asarray(words)), expected)


def test_the_gradient_adds_up_what_each_word_got():
    words = jnp.array([[0, 2], [2, 2]])
    dys = jnp.arange(8.0).reshape(2, 2, 2)
    _, state, pullback = NET.vjp(PARAMS, words)
    dparams, dxs = pullback(dys)
    chex.assert_trees_all_equal(dparams["embedding"], jnp.array([[0.0, 1.0], [0.0, 0.0], [2.0 + 4 + 6, 3.0 + 5 + 7]]))
    assert dxs.dtype == jax.dtypes.float0
    assert dxs.shape == words.shape
    assert state is None
    by_autodiff = jax.grad(lambda params: jnp.sum(dys * NET.forward(params, words)[0]))(PARAMS)
    chex.assert_trees_all_equal(dparams, by_autodiff)


@pytest.mark.parametrize("word", [-1, -4, 3, 4, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("function", ["apply", "forward", "vjp"])
def test_words_out_of_range_are_nan_and_so_are_their_gradients(word, function):
    words = jnp.array([[1, word]])

    def value(params):
        if function == "apply":
            return NET.apply(params, words[0])[None]
        return getattr(NET, function)(params, words)[0]

    ys = jax.jit(value)(PARAMS)
    chex.assert_trees_all_equal(jnp.isnan(ys), jnp.array([[[False] * 2, [True] * 2]]))
    chex.assert_trees_all_equal(ys[0, 0], TABLE[1])
    if function == "vjp":
        gradient = jax.jit(lambda dys: NET.vjp(PARAMS, words)[2](dys)[0]["embedding"])(jnp.ones((1, 2, 2)))
    else:
        gradient = jax.grad(lambda params: jnp.sum(value(params)))(PARAMS)["embedding"]
    nearest = 0 if word < 0 else 2
    chex.assert_trees_all_equal(jnp.isnan(gradient).all(axis=1), jnp.arange(3) == nearest)
    chex.assert_trees_all_equal(gradient[1], jnp.ones(2))


def test_a_bad_word_makes_loss_and_gradient_nan():
    loss = pn.losses.each(pn.losses.half_squared_error)
    batch = (jnp.array([[0, -1]]), jnp.zeros((1, 2, 2)))
    for gradient in (pn.value_and_grad, pn.backprop):
        (value, _), grads = gradient(NET, loss)(PARAMS, (), batch)
        assert jnp.isnan(value)
        assert jnp.isnan(grads["embedding"]).any()


@pytest.mark.parametrize("dtype", [jnp.int8, jnp.uint8, jnp.int16, jnp.uint32])
def test_words_of_few_bits_reach_no_wrong_row(dtype):
    net = pn.embedding(1000, 1)
    params = {"embedding": jnp.arange(1000.0)[:, None]}
    chex.assert_trees_all_equal(net.apply(params, jnp.array([0, 100], dtype)), jnp.array([[0.0], [100.0]]))
    least = jnp.array(-1).astype(dtype)  # -1, or the largest that there is
    expected = 255.0 if dtype == jnp.uint8 else jnp.nan
    chex.assert_trees_all_equal(net.apply(params, least), jnp.array([expected]))


def test_words_of_64_bits_are_not_cut(x64):
    assert jnp.isnan(NET.apply(PARAMS, jnp.array(2**32 + 1))).all()


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_the_table_has_the_dtype_that_was_asked_for(dtype):
    net = pn.embedding(3, 2, dtype=dtype)
    params, _ = net.init(jax.random.key(0), pn.spec((4,), jnp.int32))
    assert params["embedding"].dtype == dtype
    assert net.apply(params, jnp.array([1, 7, 0, 2])).dtype == dtype


def tied():
    words = pn.node("words")
    return pn.graph(words, pn.unembed(NET)(NET(words)))


def test_one_table_embeds_and_unembeds_and_its_gradients_add_up():
    net = tied()
    params, state = net.init(jax.random.key(0), pn.spec(2, jnp.int32))
    assert [a.shape for a in jax.tree.leaves(params)] == [(3, 2)]
    params = (PARAMS, ())
    words = jnp.array([[0, 2]])
    rows = np.asarray(TABLE)
    chex.assert_trees_all_equal(net.forward(params, words, state)[0][0], rows[[0, 2]] @ rows.T)
    dys = jnp.zeros((1, 2, 3)).at[0, 1, 0].set(1.0)  # of E₂·E₀
    gradient = net.vjp(params, words, state)[2](dys)[0][0]["embedding"]
    chex.assert_trees_all_equal(gradient, jnp.array([rows[2], [0.0, 0.0], rows[0]]))


@pytest.mark.parametrize("shape", [(2,), (4, 2), (2, 3, 2)])
def test_unembed_scores_each_word(shape):
    xs = np.random.default_rng(2).normal(size=(5, *shape)).astype(np.float32)
    scores, expected = pn.unembed(NET), xs @ np.asarray(TABLE).T
    ys, _, pullback = scores.vjp(PARAMS, jnp.asarray(xs))
    chex.assert_trees_all_close(ys, expected, rtol=1e-5)
    chex.assert_trees_all_close(jax.vmap(scores.apply, (None, 0))(PARAMS, jnp.asarray(xs)), expected, rtol=1e-5)
    dparams, dxs = pullback(jnp.asarray(expected))
    chex.assert_trees_all_close(dxs, expected @ np.asarray(TABLE), rtol=1e-4)
    chex.assert_trees_all_close(dparams["embedding"], expected.reshape(-1, 3).T @ xs.reshape(-1, 2), rtol=1e-4)


def test_a_python_number_is_a_word():
    chex.assert_trees_all_equal(NET.apply(PARAMS, 2), NET.apply(PARAMS, jnp.int32(2)))


def test_unembed_alone_cannot_be_initialised():
    with refuses(
        StructureError,
        "unembed: expected to be in a graph with its embedding, whose params it uses, got a call of init. Write "
        "pn.graph(words, pn.unembed(table)(…(table(words)))) and initialise that.",
    ):
        pn.unembed(NET).init(jax.random.key(0), pn.spec(2))


@pytest.mark.parametrize(("value", "came"), [(pn.relu, "the layer relu"), (3, "3")])
def test_unembed_wants_an_embedding(value, came):
    message = f"unembed: expected the layer that pn.embedding made, got {came}. Keep it in a variable."
    with refuses(StructureError, message):
        pn.unembed(value)


def test_floats_are_refused_as_words():
    with refuses(
        StructureError,
        "embedding: expected x of integer dtype, the numbers of words, got float32. "
        "Convert the words, such as x.astype(np.int32).",
    ):
        NET.apply(PARAMS, jnp.ones(3))
    with refuses(
        StructureError,
        "embedding: expected spec of integer dtype, the numbers of words, got float32. Use pn.spec(shape, jnp.int32).",
    ):
        NET.init(jax.random.key(0), pn.spec(3))
    with refuses(
        StructureError,
        "embedding: expected x of integer dtype, the numbers of words, got bool. "
        "Convert the words, such as x.astype(np.int32).",
    ):
        NET.apply(PARAMS, jnp.ones(3, bool))


def test_options_out_of_range_are_refused():
    with refuses(ShapeError, "embedding: expected vocabulary of 1 or more, got 0. Give their number."):
        pn.embedding(0, 2)
    with refuses(StructureError, "embedding: expected features to be a whole number, got 2.0. Give an int."):
        pn.embedding(3, 2.0)
    with refuses(
        StructureError,
        "embedding: expected a floating dtype that JAX keeps, got float64. "
        'Give one such as jnp.float32, or switch 64 bits on: jax.config.update("jax_enable_x64", True).',
    ):
        pn.embedding(3, 2, dtype=np.float64)
    with refuses(
        StructureError, "embedding: expected dtype to be a floating dtype, got 'numbers'. Give one such as jnp.float32."
    ):
        pn.embedding(3, 2, dtype="numbers")


def test_other_params_are_refused():
    words = jnp.array([0])
    with refuses(
        StructureError,
        "embedding: expected params to be a dict of ['embedding'], got a dict of ['kernel']. "
        "Pass the params that this network's init made.",
    ):
        NET.apply({"kernel": TABLE}, words)
    with refuses(
        ShapeError,
        "embedding: expected params['embedding'] of shape (3, 2), got (2, 3). "
        "Initialise the network with the spec of the examples that it gets, and pass the params that it made.",
    ):
        NET.apply({"embedding": TABLE.T}, words)
    with refuses(
        StructureError, "embedding: expected params['embedding'] of floating dtype, got int32. Cast it with astype."
    ):
        NET.apply({"embedding": TABLE.astype(jnp.int32)}, words)
    with refuses(
        StructureError,
        "embedding: expected arrays of a dtype that JAX keeps, got float64 of shape (3, 2), which it would turn into "
        "float32. Convert it with astype('float32'), or the data with pn.data.check_data.",
    ):
        NET.apply({"embedding": np.ones((3, 2))}, words)
    with refuses(
        ShapeError,
        "unembed: expected params['embedding'] of shape (3, 2), got (4, 2). "
        "Initialise the network with the spec of the examples that it gets, and pass the params that it made.",
    ):
        pn.unembed(NET).apply({"embedding": jnp.ones((4, 2))}, jnp.ones(2))
    with refuses(
        ShapeError,
        "unembed: expected x with 2 features on its last axis, got (4, 3). Those of the embedding are as many.",
    ):
        pn.unembed(NET).apply(PARAMS, jnp.ones((4, 3)))
    with refuses(
        StructureError,
        "unembed: expected x of dtype float32, that of the embedding, got bfloat16. "
        "Cast x or the parameters with astype.",
    ):
        pn.unembed(NET).apply(PARAMS, jnp.ones(2, jnp.bfloat16))
