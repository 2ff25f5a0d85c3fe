"""A run as frames: for each snapshot a picture and each layer's gradient; beside them the curves of the whole run."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purenet.contract import Layer, Tree, as_layer, example_spec, spec_of
from purenet.data import check_data
from purenet.errors import ShapeError, StructureError, describe, expect_like
from purenet.evaluation import check_values
from purenet.gradients import Batch, as_batch, value_and_grad
from purenet.insight.places import places_of
from purenet.losses.base import Loss, as_loss
from purenet.plot.frames_pictures import Functions, Maps, picture_of
from purenet.plot.frames_scales import picks
from purenet.plot.frames_weights import Histograms, Tiles, histograms_of

# Bounds of what is drawn, so that a page stays below 3 MB and a person can take it in.
_SNAPSHOTS, _EPOCHS, _LAYERS, _EXAMPLES = 200, 600, 32, 2048


class Chart(NamedTuple):
    """A number of the history over the epochs.

    Attributes:
      name: such as "loss"; the lines are that in training and in validation.
      lines: by "training" and "validation", one value per entry of `Frames.history_epochs`; NaN is a gap.
    """

    name: str
    lines: dict[str, np.ndarray]


class Layers(NamedTuple):
    """How large each layer's gradient and weights are.

    Attributes:
      paths: of the layers that have params.
      gradients: the gradients' Euclidean norms, of shape (frames, layers).
      weights: those of the params, of the same shape.
      losses: the loss whose gradient it is, one per frame.
    """

    paths: tuple[str, ...]
    gradients: np.ndarray
    weights: np.ndarray
    losses: np.ndarray


class Frames(NamedTuple):
    """Everything that a report or a film shows.

    Attributes:
      epochs: of the snapshots, ascending.
      picture: what the network does, one image per snapshot.
      charts: the history.
      history_epochs: where the charts have values.
      layers: norms.
      notes: what was left out, in sentences.
      about: the network, the loss, the examples and where training ended.
    """

    epochs: tuple[int, ...]
    picture: Maps | Functions | Tiles | Histograms
    charts: tuple[Chart, ...]
    history_epochs: np.ndarray
    layers: Layers
    notes: tuple[str, ...]
    about: tuple[str, ...]

    @property
    def kind(self) -> str:
        """One word for the picture."""
        return {Maps: "map", Functions: "function", Tiles: "tiles", Histograms: "histograms"}[type(self.picture)]

    @property
    def heading(self) -> str:
        """What the picture shows."""
        if isinstance(self.picture, Maps):
            return "Decision regions" if self.picture.classes else "Output over the inputs"
        if isinstance(self.picture, Tiles):
            return f"Weights of {self.picture.path}"
        return "Function and data" if isinstance(self.picture, Functions) else "Weights of each layer"

    @property
    def caption(self) -> str:
        """How to read it."""
        if isinstance(self.picture, Maps) and self.picture.classes:
            return "The colour is that of the class whose loss would be least; the stronger, the surer. Marks are data."
        if isinstance(self.picture, Maps):
            return "Colours are the network's output; marks are data, coloured by their targets."
        if isinstance(self.picture, Tiles):
            what = self.picture.what
            return f"One image for each {what}: its weights, orange above 0, purple below; few are beyond the scale."
        if isinstance(self.picture, Functions):
            return "What the network gives for each input."
        return "How the weights of each layer are spread, each over its own range through all of training."


def frames_of(result: Any, net: Any, loss: Any, data: Any, classes: Any, shape: Any) -> Frames:
    """Computes the frames of a run.

    Args:
      result: what `fit(…, snapshots=k)` returned.
      net: the layer that it trained.
      loss: the loss that it minimised.
      data: `(xs, ys)` or `(xs, ys, weights)`.
      classes: their names, or None.
      shape: of the images that the first layer's weights are; None lets the examples tell.

    Returns:
      The frames.

    Raises:
      ShapeError: without snapshots, or for data that do not fit.
      StructureError: if an argument is not what it should be.
      ValueError, TypeError: for data that `pn.data.check_data` refuses.
    """
    snapshots, history = _expect_result(result)
    net, loss = as_layer(net), as_loss(loss)
    batch = as_batch(check_data(data))
    made = jax.eval_shape(lambda: net.init(jax.random.key(0), example_spec(batch.xs)))
    for snapshot in snapshots:
        remedy = "Pass the net that fit trained, and its data."
        expect_like("snapshots of this net", spec_of((snapshot.params, snapshot.state)), made, remedy)
    check_values(net, loss, snapshots[0].params, snapshots[0].state, batch)
    total = len(snapshots)
    snapshots = [snapshots[i] for i in picks(total, _SNAPSHOTS)]
    found, snapshots, notes = picture_of(net, loss, batch, snapshots, shape)
    picture = _named(found, classes)
    if len(snapshots) < total:
        notes.insert(0, f"{len(snapshots)} of {total} snapshots are shown.")
    at, charts = _charts_of(history, notes)
    layers = _layers_of(net, loss, batch, snapshots, notes)
    if picture is None:
        picture = histograms_of(net, layers.paths, snapshots)
    about = _shortened(repr(net)), f"loss {loss.name}", f"{batch.size} examples", f"{snapshots[-1].epoch} epochs"
    return Frames(tuple(int(shot.epoch) for shot in snapshots), picture, charts, at, layers, tuple(notes), about)


def _shortened(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _expect_result(result: Any) -> tuple[Sequence[Any], dict[str, Any]]:
    snapshots, history = getattr(result, "snapshots", None), getattr(result, "history", None)
    if not isinstance(snapshots, (tuple, list)) or not isinstance(history, dict):
        raise StructureError(
            f"expected result to be what fit returned, got {describe(result)}. Pass the FitResult of "
            "pn.fit(…, snapshots=1)."
        )
    if not snapshots:
        raise ShapeError(
            "expected a result with snapshots, got none. Train with pn.fit(…, snapshots=1), which keeps the params "
            "after every epoch."
        )
    return snapshots, history


def _named(picture: Any, classes: Any) -> Any:
    """Puts the names in place of the labels."""
    if classes is None:
        return picture
    count = len(picture.classes) if isinstance(picture, Maps) else 0
    if not count:
        raise ShapeError("expected classes for decision regions of two inputs alone, got some. Leave them out.")
    if isinstance(classes, str) or not all(isinstance(name, str) for name in classes) or len(classes) != count:
        raise ShapeError(f"expected classes to be {count} names, got {describe(classes)}. Give a list of texts.")
    return picture._replace(classes=tuple(classes))


def _charts_of(history: dict[str, Any], notes: list[str]) -> tuple[np.ndarray, tuple[Chart, ...]]:
    """The loss first, then what else is one number per epoch, each with its validation."""
    numbers = {
        name: np.asarray(values, np.float64)
        for name, values in history.items()
        if np.ndim(values) == 1 and name != "step_loss"
    }
    count = len(numbers.get("loss", ()))
    kept = picks(count, _EPOCHS) if count else []
    if len(kept) < count:
        notes.append(f"The curves have {len(kept)} of {count} epochs.")
    names = list(dict.fromkeys(name.removeprefix("val_") for name in numbers))
    names.sort(key=lambda name: (name != "loss", name == "learning_rate"))  # the rest as it came
    charts = []
    for name in names:
        lines = {"training": numbers.get(name), "validation": numbers.get(f"val_{name}")}
        known = {label: line[kept] for label, line in lines.items() if line is not None and len(line) == count}
        if known and count:
            charts.append(Chart(name, known))
    return np.asarray(kept, np.int64) + 1, tuple(charts)


def _layers_of(net: Layer, loss: Loss, batch: Batch, snapshots: Sequence[Any], notes: list[str]) -> Layers:
    """Norms of all snapshots, by one compiled program."""
    chosen = picks(batch.size, _EXAMPLES)
    if len(chosen) < batch.size:
        notes.append(f"Gradients are those of {len(chosen)} of {batch.size} examples.")
        batch = jax.tree.map(lambda a: a[np.asarray(chosen)], batch)
    places = [place.path for place in places_of(net, snapshots[0].params)]
    every = list(dict.fromkeys(places))
    paths = [every[i] for i in picks(len(every), _LAYERS)] if every else []
    if len(paths) < len(every):
        notes.append(f"{len(paths)} of {len(every)} layers are shown.")
    groups = [[i for i, place in enumerate(places) if place == path] for path in paths]
    gradient, key = value_and_grad(net, loss), jax.random.key(0)

    def norms(tree: Tree) -> jax.Array:
        leaves = [leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32)) for leaf in jax.tree.leaves(tree)]
        return jnp.stack([_norm([leaves[i] for i in group]) for group in groups]) if groups else jnp.zeros(0)

    @jax.jit
    def measure(params: Tree, state: Tree, batch: Batch) -> tuple[jax.Array, jax.Array, jax.Array]:
        (value, _), grads = gradient(params, state, batch, key)
        return norms(grads), norms(params), value

    measured = [measure(shot.params, shot.state, batch) for shot in snapshots]
    return Layers(tuple(paths), *(np.asarray([np.asarray(row[i], np.float64) for row in measured]) for i in range(3)))


def _norm(leaves: Sequence[jax.Array]) -> jax.Array:
    """Divided by the largest first, so that squares neither overflow nor vanish; leaf by leaf, which XLA runs fast."""
    largest = jnp.max(jnp.stack([jnp.max(jnp.abs(leaf), initial=0.0) for leaf in leaves]))
    scale = jnp.where(largest > 0, largest, jnp.ones_like(largest))
    return scale * jnp.sqrt(jnp.sum(jnp.stack([jnp.sum((leaf / scale) ** 2) for leaf in leaves])))
