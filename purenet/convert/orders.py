"""Where features change places: PyTorch flattens (C, H, W) where purenet flattens (H, W, C).

The network is traced on one example while a recorder follows every value, by identity, from layer to layer. It knows
whether PyTorch has the channels of a value first, and, for what was flattened, at which of our places each of PyTorch's
features stands. A value of which that cannot be known is one that no layer with params may see.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from purenet.contract import Layer, Spec, Tree
from purenet.errors import StructureError
from purenet.recording import Call, joined, recording

# Layers of space: what they take and give has its channels first in PyTorch.
_OF_SPACE = (
    "conv", "depthwise_conv", "conv_transpose", "max_pool", "avg_pool", "upsample", "batch_norm", "group_norm",
    "instance_norm", "channel_dropout",
)  # fmt: skip
# What does the same to every feature, so that their order passes through.
_PASSING = (
    "relu", "relu6", "hard_sigmoid", "hard_tanh", "step", "gelu", "gelu_tanh", "mish", "silu", "swish", "celu", "elu",
    "leaky_relu", "selu", "sigmoid", "log_sigmoid", "soft_sign", "softplus", "tanh", "softmax", "log_softmax",
    "dropout", "drop_path", "gaussian_noise", "gaussian_dropout", "alpha_dropout", "batch_norm", "layer_norm",
    "rms_norm",
)  # fmt: skip
_SEQUENCES = (
    "embedding", "rnn", "lstm", "gru", "attention", "learned_positions", "sinusoidal_positions", "rotary", "unembed",
)  # fmt: skip
_KEEPING = (
    *_OF_SPACE, *_PASSING, *_SEQUENCES, "dense", "maxout", "global_avg_pool", "global_max_pool", "add", "multiply",
    "concatenate",
)  # fmt: skip
_REORDERED = ("dense", "batch_norm", "layer_norm", "rms_norm")
_HANDING_ON = ("serial", "graph", "branch", "parallel", "residual", "remat")


class _Layout(NamedTuple):
    """How a value lies in PyTorch.

    Attributes:
      first: whether its channels are first there.
      order: for a vector, where each of PyTorch's features stands among ours; None where all stand the same.
      known: whether that is known.
    """

    first: bool = False
    order: np.ndarray | None = None
    known: bool = True

    @property
    def plain(self) -> bool:
        return self.known and self.order is None


def orders_of(net: Layer, params: Tree, state: Tree, spec: Spec) -> dict[str, np.ndarray]:
    """Tells for each layer with reordered input features, by its path, where each of PyTorch's stands among ours."""
    tracker = _Tracker(dict(layers_by_path(net)))
    with recording(tracker.mark):
        jax.eval_shape(lambda *args: net.apply(*args), params, spec, state)
    return tracker.orders


def layers_by_path(layer: Layer, place: str = "") -> Iterator[tuple[str, Layer]]:
    """Lists a network and its parts, each with its path."""
    path = joined(place, layer.name)
    yield path, layer
    for i, part in enumerate(layer.parts):
        yield from layers_by_path(part, f"{path}[{i}]")


def needs_spec(net: Layer) -> bool:
    """Tells whether some layer may change the order of features."""
    return any(not layer.parts and layer.name not in _KEEPING for _, layer in layers_by_path(net))


