"""The transformer's block, and a small language model of them."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from refusals import refuses

import purenet as pn
from purenet.errors import ShapeError, StructureError


def test_the_block_is_its_formula():
    block = pn.transformer_block(4, 2, hidden=3, causal=True, activation=jnp.tanh, norm=pn.rms_norm())
    params, _ = block.init(jax.random.key(0), pn.spec((5, 4)))
    x = jax.random.normal(jax.random.key(1), (5, 4))
    (((scale, look),), (second,)) = params
    rms, attention = pn.rms_norm().apply, pn.attention(2, causal=True).apply
    middle = x + attention(look, rms(scale, x))
    (wide, _, narrow), *_ = second[1]
    hidden = jnp.tanh(rms(second[0], middle) @ wide["kernel"] + wide["bias"])
    expected = middle + hidden @ narrow["kernel"] + narrow["bias"]
    chex.assert_trees_all_close(block.apply(params, x), expected, rtol=1e-5, atol=1e-6)


def test_options_decide_the_params():
    def count(*args, **options):
        params, _ = pn.transformer_block(*args, **options).init(jax.random.key(0), pn.spec((3, args[0])))
        return sum(a.size for a in jax.tree.leaves(params))

    c = 8
    attention, mlp, norms = 4 * c * c, 8 * c * c, 2 * c
    assert count(c, 2, bias=False) == attention + mlp + norms
    assert count(c, 2) == attention + 4 * c + mlp + 5 * c + 2 * norms
    assert count(c, 2, bias=False, hidden=5) == attention + 10 * c + norms
    assert count(c, 2, bias=False, kv_heads=1) == attention - c * c + mlp + norms


def test_dropout_is_in_both_ways():
    block = pn.transformer_block(4, 2, drop_prob=0.999999, norm=pn.layer_norm())
    params, state = block.init(jax.random.key(0), pn.spec((3, 4)))
    xs = jax.random.normal(jax.random.key(1), (2, 3, 4))
    chex.assert_trees_all_equal(jax.jit(block.forward)(params, xs, state, jax.random.key(2))[0], xs)
    assert not jnp.allclose(block.apply(params, xs[0]), xs[0])


def language_model(vocabulary, length, features):
    words, table = pn.node("words"), pn.embedding(vocabulary, features, embedding_init=jax.nn.initializers.normal(0.02))
    trunk = pn.serial(pn.learned_positions(length), pn.transformer_block(features, 2, causal=True), pn.layer_norm())
    return pn.graph(words, pn.unembed(table)(trunk(table(words))))


def test_a_small_language_model_learns_to_count():
    net, length = language_model(5, 6, 16), 6
    starts = np.arange(20)[:, None] % 5
    words = ((starts + np.arange(length + 1)) % 5).astype(np.int32)
    data = (jnp.asarray(words[:, :-1]), jnp.asarray(words[:, 1:]))
    loss, optimizer = pn.losses.each(pn.losses.softmax_cross_entropy), optax.adam(1e-2)
    start = pn.train_state(net, optimizer, jax.random.key(0), pn.spec(length, jnp.int32))
    final, history = jax.jit(pn.train(net, loss, optimizer, batch_size=10, epochs=25))(start, data)
    assert history["loss"][0] > 1.2
    assert history["loss"][-1] < 0.1
    batch = jax.tree.map(lambda a: a[:3], data)
    by_jax = jax.jit(pn.value_and_grad(net, loss))(final.params, final.state, batch)
    by_hand = jax.jit(pn.backprop(net, loss))(final.params, final.state, batch)
    chex.assert_trees_all_close(by_hand, by_jax, rtol=1e-3, atol=1e-5)


def test_bad_arguments_are_refused():
    with refuses(ShapeError, "transformer_block: expected heads that divide features = 4, got 3. Change one."):
        pn.transformer_block(4, 3)
    with refuses(StructureError, "transformer_block: expected hidden to be a whole number, got 2.5. Give an int."):
        pn.transformer_block(4, 2, hidden=2.5)
    with refuses(ShapeError, "transformer_block: expected features of 1 or more, got 0. Give their number."):
        pn.transformer_block(0, 2)
    with refuses(
        StructureError,
        "transformer_block: expected a layer, got the function layer_norm, which makes one. Call it: pn.layer_norm(…).",
    ):
        pn.transformer_block(4, 2, norm=pn.layer_norm)
    with refuses(
        ShapeError,
        "transformer_block: attention: expected kv_heads that divide heads = 2, got 3. Each serves as many queries.",
    ):
        pn.transformer_block(4, 2, kv_heads=3)
    with refuses(
        StructureError,
        "transformer_block: dropout: expected drop_prob to be a Python number, got None. Give one such as 0.5.",
    ):
        pn.transformer_block(4, 2, drop_prob=None)


@pytest.mark.parametrize("shape", [(4,), (2, 3, 4), (3, 5)])
def test_other_inputs_are_refused(shape):
    block = pn.transformer_block(4, 2)
    params, _ = block.init(jax.random.key(0), pn.spec((3, 4)))
    with pytest.raises(ShapeError, match=r"^serial\[0\]\.residual"):
        block.apply(params, jnp.zeros(shape))
