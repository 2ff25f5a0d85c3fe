"""report: a page that shows how a network learned, epoch by epoch, in one file."""

import base64
import html
import importlib.resources
import json
import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from purenet.errors import by
from purenet.plot.frames import Chart, Frames, Layers, frames_of
from purenet.plot.frames_files import expect_path, expect_title, written
from purenet.plot.frames_pictures import Functions, Maps
from purenet.plot.frames_scales import decades, is_log, limits
from purenet.plot.frames_weights import Tiles

# A whole run plays in about so many milliseconds, a frame not faster than a screen that one can follow.
_PLAY, _FASTEST, _SLOWEST = 12_000, 60, 600


def report(
    result: Any,
    path: str | os.PathLike[str],
    *,
    net: Any,
    loss: Any,
    data: Any,
    title: str | None = None,
    classes: Sequence[str] | None = None,
    shape: tuple[int, int] | None = None,
) -> pathlib.Path:
    """Writes a page that shows how a network learned: a slider over the epochs moves all its pictures.

    What the network does at each snapshot: for two inputs, its map of the plane with the data, coloured by the class
    whose loss would be least and the more the surer, or by its output; for one input and one output, its function with
    the data; else the first layer's weights as images, and where they are none, histograms of all weights. Beside it
    the history until then, and the Euclidean norm of each layer's gradient and weights.

    One HTML file without a server, a network or other files, of less than 3 MB: where a run has more snapshots,
    examples or weights, they are thinned out evenly, and the page says so. It needs no Matplotlib.

    Args:
      result: what `pn.fit(…, snapshots=k)` returned.
      path: the file to write, in a folder that exists; one that is there is replaced, in one step.
      net: the layer that was trained.
      loss: one of `pn.losses`, or a function of one prediction and target; the gradients are its.
      data: `(xs, ys)` or `(xs, ys, weights)`, what it learned from or other examples; of more than 2,048 the
        gradients take so many.
      title: of the page; None names the network.
      classes: names of the classes, in the order of their labels; None uses the labels.
      shape: (rows, columns) of the images that the first layer's weights are. It also draws those where the inputs
        are one or two. None takes the shape of the examples, or a square.

    Returns:
      The path of the page.

    Raises:
      StructureError: if an argument is not what it should be; if the snapshots are not of this net.
      ShapeError: without snapshots, or if `classes` or `shape` do not fit.
      ValueError, TypeError: for data that `pn.data.check_data` refuses.
      OSError: if the folder is missing, `path` is one, or the disk refuses.

    References:
      Smilkov, Carter, Sculley, Viégas and Wattenberg (2017), Direct-manipulation visualization of deep networks.

    Example:
      >>> import jax, numpy as np, optax, pathlib, purenet as pn, tempfile
      >>> xs = np.linspace(-1, 1, 40, dtype=np.float32)[:, None]
      >>> data, net, loss = (xs, xs**2), pn.serial(pn.dense(8), pn.tanh, pn.dense(1)), pn.losses.half_squared_error
      >>> result = pn.fit(net, data, loss=loss, optimizer=optax.adam(1e-2), key=jax.random.key(0), snapshots=1)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     page = pn.plot.report(result, pathlib.Path(folder) / "report.html", net=net, loss=loss, data=data)
      ...     page.name, page.read_text().startswith("<!DOCTYPE html>")
      ('report.html', True)
    """
    with by("plot.report"):
        target = expect_path("plot.report", path)
        frames = frames_of(result, net, loss, data, classes, shape)
        words = expect_title(title) or f"How {frames.about[0]} learned"
        page = _page(words, ", ".join(frames.about[1:]), _run(frames))
    with written(target) as draft:
        draft.write_text(page, encoding="utf-8")
    return target


def _page(title: str, subtitle: str, run: dict[str, Any]) -> str:
    # Inside a script element only "<" could end it; the rest of JSON is harmless there.
    text = json.dumps(run, allow_nan=False, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    filled = {"title": html.escape(title), "subtitle": html.escape(subtitle), "run": text}
    filled |= {"drawing": _shipped("page_drawing.js"), "script": _shipped("page.js")}
    return re.sub(r"\{\{(\w+)\}\}", lambda found: filled[found[1]], _shipped("page.html"))


def _shipped(name: str) -> str:
    return importlib.resources.files("purenet.plot").joinpath(name).read_text(encoding="utf-8")


def _run(frames: Frames) -> dict[str, Any]:
    """Everything that the page's script reads."""
    return {
        "epochs": list(frames.epochs),
        "pause": int(np.clip(_PLAY / len(frames.epochs), _FASTEST, _SLOWEST)),
        "picture": _picture(frames),
        "history": {
            "epochs": frames.history_epochs.tolist(),
            "charts": [_chart(chart) for chart in frames.charts],
        },
        "layers": _layers(frames.layers),
        "notes": list(frames.notes),
    }


def _picture(frames: Frames) -> dict[str, Any]:
    picture = frames.picture
    named: dict[str, Any] = {"kind": frames.kind, "heading": frames.heading, "caption": frames.caption}
    if isinstance(picture, Functions):
        named |= {"x": _numbers(picture.x), "ys": [_numbers(ys) for ys in picture.ys]}
        return named | {"points": _numbers(picture.points), "xlim": picture.xlim, "ylim": picture.ylim}
    named["cells"] = [base64.b64encode(cells.tobytes()).decode("ascii") for cells in picture.cells]
    if isinstance(picture, Maps):
        rows, columns = picture.cells.shape[1:]
        targets = picture.targets
        if targets is not None:
            targets = targets.tolist() if picture.classes else _numbers(targets)
        named |= {"rows": rows, "columns": columns, "levels": picture.levels, "classes": list(picture.classes)}
        named |= {"xlim": picture.xlim, "ylim": picture.ylim, "span": picture.span}
        return named | {"points": _numbers(picture.points), "targets": targets}
    if isinstance(picture, Tiles):
        count, rows, columns = picture.cells.shape[1:]
        return named | {"count": count, "rows": rows, "columns": columns, "scale": _rounded(picture.scale)}
    spans = [_numbers(np.asarray(span)) for span in picture.spans]
    return named | {"paths": list(picture.paths), "spans": spans, "bins": picture.cells.shape[2]}


def _chart(chart: Chart) -> dict[str, Any]:
    values = np.concatenate(list(chart.lines.values()))
    log = is_log(values)
    span = limits(np.log10(values)) if log else limits(values)
    return {
        "name": chart.name,
        "log": log,
        "limits": [10.0**end for end in span] if log else list(span),
        "lines": {name: _numbers(line) for name, line in chart.lines.items()},
    }


def _layers(layers: Layers) -> dict[str, Any]:
    return {
        "paths": list(layers.paths),
        "gradients": [_numbers(row) for row in layers.gradients],
        "weights": [_numbers(row) for row in layers.weights],
        "losses": _numbers(layers.losses),
        "decades": list(decades(layers.gradients)),
        "caption": "Euclidean norms of a layer's gradient and of its params; logarithmic.",
    }


def _numbers(values: np.ndarray) -> Any:
    """Nested lists of four significant digits; None where a number is not finite."""
    return [_numbers(row) for row in values] if values.ndim > 1 else [_rounded(value) for value in values.tolist()]


def _rounded(value: float) -> float | None:
    return float(f"{value:.4g}") if np.isfinite(value) else None
