"""What convolutions refuse, with the whole message."""

import jax
import jax.numpy as jnp
import pytest
from refusals import refuses

import purenet as pn
from purenet.errors import ShapeError, StructureError

KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: pn.conv(0, 3), ShapeError, "conv: expected features of 1 or more, got 0. Give an int of 1 or more."),
        (
            lambda: pn.conv(2.0, 3),
            StructureError,
            "conv: expected features to be a whole number, got 2.0. Give an int.",
        ),
        (
            lambda: pn.conv(2, 3, groups=0),
            ShapeError,
            "conv: expected groups of 1 or more, got 0. Give an int of 1 or more.",
        ),
        (
            lambda: pn.conv(3, 3, groups=2),
            ShapeError,
            "conv: expected features that 2 groups divide, got 3. Give a multiple.",
        ),
        (
            lambda: pn.conv(3, (3, 0)),
            ShapeError,
            "conv: expected window of 1 or more, got (3, 0). Give 1 or more for each axis.",
        ),
        *(
            (make, StructureError, f"{name}: expected bias to be True or False, got 1. Give a bool.")
            for name, make in {
                "conv": lambda: pn.conv(3, 3, bias=1),
                "depthwise_conv": lambda: pn.depthwise_conv(3, bias=1),
                "separable_conv": lambda: pn.separable_conv(3, 3, bias=1),
                "conv_transpose": lambda: pn.conv_transpose(3, 3, bias=1),
            }.items()
        ),
        (
            lambda: pn.conv(3, (2, 2, 2, 2)),
            ShapeError,
            "conv: expected window of one to three axes, got (2, 2, 2, 2). Leave the channels out.",
        ),
        (
            lambda: pn.conv(3, (3, 3), stride=(1, 1, 1)),
            ShapeError,
            "conv: expected stride with 2 sizes, one for each axis, got (1, 1, 1). "
            "Give as many as the window has, or one number for all.",
        ),
        (
            lambda: pn.conv(3, (3, 3), dilation="2"),
            StructureError,
            "conv: expected dilation to be a whole number or a tuple of them, got '2'. Such as (3, 3).",
        ),
        (
            lambda: pn.conv(3, (3, 3), padding="SAME"),
            ShapeError,
            "conv: expected padding to be one of ('same', 'valid', 'causal', 'circular') or whole numbers, got 'SAME'. "
            "Choose one of them.",
        ),
        (
            lambda: pn.conv(3, (3, 3), padding="causal"),
            ShapeError,
            "conv: expected padding='causal' with one axis, got 2 axes. Give each axis (before, behind).",
        ),
        (
            lambda: pn.conv(3, (3, 3), padding=-1),
            ShapeError,
            "conv: expected padding of 0 or more for each of 2 axes, got -1. "
            "Give for each axis one number or (before, behind).",
        ),
        (
            lambda: pn.depthwise_conv(3, multiplier=0),
            ShapeError,
            "depthwise_conv: expected multiplier of 1 or more, got 0. Give an int of 1 or more.",
        ),
        (
            lambda: pn.separable_conv(2, 3, multiplier=0.5),
            StructureError,
            "separable_conv: expected multiplier to be a whole number, got 0.5. Give an int.",
        ),
        (
            lambda: pn.separable_conv(2, ()),
            StructureError,
            "separable_conv: expected window to be a whole number or a tuple of them, got (). Such as (3, 3).",
        ),
        (
            lambda: pn.conv_transpose(2, 3, padding="causal"),
            ShapeError,
            "conv_transpose: expected padding to be 'same', 'valid' or whole numbers, got 'causal'. "
            "Choose one of them.",
        ),
        (
            lambda: pn.conv_transpose(2, (3, 3), stride=2, padding=1, output_padding=(0, 2)),
            ShapeError,
            "conv_transpose: expected output_padding less than the stride (2, 2), got (0, 2). "
            "Use a larger stride, or less padding.",
        ),
        (
            lambda: pn.conv_transpose(2, 3, stride=2, output_padding=1),
            ShapeError,
            "conv_transpose: expected no output_padding with padding='same', got (1,). Give padding as numbers.",
        ),
    ],
)
def test_arguments_out_of_range_are_refused_at_construction(make, kind, message):
    with refuses(kind, message):
        make()


