"""The transposed convolution: sizes and values against loops, against conv's own transpose, and against JAX's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from layers.conv_loops import stamped
from layers.test_conv import assert_close, draw, gradients

import purenet as pn

# (shape of x, window, options, the space of y, p)
CASES = {
    "same": ((3, 2), (3,), {"stride": (2,)}, (6,), (0,)),
    "same, even": ((3, 2), (4,), {"stride": (2,)}, (6,), (1,)),
    "same, stride beyond the window": ((3, 2), (2,), {"stride": (4,)}, (12,), (0,)),
    "same, dilated": ((4, 1), (3,), {"dilation": (2,)}, (4,), (2,)),
    "valid": ((3, 2, 2), (3, 2), {"stride": (2, 1), "padding": "valid"}, (7, 3), (0, 0)),
    "valid, stride beyond the window": ((3, 2), (2,), {"stride": (4,), "padding": "valid"}, (10,), (0,)),
    "numbers": ((3, 6), (4,), {"stride": (2,), "padding": 1}, (6,), (1,)),
    "pairs": ((3, 2, 6), (3, 3), {"stride": (2, 2), "padding": ((0, 1), (1, 0))}, (6, 4), (0, 1)),
    "longer": ((3, 2), (3,), {"stride": (3,), "padding": 1, "output_padding": 2, "dilation": (2,)}, (11,), (1,)),
    "3-D": ((2, 2, 1, 2), (2, 3, 2), {"stride": (2, 1, 2)}, (4, 2, 2), (0, 1, 0)),
}
cases = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])


@cases
def test_every_input_stamps_the_kernel(case, x64):
    shape, window, given, out, before = case
    net = pn.conv_transpose(3, window, **given)
    params, xs = draw(net, shape)
    steps = {"stride": (1,) * len(window), "dilation": (1,) * len(window)} | {
        name: given[name] for name in ("stride", "dilation") if name in given
    }
    numbers = [np.asarray(params[name]) for name in ("kernel", "bias")]
    expected = [stamped(np.asarray(x), *numbers, before=before, out=out, **steps) for x in xs]
    np.testing.assert_allclose(jax.jit(net.forward)(params, xs)[0], expected, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(jax.vmap(net.apply, (None, 0))(params, xs), expected, rtol=1e-11, atol=1e-12)


@cases
def test_the_hand_rule_and_forwards_rules_are_autodiff_of_apply(case, x64):
    shape, window, given, _, _ = case
    net = pn.conv_transpose(3, window, **given)
    by_hand, through, expected = gradients(net, *draw(net, shape))
    assert_close(by_hand, expected)
    assert_close(through, expected)


@pytest.mark.parametrize(
    ("space", "given"),
    [((6, 4), {}), ((6, 4), {"stride": 2}), ((7, 5), {"padding": "valid", "stride": 2}), ((6, 5), {"padding": 1})],
)
def test_it_is_the_transpose_of_conv(space, given, x64):
    there, back = (make(2, (3, 3), bias=False, **given) for make in (pn.conv, pn.conv_transpose))
    rng = np.random.default_rng(0)
    kernel = jnp.asarray(rng.normal(size=(3, 3, 4, 2)))
    x = jnp.asarray(rng.normal(size=(*space, 4)))
    y, transpose = jax.vjp(lambda x: there.apply({"kernel": kernel}, x), x)
    other = pn.conv_transpose(4, (3, 3), bias=False, **given)
    got = other.apply({"kernel": jnp.swapaxes(kernel, 2, 3)}, y)
    assert got.shape == x.shape
    assert_close(got, transpose(y)[0])
    assert back.name == "conv_transpose"


@pytest.mark.parametrize(
    ("n", "window", "stride", "padding"),
    [
        (4, 3, 2, "same"),
        (4, 4, 2, "same"),
        (3, 5, 3, "same"),
        (3, 2, 3, "same"),
        (4, 4, 3, "valid"),
        (3, 2, 2, "valid"),
    ],
)
def test_jaxs_own_is_the_same_with_the_kernel_flipped(n, window, stride, padding, x64):
    net = pn.conv_transpose(2, window, stride=stride, padding=padding, bias=False)
    params, xs = draw(net, (n, 3))
    expected = jax.lax.conv_transpose(
        xs, jnp.flip(params["kernel"], 0), (stride,), padding.upper(), dimension_numbers=("NWC", "WIO", "NWC")
    )
    assert_close(net.forward(params, xs)[0], expected)


def test_ones_that_stamp_ones_overlap():
    """The checkerboard of a window that the stride does not divide."""
    net = pn.conv_transpose(1, 3, stride=2, padding="valid")
    y = net.apply({"kernel": jnp.ones((3, 1, 1)), "bias": jnp.zeros(1)}, jnp.ones((3, 1)))
    assert y[:, 0].tolist() == [1, 1, 2, 1, 2, 1, 1]
