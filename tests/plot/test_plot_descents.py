"""plot.descent, regression_lines and regression_surface: every step is in the picture where it was."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refuses

import purenet as pn


class Descent(NamedTuple):
    """The part of a descent that is drawn."""

    path: Any
    values: Any


def square(x):
    return jnp.sum(jnp.square(x))


def descent_of(path):
    path = np.asarray(path, np.float32)
    return Descent(path, np.square(path).reshape(len(path), -1).sum(axis=1))


ON_CURVE = descent_of([2.0, -1.0, 0.5])
ON_MAP = descent_of([[2.0, 1.0], [1.0, 0.5], [0.5, 0.25]])


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_steps_lie_on_the_curve(shape):
    one = Descent(ON_CURVE.path.reshape(shape), ON_CURVE.values)
    ax = pn.plot.descent(square, one)
    curve, start, end = ax.lines
    xs, ys = curve.get_data()
    np.testing.assert_allclose(ys, xs**2, rtol=1e-5, atol=1e-6)
    assert ax.get_xlim() == pytest.approx((-1.45, 2.45))  # the path and 15 % of its width
    dots, arrows = ax.collections
    assert dots.get_offsets().tolist() == [[2, 4], [-1, 1], [0.5, 0.25]]
    assert arrows.get_offsets().tolist() == [[2, 4], [-1, 1]]
    assert (arrows.U.tolist(), arrows.V.tolist()) == ([-3, 1.5], [-3, -0.75])
    assert (start.get_xydata().tolist(), end.get_xydata().tolist()) == ([[2, 4]], [[0.5, 0.25]])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x", "f(x)")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["f", "path"]
    pale, dark = dots.get_facecolors()[[0, -1], :3].sum(axis=1)
    assert pale > dark


def test_paths_on_contours_differ_in_colour_and_marker():
    ax = pn.plot.descent(square, ON_MAP, descent_of(-ON_MAP.path), labels=["a", "b"], span=((-3, 3), (-2, 2)))
    contours = ax.collections[0]
    assert (contours.zmin, contours.zmax) == pytest.approx((0, 13), abs=1e-6)
    paths = [line for line in ax.lines if len(line.get_xdata()) == 3]
    assert [path.get_xydata().tolist() for path in paths] == [ON_MAP.path.tolist(), (-ON_MAP.path).tolist()]
    ends = {line.get_label(): line for line in ax.lines if line.get_label() in "ab"}
    assert ends["a"].get_marker() != ends["b"].get_marker()
    assert ends["a"].get_color().tolist() != ends["b"].get_color().tolist()
    assert (ax.get_xlim(), ax.get_ylim()) == ((-3, 3), (-2, 2))
    assert ax.figure.axes[1].get_ylabel() == "f"


def test_points_that_are_not_finite_are_left_out():
    far = Descent(np.array([1.0, -5.0, np.inf], np.float32), np.array([1.0, 25.0, np.inf], np.float32))
    ax = pn.plot.descent(square, far)
    assert ax.collections[0].get_offsets().tolist() == [[1, 1], [-5, 25]]


XS, YS = np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0, 5.0])
PATH = np.stack([np.linspace(0, 2, 101), np.linspace(3, 1, 101)], axis=1)


def test_lines_of_a_regression_end_with_the_last():
    ax = pn.plot.regression_lines(XS[:, None], YS[:, None], Descent(PATH, None))
    data, last = ax.lines
    assert data.get_xydata().tolist() == np.stack([XS, YS], axis=1).tolist()
    assert last.get_label() == "y = 2 x + 1"
    (lines,) = ax.collections
    steps = lines.get_array().astype(int)
    assert (steps[0], steps[-1]) == (0, 100)
    assert set(np.diff(steps)) == {2}  # at most 60 of them
    for line, step in zip(lines.get_segments(), steps, strict=True):
        np.testing.assert_allclose(line[:, 1], PATH[step, 0] * line[:, 0] + PATH[step, 1], atol=1e-12)
    assert ax.figure.axes[1].get_ylabel() == "step of the path"


def test_the_way_down_lies_on_the_surface():
    ax = pn.plot.regression_surface(XS, YS, PATH, points=5)
    path, goal = ax.lines
    w1, w2, heights = path.get_data_3d()
    np.testing.assert_allclose(np.stack([w1, w2], axis=1), PATH)
    np.testing.assert_allclose(heights, [np.mean((a * XS + b - YS) ** 2) / 2 for a, b in PATH], atol=1e-12)
    np.testing.assert_allclose(np.ravel(goal.get_data_3d()), [2, 1, 0], atol=1e-12)
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_zlabel()) == ("w₁", "w₂", "J")


REFUSED = {
    "descent: none": (
        lambda: pn.plot.descent(square),
        pn.StructureError,
        "expected one descent or more, got none. Pass what pn.descend returned.",
    ),
    "descent: another thing": (
        lambda: pn.plot.descent(square, np.zeros(3)),
        pn.StructureError,
        "expected what pn.descend returned, got float64 of shape (3,). Pass all of it.",
    ),
    "descent: no function": (
        lambda: pn.plot.descent(ON_CURVE, ON_CURVE),
        pn.StructureError,
        "expected f to be a function, got a Descent. Pass that of the descent.",
    ),
    "descent: three variables": (
        lambda: pn.plot.descent(square, descent_of(np.zeros((4, 3)))),
        pn.ShapeError,
        "expected one run in one variable or two, got a path of shape (4, 3). Pass runs of jax.vmap one by one; for "
        "more variables draw their values alone, a network's run with plot.loss_surface.",
    ),
    "descent: by vmap": (
        lambda: pn.plot.descent(square, Descent(np.zeros((5, 2)), np.zeros((5, 2)))),
        pn.ShapeError,
        "expected one run in one variable or two, got a path of shape (5, 2). Pass runs of jax.vmap one by one; for "
        "more variables draw their values alone, a network's run with plot.loss_surface.",
    ),
    "descent: of two kinds": (
        lambda: pn.plot.descent(square, ON_CURVE, ON_MAP),
        pn.ShapeError,
        "expected paths of one kind, got the shapes [(3,), (3, 2)]. Draw them apart.",
    ),
    "descent: a start at nan": (
        lambda: pn.plot.descent(square, descent_of([np.nan, 1.0])),
        pn.ShapeError,
        "expected a path that begins at a finite place, got nan. Choose another start.",
    ),
    "descent: too few labels": (
        lambda: pn.plot.descent(square, ON_CURVE, ON_CURVE, labels=["a"]),
        pn.ShapeError,
        "expected labels to be 2 names, one for each, got a list of 1. Give a list of 2 strings.",
    ),
    "descent: where f is not finite": (
        lambda: pn.plot.descent(jnp.log, ON_CURVE, span=(-3, -2)),
        pn.ShapeError,
        "expected finite values somewhere in the picture, got none. Choose another span.",
    ),
    "descent: an empty span": (
        lambda: pn.plot.descent(square, ON_CURVE, span=(1, 1)),
        pn.ShapeError,
        "expected span to be finite numbers (low, high) with low < high, got (1, 1). Set both ends.",
    ),
    "descent: a function of many numbers": (
        lambda: pn.plot.descent(jnp.square, ON_MAP),
        pn.ShapeError,
        "expected f to give one number, got shape (2,). Sum it, or pick one entry.",
    ),
    "descent: no axes": (
        lambda: pn.plot.descent(square, ON_CURVE, ax=1),
        pn.StructureError,
        "expected ax to be Matplotlib axes, got 1. Leave it out, or pass one such as figure.axes[0].",
    ),
    "regression_lines: other sizes": (
        lambda: pn.plot.regression_lines(XS, YS[:2], PATH),
        pn.ShapeError,
        "expected as many ys as xs, got 2 and 3. Pass both of each.",
    ),
    "regression_lines: no path": (
        lambda: pn.plot.regression_lines(XS, YS, PATH.T),
        pn.ShapeError,
        "expected a path of shape (steps + 1, 2), rows (w₁, w₂), got float64 of shape (2, 101). Stack both weights "
        "along the last axis.",
    ),
    "regression_surface: flat axes": (
        lambda: pn.plot.regression_surface(XS, YS, PATH, pn.plot.activation(pn.relu)),
        pn.StructureError,
        'expected 3-D axes, got axes of projection "rectilinear". Use figure.add_subplot(projection="3d").',
    ),
    "regression_surface: a path that left": (
        lambda: pn.plot.regression_surface(XS, YS, [[0.0, 0.0], [1e200, 0.0]], points=3),
        pn.ShapeError,
        "expected finite costs in the picture, got others. Choose a smaller span.",
    ),
    "regression_surface: nan": (
        lambda: pn.plot.regression_surface(XS, YS * np.nan, PATH),
        pn.ShapeError,
        "expected finite ys, got nan or inf among them. Leave those examples out.",
    ),
    "regression_lines: a ragged path": (
        lambda: pn.plot.regression_lines(XS, YS, [[0.0, 0.0], [1.0]]),
        pn.ShapeError,
        "expected a path of shape (steps + 1, 2), rows (w₁, w₂), got a list of 2. Stack both weights along the last "
        "axis.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused(case):
    call, kind, message = REFUSED[case]
    with refuses(kind, f"plot.{case.split(':')[0]}: {message}"):
        call()
