"""plot.report: what the page says is what the run was; it is one safe file of bounded size; errors name the remedy."""

import base64
import html
import json
import os
import re
import stat

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from plot.report_runs import CE, HALF, Result, blobs, drawn, fitted, floats, whole
from refusals import refuses

import purenet as pn
from purenet.plot import report


def page(run, folder, **options):
    """The text of the page, and what its script reads."""
    path = report(run.result, folder / "report.html", **run.given, **options)
    text = path.read_text(encoding="utf-8")
    (data,) = re.findall(r'<script type="application/json" id="run">(.*?)</script>', text, re.DOTALL)
    return text, json.loads(data, parse_constant=pytest.fail)


@pytest.fixture(scope="module", name="spiral")
def _spiral(tmp_path_factory):
    return page(fitted(), tmp_path_factory.mktemp("report"))


def cells(picture, *shape):
    return np.array([np.frombuffer(base64.b64decode(one), np.uint8).reshape(shape) for one in picture["cells"]])


def centres(span, count):
    return span[0] + (span[1] - span[0]) * (np.arange(count) + 0.5) / count


def test_the_page_has_the_run(spiral):
    text, found = spiral
    result = fitted().result
    assert found["epochs"] == [0, 1, 2, 3, 4]
    assert found["history"]["epochs"] == [1, 2, 3, 4]
    charts = {chart["name"]: chart["lines"] for chart in found["history"]["charts"]}
    assert list(charts) == ["loss", "accuracy"]
    for name, lines in charts.items():
        np.testing.assert_allclose(lines["training"], result.history[name], rtol=1e-3)
        np.testing.assert_allclose(lines["validation"], result.history[f"val_{name}"], rtol=1e-3)
    title = "How serial(dense, tanh, dense) learned"
    assert f"<title>{title}</title>" in text
    assert "loss softmax_cross_entropy, 60 examples, 4 epochs" in text
    assert found["notes"] == []


