"""plot.weights and units: every weight is in the picture, in its place, and coloured by its sign."""

import jax
import jax.numpy as jnp
import matplotlib.colors
import numpy as np
import pytest
from matplotlib.collections import LineCollection
from refusals import refuses

import purenet as pn
from purenet.plot.drawn import BLUE, VERMILION


def picture_of(figure):
    (image,) = figure.axes[0].images
    return image, np.ma.filled(image.get_array(), np.nan)


def test_each_unit_of_a_dense_layer_is_an_image(rng):
    kernel = rng.normal(size=(24, 5)).astype(np.float32)
    figure = pn.plot.weights(({"bias": np.zeros(5), "kernel": kernel}, ()), shape=(4, 6), columns=2)
    image, picture = picture_of(figure)
    assert picture.shape == (3 * 9 - 1, 2 * 13 - 1)  # pixels are doubled, with one of nothing between images
    np.testing.assert_allclose(picture[9:17:2, 13:25:2], kernel[:, 3].reshape(4, 6), rtol=1e-6)
    assert np.all(np.isnan(picture[:, 12]))
    assert np.all(np.isnan(picture[18:, 13:]))  # there is no sixth
    largest = np.abs(kernel).max()
    assert image.get_clim() == pytest.approx((-largest, largest))
    ax, bar = figure.axes
    assert ax.get_title() == "5 units of 4 × 6 weights"
    assert [text.get_text() for text in ax.get_yticklabels()] == ["0", "2", "4"]
    assert bar.get_ylabel() == "weight"


def test_channels_are_rows_and_filters_columns(rng):
    kernel = rng.normal(size=(12, 12, 3, 7))
    figure = pn.plot.weights(kernel)
    _, picture = picture_of(figure)
    assert picture.shape == (3 * 13 - 1, 7 * 13 - 1)
    np.testing.assert_array_equal(picture[26:38, 13:25], kernel[:, :, 2, 1])
    ax = figure.axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("filter", "input channel")
    cube = kernel.reshape(12 * 12 * 3, 7)
    np.testing.assert_array_equal(picture_of(pn.plot.weights(cube, shape=(12, 12, 3)))[1], picture)


def test_zero_weights_are_in_the_middle_of_the_scale():
    image, picture = picture_of(pn.plot.weights(jnp.zeros((1, 3, 3, 1))))
    assert image.get_clim() == (-1, 1)
    assert set(picture[~np.isnan(picture)]) == {0.0}


NET = pn.serial(pn.dense(2), pn.relu, pn.dense(1))
XOR = (
    {"kernel": np.ones((2, 2), np.float32), "bias": np.array([0, -1], np.float32)},
    (),
    {"kernel": np.array([[1.0], [-2.0]], np.float32), "bias": np.zeros(1, np.float32)},
)


def test_each_weight_is_a_line_by_sign_and_size():
    ax = pn.plot.units(NET, XOR)
    above, below = [lines for lines in ax.collections if isinstance(lines, LineCollection)]
    assert matplotlib.colors.to_hex(above.get_color()[0]) == BLUE
    assert matplotlib.colors.to_hex(below.get_color()[0]) == VERMILION
    assert above.get_linestyle()[0][1] is None  # solid
    assert below.get_linestyle()[0][1] is not None
    segments = [segment.tolist() for segment in above.get_segments()]
    assert len(segments) == 5  # four of 1 and the output's first; biases of 0 are no lines
    assert len(below.get_segments()) == 2
    assert below.get_linewidth()[1] == 2 * below.get_linewidth()[0] == 2 * above.get_linewidth()[0]
    circles = [one for one in ax.collections if not isinstance(one, LineCollection)]
    inputs = circles[0].get_offsets()
    assert sorted({tuple(start) for start, end in segments if end[0] == 1}) == sorted(map(tuple, inputs.tolist()))
    assert [text.get_text() for text in ax.texts] == ["1", "1", "input", "dense,\nrelu", "dense"]


@pytest.mark.parametrize(("x", "shown"), [((1, 0), ["1", "0", "1", "0", "1"]), ((1, 1), ["1", "1", "2", "1", "0"])])
def test_units_show_what_they_give(x, shown):
    ax = pn.plot.units(NET, XOR, np.array(x, np.float32))
    assert (
        [text.get_text() for text in ax.texts if text.get_text() not in ("input", "dense", "dense,\nrelu")]
        == [
            *shown[:2],
            "1",  # the unit of the biases
            *shown[2:4],
            "1",
            *shown[4:],
        ]
    )
    assert ax.figure.axes[1].get_ylabel() == "activation"


