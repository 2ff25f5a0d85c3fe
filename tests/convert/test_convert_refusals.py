"""What the converters refuse, and what they say then."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refuses

import purenet as pn

NET, SPEC = pn.serial(pn.dense(2), pn.relu, pn.dense(1)), pn.spec(3)


@pytest.fixture
def arrays():
    return pn.convert.to_torch(NET, NET.init(jax.random.key(0), SPEC)[0])


def test_a_missing_key_is_named_with_what_came_in_its_place(arrays):
    arrays["fc.weight"] = arrays.pop("2.weight")
    with refuses(
        pn.StructureError,
        "from_torch: expected the key '2.weight' for serial[2].dense, got a dictionary without it, but 'fc.weight', "
        "which nothing asks for. Give the prefixes of this network's places in names, or another network.",
    ):
        pn.convert.from_torch(NET, arrays, SPEC)
    arrays["fc.bias"] = arrays.pop("2.bias")
    pn.convert.from_torch(NET, arrays, SPEC, {"2": "fc"})


def test_unused_keys_are_named(arrays):
    arrays |= {f"{i}.weight": np.zeros(1) for i in range(3, 9)}
    with refuses(
        pn.StructureError,
        "from_torch: expected only keys that the network has places for, got '3.weight', '4.weight', '5.weight', "
        "'6.weight' and 2 more. Take what belongs to other layers out of the dictionary, or give the prefixes in "
        "names.",
    ):
        pn.convert.from_torch(NET, arrays, SPEC)


def test_other_shapes_dtypes_and_kinds_are_refused(arrays):
    with refuses(
        pn.ShapeError,
        "from_torch: expected '0.weight' of shape (2, 3) for serial[0].dense, got (3, 2). "
        "Use the network, and the spec, that these weights belong to.",
    ):
        pn.convert.from_torch(NET, arrays | {"0.weight": arrays["0.weight"].T}, SPEC)
    with refuses(
        pn.StructureError,
        "from_torch: expected '0.bias' of dtype float32, that of serial[0].dense with this spec, got float64. "
        "Cast the array with astype, or give a spec of the other dtype.",
    ):
        pn.convert.from_torch(NET, arrays | {"0.bias": arrays["0.bias"].astype(np.float64)}, SPEC)
    with refuses(
        pn.StructureError,
        "from_torch: expected a NumPy array at '0.bias', got a list of 2 of builtins. Convert all of them, as with "
        "{k: v.numpy(force=True) for k, v in model.state_dict().items()} for PyTorch.",
    ):
        pn.convert.from_torch(NET, arrays | {"0.bias": [0.0, 0.0]}, SPEC)
    with refuses(
        pn.StructureError,
        "from_torch: expected state_dict to be a dict of arrays, got a list of 0. "
        "Pass {k: v.numpy(force=True) for k, v in model.state_dict().items()}.",
    ):
        pn.convert.from_torch(NET, [], SPEC)


def test_parameters_that_the_layer_has_not_must_say_nothing():
    net = pn.group_norm(1, offset=False)
    arrays = pn.convert.to_torch(net, {"scale": jnp.ones(2)})
    assert arrays["bias"].tolist() == [0, 0]
    pn.convert.from_torch(net, {"weight": arrays["weight"]}, pn.spec(2))
    with refuses(
        pn.ShapeError,
        "from_torch: expected 'bias' to be all zeros, as group_norm has no such parameter, got other numbers. "
        "Use a layer that has it.",
    ):
        pn.convert.from_torch(net, arrays | {"bias": np.ones(2, np.float32)}, pn.spec(2))


def test_the_count_of_batches_may_be_anything_or_absent():
    net, spec = pn.batch_norm(), pn.spec(2)
    params, state = net.init(None, spec)
    arrays = pn.convert.to_torch(net, params, state)
    assert (arrays["num_batches_tracked"].shape, arrays["num_batches_tracked"].dtype) == ((), np.int64)
    pn.convert.from_torch(net, arrays | {"num_batches_tracked": np.array(17)}, spec)
    del arrays["num_batches_tracked"]
    pn.convert.from_torch(net, arrays, spec)
    with refuses(
        pn.StructureError,
        "batch_norm: expected state with the running statistics, got none. Pass the one that training made.",
    ):
        pn.convert.to_torch(pn.serial(pn.batch_norm()).parts[0], params, None)


def test_tied_weights_must_be_tied():
    table, words = pn.embedding(7, 4), pn.node("words")
    net, spec = pn.graph(words, pn.unembed(table)(table(words))), pn.spec(5, jnp.int32)
    arrays = pn.convert.to_torch(net, net.init(jax.random.key(0), spec)[0])
    with refuses(
        pn.ShapeError,
        "from_torch: expected '1.weight' to be '0.weight', to which graph[1].unembed is tied, got other numbers. "
        "Use a dense layer for weights that are not tied.",
    ):
        pn.convert.from_torch(net, arrays | {"1.weight": -arrays["1.weight"]}, spec)


@pytest.mark.parametrize(
    ("net", "shape", "name"),
    [
        (pn.maxout(2, 2), (3,), "maxout"),
        (pn.weight_norm(pn.dense(2)), (3,), "weight_norm"),
        (pn.layer(lambda p, x: p * x, init=lambda key, spec: (jnp.ones(()), ()), name="mine"), (3,), "mine"),
    ],
)
@pytest.mark.parametrize("library", ["PyTorch", "Flax"])
def test_layers_without_counterpart_are_named(net, shape, name, library):
    net = pn.serial(net)
    params, state = net.init(jax.random.key(0), pn.spec(shape))
    to = pn.convert.to_torch if library == "PyTorch" else pn.convert.to_flax
    with refuses(
        pn.StructureError,
        f"to_{'torch' if library == 'PyTorch' else 'flax'}: expected layers that {library} has, too, got {name} at "
        f"serial[0].{name}. Convert the parts around it by themselves, such as net.parts[0] with params[0], and this "
        "one by hand.",
    ):
        to(net, params, state, pn.spec(shape))


def test_names_must_be_places_and_prefixes():
    params, _ = NET.init(jax.random.key(0), SPEC)
    with refuses(
        pn.ShapeError,
        "to_torch: expected names of places in the network, got ['7']. A place is the numbers of the parts on the way "
        "to it, '2.0' for what errors call serial[2].residual[0].",
    ):
        pn.convert.to_torch(NET, params, names={"7": "head"})
    with refuses(
        pn.ShapeError,
        "to_torch: expected a key for every array, got 'a.weight' for both serial[0].dense and serial[2].dense. "
        "Give each of them a prefix of its own by names.",
    ):
        pn.convert.to_torch(NET, params, names={"0": "a", "2": "a"})
    with refuses(
        pn.StructureError,
        "to_torch: expected names of places and prefixes that are strings, got 0: 'a'. "
        "Give such as {'0.0': 'encoder'}.",
    ):
        pn.convert.to_torch(NET, params, names={0: "a"})
    with refuses(
        pn.StructureError, "to_torch: expected names to be a dict, got a list of 1. Give such as {'0.0': 'encoder'}."
    ):
        pn.convert.to_torch(NET, params, names=["a"])


def test_params_of_another_network_are_refused():
    with refuses(
        pn.StructureError,
        "serial: expected params to be a tuple of 3, one entry per part, got a tuple of 1. "
        "Pass the params that this network's init made.",
    ):
        pn.convert.to_torch(NET, ({"kernel": jnp.ones((3, 2))},))
    with refuses(
        pn.StructureError,
        "dense: expected params to be a dict with names among ['kernel', 'bias'], got a dict of ['scale']. "
        "Pass the params that this network's init or training made.",
    ):
        pn.convert.to_torch(pn.dense(2), {"scale": jnp.ones(2)})


def test_flatten_needs_the_spec():
    net = pn.serial(pn.flatten, pn.dense(2))
    params, _ = net.init(jax.random.key(0), pn.spec((2, 2, 2)))
    with refuses(
        pn.StructureError,
        "to_torch: expected spec for a network with flatten, reshape or functions of your own, got None. PyTorch has "
        "channels first: give the spec of one example, so that the rows of the next kernel find their places.",
    ):
        pn.convert.to_torch(net, params)


def order_of(name):
    return (
        "expected features in an order that PyTorch has, too, got some that flatten and other layers made of space. "
        f"Put {name} directly behind pn.flatten or an activation, or convert the parts by themselves."
    )


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (pn.serial(pn.flatten, pn.group_norm(2)), "serial[1].group_norm: " + order_of("group_norm")),
        (pn.serial(jnp.ravel, pn.dense(2)), "serial[1].dense: " + order_of("dense")),
        (
            pn.serial(pn.flatten, pn.residual(pn.dense(8)), pn.dense(2)),
            "serial[2].dense: " + order_of("dense"),
        ),
        (pn.serial(pn.flatten, jnp.cumsum, pn.dense(2)), "serial[2].dense: " + order_of("dense")),
        (
            pn.serial(pn.flatten, pn.repeat(pn.dense(8), 2)),
            "serial[1].repeat: expected no repeat of features that flatten made of space, got one. PyTorch has them in "
            "another order. Convert the parts by themselves, and reorder the features by hand.",
        ),
        (
            pn.serial(pn.flatten, pn.dense(8), pn.reshape((2, 2, 2)), pn.conv(1, (2, 2))),
            "serial[2].reshape: expected a reshape that keeps the order of PyTorch, got one from (8,) to (2, 2, 2), "
            "where PyTorch has the channels first. Convert what stands before it and what stands behind it by "
            "themselves.",
        ),
    ],
)
def test_orders_that_cannot_be_followed_are_refused(net, message):
    spec = pn.spec((2, 2, 2))
    params, state = net.init(jax.random.key(0), spec)
    with refuses(pn.StructureError, message):
        pn.convert.to_torch(net, params, state, spec)


def test_attention_that_pytorch_has_not_is_refused():
    net = pn.attention(2, kv_heads=1)
    params, _ = net.init(jax.random.key(0), pn.spec((3, 4)))
    with refuses(
        pn.ShapeError,
        "attention: expected attention with as many features in its heads, of keys and values too, and at its end as "
        "in x, 4, as PyTorch's MultiheadAttention has, got kernels of shapes (4, 4), (4, 2), (4, 2), (4, 4). "
        "Convert it by hand.",
    ):
        pn.convert.to_torch(net, params)


def test_flax_needs_heads_and_a_style():
    params, _ = pn.attention(2).init(jax.random.key(0), pn.spec((3, 4)))
    with refuses(
        pn.StructureError,
        "attention: expected heads for a network with attention, got None. Flax's kernels have an axis of heads: give "
        "their number, heads=8.",
    ):
        pn.convert.to_flax(pn.attention(2), params)
    with refuses(pn.ShapeError, "attention: expected heads that divide 4, got 3. Give those of the layer."):
        pn.convert.to_flax(pn.attention(2), params, heads=3)
    with refuses(pn.ShapeError, "to_flax: expected style to be 'linen' or 'nnx', got 'haiku'. Choose one of them."):
        pn.convert.to_flax(pn.attention(2), params, style="haiku")
    with refuses(pn.StructureError, "to_flax: expected heads to be a whole number, got 2.0. Give an int."):
        pn.convert.to_flax(pn.attention(2), params, heads=2.0)
    with refuses(pn.ShapeError, "from_flax: expected heads of 1 or more, got 0. Give the number of heads."):
        pn.convert.from_flax(pn.attention(2), {}, pn.spec((3, 4)), heads=0)


def test_flax_cells_that_are_other_functions_are_refused():
    params, _ = pn.gru(2).init(jax.random.key(0), pn.spec((3, 4)))
    params["recurrent_bias"] = jnp.ones(2)
    with refuses(
        pn.ShapeError,
        "gru: expected recurrent_bias of zeros, as the GRUCell of flax.nnx has none, got other numbers. "
        "Use style='linen', whose GRUCell has one.",
    ):
        pn.convert.to_flax(pn.gru(2), params, style="nnx")
    bare = pn.lstm(2, bias=False)
    variables = pn.convert.to_flax(bare, bare.init(jax.random.key(0), pn.spec((3, 4)))[0])
    variables["params"]["cell"]["hf"]["bias"] = np.ones(2, np.float32)
    with refuses(
        pn.ShapeError,
        "from_flax: expected 'params/cell/hf/bias' to be all zeros, as lstm has no such parameter, got other numbers. "
        "Use a layer that has it.",
    ):
        pn.convert.from_flax(bare, variables, pn.spec((3, 4)))


def test_flax_entries_are_named_by_their_way():
    net = pn.serial(pn.dense(2))
    with refuses(
        pn.StructureError,
        "from_flax: expected the key 'params/layers_0/kernel' for serial[0].dense, got a dictionary without it, but "
        "'params/Dense_0/kernel', which nothing asks for. Give the prefixes of this network's places in names, or "
        "another network.",
    ):
        pn.convert.from_flax(net, {"params": {"Dense_0": {"kernel": np.ones((3, 2), np.float32)}}}, SPEC)
    with refuses(
        pn.StructureError,
        "from_flax: expected an array at 'params/layers_0/kernel', got 1.0. Pass the arrays alone, as "
        "nnx.to_pure_dict does.",
    ):
        pn.convert.from_flax(net, {"params": {"layers_0": {"kernel": 1.0, "bias": np.zeros(2, np.float32)}}}, SPEC)
    with refuses(
        pn.StructureError,
        "from_flax: expected variables to be nested dicts of arrays, got a list of 0. Pass what init of a linen module "
        "or nnx.to_pure_dict gives.",
    ):
        pn.convert.from_flax(net, [], SPEC)
