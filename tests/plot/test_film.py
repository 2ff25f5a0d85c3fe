"""plot.film: a frame for each snapshot, which shows it; colours and axes stay; errors name the remedy."""

import itertools
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.animation import FFMpegWriter
from PIL import Image
from plot.report_runs import CE, HALF, drawn, fitted, floats, whole
from refusals import refuses

import purenet as pn
from purenet.plot import film, report
from purenet.plot.frames import frames_of
from purenet.plot.frames_stage import Stage


def stage(run):
    return Stage(frames_of(run.result, run.net, run.loss, run.data, None, None), "a title")


def artists(run):
    """The figure's axes: picture, loss, gradients."""
    made = stage(run)
    picture, loss, layers, *_ = made.figure.axes
    return made, picture, loss, layers


def test_a_gif_has_a_frame_for_each_snapshot(tmp_path):
    run = fitted()
    path = film(run.result, tmp_path / "film.gif", **run.given, fps=4)
    assert path == tmp_path / "film.gif"
    assert os.listdir(tmp_path) == ["film.gif"]
    with Image.open(path) as image:
        assert (image.n_frames, image.size, image.info["loop"]) == (5, (960, 540), 0)
        images, pauses = [], []
        for number in range(5):
            image.seek(number)
            pauses.append(image.info["duration"])
            images.append(np.asarray(image.convert("RGB")).astype(int))
    assert pauses == [250, 250, 250, 250, 2000]
    for one, next_one in itertools.pairwise(images):
        moved = np.abs(one - next_one).max(axis=-1) > 20
        assert moved[60:, :480].mean() > 0.01  # the picture
        assert moved[60:, 480:].any()  # the curves and bars


def test_the_frames_show_the_run():
    run = fitted()
    made, picture, loss, layers = artists(run)
    history, shots = run.result.history, run.result.snapshots
    gradient = pn.value_and_grad(run.net, run.loss)
    limits = [ax.get_xlim() + ax.get_ylim() for ax in made.figure.axes]
    boxes = [ax.get_position().bounds for ax in made.figure.axes]
    seen = []
    for number in (0, 2, 4):
        made.show(number)
        made.figure.draw_without_rendering()
        seen.append(np.asarray(picture.images[0].get_array()))
        lines = {line.get_label(): line for line in loss.lines}
        assert lines["training"].get_xdata().tolist() == list(range(1, number + 1))
        np.testing.assert_array_equal(lines["training"].get_ydata(), history["loss"][:number])
        np.testing.assert_array_equal(lines["validation"].get_ydata(), history["val_loss"][:number])
        _, grads = gradient(shots[number].params, (), run.data)
        norms = [np.sqrt(sum(np.sum(np.square(leaf)) for leaf in grads[k].values())) for k in (0, 2)]
        np.testing.assert_allclose([bar.get_width() for bar in layers.patches], norms, rtol=1e-4)
        assert made.figure.get_suptitle() == f"a title\nepoch {number} of 4"
    assert [ax.get_xlim() + ax.get_ylim() for ax in made.figure.axes] == limits
    assert [ax.get_position().bounds for ax in made.figure.axes] == boxes
    assert np.abs(seen[0] - seen[2]).max() > 0.1
    assert [label.get_text() for label in layers.get_yticklabels()] == ["serial[0].dense", "serial[2].dense"]
    blue, orange = seen[2][-1, 0], seen[2][0, -1]  # left above is class 0, right below class 1
    assert blue[2] > blue[0]
    assert orange[0] > orange[2]


RUNS = {
    "field": lambda: drawn(pn.dense(1), HALF, (floats(30, 2), floats(30, 1))),
    "function": lambda: drawn(pn.dense(1), HALF, (floats(30, 1), floats(30, 1))),
    "images": lambda: drawn(pn.dense(5), CE, (floats(12, 16), whole(5, 12))),
    "histograms": lambda: drawn(pn.dense(5), CE, (floats(12, 13), whole(5, 12))),
}


@pytest.mark.parametrize("kind", RUNS)
def test_every_kind_of_picture_moves_and_is_whole(kind):
    made, picture, *_ = artists(RUNS[kind]())
    made.show(0)
    made.figure.draw_without_rendering()
    first = picture.lines[1].get_ydata() if kind == "function" else picture.images[0].get_array().copy()
    scale = None if kind == "function" else picture.images[0].get_clim()
    made.show(2)
    made.figure.draw_without_rendering()
    last = picture.lines[1].get_ydata() if kind == "function" else picture.images[0].get_array()
    assert np.any(first != last)
    assert scale is None or picture.images[0].get_clim() == scale
    whole_figure = made.figure.bbox.padded(1)
    for ax in made.figure.axes:
        box = ax.get_tightbbox()
        assert box is None or (whole_figure.contains(*box.min) and whole_figure.contains(*box.max))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="the program ffmpeg is not installed")
def test_an_mp4_has_a_frame_for_each_snapshot(tmp_path):
    run = fitted()
    path = film(run.result, tmp_path / "film.mp4", **run.given, fps=2.5)
    assert path.read_bytes()[4:8] == b"ftyp"
    said = subprocess.run(
        ["ffmpeg", "-i", path, "-f", "null", "-"], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    ).stderr
    assert "frame=    5" in said
    assert "960x540" in said


def test_without_ffmpeg_a_gif_is_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr(FFMpegWriter, "isAvailable", classmethod(lambda cls: False))
    message = "expected the program ffmpeg for an MP4, found none. Install it, or write a .gif instead."
    run = fitted()
    with refuses(ValueError, f"plot.film: {message}"):
        film(run.result, tmp_path / "film.mp4", **run.given)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("field", "value", "kind", "message"),
    [
        ("path", "film.avi", ValueError, "expected path to end in .gif or .mp4, got 'film.avi'. Name the file so."),
        ("fps", "10", TypeError, "expected fps to be a number, got '10'. Give frames per second, such as 10."),
        ("fps", True, TypeError, "expected fps to be a number, got True. Give frames per second, such as 10."),
        ("fps", 0, ValueError, "expected fps above 0 and at most 50, got 0. Give frames per second, such as 10."),
        ("fps", 51, ValueError, "expected fps above 0 and at most 50, got 51. Give frames per second, such as 10."),
        (
            "fps",
            float("nan"),
            ValueError,
            "expected fps above 0 and at most 50, got nan. Give frames per second, such as 10.",
        ),
        ("title", b"x", TypeError, "expected title to be a text, got a bytes. Give a str."),
    ],
    ids=["suffix", "text", "truth", "still", "fast", "nan", "title"],
)
def test_bad_input_is_refused_in_whole_sentences(field, value, kind, message, tmp_path):
    run = drawn(pn.dense(1), HALF, (floats(5, 1), floats(5, 1)), 2)
    given = {"path": tmp_path / "film.gif", **run.given, field: value}
    with refuses(kind, f"plot.film: {message}"):
        film(run.result, given.pop("path"), **given)
    assert os.listdir(tmp_path) == []


def test_a_film_needs_matplotlib_and_a_report_does_not(tmp_path, monkeypatch):
    run = drawn(pn.dense(1), HALF, (floats(5, 1), floats(5, 1)), 2)
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert report(run.result, tmp_path / "report.html", **run.given).exists()
    with refuses(ImportError, 'plot.film: expected Matplotlib, got none. Run pip install "purenet[plot]".'):
        film(run.result, tmp_path / "film.gif", **run.given)
