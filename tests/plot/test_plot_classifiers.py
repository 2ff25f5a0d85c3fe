"""plot.decision and confusion: borders lie where scores are equal, data and counts are shown as they are."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import matplotlib.colors
import numpy as np
import pytest
from refusals import refuses

import purenet as pn


def linear(kernel, bias):
    kernel = np.array(kernel, np.float32)
    return pn.dense(kernel.shape[1]), {"kernel": kernel, "bias": np.array(bias, np.float32)}


NET, PARAMS = linear([[2.0], [1.0]], [-1.0])  # the border: 2 x₀ + x₁ = 1
CORNERS = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]], np.float32)


def vertices(collection):
    return np.concatenate([path.vertices for path in collection.get_paths()])


def legend_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.mark.parametrize("kind", ["logit", "probability", "scalar"])
def test_the_line_lies_where_the_probability_is_a_half(kind):
    scalar = pn.serial(NET, pn.layer(lambda params, x: x[0]))
    net, params = {
        "logit": (NET, PARAMS),
        "probability": (pn.serial(NET, pn.sigmoid), (PARAMS, ())),
        "scalar": (scalar, (PARAMS, ())),
    }[kind]
    ax = pn.plot.decision(net, params, span=((-1, 1), (-2, 2)), points=11)
    filled, line = ax.collections
    np.testing.assert_allclose(vertices(line) @ [2.0, 1.0], 1, atol=0.05)  # straight between the points of the grid
    assert filled.zmin == pytest.approx(1 / (1 + np.exp(5)), rel=1e-5)
    assert filled.zmax == pytest.approx(1 / (1 + np.exp(-3)), rel=1e-5)
    assert ax.figure.axes[1].get_ylabel() == "probability of class 1"
    assert (ax.get_xlim(), ax.get_ylim()) == ((-1, 1), (-2, 2))


@pytest.mark.parametrize("labels", [[0, 1, 1], [[0.0], [1.0], [1.0]], [-1, 1, 1], [False, True, True]])
def test_binary_data_are_shown_by_class(labels):
    ax = pn.plot.decision(NET, PARAMS, (CORNERS, np.array(labels)), classes=["no", "yes"], points=5)
    no, yes = [points for points in ax.collections if points.get_label() in ("no", "yes")]
    assert no.get_offsets().tolist() == [[0, 0]]
    assert yes.get_offsets().tolist() == [[2, 0], [0, 2]]
    assert no.get_paths()[0].vertices.shape != yes.get_paths()[0].vertices.shape  # markers
    assert legend_of(ax) == ["probability ½", "no", "yes"]
    assert ax.get_xlim() == pytest.approx((-0.2, 2.2))


@pytest.mark.parametrize("one_hot", [False, True])
def test_regions_meet_where_scores_are_equal(one_hot):
    kernel = np.array([[1.0, -1.0, 0.0], [0.0, 0.0, 1.0]])
    net, params = linear(kernel, [0.0, 0.0, 0.0])
    labels = np.eye(3, dtype=np.float32)[[0, 1, 2]] if one_hot else np.array([0, 1, 2], np.int32)
    places = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]], np.float32)
    ax = pn.plot.decision(net, params, (places, labels), span=(-2, 2), points=41)
    regions, borders = ax.collections[0:6:2], ax.collections[1:6:2]
    for border in borders:
        scores = np.sort(vertices(border) @ kernel, axis=1)
        np.testing.assert_allclose(scores[:, -1], scores[:, -2], atol=0.06)
    looks = {(region.hatches[0], tuple(region.get_facecolor()[0])) for region in regions}
    assert len(looks) == 3
    points = ax.collections[6:]
    assert [one.get_offsets().tolist() for one in points] == [[place] for place in places.tolist()]
    assert legend_of(ax) == ["class 0", "class 1", "class 2"]


def test_another_picture_of_a_network_compiles_nothing():
    net, traces = pn.layer(lambda params, x: traces.append(1) or jnp.sum(x * params)), []
    for scale in (1.0, 2.0):
        pn.plot.decision(net, np.full(2, scale, np.float32), points=4)
    assert len(traces) == 1


def test_state_reaches_the_network(key):
    net = pn.serial(pn.batch_norm(), pn.dense(1))
    params, state = net.init(key, pn.spec(2))
    low = pn.plot.decision(net, params, state=state, points=3).collections[0].zmin
    assert (
        low
        != pn.plot.decision(net, params, state=jax.tree.map(lambda leaf: leaf + 3, state), points=3).collections[0].zmin
    )


MATRIX = np.array([[90, 10, 0], [0, 0, 0], [1, 2, 7]])


def test_counts_are_written_and_shares_are_colours():
    ax = pn.plot.confusion(MATRIX, ["a", "b", "c"])
    assert [text.get_text() for text in ax.texts] == [str(count) for count in MATRIX.ravel()]
    assert [text.get_position() for text in ax.texts][1] == (1, 0)  # row 0, column 1: of class a taken for b
    (image,) = ax.images
    np.testing.assert_allclose(image.get_array(), [[0.9, 0.1, 0], [0, 0, 0], [0.1, 0.2, 0.7]])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b", "c"]


def test_numbers_stand_out_from_their_cells():
    ax = pn.plot.confusion(np.diag([4, 4]) + 1)
    (image,) = ax.images
    for text, share in zip(ax.texts, image.get_array().ravel(), strict=True):
        cell = np.array(image.cmap(image.norm(share))[:3])
        letter = np.array(matplotlib.colors.to_rgb(text.get_color()))
        assert abs(np.mean(cell) - np.mean(letter)) > 0.4


def test_small_cells_have_no_numbers():
    from matplotlib.figure import Figure

    ax = Figure(figsize=(3.2, 2.4), layout="constrained").add_subplot()
    assert pn.plot.confusion(np.eye(40), ax=ax) is ax
    assert not ax.texts
    assert len(ax.get_xticks()) < 20


def test_a_confusion_metric_fits():
    metric, scores = pn.metrics.confusion_matrix, jnp.array([[2.0, 1.0], [0.0, 3.0], [0.0, 1.0]])
    ax = pn.plot.confusion(metric.finish(metric.measure(scores, jnp.array([0, 0, 1]))))
    assert [text.get_text() for text in ax.texts] == ["1", "1", "0", "1"]
    ax = pn.plot.confusion(metric.finish(metric.measure(scores, jnp.array([0, 0, 1]), jnp.array([0.25, 1.0, 1.0]))))
    assert [text.get_text() for text in ax.texts] == ["0.25", "1", "0", "1"]


REFUSED = {
    "decision: three inputs": (
        lambda: pn.plot.decision(NET, PARAMS, (np.ones((3, 3)), np.ones(3))),
        pn.ShapeError,
        "expected points of shape (n, 2), got (3, 3). Draw a net of two inputs.",
    ),
    "decision: labels of other data": (
        lambda: pn.plot.decision(NET, PARAMS, (CORNERS, np.ones(2))),
        pn.ShapeError,
        "expected one label for each of 3 points, got shape (2,). Pass (xs, ys).",
    ),
    "decision: labels out of range": (
        lambda: pn.plot.decision(NET, PARAMS, (CORNERS, np.array([0, 1, 2])), points=3),
        pn.ShapeError,
        "expected labels from 0 to 1, got 0 to 2. Number the classes.",
    ),
    "decision: no tuple": (
        lambda: pn.plot.decision(NET, PARAMS, CORNERS),
        pn.StructureError,
        "expected data (xs, ys), got float32 of shape (3, 2). Pass points and their labels.",
    ),
    "decision: points at nan": (
        lambda: pn.plot.decision(NET, PARAMS, (CORNERS * np.nan, np.zeros(3))),
        pn.ShapeError,
        "expected finite points, got nan or inf among them. Leave those examples out.",
    ),
    "decision: a result": (
        lambda: pn.plot.decision(NET, SimpleNamespace(params=PARAMS)),
        pn.StructureError,
        "expected params, got a SimpleNamespace. Pass its field params.",
    ),
    "decision: nan": (
        lambda: pn.plot.decision(NET, {**PARAMS, "bias": np.full(1, np.nan, np.float32)}, points=3),
        pn.ShapeError,
        "expected finite outputs, got 9 of 9 that are not. Has training diverged?",
    ),
    "decision: too few names": (
        lambda: pn.plot.decision(NET, PARAMS, classes=["a"], points=3),
        pn.ShapeError,
        "expected classes to be 2 names, one for each, got a list of 1. Give a list of 2 strings.",
    ),
    "decision: images": (
        lambda: pn.plot.decision(pn.serial(NET, pn.reshape((1, 1))), (PARAMS, ()), points=3),
        pn.ShapeError,
        "expected a net that gives scores of shape (), (1,) or (C,), got (1, 1). Put pn.flatten behind it, or pick "
        "what is to be drawn.",
    ),
    "confusion: not square": (
        lambda: pn.plot.confusion(np.ones((2, 3))),
        pn.ShapeError,
        "expected a square matrix, got shape (2, 3). pn.metrics.confusion_matrix makes one.",
    ),
    "confusion: negative": (
        lambda: pn.plot.confusion(-np.ones((2, 2))),
        pn.ShapeError,
        "expected counts of 0 or more, got others among them. Pass counts, not their logarithms.",
    ),
    "confusion: words": (
        lambda: pn.plot.confusion("ab"),
        pn.StructureError,
        "expected a matrix of counts, got 'ab'. Pass a square array.",
    ),
    "decision: words for labels": (
        lambda: pn.plot.decision(NET, PARAMS, (np.zeros((2, 2)), ["a", "b"]), points=3),
        pn.StructureError,
        "expected labels to be numbers, got <U1. Number the classes; classes names them.",
    ),
}


def test_params_of_float64_are_taken_as_jax_takes_them():
    wide = jax.tree.map(lambda a: np.asarray(a, np.float64), PARAMS)
    assert pn.plot.decision(NET, wide, points=3).collections  # a warning of JAX's would be an error


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused(case):
    call, kind, message = REFUSED[case]
    with refuses(kind, f"plot.{case.split(':')[0]}: {message}"):
        call()


def test_a_net_of_other_inputs_says_so_itself():
    net, params = linear(np.ones((3, 1)), [0.0])
    with refuses(
        pn.ShapeError,
        "dense: expected x of shape (3,), got (2,). Initialise the network with the spec of the examples that it gets.",
    ):
        pn.plot.decision(net, params)