class _Tracker:
    def __init__(self, layers: dict[str, Layer]):
        self.layers = layers
        self.orders: dict[str, np.ndarray] = {}
        self.seen: dict[str, np.ndarray | None] = {}
        self.known: dict[int, tuple[Any, _Layout]] = {}  # the value too: while it lives, its id is its own
        self.met: list[bool] = [False]  # for each open call, whether a layer in it met reordered features

    def mark(self, call: Call, run: Callable[..., Any]) -> Any:
        layer, x = self.layers.get(call.path), call.args[1]
        layouts = [self.look(leaf) for leaf in jax.tree.leaves(x)]
        reordered = not all(layout.plain for layout in layouts)
        name = call.path.rpartition(".")[2].rpartition("]")[2] if layer is None else layer.name
        if layer is not None and layer.parts and reordered and name not in _HANDING_ON:
            raise StructureError(
                f"expected no {name} of features that flatten made of space, got one. PyTorch has them in another "
                "order. Convert the parts by themselves, and reorder the features by hand."
            )
        self.met.append(reordered)
        y = run(*call.args)
        inside = self.met.pop()
        self.met[-1] = self.met[-1] or inside or reordered
        if layer is not None and layer.parts:
            self.name_outputs(y, inside)
        elif layer is not None:
            self.use(call.path, name, call.args[0], x, layouts)
            self.note(y, _after(name, x, y, layouts))
        return y

    def look(self, leaf: Any) -> _Layout:
        found = self.known.get(id(leaf))
        return found[1] if found else _Layout(first=np.ndim(leaf) >= 3)

    def note(self, y: Tree, layout: _Layout) -> None:
        for leaf in jax.tree.leaves(y):
            self.known[id(leaf)] = (leaf, layout)

    def name_outputs(self, y: Tree, inside: bool) -> None:
        """What a combinator made itself, such as a sum, has no known order if one was met in it."""
        for leaf in jax.tree.leaves(y):
            if id(leaf) not in self.known:
                self.note(leaf, _Layout(first=np.ndim(leaf) >= 3, known=not inside or np.ndim(leaf) != 1))

    def use(self, path: str, name: str, params: Tree, x: Tree, layouts: list[_Layout]) -> None:
        """Notes the order for a layer with params, after refusing one that cannot be followed."""
        if not jax.tree.leaves(params) or len(layouts) != 1:
            return
        layout = layouts[0]
        if not layout.known or (layout.order is not None and name not in _REORDERED):
            raise StructureError(
                f"expected features in an order that PyTorch has, too, got some that flatten and other layers made of "
                f"space. Put {name} directly behind pn.flatten or an activation, or convert the parts by themselves."
            )
        before = self.seen.setdefault(path, layout.order)
        if (before is None) != (layout.order is None) or not (before is None or np.array_equal(before, layout.order)):
            raise StructureError(
                f"expected {name} to see its features in one order, got two: it is used at several nodes. "
                "Convert the parts by themselves."
            )
        if layout.order is not None:
            self.orders[path] = layout.order


def _after(name: str, x: Tree, y: Tree, layouts: list[_Layout]) -> _Layout:
    """How a layer's output lies in PyTorch."""
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(y)]
    if len(shapes) != 1 or not layouts:
        return _Layout()
    shape, layout = shapes[0], layouts[0]
    if len(layouts) > 1:
        return _merged(name, [np.shape(leaf) for leaf in jax.tree.leaves(x)], shape, layouts)
    if name in _OF_SPACE and len(shape) > 1:
        return _Layout(first=True)
    if name in ("flatten", "reshape"):
        return _rearranged(np.shape(x), shape, layout)
    if name in _PASSING:
        return layout
    if name in _SEQUENCES or name in ("dense", "global_avg_pool", "global_max_pool"):
        return _Layout()
    if shape == np.shape(x) and layout.plain:
        return layout
    return _Layout(first=len(shape) >= 3, known=len(shape) != 1 or (layout.plain and not layout.first))


def _merged(name: str, shapes: list[tuple[int, ...]], shape: tuple[int, ...], layouts: list[_Layout]) -> _Layout:
    if all(layout.plain for layout in layouts):
        return _Layout(first=layouts[0].first)
    if len(shape) != 1 or not all(layout.known for layout in layouts):
        return _Layout(known=False)
    orders = [
        np.arange(given[0]) if layout.order is None else layout.order
        for given, layout in zip(shapes, layouts, strict=True)
    ]
    if name == "concatenate":
        starts = np.cumsum([0, *[given[0] for given in shapes[:-1]]])
        return _Layout(order=np.concatenate([start + order for start, order in zip(starts, orders, strict=True)]))
    if name in ("add", "multiply") and all(np.array_equal(order, orders[0]) for order in orders):
        return layouts[0]
    return _Layout(known=False)


def _rearranged(given: tuple[int, ...], shape: tuple[int, ...], layout: _Layout) -> _Layout:
    places = np.arange(int(np.prod(given)))
    if layout.order is not None:
        order = layout.order
    else:
        order = _channels_first(places.reshape(given)).ravel() if layout.first and len(given) > 1 else places
    if len(shape) == 1:
        return _Layout(order=None if np.array_equal(order, places) else order, known=layout.known)
    wanted = places.reshape(shape)
    if not layout.known or not np.array_equal(order, (_channels_first(wanted) if len(shape) >= 3 else wanted).ravel()):
        raise StructureError(
            f"expected a reshape that keeps the order of PyTorch, got one from {given} to {shape}, where PyTorch has "
            "the channels first. Convert what stands before it and what stands behind it by themselves."
        )
    return _Layout(first=len(shape) >= 3)


def _channels_first(a: np.ndarray) -> np.ndarray:
    return np.moveaxis(a, -1, 0)