@pytest.mark.parametrize(
    ("net", "shape", "message"),
    [
        (
            pn.conv(2, (3, 3)),
            (28, 28),
            "conv: expected x of 3 axes, 2 of space and the channels last, got (28, 28). "
            "For one channel put pn.reshape((28, 28, 1)) before it.",
        ),
        (
            pn.conv(2, 3),
            (5, 28, 28, 1),
            "conv: expected x of 2 axes, 1 of space and the channels last, got (5, 28, 28, 1). "
            "Give the window as many axes as an example has beside its channels.",
        ),
        (
            pn.conv(4, 3, groups=4),
            (8, 6),
            "conv: expected channels that 4 groups divide, got 6, in x of shape (8, 6). "
            "Use a divisor of the channels as groups.",
        ),
        (
            pn.conv(2, (3, 3), padding="valid", dilation=2),
            (4, 8, 1),
            "conv: expected x with room for a window of (5, 5), got space of (4, 8) padded by ((0, 0), (0, 0)). "
            "Use a smaller window or dilation, or padding='same'.",
        ),
        (
            pn.conv(2, 7, padding="circular"),
            (2, 1),
            "conv: expected a window that goes round (2,) at most once, got one that covers (7,). "
            "Use a smaller window or dilation.",
        ),
        (
            pn.depthwise_conv(3),
            (4, 0),
            "depthwise_conv: expected x with a channel or more on its last axis, got (4, 0). Put the channels last.",
        ),
        (
            pn.separable_conv(3, (3, 3)),
            (4, 4),
            "serial[0].depthwise_conv: expected x of 3 axes, 2 of space and the channels last, got (4, 4). "
            "For one channel put pn.reshape((4, 4, 1)) before it.",
        ),
        (
            pn.conv_transpose(3, (3, 3)),
            (4, 4),
            "conv_transpose: expected x of 3 axes, 2 of space and the channels last, got (4, 4). "
            "For one channel put pn.reshape((4, 4, 1)) before it.",
        ),
        (
            pn.conv_transpose(3, 3, padding=2),
            (2, 4),
            "conv_transpose: expected padding that leaves something of y, got space of (0,) from x of shape (2, 4). "
            "Pad less.",
        ),
    ],
)
def test_specs_that_do_not_fit_are_refused_at_init(net, shape, message):
    with refuses(ShapeError, message):
        net.init(KEY, pn.spec(shape))


MAKERS = {
    "conv": pn.conv(2, 3, groups=2),
    "depthwise_conv": pn.depthwise_conv(3),
    "conv_transpose": pn.conv_transpose(2, 3),
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("which", ["apply", "forward", "vjp"])
def test_what_does_not_fit_the_params_is_refused_everywhere(name, which):
    net = MAKERS[name]
    params, _ = net.init(KEY, pn.spec((5, 4)))
    shapes = {
        "conv": ((3, 2, 2), (3, 4, 2)),
        "depthwise_conv": ((3, 1, 4), (3, 1, 8)),
        "conv_transpose": ((3, 4, 2), (3, 8, 2)),
    }
    had, wanted = shapes[name]

    def run(params, x):
        return getattr(net, which)(params, x if which == "apply" else x[None])

    run(params, jnp.ones((6, 4)))  # another space is no other layer
    with refuses(
        ShapeError,
        f"{name}: expected params['kernel'] of shape {wanted} for x of shape (5, 8), got {had}. "
        "Pass the params that init made for such x.",
    ):
        run(params, jnp.ones((5, 8)))
    with refuses(
        StructureError,
        f"{name}: expected params['kernel'] of dtype bfloat16, that of x, got float32. "
        "Cast x or the parameters with astype.",
    ):
        run(params, jnp.ones((5, 4), jnp.bfloat16))
    with refuses(
        StructureError,
        f"{name}: expected params to be a dict of ['bias', 'kernel'], got a dict of ['kernel']. "
        "Pass the params that this network's init made.",
    ):
        run({"kernel": params["kernel"]}, jnp.ones((5, 4)))
    with refuses(
        StructureError,
        f"{name}: expected x of floating dtype, got int32. Convert the examples, such as x.astype(np.float32).",
    ):
        run(params, jnp.ones((5, 4), jnp.int32))


def test_a_batch_in_place_of_an_example_is_refused():
    net = pn.conv(2, (3, 3))
    params, _ = net.init(KEY, pn.spec((4, 4, 1)))
    with refuses(
        ShapeError,
        "conv: expected x of 3 axes, 2 of space and the channels last, got (5, 4, 4, 1). "
        "For a mini-batch use jax.vmap(net.apply, (None, 0)); for a sequence in one example, pn.each.",
    ):
        net.apply(params, jnp.ones((5, 4, 4, 1)))


def test_groups_that_do_not_divide_the_channels_are_refused_in_training_too():
    net = pn.conv(2, 3, groups=2)
    params, _ = net.init(KEY, pn.spec((5, 4)))
    with refuses(
        ShapeError,
        "conv: expected channels that 2 groups divide, got 5, in x of shape (5, 5). "
        "Use a divisor of the channels as groups.",
    ):
        net.forward(params, jnp.ones((2, 5, 5)))


def test_what_is_no_key_is_refused():
    with refuses(StructureError, "conv: expected a JAX random key, got 0. Make one with jax.random.key(0)."):
        pn.conv(2, 3).init(0, pn.spec((5, 4)))
