"""What recurrent layers refuse, with whole messages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refuses

import purenet as pn
from purenet.errors import ShapeError, StructureError

T, N = 4, 3
MAKERS = {"rnn": pn.rnn, "lstm": pn.lstm, "gru": pn.gru}
X = jnp.ones((T, N))


def made(maker=pn.rnn, **options):
    net = maker(2, **options)
    start = (pn.spec(2), pn.spec(2)) if maker is pn.lstm else pn.spec(2)
    parts = (pn.spec((T, N)), *[pn.spec((), jnp.int32)] * options.get("lengths", False))
    parts = (*parts, *[start] * options.get("carry", False))
    return net, net.init(jax.random.key(0), parts if len(parts) > 1 else parts[0])[0]


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (ShapeError, {"features": 0}, "expected features of 1 or more, got 0. Give the number of outputs."),
        (StructureError, {"features": 2.0}, "expected features to be a whole number, got 2.0. Give an int."),
        (
            ShapeError,
            {"outputs": "first"},
            "expected outputs to be one of 'all', 'last', got 'first'. Choose one of them.",
        ),
        (StructureError, {"outputs": None}, "expected outputs to be one of 'all', 'last', got None. Give a str."),
        (StructureError, {"lengths": 1}, "expected lengths to be True or False, got 1. Give a bool."),
        (StructureError, {"carry": None}, "expected carry to be True or False, got None. Give a bool."),
        (StructureError, {"bias": "no"}, "expected bias to be True or False, got 'no'. Give a bool."),
    ],
)
@pytest.mark.parametrize("name", list(MAKERS))
def test_options(name, kind, options, message):
    with refuses(kind, f"{name}: {message}"):
        MAKERS[name](**({"features": 2} | options))


def test_options_of_one_kind():
    with refuses(
        ShapeError,
        "rnn: expected activation to be one of 'tanh', 'relu', 'sigmoid', 'identity', got 'gelu'. Choose one of them.",
    ):
        pn.rnn(2, activation="gelu")
    with refuses(StructureError, "lstm: expected forget_bias to be a Python number, got True. Give one such as 1.0."):
        pn.lstm(2, forget_bias=True)
    with refuses(ShapeError, "lstm: expected a finite forget_bias, got nan. Give one such as 1.0."):
        pn.lstm(2, forget_bias=float("nan"))


@pytest.mark.parametrize("shape", [(N,), (2, T, N), (0, N)])
def test_what_is_no_sequence(shape):
    message = (
        f"gru: expected x of shape (T, n) with T of 1 or more, got {shape}. "
        "One example is one sequence; leave the mini-batch axis out, or use jax.vmap(net.apply, (None, 0))."
    )
    net, params = made(pn.gru)
    with refuses(ShapeError, message):
        net.apply(params, jnp.ones(shape))
    with refuses(ShapeError, message):
        net.vjp(params, jnp.ones((5, *shape)))
    with refuses(ShapeError, message):
        net.init(jax.random.key(0), pn.spec(shape))


def test_other_numbers_and_dtypes_of_x():
    net, params = made()
    with refuses(
        ShapeError,
        "rnn: expected x of shape (4, 3), got (4, 2). "
        "Initialise the network with the spec of the examples that it gets.",
    ):
        net.apply(params, jnp.ones((T, 2)))
    with refuses(
        StructureError,
        "rnn: expected x of dtype float32, that of the parameters, got bfloat16. Cast x or the parameters with astype.",
    ):
        net.apply(params, jnp.ones((T, N), jnp.bfloat16))
    with refuses(
        StructureError,
        "rnn: expected x of floating dtype, got int32. Convert the examples, such as x.astype(np.float32).",
    ):
        net.apply(params, jnp.ones((T, N), jnp.int32))


def test_lengths_that_are_none():
    net, params = made(lengths=True)
    for length, came in ((2.0, "float32"), (np.int8(2), "int8"), (True, "bool")):
        with refuses(
            StructureError,
            f"rnn: expected length to be an int32, got {came}. Convert it, such as length.astype(jnp.int32).",
        ):
            net.apply(params, (X, length))
    with refuses(
        ShapeError,
        "rnn: expected length of shape (), one number for an example, got (1,). "
        "For a mini-batch use jax.vmap(net.apply, (None, 0)).",
    ):
        net.apply(params, (X, jnp.ones(1, jnp.int32)))
    with refuses(
        StructureError,
        "rnn: expected the input to be a tuple (x, length), got float32 of shape (4, 3). "
        "rnn was made with lengths=True.",
    ):
        net.apply(params, X)


@pytest.mark.parametrize("length", [0, -3, T + 1])
def test_lengths_out_of_range_that_can_be_seen(length):
    net, params = made(pn.lstm, lengths=True)
    message = (
        f"lstm: expected 1 <= length <= 4, the number of steps, got {length}. "
        "Drop empty sequences, and cut longer ones."
    )
    with refuses(ShapeError, message):
        net.apply(params, (X, jnp.int32(length)))
    for function in (net.forward, net.vjp):
        with refuses(ShapeError, message):
            function(params, (jnp.ones((2, T, N)), np.array([2, length], np.int32)))


def test_carries_that_do_not_fit():
    net, params = made(pn.lstm, lengths=True, carry=True)
    with refuses(
        StructureError,
        "lstm: expected the input to be a tuple (x, length, carry), got a tuple of 2. "
        "lstm was made with lengths=True and carry=True.",
    ):
        net.apply(params, (X, jnp.int32(2)))
    with refuses(
        StructureError,
        "lstm: expected carry to be a tuple (h, c) of arrays, got float32 of shape (2,). "
        "Begin with zeros, or with the carry that came out before.",
    ):
        net.apply(params, (X, jnp.int32(2), jnp.zeros(2)))
    with refuses(
        ShapeError,
        "lstm: expected carry c of shape (2,), got (3,). "
        "Initialise the network with the spec of the examples that it gets.",
    ):
        net.apply(params, (X, jnp.int32(2), (jnp.zeros(2), jnp.zeros(3))))
    net, params = made(pn.gru, carry=True)
    with refuses(
        StructureError,
        "gru: expected carry of dtype float32, that of the parameters, got float16. "
        "Cast carry or the parameters with astype.",
    ):
        net.apply(params, (X, jnp.zeros(2, jnp.float16)))


def test_params_of_another_layer():
    net, params = made(pn.gru)
    with refuses(
        StructureError,
        "gru: expected params to be a dict of ['bias', 'kernel', 'recurrent', 'recurrent_bias'], got a dict of "
        "['kernel']. Pass the params that this network's init made.",
    ):
        net.apply({"kernel": params["kernel"]}, X)
    with refuses(
        ShapeError,
        "gru: expected params['recurrent'] of shape (2, 6), got (3, 6). Pass the params that this network's init made.",
    ):
        net.apply(params | {"recurrent": jnp.ones((3, 6))}, X)
    with refuses(
        ShapeError,
        "gru: expected params['kernel'] of shape (n, 6), got (3, 8). Pass the params that this network's init made.",
    ):
        net.apply(params | {"kernel": jnp.ones((3, 8))}, X)
    with refuses(
        StructureError,
        "gru: expected params['bias'] of dtype float32, that of the kernel, got bfloat16. "
        "Cast all parameters to one dtype.",
    ):
        net.apply(params | {"bias": params["bias"].astype(jnp.bfloat16)}, X)