def test_the_regions_are_those_of_the_network(spiral):
    picture = spiral[1]["picture"]
    run, side = fitted(), picture["rows"]
    assert (picture["kind"], picture["classes"], picture["levels"]) == ("map", ["0", "1"], 128)
    bytes_ = cells(picture, side, side)
    x, y = np.meshgrid(centres(picture["xlim"], side), centres(picture["ylim"], side))
    grid = jnp.asarray(np.stack([x, y], -1), jnp.float32)
    for shot, map_ in zip(run.result.snapshots, bytes_, strict=True):
        logits = np.asarray(jax.vmap(jax.vmap(run.net.apply, (None, 0)), (None, 0))(shot.params, grid))
        shares = np.asarray(jax.nn.softmax(logits))
        sure = np.abs(shares[..., 0] - 0.5) > 1e-4
        assert sure.mean() > 0.9
        np.testing.assert_array_equal((map_ // 128)[sure], shares.argmax(-1)[sure])
        np.testing.assert_allclose(map_ % 128, 127 * (2 * shares.max(-1) - 1), atol=0.51)
    np.testing.assert_allclose(picture["points"], run.data[0], rtol=1e-3)
    assert picture["targets"] == run.data[1].tolist()
    for limits, column in ((picture["xlim"], 0), (picture["ylim"], 1)):
        assert limits[0] < run.data[0][:, column].min() < run.data[0][:, column].max() < limits[1]


def test_gradients_and_weights_are_those_of_each_layer(spiral):
    layers = spiral[1]["layers"]
    run = fitted()
    assert layers["paths"] == ["serial[0].dense", "serial[2].dense"]
    gradient = pn.value_and_grad(run.net, run.loss)
    for i in (0, 4):
        shot = run.result.snapshots[i]
        (value, _), grads = gradient(shot.params, shot.state, run.data, jax.random.key(0))
        for row, tree in ((layers["gradients"][i], grads), (layers["weights"][i], shot.params)):
            norms = [np.sqrt(sum(np.sum(np.square(leaf)) for leaf in tree[k].values())) for k in (0, 2)]
            np.testing.assert_allclose(row, norms, rtol=1e-3)
        assert layers["losses"][i] == pytest.approx(float(value), rel=1e-3)
    low, high = layers["decades"]
    assert 10.0**low <= np.min(layers["gradients"]) <= np.max(layers["gradients"]) <= 10.0**high


@pytest.mark.parametrize(
    ("loss", "targets", "names", "threshold"),
    [
        (pn.losses.sigmoid_cross_entropy, np.array([[0.0], [1.0]], np.float32), ["0", "1"], 0.0),
        (pn.losses.hinge, np.array([[-1.0], [1.0]], np.float32), ["-1", "1"], 0.0),
        (HALF, np.array([[0.0], [1.0]], np.float32), ["0", "1"], 0.5),
    ],
    ids=["sigmoid", "hinge", "squares"],
)
def test_one_output_is_cut_where_both_classes_cost_the_same(loss, targets, names, threshold, tmp_path):
    xs, labels = blobs(30)
    run = drawn(pn.dense(1), loss, (xs, targets[labels]), 2)
    picture = page(run, tmp_path)[1]["picture"]
    assert picture["classes"] == names
    assert picture["targets"] == labels.tolist()
    kernel, bias = (run.result.snapshots[0].params[name] for name in ("kernel", "bias"))
    side = picture["rows"]
    x, y = np.meshgrid(centres(picture["xlim"], side), centres(picture["ylim"], side))
    output = x * kernel[0] + y * kernel[1] + bias
    clear = np.abs(output - threshold) > 1e-4
    np.testing.assert_array_equal((cells(picture, side, side)[0] // 128)[clear], (output > threshold)[clear])


def test_one_hot_targets_are_classes_with_names_of_their_own(tmp_path):
    xs, labels = blobs(30)
    run = drawn(pn.dense(3), CE, (xs, np.eye(3, dtype=np.float32)[labels + 1]), 2)
    picture = page(run, tmp_path, classes=["south", "north <b>", "east & co"])[1]["picture"]
    assert picture["classes"] == ["south", "north <b>", "east & co"]
    assert picture["targets"] == (labels + 1).tolist()
    assert picture["levels"] == 85


def test_a_number_over_the_plane_is_a_map_of_values(tmp_path):
    xs = floats(2500, 2)
    run = drawn(pn.dense(1), HALF, (xs, xs[:, :1] * xs[:, 1:]), 2)
    found = page(run, tmp_path)[1]
    picture = found["picture"]
    assert (picture["levels"], picture["classes"]) == (0, [])
    side, (low, high) = picture["rows"], picture["span"]
    x, y = np.meshgrid(centres(picture["xlim"], side), centres(picture["ylim"], side))
    kernel, bias = (run.result.snapshots[1].params[name] for name in ("kernel", "bias"))
    shown = low + cells(picture, side, side)[1] / 255 * (high - low)
    np.testing.assert_allclose(shown, x * kernel[0] + y * kernel[1] + bias, atol=0.51 * (high - low) / 255)
    assert found["notes"] == ["400 of 2500 examples are drawn.", "Gradients are those of 2048 of 2500 examples."]
    assert len(picture["targets"]) == len(picture["points"]) == 400


def test_one_input_and_one_output_are_a_function(tmp_path):
    xs = np.linspace(-1, 1, 9, dtype=np.float32)[:, None]
    run = drawn(pn.dense(1), HALF, (xs, 3 * xs), 2)
    picture = page(run, tmp_path)[1]["picture"]
    assert picture["kind"] == "function"
    for shot, ys in zip(run.result.snapshots, picture["ys"], strict=True):
        line = np.asarray(picture["x"]) * shot.params["kernel"][0, 0] + shot.params["bias"][0]
        np.testing.assert_allclose(ys, line, rtol=2e-3, atol=1e-3)
    np.testing.assert_allclose(picture["points"], np.hstack([xs, 3 * xs]), rtol=1e-3)


@pytest.mark.parametrize(
    ("net", "xs", "options", "path", "tiles"),
    [
        (pn.serial(pn.flatten, pn.dense(5)), (4, 6), {}, "serial[1].dense", lambda k: k.T.reshape(5, 4, 6)),
        (pn.dense(5), (16,), {}, "dense", lambda k: k.T.reshape(5, 4, 4)),
        (pn.dense(5), (12,), {"shape": (2, 6)}, "dense", lambda k: k.T.reshape(5, 2, 6)),
        (
            pn.serial(pn.conv(3, (3, 3)), pn.flatten, pn.dense(5)),
            (6, 6, 2),
            {},
            "serial[0].conv",
            lambda k: np.transpose(k, (3, 2, 0, 1)).reshape(6, 3, 3),
        ),
    ],
    ids=["images", "square", "shape", "convolution"],
)
def test_first_weights_are_images(net, xs, options, path, tiles, tmp_path):
    run = drawn(net, CE, (floats(12, *xs), whole(5, 12)))
    picture = page(run, tmp_path, **options)[1]["picture"]
    assert (picture["kind"], picture["heading"]) == ("tiles", f"Weights of {path}")
    for shot, shown in zip(run.result.snapshots, picture["cells"], strict=True):
        kernel = tiles(next(leaf for leaf in jax.tree.leaves(shot.params) if leaf.ndim > 1))
        expected = np.clip(kernel / picture["scale"], -1, 1)
        bytes_ = np.frombuffer(base64.b64decode(shown), np.uint8).reshape(kernel.shape)
        np.testing.assert_allclose((bytes_ - 128.0) / 127, expected, atol=0.51 / 127 + 1e-3)


def test_other_weights_are_histograms(tmp_path):
    run = drawn(pn.serial(pn.dense(40), pn.relu, pn.dense(1)), HALF, (floats(12, 13), floats(12, 1)))
    picture = page(run, tmp_path)[1]["picture"]
    assert (picture["kind"], picture["paths"]) == ("histograms", ["serial[0].dense", "serial[2].dense"])
    found = cells(picture, 2, picture["bins"])
    every = [np.concatenate([np.ravel(leaf) for leaf in shot.params[0].values()]) for shot in run.result.snapshots]
    span = min(map(np.min, every)), max(map(np.max, every))
    np.testing.assert_allclose(picture["spans"][0], span, rtol=1e-3)
    counts = [np.histogram(one.astype(np.float64), picture["bins"], span)[0] for one in every]
    assert found[:, 0].max() == 255
    np.testing.assert_allclose(
        found[:, 0], np.ceil(255 * np.array(counts) / np.max(counts)), atol=255.1 / np.max(counts)
    )


def test_a_net_without_params_and_a_run_without_an_epoch_have_a_page(tmp_path):
    run = drawn(pn.relu, HALF, (floats(5, 3), floats(5, 3)), 1, {"loss": np.zeros(0)})
    found = page(run, tmp_path)[1]
    assert (found["epochs"], found["history"]["charts"], found["layers"]["paths"]) == ([0], [], [])


@pytest.mark.parametrize("inputs", [1, 2])
def test_a_net_that_says_the_same_everywhere_has_a_page(inputs, tmp_path):
    run = drawn(pn.dense(1), HALF, (np.ones((5, inputs), np.float32), np.zeros((5, 1), np.float32) + 3), 2)
    shots = [shot._replace(params=jax.tree.map(np.zeros_like, shot.params)) for shot in run.result.snapshots]
    picture = page(run._replace(result=Result(shots, {"loss": np.full(1, 4.5)})), tmp_path)[1]["picture"]
    assert picture["xlim"][0] < 1 < picture["xlim"][1]
    assert picture["span"] == [0, 3] if inputs == 2 else picture["ylim"][0] <= 0 < 3 < picture["ylim"][1]


def test_what_is_not_finite_is_a_gap(tmp_path):
    history = {"loss": np.array([np.nan, 2.0, np.inf]), "step_loss": np.ones(9), "confusion": np.ones((3, 2, 2))}
    run = drawn(pn.dense(1), HALF, (floats(5, 1), floats(5, 1)), 4, history)
    huge = run.result.snapshots[3]._replace(
        params={"kernel": np.full((1, 1), np.inf, np.float32), "bias": np.ones(1, np.float32)}
    )
    found = page(run._replace(result=Result((*run.result.snapshots[:3], huge), history)), tmp_path)[1]
    (chart,) = found["history"]["charts"]
    assert chart["lines"] == {"training": [None, 2.0, None]}
    assert found["layers"]["losses"][3] is None
    assert set(found["picture"]["ys"][3]) == {None}


def test_names_are_text_and_nothing_else(tmp_path):
    nasty = '</script><script>alert("&1")</script>'
    net = pn.layer(pn.dense(1).apply, init=pn.dense(1).init, name=nasty)
    data = (floats(5, 1), floats(5, 1))
    run = drawn(net, HALF, data, 3, {"loss": np.ones(2), nasty: np.ones(2)})
    text, found = page(run, tmp_path, title=nasty)
    assert text.count("<script") == 2
    assert text.count("</script>") == 2
    assert f"<title>{html.escape(nasty)}</title>" in text
    assert found["layers"]["paths"] == [nasty]
    assert found["history"]["charts"][1]["name"] == nasty
    assert "{{" not in re.sub(r"<script.*", "", text, flags=re.DOTALL)


def test_nothing_of_the_page_lies_elsewhere(spiral):
    text, _ = spiral
    assert "default-src 'none'" in text
    assert not re.search(r"https?:|\bsrc=|@import|url\(|\bimport\b|fetch\(", text)


def test_a_long_run_is_thinned_out_and_says_so(tmp_path):
    data = (floats(30, 784), whole(10, 30))
    run = drawn(pn.serial(pn.dense(128), pn.relu, pn.dense(10)), CE, data, 2)
    first, last = run.result.snapshots
    shots = tuple((first if i < 100 else last)._replace(epoch=i) for i in range(101))
    history = {"loss": np.linspace(2, 1, 100), "val_loss": np.linspace(2, 1, 100)}
    text, found = page(run._replace(result=Result(shots, history)), tmp_path)
    assert len(text.encode()) < 3_000_000
    assert found["epochs"] == list(range(101))
    assert found["picture"]["count"] == 20
    assert found["notes"] == ["The first 20 of 128 units are shown."]


def test_of_very_many_snapshots_some_are_shown(tmp_path):
    run = drawn(pn.dense(1), HALF, (floats(5, 1), floats(5, 1)), 2)
    shots = tuple(run.result.snapshots[0]._replace(epoch=i) for i in range(701))
    found = page(run._replace(result=Result(shots, {"loss": np.ones(700)})), tmp_path)[1]
    assert len(found["epochs"]) == len(found["picture"]["ys"]) == len(found["layers"]["losses"]) == 200
    assert (found["epochs"][0], found["epochs"][-1]) == (0, 700)
    assert set(np.diff(found["epochs"])) == {3, 4}
    assert found["notes"] == ["200 of 701 snapshots are shown.", "The curves have 600 of 700 epochs."]


def test_the_page_replaces_another_in_one_step_or_not_at_all(tmp_path, monkeypatch):
    run = drawn(pn.dense(1), HALF, (floats(5, 1), floats(5, 1)), 2)
    path = tmp_path / "report.html"
    path.write_text("old")
    other = tmp_path / "other"
    other.touch()
    assert report(run.result, str(path), **run.given) == path
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)
    before = path.read_bytes()

    def broken(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(OSError, match=r"^disk full$"):
        report(run.result, path, **run.given, title="new")
    assert path.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["other", "report.html"]


def wrong(field, value, tmp_path):
    run = drawn(pn.dense(1), HALF, (floats(5, 1), floats(5, 1)), 2)
    given = {"result": run.result, "path": tmp_path / "report.html", **run.given, field: value}
    return report(given.pop("result"), given.pop("path"), **given)


@pytest.mark.parametrize(
    ("field", "value", "kind", "message"),
    [
        (
            "result",
            None,
            TypeError,
            "expected result to be what fit returned, got None. Pass the FitResult of pn.fit(…, snapshots=1).",
        ),
        (
            "result",
            Result((), {"loss": np.ones(2)}),
            ValueError,
            "expected a result with snapshots, got none. Train with pn.fit(…, snapshots=1), which keeps the params "
            "after every epoch.",
        ),
        (
            "net",
            3,
            TypeError,
            "expected a layer or a function of one example, got 3. Give layers as separate arguments, such as "
            "pn.serial(pn.dense(3), pn.relu).",
        ),
        (
            "net",
            pn.dense(2),
            TypeError,
            "expected snapshots of this net, with float32 of shape (2,) at [0]['bias'], got float32 of shape (1,) "
            "there. Pass the net that fit trained, and its data.",
        ),
        ("loss", 3, TypeError, "expected a loss or a function of prediction and target, got 3. Give one of pn.losses."),
        ("title", 3, TypeError, "expected title to be a text, got 3. Give a str."),
        ("path", 3, TypeError, "expected path to be that of a file, got 3. Give a str or a pathlib.Path."),
        ("path", "", TypeError, "expected path to be that of a file, got ''. Give a str or a pathlib.Path."),
        (
            "classes",
            ["a", "b"],
            ValueError,
            "expected classes for decision regions of two inputs alone, got some. Leave them out.",
        ),
        ("shape", 3, TypeError, "expected shape to be (rows, columns), got 3. Such as (28, 28)."),
        ("shape", (0, 3), ValueError, "expected rows and columns of 1 or more, got (0, 3). Such as (28, 28)."),
        ("shape", (2, 3), ValueError, "expected shape to have 1 pixels, the inputs of the first layer, got (2, 3)."),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isidentifier() else "",
)
def test_bad_input_is_refused_in_whole_sentences(field, value, kind, message, tmp_path):
    with refuses(kind, f"plot.report: {message}"):
        wrong(field, value, tmp_path)
    assert os.listdir(tmp_path) == []


def test_bad_places_are_refused(tmp_path):
    with refuses(
        FileNotFoundError,
        f"plot.report: expected a folder that exists, got {tmp_path / 'no'}. Make it with os.makedirs.",
    ):
        wrong("path", tmp_path / "no" / "report.html", tmp_path)
    with refuses(
        IsADirectoryError, f"plot.report: expected path to be a file, got the folder {tmp_path}. Name a file in it."
    ):
        wrong("path", tmp_path, tmp_path)


def test_bad_classes_and_data_are_refused(tmp_path):
    run = fitted()
    with refuses(ValueError, "plot.report: expected classes to be 2 names, got a list of 3. Give a list of texts."):
        report(run.result, tmp_path / "report.html", **run.given, classes=["a", "b", "c"])
    labels = run.data[1].copy()
    labels[3] = 7
    with pytest.raises(ValueError, match=r"^softmax_cross_entropy: expected labels from 0 to 1, got 1 of 60 "):
        report(run.result, tmp_path / "report.html", **{**run.given, "data": (run.data[0], labels)})
