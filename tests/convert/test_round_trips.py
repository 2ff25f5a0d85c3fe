"""Every kind of layer through each dictionary and back: the same bits, under known names and in known layouts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purenet as pn

LINE, IMAGE = (5, 3), (4, 5, 3)
NETS = {
    "dense": (pn.dense(4), (3,)),
    "no bias": (pn.dense(4, bias=False), (3,)),
    "conv": (pn.conv(4, (2, 3), padding=1), IMAGE),
    "depthwise": (pn.depthwise_conv((2, 2), multiplier=2), IMAGE),
    "separable": (pn.separable_conv(4, (2, 2)), IMAGE),
    "transpose": (pn.conv_transpose(4, (2, 3)), IMAGE),
    "flatten": (
        pn.serial(pn.conv(2, (2, 2)), pn.relu, pn.flatten, pn.batch_norm(), pn.dropout(0.5), pn.dense(4), pn.dense(2)),
        IMAGE,
    ),
    "concatenated": (
        pn.serial(
            pn.branch(pn.serial(pn.conv(2, 2), pn.flatten), pn.serial(pn.flatten, pn.dense(3))),
            pn.concatenate(),
            pn.dense(2),
        ),
        LINE,
    ),
    "batch norm": (pn.batch_norm(), IMAGE),
    "batch norm, offset": (pn.batch_norm(scale=False), IMAGE),
    "norms": (pn.serial(pn.layer_norm(offset=False), pn.group_norm(3, scale=False), pn.instance_norm()), IMAGE),
    "rms norm": (pn.rms_norm(), (3,)),
    "rnn": (pn.rnn(4), LINE),
    "lstm": (pn.lstm(4), LINE),
    "lstm, no bias": (pn.lstm(4, bias=False), LINE),
    "gru, no bias": (pn.gru(4, bias=False), LINE),
    "bidirectional": (pn.bidirectional(pn.lstm(2)), LINE),
    "stacked": (pn.stacked(pn.lstm(2), pn.lstm(2), between=pn.dropout(0.1)), LINE),
    "stacked, mixed": (pn.stacked(pn.bidirectional(pn.rnn(2)), pn.lstm(2)), LINE),
    "attention": (pn.attention(2), (5, 4)),
    "transformer": (pn.transformer_block(4, 2, hidden=3, drop_prob=0.1), (5, 4)),
    "positions": (pn.learned_positions(6), LINE),
    "repeated": (pn.repeat(pn.residual(pn.dense(3), pn.tanh, pn.batch_norm()), 3), (3,)),
    "shortcut": (pn.residual(pn.each(pn.remat(pn.dense(2))), shortcut=pn.each(pn.dense(2))), LINE),
    "nothing": (pn.serial(pn.relu, jnp.sin), (3,)),
}


def made(net, shape):
    """Params and state in which no number occurs twice, nor a zero but a negative one."""
    spec = pn.spec(shape)
    tree = jax.eval_shape(lambda: net.init(jax.random.key(0), spec))
    leaves, structure = jax.tree.flatten(tree)
    counts = iter(np.arange(1, 1 + sum(leaf.size for leaf in leaves), dtype=np.float32))
    leaves = [
        jnp.asarray(np.array([next(counts) for _ in range(leaf.size)], leaf.dtype).reshape(leaf.shape))
        for leaf in leaves
    ]
    leaves = [leaf.at[(0,) * leaf.ndim].set(-0.0) for leaf in leaves]
    return spec, *jax.tree.unflatten(structure, leaves)


def same_bits(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert isinstance(b, jax.Array)
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.mark.parametrize(("net", "shape"), NETS.values(), ids=NETS)
def test_through_pytorch_and_back_are_the_same_bits(net, shape):
    spec, params, state = made(net, shape)
    arrays = pn.convert.to_torch(net, params, state, spec)
    assert all(type(a) is np.ndarray and a.flags.c_contiguous for a in arrays.values())
    same_bits((params, state), pn.convert.from_torch(net, arrays, spec))


@pytest.mark.parametrize("style", ["linen", "nnx"])
@pytest.mark.parametrize(("net", "shape"), NETS.values(), ids=NETS)
def test_through_flax_and_back_are_the_same_bits(net, shape, style):
    spec, params, state = made(net, shape)
    arrays = pn.convert.to_flax(net, params, state, style=style, heads=2)
    same_bits((params, state), pn.convert.from_flax(net, arrays, spec, style=style, heads=2))


def test_gru_keeps_its_inner_bias_but_not_in_nnx():
    spec, params, state = made(pn.gru(2), LINE)
    arrays = pn.convert.to_torch(pn.gru(2), params)
    assert arrays["bias_hh_l0"].tolist() == [0, 0, 0, 0, *params["recurrent_bias"].tolist()]
    same_bits((params, state), pn.convert.from_torch(pn.gru(2), arrays, spec))
    linen = pn.convert.to_flax(pn.gru(2), params)
    same_bits((params, state), pn.convert.from_flax(pn.gru(2), linen, spec))
    params["recurrent_bias"] = jnp.zeros(2)
    nnx = pn.convert.to_flax(pn.gru(2), params, style="nnx")
    same_bits((params, state), pn.convert.from_flax(pn.gru(2), nnx, spec, style="nnx"))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_small_dtypes_stay(dtype):
    net, spec = pn.serial(pn.dense(2), pn.batch_norm()), pn.spec(3, jnp.dtype(dtype))
    params, state = net.init(jax.random.key(0), spec)
    arrays = pn.convert.to_torch(net, params, state)
    assert (str(arrays["0.weight"].dtype), str(arrays["1.running_var"].dtype)) == (dtype, "float32")
    same_bits((params, state), pn.convert.from_torch(net, arrays, spec))


def test_two_biases_of_pytorch_are_added_up():
    h = 2
    arrays = {
        "weight_ih_l0": np.ones((3 * h, 3), np.float32),
        "weight_hh_l0": np.ones((3 * h, h), np.float32),
        "bias_ih_l0": np.arange(6, dtype=np.float32),
        "bias_hh_l0": np.arange(10, 16, dtype=np.float32),
    }
    params, _ = pn.convert.from_torch(pn.gru(h), arrays, pn.spec((4, 3)))
    assert params["bias"].tolist() == [10, 12, 14, 16, 4, 5]
    assert params["recurrent_bias"].tolist() == [14, 15]


def test_rows_behind_flatten_change_places_by_hand():
    """An image of 1 x 2 places and 3 channels: PyTorch sees c0 c0' c1 c1' c2 c2', we see c0 c1 c2 c0' c1' c2'."""
    net = pn.serial(pn.flatten, pn.dense(1, bias=False))
    arrays = pn.convert.to_torch(net, ((), {"kernel": jnp.arange(6.0)[:, None]}), spec=pn.spec((1, 2, 3)))
    assert arrays["1.weight"].tolist() == [[0, 3, 1, 4, 2, 5]]
    sequence = pn.convert.to_torch(net, ((), {"kernel": jnp.arange(6.0)[:, None]}), spec=pn.spec((2, 3)))
    assert sequence["1.weight"].tolist() == [[0, 1, 2, 3, 4, 5]]


def keys(net, shape, **options):
    spec, params, state = made(net, shape)
    return sorted(pn.convert.to_torch(net, params, state, spec, **options))


def test_names_are_those_of_sequentials_and_of_the_user():
    inner = pn.serial(pn.dense(2), pn.relu, pn.dense(2))
    tail = ["2.0.weight", "2.1.weight"]
    assert keys(pn.serial(inner), (3,), names={"": "net.body"})[0] == "net.body.0.0.bias"
    net = pn.serial(inner, pn.residual(pn.dense(2), pn.tanh), pn.repeat(pn.dense(2, bias=False), 2))
    first = ["0.0.bias", "0.0.weight", "0.2.bias", "0.2.weight"]
    assert keys(net, (3,)) == [*first, "1.0.0.bias", "1.0.0.weight", *tail]
    named = keys(net, (3,), names={"0": "mlp", "0.2": "head", "1.0.0": "block.fc", "2.1": "last"})
    assert named == [
        "2.0.weight",
        "block.fc.bias",
        "block.fc.weight",
        "head.bias",
        "head.weight",
        "last.weight",
        "mlp.0.bias",
        "mlp.0.weight",
    ]


def test_recurrent_layers_are_options_of_one_module():
    assert keys(pn.serial(pn.bidirectional(pn.rnn(2, bias=False))), LINE) == [
        "0.weight_hh_l0",
        "0.weight_hh_l0_reverse",
        "0.weight_ih_l0",
        "0.weight_ih_l0_reverse",
    ]
    net = pn.stacked(pn.rnn(2, bias=False), pn.rnn(2, bias=False))
    assert keys(net, LINE) == ["weight_hh_l0", "weight_hh_l1", "weight_ih_l0", "weight_ih_l1"]
    assert keys(net, LINE, names={"1": "top"}) == [
        "top.weight_hh_l0",
        "top.weight_ih_l0",
        "weight_hh_l0",
        "weight_ih_l0",
    ]


def test_tied_weights_are_written_twice_and_may_be_left_out():
    table, words = pn.embedding(7, 4), pn.node("words")
    net = pn.graph(words, pn.unembed(table)(pn.learned_positions(5)(table(words))))
    spec = pn.spec(5, jnp.int32)
    params, state = net.init(jax.random.key(0), spec)
    arrays = pn.convert.to_torch(net, params, state, names={"0": "wte", "1": "wpe", "2": "head"})
    assert sorted(arrays) == ["head.weight", "wpe.weight", "wte.weight"]
    assert np.array_equal(arrays["head.weight"], arrays["wte.weight"])
    names = {"0": "wte", "1": "wpe", "2": "head"}
    same_bits((params, state), pn.convert.from_torch(net, arrays, spec, names))
    del arrays["head.weight"]
    same_bits((params, state), pn.convert.from_torch(net, arrays, spec, names))
    linen = pn.convert.to_flax(net, params, state)
    assert sorted(linen["params"]) == ["layers_0", "layers_1"]
    same_bits((params, state), pn.convert.from_flax(net, linen, spec))


def test_flax_keeps_statistics_apart_in_linen_and_beside_in_nnx():
    net = pn.serial(pn.dense(2), pn.batch_norm(offset=False))
    _, params, state = made(net, (3,))
    linen = pn.convert.to_flax(net, params, state)
    assert jax.tree.map(np.shape, linen) == {
        "params": {"layers_0": {"bias": (2,), "kernel": (3, 2)}, "layers_1": {"scale": (2,)}},
        "batch_stats": {"layers_1": {"mean": (2,), "var": (2,)}},
    }
    nnx = pn.convert.to_flax(net, params, state, style="nnx")
    assert jax.tree.map(np.shape, nnx) == {
        "layers": {0: {"bias": (2,), "kernel": (3, 2)}, 1: {"mean": (2,), "scale": (2,), "var": (2,)}}
    }
    named = pn.convert.to_flax(pn.serial(pn.dense(2)), params[:1], names={"0": "blocks/3"}, style="nnx")
    assert list(named["blocks"]) == [3]


def test_shared_layers_have_one_entry():
    part, x = pn.dense(3), pn.node("x")
    net = pn.graph(x, part(pn.relu(part(x))))
    assert keys(net, (3,)) == ["0.bias", "0.weight"]
