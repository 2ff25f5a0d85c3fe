"""Weights to and from Flax: the nested dicts of `flax.linen`, and of `flax.nnx` by `to_pure_dict`."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax

from purenet.contract import Layer, Spec, Tree, as_layer
from purenet.convert.base import Arrays, Dialect, Hint, Key
from purenet.convert.flax_codecs import LINEN_CODECS, NNX_CODECS
from purenet.convert.walking import Walk, read, write
from purenet.errors import ShapeError, StructureError, by, describe, is_whole

_RECURRENT = ("rnn", "lstm", "gru")


def to_flax(
    net: Layer,
    params: Tree,
    state: Tree = (),
    spec: Spec = None,
    names: Mapping[str, str] | None = None,
    *,
    style: str = "linen",
    heads: int | None = None,
) -> dict[Any, Any]:
    """Writes params and state as the nested dicts of Flax.

    In `flax.linen` they are the variables of a `Sequential` of the same modules one by one, with parts as "layers_2";
    in `flax.nnx` what `nnx.to_pure_dict(nnx.state(model, nnx.Param, nnx.BatchStat))` gives of a Sequential, with parts
    in "layers" under their numbers. Parts of every other combinator are called likewise; where your module has other
    names, give them in `names`. `each` and `remat` have no name, their part stands in their place; a `repeat` is a
    Sequential of its repetitions.

    Options are not weights: build the modules with the same epsilon, stride, activation and so on.

    - `conv_transpose`: the kernel is flipped in space.
    - `batch_norm`: Flax's running variance is the biased one, ours the unbiased; no number changes.
    - `rnn`, `lstm`, `gru` stand in an `RNN` of the SimpleCell, LSTMCell or OptimizedLSTMCell, and GRUCell; in `nnx` the
      OptimizedLSTMCell, and the GRUCell there has no d, which must be zeros. `bidirectional` is a `Bidirectional` of
      forward_rnn and backward_rnn.
    - `attention` is a `MultiHeadDotProductAttention` or `nnx.MultiHeadAttention`; rotary positions are not in it.
    - `learned_positions` is an `Embed`; `unembed` is `Embed.attend` and has no entry.

    Args:
      net: the network, or a part of it.
      params: its params.
      state: its state; `()` for a network without.
      spec: not needed: Flax orders features as purenet does.
      names: prefixes in place of numbers, such as `{"0.1": "block/attn"}`, for any part or the network itself (""). A
        place is the numbers of the parts on the way to it, "0.1" for what errors call serial[0].residual[1]; each,
        remat and repeat count. Parts in it follow with their numbers behind the prefix.
      style: "linen" or "nnx".
      heads: the number of heads of `attention`, which its params do not tell; needed if there is one.

    Returns:
      A nested dict of NumPy arrays; in linen with the collections "params" and, if there are any, "batch_stats".

    Raises:
      StructureError: for a layer that Flax has not, params of another network, or no `heads` for attention.
      ShapeError: if two parts have one prefix, `names` has a place that does not exist, or `heads` or `style` do not
        fit.

    Example:
      >>> import jax, purenet as pn
      >>> net = pn.serial(pn.dense(4), pn.relu, pn.dense(3))
      >>> params, state = net.init(jax.random.key(0), pn.spec(2))
      >>> jax.tree.map(lambda a: a.shape, pn.convert.to_flax(net, params)["params"])
      {'layers_0': {'bias': (4,), 'kernel': (2, 4)}, 'layers_2': {'bias': (3,), 'kernel': (4, 3)}}
    """
    with by("to_flax"):
        dialect = _dialect(style)
        flat = write(as_layer(net), params, state, Walk(dialect, names, {}, _checked_heads(heads)))
    nested: dict[Any, Any] = {} if style == "nnx" else {"params": {}}
    for (*path, last), array in flat.items():
        inner = nested
        for step in path:
            inner = inner.setdefault(step, {})
        inner[last] = array
    return nested


def from_flax(
    net: Layer,
    variables: Mapping[Any, Any],
    spec: Spec,
    names: Mapping[str, str] | None = None,
    *,
    style: str = "linen",
    heads: int | None = None,
) -> tuple[Tree, Tree]:
    """Makes params and state of what Flax holds: the inverse of `to_flax`, which tells names and layouts.

    Every entry must have its place in the network, and every place its entry.

    Args:
      net: the network, or a part of it.
      variables: nested dicts of arrays: in linen with the collections "params" and "batch_stats".
      spec: that of one example; its dtype is that of the params.
      names: prefixes in place of numbers, as for `to_flax`.
      style: "linen" or "nnx".
      heads: the number of heads of `attention`; needed if there is one.

    Returns:
      `(params, state)` as `net.init` makes them.

    Raises:
      StructureError: for entries that are missing or that nothing asks for, other dtypes than the spec's, or a layer
        that Flax has not.
      ShapeError: for other shapes, numbers where Flax has a parameter and the layer has none, two parts with one
        prefix, or `names` with a place that does not exist.

    Example:
      >>> import numpy as np, purenet as pn
      >>> variables = {"params": {"kernel": np.ones((2, 3), np.float32), "bias": np.zeros(3, np.float32)}}
      >>> params, state = pn.convert.from_flax(pn.dense(3), variables, pn.spec(2))
      >>> params["kernel"].shape
      (2, 3)
    """
    with by("from_flax"):
        net, dialect = as_layer(net), _dialect(style)
        if not isinstance(variables, Mapping):
            raise StructureError(
                f"expected variables to be nested dicts of arrays, got {describe(variables)}. "
                "Pass what init of a linen module or nnx.to_pure_dict gives."
            )
        made: tuple[Tree, Tree] = jax.eval_shape(lambda: net.init(jax.random.key(0), spec))
        given: Arrays = dict(_flat(variables))
        return read(net, given, made, Walk(dialect, names, {}, _checked_heads(heads)))


def _flat(nested: Mapping[Any, Any], outer: Key = ()) -> Iterator[tuple[Key, Any]]:
    for step, inner in nested.items():
        if isinstance(inner, Mapping):
            yield from _flat(inner, (*outer, step))
        else:
            yield (*outer, step), inner


def _dialect(style: Any) -> Dialect:
    dialects = {"linen": LINEN, "nnx": NNX}
    if style not in dialects:
        raise ShapeError(f"expected style to be 'linen' or 'nnx', got {style!r}. Choose one of them.")
    return dialects[style]


def _checked_heads(heads: Any) -> int | None:
    if heads is not None and not is_whole(heads):
        raise StructureError(f"expected heads to be a whole number, got {describe(heads)}. Give an int.")
    if heads is not None and heads < 1:
        raise ShapeError(f"expected heads of 1 or more, got {heads}. Give the number of heads.")
    return None if heads is None else int(heads)


def _ways(name: str, parts: tuple[Layer, ...], prefix: Key, hint: Hint) -> list[tuple[Key, Hint]] | None:
    if name in ("each", "remat"):
        return [(prefix, hint)]
    if name == "bidirectional" and parts[0].name in _RECURRENT:
        return [((*prefix, "forward_rnn"), hint), ((*prefix, "backward_rnn"), hint)]
    return None


def _linen_branches(name: str, parts: tuple[Layer, ...], prefix: Key, hint: Hint) -> list[tuple[Key, Hint]]:
    return _ways(name, parts, prefix, hint) or [((*prefix, f"layers_{i}"), hint) for i in range(len(parts))]


def _nnx_branches(name: str, parts: tuple[Layer, ...], prefix: Key, hint: Hint) -> list[tuple[Key, Hint]]:
    return _ways(name, parts, prefix, hint) or [((*prefix, "layers", i), hint) for i in range(len(parts))]


def _parse_nnx(text: str) -> Key:
    return tuple(int(step) if step.isdigit() else step for step in text.split("/")) if text else ()


def _show(key: Key) -> str:
    return repr("/".join(map(str, key)))


LINEN = Dialect(
    library="Flax",
    codecs=LINEN_CODECS,
    branches=_linen_branches,
    spell=lambda prefix, key: (key[0], *prefix, *key[1:]),
    show=_show,
    parse=lambda text: tuple(text.split("/")) if text else (),
)
NNX = LINEN._replace(
    codecs=NNX_CODECS, branches=_nnx_branches, spell=lambda prefix, key: (*prefix, *key[1:]), parse=_parse_nnx
)
