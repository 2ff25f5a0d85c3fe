"""film: how a network learned, as a GIF or an MP4."""

import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from purenet.errors import ShapeError, StructureError, by, describe
from purenet.plot.drawn import with_matplotlib
from purenet.plot.frames import frames_of
from purenet.plot.frames_files import expect_path, expect_title, written
from purenet.plot.frames_stage import Stage

# A GIF counts in hundredths of a second, and viewers slow down what is shorter than two.
_FASTEST = 50
_REST = 2000  # milliseconds of a GIF's last frame, before it begins again
_DPI = 100


def film(
    result: Any,
    path: str | os.PathLike[str],
    *,
    net: Any,
    loss: Any,
    data: Any,
    fps: float = 10,
    title: str | None = None,
    classes: Sequence[str] | None = None,
    shape: tuple[int, int] | None = None,
) -> pathlib.Path:
    """Writes a film of how a network learned: a frame for each snapshot, as `pn.plot.report`.

    Colours and axes mean the same in all frames. A GIF rests two seconds on its last frame.

    Args:
      result: what `pn.fit(…, snapshots=k)` returned.
      path: the file to write, in a folder that exists: `.gif`, or `.mp4`, which takes the program ffmpeg. One that is
        there is replaced, in one step.
      net: the layer that was trained.
      loss: one of `pn.losses`, or a function of one prediction and target; the gradients are its.
      data: `(xs, ys)` or `(xs, ys, weights)`, what it learned from or other examples; of more than 2,048 the
        gradients take so many.
      fps: frames per second, above 0 and at most 50.
      title: above the pictures; None names the network.
      classes: names of the classes, in the order of their labels; None uses the labels.
      shape: (rows, columns) of the images that the first layer's weights are. It also draws those where the inputs
        are one or two. None takes the shape of the examples, or a square.

    Returns:
      The path of the film.

    Raises:
      ImportError: without Matplotlib.
      StructureError: if an argument is not what it should be; if the snapshots are not of this net.
      ShapeError: without snapshots, if `fps` is out of range, `classes` or `shape` do not fit, for another suffix, or
        for an MP4 without ffmpeg.
      ValueError, TypeError: for data that `pn.data.check_data` refuses.
      OSError: if the folder is missing, `path` is one, or the disk refuses.

    Example:
      >>> import jax, numpy as np, optax, pathlib, purenet as pn, tempfile
      >>> xs = np.linspace(-1, 1, 40, dtype=np.float32)[:, None]
      >>> net, loss = pn.serial(pn.dense(8), pn.tanh, pn.dense(1)), pn.losses.half_squared_error
      >>> result = pn.fit(net, (xs, xs**2), loss=loss, optimizer=optax.adam(1e-2), key=jax.random.key(0), snapshots=1)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder) / "film.gif"
      ...     pn.plot.film(result, path, net=net, loss=loss, data=(xs, xs**2)).read_bytes()[:6]
      b'GIF89a'
    """
    with_matplotlib("film")
    with by("plot.film"):
        target = expect_path("plot.film", path, (".gif", ".mp4"))
        _expect_rate(fps)
        if target.suffix.lower() == ".mp4":
            _expect_ffmpeg()
        frames = frames_of(result, net, loss, data, classes, shape)
        stage = Stage(frames, expect_title(title) or f"How {frames.about[0]} learned")
    with written(target) as draft:
        if target.suffix.lower() == ".mp4":
            _write_mp4(stage, len(frames.epochs), draft, fps)
        else:
            _write_gif(stage, len(frames.epochs), draft, fps)
    return target


def _expect_rate(fps: Any) -> None:
    if isinstance(fps, bool) or not isinstance(fps, (int, float, np.integer, np.floating)):
        raise StructureError(f"expected fps to be a number, got {describe(fps)}. Give frames per second, such as 10.")
    if not 0 < fps <= _FASTEST:
        raise ShapeError(f"expected fps above 0 and at most {_FASTEST}, got {fps}. Give frames per second, such as 10.")


def _expect_ffmpeg() -> None:
    from matplotlib.animation import FFMpegWriter

    if not FFMpegWriter.isAvailable():
        raise ShapeError("expected the program ffmpeg for an MP4, found none. Install it, or write a .gif instead.")


def _images(stage: Stage, numbers: Any) -> Iterator[Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(stage.figure)
    stage.figure.set_dpi(_DPI)
    for number in numbers:
        stage.show(number)
        canvas.draw()
        yield Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _write_gif(stage: Stage, count: int, path: pathlib.Path, fps: float) -> None:
    """All frames in the same 256 colours, so that a colour stays what it is."""
    from PIL import Image

    sample = [np.asarray(image) for image in _images(stage, sorted({0, count // 2, count - 1}))]
    palette = Image.fromarray(np.concatenate(sample)).quantize(256, method=Image.Quantize.MAXCOVERAGE)
    images = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in _images(stage, range(count))]
    pause = max(1, round(100 / fps)) * 10
    pauses = [pause] * (count - 1) + [max(pause, _REST)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=pauses, loop=0, optimize=False)


def _write_mp4(stage: Stage, count: int, path: pathlib.Path, fps: Any) -> None:
    from matplotlib.animation import FFMpegWriter

    # Players want this way of storing colours.
    writer = FFMpegWriter(fps, extra_args=["-pix_fmt", "yuv420p"])
    with writer.saving(stage.figure, str(path), dpi=_DPI):
        for number in range(count):
            stage.show(number)
            writer.grab_frame()