def test_serial_in_serial_is_opened_and_plain_functions_are_activations(key):
    net = pn.serial(pn.serial(pn.dense(3), jnp.tanh), pn.dropout(0.5), pn.dense(2), pn.softmax)
    params, state = net.init(key, pn.spec(4))
    ax = pn.plot.units(net, params, np.ones(4, np.float32), state=state)
    names = [text.get_text() for text in ax.texts][-3:]
    assert names == ["input", "dense,\ntanh,\ndropout", "dense,\nsoftmax"]


def params_of(net, size):
    return net.init(jax.random.key(0), pn.spec(size))[0]


REFUSED = {
    "weights: no shape": (
        lambda: pn.plot.weights(np.ones((784, 128))),
        pn.ShapeError,
        "expected the shape of the inputs for a dense kernel (784, 128), got None. Pass shape=(28, 28).",
    ),
    "weights: another shape": (
        lambda: pn.plot.weights(np.ones((6, 2)), shape=(2, 2)),
        pn.ShapeError,
        "expected shape (height, width) or (height, width, channels) of 6 inputs, got (2, 2). Such as shape=(height, "
        "width).",
    ),
    "weights: a shape too many": (
        lambda: pn.plot.weights(np.ones((3, 3, 1, 2)), shape=(3, 3)),
        pn.ShapeError,
        "expected no shape for a kernel (3, 3, 1, 2), got (3, 3). It has its own: leave shape out.",
    ),
    "weights: no kernel": (
        lambda: pn.plot.weights({"bias": np.ones(3)}),
        pn.StructureError,
        "expected a kernel or params with one, got a dict of 1. Pass that of a dense or a conv layer.",
    ),
    "weights: volumes": (
        lambda: pn.plot.weights(np.ones((3, 3, 3, 1, 2))),
        pn.ShapeError,
        "expected one or two axes in space, got a kernel of shape (3, 3, 3, 1, 2). Draw a slice of it.",
    ),
    "weights: too many": (
        lambda: pn.plot.weights(np.ones((3, 3, 64, 65))),
        pn.ShapeError,
        "expected 4096 images or fewer, got 4160. Pick some, such as kernel[..., :64].",
    ),
    "weights: nan": (
        lambda: pn.plot.weights(np.full((3, 3, 1, 2), np.nan)),
        pn.ShapeError,
        "expected finite weights, got nan or inf among them. Has training diverged?",
    ),
    "weights: no columns": (
        lambda: pn.plot.weights(np.ones((3, 3, 1, 2)), columns=0),
        pn.ShapeError,
        "expected columns to be a whole number of 1 or more, got 0. Raise it.",
    ),
    "units: too many": (
        lambda: pn.plot.units(pn.dense(41), params_of(pn.dense(41), 2)),
        pn.ShapeError,
        "expected at most 40 units in a layer, got 41. plot.network draws large networks.",
    ),
    "units: a convolution": (
        lambda: pn.plot.units(pn.conv(2, (3, 3)), params_of(pn.conv(2, (3, 3)), (5, 5, 1))),
        pn.StructureError,
        "expected a net that begins with dense, got conv. plot.network draws layers of all kinds.",
    ),
    "units: a layer with params": (
        lambda: pn.plot.units(
            pn.serial(pn.dense(2), pn.layer_norm()), params_of(pn.serial(pn.dense(2), pn.layer_norm()), 2)
        ),
        pn.StructureError,
        "expected dense layers and activations, got layer_norm. plot.network draws layers of all kinds.",
    ),
    "units: a mini-batch": (
        lambda: pn.plot.units(NET, XOR, np.ones((4, 2), np.float32)),
        pn.ShapeError,
        "expected x of shape (2,), one example, got (4, 2). Pick one, such as xs[0].",
    ),
    "units: params of one layer": (
        lambda: pn.plot.units(NET, XOR[0]),
        pn.StructureError,
        "expected params of this network, got a dict of 2. Pass what its init made.",
    ),
    "units: nan": (
        lambda: pn.plot.units(pn.dense(1), {"kernel": np.full((1, 1), np.nan, np.float32), "bias": np.zeros(1, "f")}),
        pn.ShapeError,
        "expected finite params, got nan or inf among them. Has training diverged?",
    ),
    "weights: a shape below zero": (
        lambda: pn.plot.weights(np.ones((16, 2)), shape=(-4, -4)),
        pn.ShapeError,
        "expected shape (height, width) or (height, width, channels) of 16 inputs, got (-4, -4). Such as shape=(4, 4).",
    ),
    "weights: a number for a filter's shape": (
        lambda: pn.plot.weights(np.ones((3, 3, 1, 2)), shape=3),
        pn.ShapeError,
        "expected no shape for a kernel (3, 3, 1, 2), got 3. It has its own: leave shape out.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused(case):
    call, kind, message = REFUSED[case]
    with refuses(kind, f"plot.{case.split(':')[0]}: {message}"):
        call()
