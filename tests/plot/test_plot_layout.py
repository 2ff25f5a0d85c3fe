"""All pictures: every letter is inside the figure and lies on no other, small or large; no pyplot, no Matplotlib."""

import inspect
import itertools
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure
from refusals import refuses

import purenet as pn
from purenet.plot.drawn import legend

RNG = np.random.default_rng(0)
HISTORY = {"loss": np.geomspace(2, 0.01, 30), "val_loss": np.linspace(2, 1, 30), "f1": np.linspace(0.1, 0.9, 30)}
NET = pn.serial(pn.dense(4), pn.relu, pn.dense(1))


class Descent:
    """Steps that are drawn."""

    path = np.array([[1.0, 2.0], [0.5, 1.0], [0.1, 0.2]], np.float32)
    values = np.array([5.0, 1.25, 0.05], np.float32)


def params_of(inputs):
    def draw(*shape):
        return RNG.normal(size=shape).astype(np.float32)

    return {"kernel": draw(inputs, 4), "bias": draw(4)}, (), {"kernel": draw(4, 1), "bias": draw(1)}


def square(x):
    return jnp.sum(jnp.square(x))


DATA = (RNG.normal(size=(20, 2)).astype(np.float32), RNG.integers(0, 2, (20, 1)).astype(np.float32))
LOSS = pn.losses.half_squared_error
PATH = params_of(2), params_of(2), params_of(2)
DRAWINGS = {
    "history": lambda **on: pn.plot.history({**HISTORY, "learning_rate": HISTORY["loss"]}, **on),
    "descent": lambda **on: pn.plot.descent(square, Descent, labels=["a rather long label"], **on),
    "loss_surface": lambda **on: pn.plot.loss_surface(NET, LOSS, PATH[-1], DATA, snapshots=PATH, points=5, **on),
    "regression_lines": lambda **on: pn.plot.regression_lines([0, 1], [2, 3], Descent, **on),
    "regression_surface": lambda **on: pn.plot.regression_surface([0, 1], [2, 3], Descent, points=5, **on),
    "decision": lambda **on: pn.plot.decision(NET, PATH[0], DATA, classes=["below", "above"], points=9, **on),
    "activation": lambda **on: pn.plot.activation(pn.relu, pn.softplus, pn.sigmoid, **on),
    "relu_sum": lambda **on: pn.plot.relu_sum(NET, params_of(1), np.sin, **on),
    "weights": lambda **on: pn.plot.weights(RNG.normal(size=(5, 5, 3, 16)), **on),
    "confusion": lambda **on: pn.plot.confusion(1000 * np.eye(5), ["setosa", "b", "c", "versicolor", "e"], **on),
    "units": lambda **on: pn.plot.units(NET, PATH[0], DATA[0][0], **on),
    "gradient_noise": lambda **on: pn.plot.gradient_noise(
        NET, LOSS, PATH[0], DATA, key=jnp.array([0, 1], jnp.uint32), **on
    ),
}
SIZES = {"usual": None, "small": (3.2, 2.4)}


def drawn(name, size):
    if size is None:
        made = DRAWINGS[name]()
        return made if isinstance(made, Figure) else made.figure
    figure = Figure(figsize=size, layout="constrained")
    if name in ("history", "weights"):
        assert DRAWINGS[name](figure=figure) is figure
    else:
        ax = figure.add_subplot(projection="3d" if name == "regression_surface" else None)
        assert DRAWINGS[name](ax=ax) is ax
    return figure


def letters(figure):
    """The places of all texts that are seen, without ticks beyond the limits."""
    for ax in figure.axes:
        yield from ax.texts
        yield ax.title
        if ax.get_legend() is not None:
            yield from ax.get_legend().get_texts()
        if ax.axison or ax.name == "3d":
            for axis, limits in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
                yield axis.label
                if ax.name != "3d":
                    low, high = sorted(limits)
                    ticks = axis.get_major_ticks()
                    yield from (tick.label1 for tick in ticks if low <= tick.get_loc() <= high)
                    yield from (tick.label2 for tick in ticks if low <= tick.get_loc() <= high)
        if ax.name == "3d":
            yield ax.zaxis.label


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", DRAWINGS)
def test_all_letters_are_inside_and_on_no_other(name, size):
    figure = drawn(name, SIZES[size])
    figure.draw_without_rendering()
    boxes = {
        text: text.get_window_extent().padded(-0.5)
        for text in letters(figure)
        if text.get_text() and text.get_visible()
    }
    assert len(boxes) >= 5
    for text, box in boxes.items():
        inside = figure.bbox.padded(1)
        assert inside.fully_contains(*box.min), text
        assert inside.fully_contains(*box.max), text
    for (one, box), (other, its) in itertools.combinations(boxes.items(), 2):
        assert not box.fully_overlaps(its), (one, other)
    for ax in figure.axes:
        assert (ax.get_xlabel() and ax.get_ylabel()) or ax.get_label() == "<colorbar>" or not ax.axison
        if ax.get_label() == "<colorbar>":
            assert ax.get_ylabel() or ax.get_xlabel()


def test_no_figure_is_kept_by_pyplot():
    drawn("activation", None)
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


def test_every_picture_is_drawn_here():
    takes = {"ax", "figure"}
    public = {
        name
        for name, value in vars(pn.plot).items()
        if inspect.isfunction(value) and takes & set(inspect.signature(value).parameters)
    }
    assert public - {"network"} == set(DRAWINGS)


@pytest.mark.parametrize("name", DRAWINGS)
def test_without_matplotlib_each_says_how_to_get_it(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    message = f'plot.{name}: expected Matplotlib, got none. Run pip install "purenet[plot]".'
    with refuses(ImportError, message):
        DRAWINGS[name]()


def test_a_legend_has_as_many_columns_as_fit():
    figure = Figure(figsize=(6.4, 4.8))
    ax = figure.add_subplot()
    for text in ("a", "b", "b", "c" * 40):
        ax.plot([0], [0], label=text)
    legend(ax)
    made = ax.get_legend()
    assert [text.get_text() for text in made.get_texts()] == ["a", "b", "c" * 40]
    assert made._ncols == 3
    ax.figure.set_size_inches(3.2, 2.4)
    legend(ax)
    assert ax.get_legend()._ncols == 1
