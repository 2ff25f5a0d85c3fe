"""What the contract refuses: each message whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refuses

import purenet as pn

NET = pn.serial(pn.flatten, pn.residual(pn.dense(6), pn.relu), pn.dense(3))
PARAMS, STATE = NET.init(jax.random.key(0), pn.spec((2, 3)))


def square(params, x):
    """Squares."""
    return x * x


FORGOTTEN = "For a mini-batch use jax.vmap(net.apply, (None, 0)); for a sequence in one example, pn.each."
LOST = "An axis was lost: is jax.vmap applied twice, or one example passed as a mini-batch?"
OTHER = "Pass the params that this network's init made."


def broken(rule):
    """A scaling layer with this pullback."""
    return pn.layer(
        lambda params, x: params["scale"] * x,
        vjp=lambda params, xs, state, key: (params["scale"] * xs, state, lambda dys: rule(xs, dys)),
        name="broken",
    )


BAD = {
    "vmap forgotten": (
        lambda: pn.dense(3).apply({"kernel": jnp.ones((4, 3)), "bias": jnp.ones(3)}, jnp.ones((32, 4))),
        ValueError,
        f"dense: expected x of shape (4,), got (32, 4). {FORGOTTEN}",
    ),
    "vmap twice": (
        lambda: jax.vmap(jax.vmap(NET.parts[2].apply, (None, 0)), (None, 0))(PARAMS[2], jnp.ones((5, 6))),
        ValueError,
        f"dense: expected x of shape (6,), got (). {LOST}",
    ),
    "one example as mini-batch": (
        lambda: NET.parts[2].forward(PARAMS[2], jnp.ones(6), (), None),
        ValueError,
        f"dense: expected x of shape (6,), got (). {LOST}",
    ),
    "several examples in one": (
        lambda: NET.apply(PARAMS, jnp.ones((4, 3))),
        ValueError,
        "serial[1].residual[0].serial[0].dense: expected x of shape (6,), got (12,). "
        "12 is 2 times 6: were several examples flattened into one?",
    ),
    "same size, other shape": (
        lambda: NET.parts[2].apply(PARAMS[2], jnp.ones((2, 3))),
        ValueError,
        "dense: expected x of shape (6,), got (2, 3). The sizes agree: put pn.reshape((6,)) before it.",
    ),
    "another size": (
        lambda: NET.apply(PARAMS, jnp.ones((2, 2))),
        ValueError,
        "serial[1].residual[0].serial[0].dense: expected x of shape (6,), got (4,). "
        "Initialise the network with the spec of the examples that it gets.",
    ),
    "integers": (
        lambda: NET.apply(PARAMS, jnp.ones((2, 3), jnp.int32)),
        TypeError,
        "serial[1].residual[0].serial[0].dense: expected x of floating dtype, got int32. "
        "Convert the examples, such as x.astype(np.float32).",
    ),
    "another dtype": (
        lambda: NET.apply(PARAMS, jnp.ones((2, 3), jnp.bfloat16)),
        TypeError,
        "serial[1].residual[0].serial[0].dense: expected x of dtype float32, that of the parameters, got bfloat16. "
        "Cast x or the parameters with astype.",
    ),
    "a NumPy float64": (
        lambda: NET.apply(PARAMS, np.ones((2, 3))),
        TypeError,
        "serial: expected arrays of a dtype that JAX keeps, got float64 of shape (2, 3), which it would turn into "
        "float32. Convert it with astype('float32'), or the data with pn.data.check_data.",
    ),
    "a mini-batch of NumPy float64": (
        lambda: pn.relu.forward((), np.ones((2, 3))),
        TypeError,
        "relu: expected arrays of a dtype that JAX keeps, got float64 of shape (2, 3), which it would turn into "
        "float32. Convert it with astype('float32'), or the data with pn.data.check_data.",
    ),
    "a list": (
        lambda: pn.relu.apply((), [1.0, 2.0]),
        TypeError,
        "relu: expected x to be one array, got a list of 2. Pick one, or use jnp.asarray.",
    ),
    "another network's params": (
        lambda: NET.apply(PARAMS[:2], jnp.ones((2, 3))),
        TypeError,
        f"serial: expected params to be a tuple of 3, one entry per part, got a tuple of 2. {OTHER}",
    ),
    "a layer's params for another": (
        lambda: pn.dense(6).apply(PARAMS, jnp.ones(6)),
        TypeError,
        f"dense: expected params to be a dict of ['bias', 'kernel'], got a tuple of 3. {OTHER}",
    ),
    "params of another size": (
        lambda: pn.dense(4).apply(PARAMS[2], jnp.ones(6)),
        ValueError,
        f"dense: expected params['bias'] of shape (4,), got (3,). {OTHER}",
    ),
    "params without bias": (
        lambda: pn.dense(3).apply({"kernel": jnp.ones((6, 3))}, jnp.ones(6)),
        TypeError,
        f"dense: expected params to be a dict of ['bias', 'kernel'], got a dict of ['kernel']. {OTHER}",
    ),
    "another network's state": (
        lambda: NET.forward(PARAMS, jnp.ones((1, 2, 3)), ((), ()), None),
        TypeError,
        "serial: expected state to be a tuple of 3, one entry per part, got a tuple of 2. "
        "Pass the state that this network's init made.",
    ),
    "no mini-batch axis": (
        lambda: pn.relu.forward((), jnp.ones(()), (), None),
        ValueError,
        "relu: expected a mini-batch with the examples along the first axis, got a leaf of shape (). "
        "For one example use net.apply.",
    ),
    "mini-batches of two sizes": (
        lambda: pn.add.forward((), (jnp.ones((2, 3)), jnp.ones((4, 3))), (), None),
        ValueError,
        "add: expected leaves with one common first axis, got the shapes [(2, 3), (4, 3)]. "
        "Give all parts of every example.",
    ),
    "no layers": (
        pn.serial,
        ValueError,
        "serial: expected at least one layer, got none. Give layers, such as pn.serial(pn.dense(3)).",
    ),
    "a maker not called": (
        lambda: pn.serial(pn.relu, pn.dense),
        TypeError,
        "serial[1]: expected a layer, got the function dense, which makes one. Call it: pn.dense(…).",
    ),
    "a list of layers": (
        lambda: pn.serial([pn.relu]),
        TypeError,
        "serial[0]: expected a layer or a function of one example, got a list of 1. "
        "Give layers as separate arguments, such as pn.serial(pn.dense(3), pn.relu).",
    ),
    "no features": (
        lambda: pn.dense(0),
        ValueError,
        "dense: expected features of 1 or more, got 0. Give the number of outputs.",
    ),
    "features not a number": (
        lambda: pn.dense(2.0),
        TypeError,
        "dense: expected features to be a whole number, got 2.0. Give an int.",
    ),
    "a bias that is no truth value": (
        lambda: pn.dense(2, bias="no"),
        TypeError,
        "dense: expected bias to be True or False, got 'no'. Give a bool.",
    ),
    "a seed for a key": (
        lambda: NET.init(0, pn.spec((2, 3))),
        TypeError,
        "serial[0]: expected a JAX random key, got 0. Make one with jax.random.key(0).",
    ),
    "no key": (
        lambda: NET.init(None, pn.spec((2, 3))),
        TypeError,
        "serial[1].residual[0].serial[0].dense: expected a JAX random key, got None. Make one with jax.random.key(0).",
    ),
    "an array for a spec": (
        lambda: NET.init(jax.random.key(0), jnp.ones((2, 3))),
        TypeError,
        "serial: expected the spec of one example, got float32 of shape (2, 3). "
        "Pass pn.spec(784), pn.spec((28, 28)) or a tree of such.",
    ),
    "a shape for a spec": (
        lambda: NET.init(jax.random.key(0), (2, 3)),
        TypeError,
        "serial: expected the spec of one example, got 2. Pass pn.spec(784), pn.spec((28, 28)) or a tree of such.",
    ),
    "images into dense": (
        lambda: pn.dense(3).init(jax.random.key(0), pn.spec((28, 28))),
        ValueError,
        "dense: expected a spec with one axis, got (28, 28). "
        "Leave the mini-batch axis out; put pn.flatten before it, or pn.each around it to map it over an axis.",
    ),
    "ways that end apart": (
        lambda: pn.residual(pn.dense(3)).init(jax.random.key(0), pn.spec(2)),
        ValueError,
        "residual: expected both ways to end in one shape and dtype, got float32 of shape (3,) and float32 of "
        "shape (2,). Give a shortcut that ends like the layer, such as pn.residual(f, shortcut=pn.dense(features)).",
    ),
    "nothing to map over": (
        lambda: pn.each(pn.relu).apply(((),), jnp.ones(())),
        ValueError,
        "each: expected x with an axis to map over, the same for every leaf, got float32 of shape (). "
        "Use the layer itself, without pn.each, on a single slice.",
    ),
    "elements that do not fill": (
        lambda: pn.reshape((2, -1)).apply((), jnp.ones(5)),
        ValueError,
        "reshape: expected x with elements that fill (2, -1), got (5,), which has 5. "
        "Leave the mini-batch axis out: reshape sees one example.",
    ),
    "two unknown sizes": (
        lambda: pn.reshape((-1, -1)),
        ValueError,
        "reshape: expected sizes of 0 or more and at most one -1, got (-1, -1). "
        "Leave the mini-batch axis out: reshape sees one example.",
    ),
    "a size that is no number": (
        lambda: pn.reshape((2.0,)),
        TypeError,
        "reshape: expected sizes that are whole numbers, got (2.0,). Give ints.",
    ),
    "a negative spec": (
        lambda: pn.spec(-1),
        ValueError,
        "spec: expected sizes of 0 or more, got -1. Give the shape of one example.",
    ),
    "a spec of floats": (
        lambda: pn.spec((2.5,)),
        TypeError,
        "spec: expected sizes that are whole numbers, got 2.5. Give the shape of one example.",
    ),
    "a spec that JAX would round": (
        lambda: pn.spec(3, jnp.float64),
        TypeError,
        "spec: expected a dtype that JAX keeps, got float64, which it would turn into float32. "
        'Use float32, or switch 64 bits on: jax.config.update("jax_enable_x64", True).',
    ),
    "a spec of no dtype": (
        lambda: pn.spec(3, "real"),
        TypeError,
        "spec: expected a dtype, got 'real'. Give one such as jnp.float32.",
    ),
    "a layer of nothing": (
        lambda: pn.layer(None),
        TypeError,
        "layer: expected apply to be a function, got None. See pn.Layer for the contract.",
    ),
    "a forward without state": (
        lambda: pn.layer(square, forward=lambda p, xs, s, k: xs).forward((), jnp.ones((2, 2)), (), None),
        TypeError,
        "square: expected (ys, state) from forward, got float32 of shape (2, 2). See pn.Layer for the contract.",
    ),
    "a layer called": (
        lambda: pn.relu(jnp.ones(2)),
        TypeError,
        "relu: expected no call, got one: it is a layer already. Write it without () in a network, and use "
        "net.apply(params, x) on an example.",
    ),
    "a loss called": (
        lambda: pn.losses.hinge(jnp.ones(2), jnp.ones(2)),
        TypeError,
        "hinge: expected no call, got one: it is a loss already. Use hinge.value(prediction, target) "
        "or hinge.grad(prediction, target) on one example.",
    ),
    "a metric called": (
        lambda: pn.metrics.accuracy(3),
        TypeError,
        "accuracy: expected no call, got one: it is a metric already. Pass it without (), such as "
        'metrics={"accuracy": pn.metrics.accuracy}.',
    ),
    "a pullback that forgets to sum": (
        lambda: pn.serial(broken(lambda xs, dys: ({"scale": dys * xs}, dys))).vjp(
            ({"scale": jnp.ones(2)},), jnp.ones((4, 2)), (), None
        ),
        TypeError,
        "serial[0].broken: expected dparams like params from the pullback, with float32 of shape (2,) at ['scale'], "
        "got float32 of shape (4, 2) there. Sum dparams over the mini-batch, and return (dparams, dxs) in this order.",
    ),
    "a pullback the wrong way round": (
        lambda: broken(lambda xs, dys: (dys, {"scale": dys[0]})).vjp(
            {"scale": jnp.ones(2)}, jnp.ones((4, 2)), (), None
        ),
        TypeError,
        "broken: expected dparams like params from the pullback, got another tree, float32 of shape (4, 2). "
        "Sum dparams over the mini-batch, and return (dparams, dxs) in this order.",
    ),
    "a loss's gradient of another shape": (
        lambda: pn.losses.loss(lambda p, y: jnp.sum(p), grad=lambda p, y: p[0], name="mine").grad(jnp.ones(2), 0),
        TypeError,
        "mine: expected a gradient like the prediction, with float32 of shape (2,), got float32 of shape (). "
        "Check the rule in grad=.",
    ),
    "a bias of another dtype": (
        lambda: pn.dense(3).apply({"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3, jnp.bfloat16)}, jnp.ones(2)),
        TypeError,
        "dense: expected params['bias'] of dtype float32, that of the kernel, got bfloat16. "
        "Cast all parameters to one dtype.",
    ),
    "an init without state": (
        lambda: pn.layer(square, init=lambda key, spec: {"w": 1}).init(None, pn.spec(1)),
        TypeError,
        "square: expected init to return (params, state), got a dict of 1. Without state: (params, ()).",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_whole_sentences(case):
    function, kind, message = BAD[case]
    with refuses(kind, message):
        function()


def test_errors_of_users_layers_carry_the_path():
    net = pn.serial(pn.relu, pn.each(pn.layer(lambda params, x: jnp.dot(x, jnp.ones(9)), name="mine")))
    with pytest.raises(TypeError) as caught:
        net.apply(((), ((),)), jnp.ones((2, 3)))
    assert "purenet: in serial[1].each[0].mine" in caught.value.__notes__


@pytest.mark.parametrize("function", [jnp.log, lambda x: x**2])
def test_a_plain_function_is_told_that_it_needs_no_layer(function):
    with refuses(
        pn.StructureError,
        "layer: expected apply to take (params, x), got a function of one argument. A plain function of one example "
        "needs no pn.layer: put it into pn.serial as it is.",
    ):
        pn.layer(function)
