"""Weights to and from PyTorch: what `state_dict` gives and `load_state_dict` takes."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from purenet.contract import Layer, Spec, Tree, as_layer
from purenet.convert.base import Dialect, Hint, Key
from purenet.convert.torch_codecs import TORCH_CODECS
from purenet.convert.walking import Walk, orders, read, write
from purenet.errors import StructureError, by, describe

_RECURRENT = ("rnn", "lstm", "gru")


def to_torch(
    net: Layer, params: Tree, state: Tree = (), spec: Spec = None, names: Mapping[str, str] | None = None
) -> dict[str, np.ndarray]:
    """Writes params and state under PyTorch's names and in its layouts, for `load_state_dict`.

    A `torch.nn.Sequential` of the same modules one by one, activations, Flatten and Dropout among them, takes the
    result as it is: parts are called by their numbers, "2.weight", and in a serial in a serial "2.0.weight". So are the
    parts of every other combinator, `residual`'s and `graph`'s too, for which a module of yours has names of its own:
    give them in `names`. `each` and `remat` have no name, their part stands in their place; a `repeat` is a Sequential
    of its repetitions.

    Every kernel is turned into PyTorch's layout. Behind `flatten` its rows change places, too, as PyTorch flattens
    (C, H, W) where purenet flattens (H, W, C): images (H, W, C) of yours are (C, H, W) there; sequences (T, C) stay so,
    but are (C, T) between layers of space such as `conv`.

    Options are not weights: build the modules with the same epsilon, stride, activation and so on (`rnn` of "sigmoid"
    or "identity" has no counterpart, which its params do not tell; build recurrent modules with batch_first=True).

    - `rnn`, `lstm`, `gru`: the first of two biases is ours, the second zeros (but for `gru`'s d). `bidirectional`
      and `stacked` are options of one module there: "weight_ih_l1_reverse". A part named in `names` is a module of its
      own.
    - `attention`: in `MultiheadAttention` "in_proj_weight", or with another memory "q_proj_weight" and so on; rotary
      positions and fewer heads of keys are not in it.
    - `batch_norm`: num_batches_tracked is 0. Its running variance is unbiased, as here. A norm that has either scale
      or offset gets ones or zeros for the other where PyTorch has both or none.
    - `learned_positions` is an `Embedding`; `unembed` a Linear without bias, with the embedding's weight once more.

    Args:
      net: the network, or a part of it.
      params: its params.
      state: its state; `()` for a network without.
      spec: that of one example; needed if there is a `flatten`, a `reshape` or a function of your own in it.
      names: prefixes in place of numbers, such as `{"0.1": "block.attn"}`, for any part or the network itself (""). A
        place is the numbers of the parts on the way to it, "0.1" for what errors call serial[0].residual[1]; each,
        remat and repeat count. Parts in it follow with their numbers behind the prefix.

    Returns:
      NumPy arrays, for `{k: torch.from_numpy(v) for k, v in arrays.items()}`.

    Raises:
      StructureError: for a layer that PyTorch has not, params of another network, or features whose order cannot be
        followed, or without `spec` where it is needed.
      ShapeError: if two parts have one prefix, or `names` has a place that does not exist.

    Example:
      >>> import jax, purenet as pn
      >>> net = pn.serial(pn.conv(8, (3, 3)), pn.relu, pn.flatten, pn.dense(10))
      >>> params, state = net.init(jax.random.key(0), pn.spec((4, 4, 1)))
      >>> arrays = pn.convert.to_torch(net, params, state, pn.spec((4, 4, 1)), names={"3": "head"})
      >>> {name: array.shape for name, array in arrays.items()}
      {'0.weight': (8, 1, 3, 3), '0.bias': (8,), 'head.weight': (10, 128), 'head.bias': (10,)}
    """
    with by("to_torch"):
        net = as_layer(net)
        made = None if spec is None else _init_specs(net, spec)
        return write(net, params, state, Walk(TORCH, names, orders(net, made, spec), None))


def from_torch(
    net: Layer, state_dict: Mapping[str, Any], spec: Spec, names: Mapping[str, str] | None = None
) -> tuple[Tree, Tree]:
    """Makes params and state of what PyTorch holds: the inverse of `to_torch`, which tells names and layouts.

    Every key must have its place in the network, and every place its key. Two biases of `lstm` and `rnn` are added up;
    num_batches_tracked is not looked at, and the weight of `unembed` may be left out.

    Args:
      net: the network, or a part of it.
      state_dict: NumPy arrays under PyTorch's keys: `{k: v.numpy(force=True) for k, v in model.state_dict().items()}`.
      spec: that of one example; its dtype is that of the params.
      names: prefixes in place of numbers, as for `to_torch`.

    Returns:
      `(params, state)` as `net.init` makes them.

    Raises:
      StructureError: for keys that are missing or that nothing asks for, other dtypes than the spec's, or a layer that
        PyTorch has not.
      ShapeError: for other shapes, numbers where PyTorch has a parameter and the layer has none, two parts with one
        prefix, or `names` with a place that does not exist.

    Example:
      >>> import numpy as np, purenet as pn
      >>> arrays = {"weight": np.ones((3, 2), np.float32), "bias": np.zeros(3, np.float32)}
      >>> params, state = pn.convert.from_torch(pn.dense(3), arrays, pn.spec(2))
      >>> params["kernel"].shape, params["bias"].shape
      ((2, 3), (3,))
    """
    with by("from_torch"):
        net = as_layer(net)
        if not isinstance(state_dict, Mapping):
            raise StructureError(
                f"expected state_dict to be a dict of arrays, got {describe(state_dict)}. "
                "Pass {k: v.numpy(force=True) for k, v in model.state_dict().items()}."
            )
        made = _init_specs(net, spec)
        return read(net, dict(state_dict), made, Walk(TORCH, names, orders(net, made, spec), None))


def _init_specs(net: Layer, spec: Spec) -> tuple[Tree, Tree]:
    made: tuple[Tree, Tree] = jax.eval_shape(lambda: net.init(jax.random.key(0), spec))
    return made


def _branches(name: str, parts: tuple[Layer, ...], prefix: Key, hint: Hint) -> list[tuple[Key, Hint]]:
    if name in ("each", "remat"):
        return [(prefix, hint)]
    if name == "bidirectional" and parts[0].name in _RECURRENT:
        return [(prefix, hint), (prefix, hint._replace(reverse=True))]
    if name == "stacked" and _is_one_module(parts):
        level, made = 0, []
        for part in parts:
            made.append((prefix, hint._replace(level=level)))
            level += _kind(part)[1] in _RECURRENT
        return made
    return [((*prefix, str(i)), hint) for i in range(len(parts))]


def _is_one_module(parts: tuple[Layer, ...]) -> bool:
    """Whether the layers that have params are of one kind, as those of a PyTorch module with num_layers are."""
    kinds = {_kind(part) for part in parts if _kind(part)[1] in _RECURRENT}
    return len(kinds) == 1 and all(not part.parts or _kind(part)[1] in _RECURRENT for part in parts)


def _kind(part: Layer) -> tuple[bool, str]:
    both = part.name == "bidirectional"
    return both, part.parts[0].name if both else part.name


TORCH = Dialect(
    library="PyTorch",
    codecs=TORCH_CODECS,
    branches=_branches,
    spell=lambda prefix, key: ".".join((*prefix, *key)),
    show=repr,
    parse=lambda text: tuple(text.split(".")) if text else (),
)
