"""plot.history: the numbers of the run are in the lines, an epoch has its number, and what is no history is refused."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure
from refusals import refuses

import purenet as pn

HISTORY = {
    "loss": np.array([2.0, 1.0, 0.01]),
    "accuracy": np.array([0.1, 0.5, 0.9]),
    "learning_rate": np.array([0.1, 0.09, 0.08]),
    "confusion": np.zeros((3, 2, 2)),
    "val_loss": np.array([2.5, 1.5, 1.2]),
    "step_loss": np.array([3.0, 2.0, 1.0, 0.9, 0.02, 0.01]),
}


def lines_of(ax):
    return {line.get_label(): line.get_xydata().tolist() for line in ax.lines}


def test_each_has_a_panel_with_its_numbers():
    loss, accuracy, rate = pn.plot.history(HISTORY).axes
    assert [ax.get_ylabel() for ax in (loss, accuracy, rate)] == ["loss", "accuracy", "learning rate"]
    assert {ax.get_xlabel() for ax in (loss, accuracy, rate)} == {"epoch"}
    assert lines_of(loss) == {
        "training": [[1, 2.0], [2, 1.0], [3, 0.01]],
        "validation": [[1, 2.5], [2, 1.5], [3, 1.2]],
    }
    assert lines_of(accuracy) == {"training": [[1, 0.1], [2, 0.5], [3, 0.9]]}
    assert lines_of(rate) == {"learning rate": [[1, 0.1], [2, 0.09], [3, 0.08]]}
    assert [ax.get_yscale() for ax in (loss, accuracy, rate)] == ["log", "linear", "linear"]
    dashes = {line.get_label(): line.get_linestyle() for line in loss.lines}
    assert dashes == {"training": "-", "validation": "--"}
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training", "validation"]
    assert accuracy.get_legend() is None  # said already


def test_the_losses_of_updates_end_with_their_epoch():
    (ax,) = pn.plot.history(HISTORY, ["step_loss"]).axes
    updates = lines_of(ax)["each update"]
    assert [place for place, _ in updates] == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    assert [loss for _, loss in updates] == HISTORY["step_loss"].tolist()


def test_one_epoch_is_a_dot_over_its_number():
    figure = pn.plot.history({"loss": np.array([0.5])})
    (ax,) = figure.axes
    assert ax.lines[0].get_marker() == "o"
    figure.draw_without_rendering()
    low, high = ax.get_xlim()
    assert [text.get_text() for text in ax.get_xticklabels() if low <= text.get_position()[0] <= high] == ["1"]


def test_many_epochs_have_whole_ticks_and_no_markers():
    figure = pn.plot.history({"loss": np.linspace(2, 1, 50)}, figure=Figure(figsize=(3.2, 2.4)))
    (ax,) = figure.axes
    assert ax.lines[0].get_marker() == ""
    assert all(tick == round(tick) for tick in ax.get_xticks())


@pytest.mark.parametrize(("best", "marked"), [(3, []), (1, [[1, 1]])])
def test_the_best_epoch_is_marked_if_it_is_not_the_last(best, marked):
    result = SimpleNamespace(history=HISTORY, best_epoch=best)  # the part of a FitResult that is drawn
    (ax,) = pn.plot.history(result, ["loss"]).axes
    assert [line.get_xdata() for line in ax.lines if line.get_label().startswith("best")] == marked


def test_losses_of_updates_by_epoch_are_put_in_a_row():
    history = {"loss": jnp.array([1.5, 1.0]), "step_loss": jnp.array([[2.0, 1.0], [1.25, 0.75]])}  # that of pn.train
    (ax,) = pn.plot.history(history, ["loss", "step_loss"]).axes
    assert lines_of(ax)["each update"] == [[0.5, 2.0], [1.0, 1.0], [1.5, 1.25], [2.0, 0.75]]


def test_a_given_figure_is_filled():
    figure = Figure()
    assert pn.plot.history(HISTORY, "val_loss", figure=figure) is figure
    message = "expected an empty figure, got one with 1 axes. Pass a new one, or call figure.clear()."
    with refuses(pn.ShapeError, f"plot.history: {message}"):
        pn.plot.history(HISTORY, figure=figure)


REFUSED = {
    "no history": (
        lambda: pn.plot.history([1.0, 2.0]),
        pn.StructureError,
        "expected a FitResult or a history, got a list of 2. Pass what fit returns, or the second of what pn.train's "
        "function does.",
    ),
    "unknown name": (
        lambda: pn.plot.history({"loss": np.ones(2)}, ["f1"]),
        pn.ShapeError,
        "expected names among ['loss'], got 'f1'. Leave it out.",
    ),
    "several runs": (
        lambda: pn.plot.history(jax.tree.map(lambda a: a[None], HISTORY), ["loss"]),
        pn.ShapeError,
        "expected 'loss' to have one number an epoch, got shape (1, 3). Pass a part with one axis, such as "
        "{'loss': history['loss'][0]} for the first of several runs.",
    ),
    "words": (
        lambda: pn.plot.history({"loss": ["high", "low"]}),
        pn.StructureError,
        "expected numbers in 'loss', got <U4. Leave it out.",
    ),
    "no epoch": (
        lambda: pn.plot.history({"loss": np.zeros(0)}),
        pn.ShapeError,
        "expected one epoch or more, got none. Train for an epoch.",
    ),
    "empty": (
        lambda: pn.plot.history({}),
        pn.ShapeError,
        "expected something with one number an epoch, got []. Train for an epoch.",
    ),
    "no figure": (
        lambda: pn.plot.history(HISTORY, figure=3),
        pn.StructureError,
        'expected figure to be a Matplotlib figure, got 3. Leave it out, or pass matplotlib.figure.Figure(layout="'
        'constrained").',
    ),
    "complex numbers": (
        lambda: pn.plot.history({"loss": np.array([1j, 2.0])}),
        pn.StructureError,
        "expected numbers in 'loss', got complex128. Leave it out.",
    ),
    "a number for names": (
        lambda: pn.plot.history(HISTORY, 3),
        pn.StructureError,
        'expected names to be a list of strings, got 3. Such as ["loss"].',
    ),
}


def test_a_loss_from_end_to_end_of_float64_has_a_logarithmic_axis():
    (ax,) = pn.plot.history({"loss": np.array([1e200, 1e-200])}).axes
    assert ax.get_yscale() == "log"


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused(case):
    call, kind, message = REFUSED[case]
    with refuses(kind, f"plot.history: {message}"):
        call()
