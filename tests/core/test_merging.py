"""Several values beside each other, and one of several: what parallel, branch, add, multiply, concatenate give."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refuses

import purenet as pn


def test_branch_and_parallel_are_their_layers(key):
    net = pn.serial(pn.branch(pn.dense(2), pn.tanh), pn.parallel(pn.relu, pn.dense(4)))
    params, state = net.init(key, pn.spec(3))
    (first, none), (none_again, second) = params
    assert (none, none_again, state) == ((), (), (((), ()), ((), ())))
    x = jnp.array([1.0, -2.0, 3.0])
    left, right = net.apply(params, x)
    chex.assert_trees_all_close(left, jnp.maximum(x @ first["kernel"] + first["bias"], 0), rtol=1e-6)
    chex.assert_trees_all_close(right, jnp.tanh(x) @ second["kernel"] + second["bias"], rtol=1e-6)


def test_branches_have_keys_and_states_of_their_own(key):
    counter = pn.layer(
        lambda params, x, state: x,
        init=lambda key, spec: ((), jnp.zeros(())),
        forward=lambda params, xs, state, key: (xs, state + 1),
    )
    net = pn.branch(pn.dropout(0.5), pn.dropout(0.5), counter)
    params, state = net.init(key, pn.spec(64))
    (one, other, _), state = net.forward(params, jnp.ones((1, 64)), state, key)
    assert not np.array_equal(one, other)
    assert [leaf.tolist() for leaf in jax.tree.leaves(state)] == [1]


def test_sums_and_products_of_several():
    x = tuple(jnp.array([number]) for number in (2.0, 3.0, -4.0))
    assert pn.add.apply((), x).tolist() == [1]
    assert pn.multiply.apply((), x).tolist() == [-24]
    xs = tuple(a[None] for a in x)
    assert [dx.item() for dx in pn.add.vjp((), xs)[2](jnp.array([[2.0]]))[1]] == [2, 2, 2]
    assert [dx.item() for dx in pn.multiply.vjp((), xs)[2](jnp.array([[2.0]]))[1]] == [-24, -16, 12]


@pytest.mark.parametrize("zeros", [(1,), (0, 2), (0, 1, 2, 3)])
def test_the_gradient_of_a_product_is_right_with_zeros(zeros):
    """One zero leaves one partial derivative, two leave none; a quotient y / x would be NaN."""
    numbers = [0.0 if i in zeros else i + 2.0 for i in range(4)]
    xs = tuple(jnp.array([[number]]) for number in numbers)
    got = [dx.item() for dx in pn.multiply.vjp((), xs)[2](jnp.ones((1, 1)))[1]]
    assert got == [np.prod(numbers[:i] + numbers[i + 1 :]) for i in range(4)]


def test_what_is_not_a_number_does_not_vanish():
    xs = (jnp.array([[jnp.nan, jnp.inf, 1.0]]), jnp.array([[0.0, 0.0, jnp.inf]]))
    product, _, pullback = pn.multiply.vjp((), xs)
    np.testing.assert_array_equal(product, [[np.nan, np.nan, np.inf]])
    np.testing.assert_array_equal(pullback(jnp.ones((1, 3)))[1][1], [[np.nan, np.inf, 1]])
    np.testing.assert_array_equal(pn.add.apply((), xs), [[np.nan, np.inf, np.inf]])


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
def test_concatenation_and_its_split_along_every_axis(axis, rng):
    shapes = [[3, 4, 5], [3, 4, 5]]
    shapes[1][axis] = 2
    xs = tuple(rng.normal(size=(6, *shape)) for shape in shapes)
    of_batch = axis + 1 if axis >= 0 else axis
    ys, _, pullback = pn.concatenate(axis).vjp((), tuple(map(jnp.float32, xs)))
    np.testing.assert_allclose(ys, np.concatenate(xs, of_batch), rtol=1e-6)
    np.testing.assert_allclose(pn.concatenate(axis).apply((), tuple(jnp.float32(x[0]) for x in xs)), ys[0])
    chex.assert_trees_all_equal(pullback(ys)[1], tuple(map(jnp.float32, xs)))


def test_integers_are_joined_and_have_no_cotangent():
    xs = (jnp.array([[1, 2]]), jnp.array([[3]]))
    ys, _, pullback = pn.concatenate().vjp((), xs)
    assert ys.tolist() == [[1, 2, 3]]
    dxs = pullback(np.zeros(ys.shape, jax.dtypes.float0))[1]
    assert [(dx.dtype, dx.shape) for dx in dxs] == [(jax.dtypes.float0, (1, 2)), (jax.dtypes.float0, (1, 1))]


def test_an_empty_array_may_be_joined():
    assert pn.concatenate().apply((), (jnp.ones(2), jnp.ones(0))).tolist() == [1, 1]


ONE, TWO = jnp.ones(1), jnp.ones(2)
SEVERAL = "Call it on several nodes of a graph, or put pn.branch or pn.parallel before it."
BAD = {
    "one array": (
        lambda: pn.add.apply((), ONE),
        TypeError,
        f"add: expected x to be a tuple of two or more arrays, got float32 of shape (1,). {SEVERAL}",
    ),
    "a tuple of one": (
        lambda: pn.multiply.apply((), (ONE,)),
        TypeError,
        f"multiply: expected x to be a tuple of two or more arrays, got a tuple of 1. {SEVERAL}",
    ),
    "a tuple in it": (
        lambda: pn.concatenate().apply((), (ONE, (ONE, ONE))),
        TypeError,
        "concatenate: expected x[1] to be one array, got a tuple of 2. Pick one.",
    ),
    "shapes that would broadcast": (
        lambda: pn.add.forward((), (jnp.ones((3, 1)), jnp.ones((3, 2)))),
        ValueError,
        "add: expected arrays of one shape, got (1,) and (2,). "
        "Nothing broadcasts: bring them to one shape first, such as by pn.dense.",
    ),
    "two dtypes": (
        lambda: pn.multiply.apply((), (ONE, ONE.astype(jnp.bfloat16))),
        TypeError,
        "multiply: expected x[1] of dtype float32, that of x[0], got bfloat16. Cast one of them with astype.",
    ),
    "integers": (
        lambda: pn.add.apply((), (jnp.array([1]), jnp.array([2]))),
        TypeError,
        "add: expected x[0] of floating dtype, got int32. Convert the examples, such as x.astype(np.float32).",
    ),
    "no such axis": (
        lambda: pn.concatenate(1).apply((), (ONE, TWO)),
        ValueError,
        "concatenate: expected x[0] with an axis 1, got shape (1,). "
        "Give the axis of one example, without the mini-batch axis.",
    ),
    "dtypes to join": (
        lambda: pn.concatenate().apply((), (ONE, jnp.array([1]))),
        TypeError,
        "concatenate: expected x[1] of dtype float32, that of x[0], got int32. Cast one of them with astype.",
    ),
    "other axes": (
        lambda: pn.concatenate(0).apply((), (jnp.ones((1, 2)), jnp.ones((1, 3)))),
        ValueError,
        "concatenate: expected arrays that differ only along axis 0, got (1, 2) and (1, 3). "
        "Choose another axis, or reshape one of them.",
    ),
    "an axis that is no number": (
        lambda: pn.concatenate(1.0),
        TypeError,
        "concatenate: expected axis to be a whole number, got 1.0. Give an int.",
    ),
    "an input short": (
        lambda: pn.parallel(pn.relu, pn.relu).apply(((), ()), (ONE,)),
        ValueError,
        "parallel: expected x to be a tuple of 2, one input per layer, got one of 1. Give each layer its input.",
    ),
    "one input for all": (
        lambda: pn.parallel(pn.relu, pn.relu).init(None, pn.spec(1)),
        TypeError,
        "parallel: expected x to be a tuple of 2, one input per layer, got float32 of shape (1,). "
        "For one input to all layers use pn.branch.",
    ),
    "a wrong shape inside": (
        lambda: pn.branch(pn.relu, pn.dense(2)).init(None, pn.spec((1, 1))),
        ValueError,
        "branch[1].dense: expected a spec with one axis, got (1, 1). Leave the mini-batch axis out; "
        "put pn.flatten before it, or pn.each around it to map it over an axis.",
    ),
    "no layers": (
        pn.branch,
        ValueError,
        "branch: expected at least one layer, got none. Give layers, such as pn.branch(pn.dense(3)).",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_whole_sentences(case):
    function, kind, message = BAD[case]
    with refuses(kind, message):
        function()
