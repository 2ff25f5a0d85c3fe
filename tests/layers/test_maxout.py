"""maxout against a loop over its pieces: values, who gets the gradient, initial values, refusals."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refuses

import purenet as pn
from purenet.errors import ShapeError, StructureError


def looped(kernel, bias, xs, dys):
    """Values and gradients, number by number."""
    n, pieces, features = kernel.shape
    ys, dkernel, dbias, dxs = np.zeros((len(xs), features)), np.zeros_like(kernel), np.zeros_like(bias), 0 * xs
    for b, x in enumerate(xs):
        for j in range(features):
            sums = [sum(x[i] * kernel[i, k, j] for i in range(n)) + bias[k, j] for k in range(pieces)]
            first = sums.index(max(sums))
            ys[b, j] = sums[first]
            dkernel[:, first, j] += x * dys[b, j]
            dbias[first, j] += dys[b, j]
            dxs[b] += kernel[:, first, j] * dys[b, j]
    return ys, {"kernel": dkernel, "bias": dbias}, dxs


@pytest.mark.parametrize("pieces", [1, 2, 3, 5])
def test_it_is_the_loop_and_ties_go_to_the_first(pieces, rng, x64):
    net = pn.maxout(3, pieces)
    # Small whole numbers, so that pieces are often alike.
    kernel, bias = rng.integers(-1, 2, (2, pieces, 3)).astype(float), rng.integers(-1, 2, (pieces, 3)).astype(float)
    xs, dys = rng.integers(-2, 3, (8, 2)).astype(float), rng.integers(1, 9, (8, 3)).astype(float)
    expected, *gradients = looped(kernel, bias, xs, dys)
    params = {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}

    @jax.jit
    def three(params, xs):
        applied, by_autodiff = jax.vjp(jax.vmap(net.apply, (None, 0)), params, xs)
        forwarded, through_forward = jax.vjp(lambda params, xs: net.forward(params, xs)[0], params, xs)
        ys, _, pullback = net.vjp(params, xs)
        return (applied, by_autodiff(dys)), (forwarded, through_forward(dys)), (ys, pullback(dys))

    for ys, got in three(params, jnp.asarray(xs)):
        chex.assert_trees_all_close(ys, expected, rtol=1e-14)
        chex.assert_trees_all_close(tuple(got), tuple(gradients), rtol=1e-14, atol=1e-14)


def test_two_pieces_make_the_absolute_value_and_relu():
    kernel = jnp.array([[[1.0, 1.0], [-1.0, 0.0]]])
    params = {"kernel": kernel, "bias": jnp.zeros((2, 2))}
    ys = jax.vmap(pn.maxout(2, 2).apply, (None, 0))(params, jnp.array([[-2.0], [0.0], [3.0]]))
    assert ys.tolist() == [[2.0, 0.0], [0.0, 0.0], [3.0, 3.0]]


def test_with_one_piece_it_is_dense(key):
    params, _ = pn.dense(3).init(key, pn.spec(4))
    x = jnp.arange(4.0)
    alike = {"kernel": params["kernel"][:, None], "bias": params["bias"][None]}
    chex.assert_trees_all_close(pn.maxout(3, 1).apply(alike, x), pn.dense(3).apply(params, x), rtol=1e-6)


def test_nan_in_any_piece_comes_out():
    params = {"kernel": jnp.ones((1, 2, 2)), "bias": jnp.array([[0.0, jnp.nan], [jnp.nan, 0.0]])}
    net, xs = pn.maxout(2, 2), jnp.ones((1, 1))
    for ys in (net.forward(params, xs)[0], net.vjp(params, xs)[0]):
        assert jnp.isnan(ys).all()


def test_each_piece_is_drawn_like_a_dense_kernel(key):
    params, state = pn.maxout(100, 3).init(key, pn.spec(200, "bfloat16"))
    assert state == ()
    assert {a.dtype for a in jax.tree.leaves(params)} == {jnp.dtype("bfloat16")}
    kernel = params["kernel"].astype(jnp.float32)
    assert kernel.shape == (200, 3, 100)
    limit = (6 / 300) ** 0.5  # Glorot's, of 200 inputs and 100 outputs
    assert 0.97 * limit < jnp.max(jnp.abs(kernel)) < 1.01 * limit
    assert jnp.abs(jnp.corrcoef(kernel.swapaxes(0, 1).reshape(3, -1)) - jnp.eye(3)).max() < 0.04
    assert not params["bias"].any()
    assert sorted(pn.maxout(2, 2, bias=False).init(key, pn.spec(3))[0]) == ["kernel"]


def test_what_does_not_fit_is_refused(key):
    net = pn.maxout(2, 3)
    params, _ = net.init(key, pn.spec(4))
    with refuses(
        ShapeError,
        "maxout: expected x of shape (4,), got (3,). Initialise the network with the spec of the examples that it "
        "gets.",
    ):
        net.apply(params, jnp.ones(3))
    with refuses(
        ShapeError,
        "maxout: expected params['kernel'] of shape (n, 3, 2), got (4, 6). "
        "Pass the params that this network's init made.",
    ):
        net.apply({**params, "kernel": jnp.ones((4, 6))}, jnp.ones(4))
    with refuses(
        ShapeError,
        "maxout: expected params['bias'] of shape (3, 2), got (2,). Pass the params that this network's init made.",
    ):
        net.apply({**params, "bias": jnp.ones(2)}, jnp.ones(4))
    with refuses(
        StructureError,
        "maxout: expected params to be a dict of ['bias', 'kernel'], got a dict of ['kernel']. "
        "Pass the params that this network's init made.",
    ):
        net.forward({"kernel": params["kernel"]}, jnp.ones((1, 4)))
    with refuses(
        StructureError,
        "maxout: expected params['bias'] of dtype float32, that of the kernel, got bfloat16. "
        "Cast all parameters to one dtype.",
    ):
        net.apply({**params, "bias": params["bias"].astype(jnp.bfloat16)}, jnp.ones(4))
    with refuses(
        ShapeError,
        "maxout: expected a spec with one axis, got (2, 2). "
        "Leave the mini-batch axis out; put pn.flatten before it, or pn.each around it to map it over an axis.",
    ):
        net.init(key, pn.spec((2, 2)))


def test_options_out_of_range_are_refused():
    with refuses(ShapeError, "maxout: expected pieces of 1 or more, got 0. Give how many there are."):
        pn.maxout(2, 0)
    with refuses(StructureError, "maxout: expected features to be a whole number, got 2.5. Give an int."):
        pn.maxout(2.5, 2)
    with refuses(StructureError, "maxout: expected bias to be True or False, got None. Give a bool."):
        pn.maxout(2, 2, bias=None)
