"""Flax's layers: the arrays of each, and how they lie beside ours. A key begins with Flax's collection."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from purenet.contract import Tree
from purenet.convert.base import Arrays, Codec, Field, Hint, Key, by_fields, expect_names, keep, same
from purenet.errors import ShapeError, StructureError

_PARAMS, _STATS = "params", "batch_stats"


def _flipped(a: Any, hint: Hint) -> Any:
    """Turns a kernel around in space."""
    return np.flip(a, tuple(range(a.ndim - 2)))


def _param(ours: str, theirs: str | None = None) -> Field:
    return keep(ours, (_PARAMS, theirs or ours))


_KERNEL, _BIAS = _param("kernel"), _param("bias")
_SCALE, _OFFSET = _param("scale"), _param("offset", "bias")
_STATISTICS = [Field(name, (_STATS, name), same, same, of_state=True) for name in ("mean", "var")]


def _cell(*path: str) -> Key:
    return (_PARAMS, "cell", *path)


def _gate_codec(gates: Sequence[str], bias_at: Mapping[str, str], *, inner: bool, made_up: bool) -> Codec:
    """The codec of a cell that has a dense layer for each gate and each of input and state.

    Args:
      gates: one letter a gate, in our order.
      bias_at: for each gate, whether the bias stands with the input (i) or with the state (h).
      inner: whether the last gate has a second bias, with the state.
      made_up: whether Flax has biases where we have none.
    """

    def write(params: Tree, state: Tree, hint: Hint) -> Arrays:
        expect_names("params", params, ["kernel", "recurrent", "bias", *["recurrent_bias"] * inner])
        made: Arrays = {}
        for side, name in (("i", "kernel"), ("h", "recurrent")):
            for gate, block in zip(gates, np.split(params[name], len(gates), axis=1), strict=True):
                made[_cell(side + gate, "kernel")] = block
        if "bias" in params:
            made |= biases(params["bias"], params.get("recurrent_bias"))
        return made

    def biases(bias: Any, inside: Any) -> Arrays:
        blocks = zip(gates, np.split(bias, len(gates)), strict=True)
        made = {_cell(bias_at[gate] + gate, "bias"): block for gate, block in blocks}
        return made | ({_cell("h" + gates[-1], "bias"): inside} if inner else {})

    def read(given: Arrays, params: Tree, state: Tree, hint: Hint) -> tuple[Tree, Tree]:
        made = {
            name: np.concatenate([given[_cell(side + gate, "kernel")] for gate in gates], axis=1)
            for side, name in (("i", "kernel"), ("h", "recurrent"))
        }
        if "bias" in params:
            made["bias"] = np.concatenate([given[_cell(bias_at[gate] + gate, "bias")] for gate in gates])
            if inner:
                made["recurrent_bias"] = given[_cell("h" + gates[-1], "bias")]
        return made, state

    def fixed(params: Tree, hint: Hint) -> Arrays:
        if not made_up or "bias" in params:
            return {}
        u = params["recurrent"]
        return biases(np.zeros(u.shape[1], u.dtype), np.zeros(u.shape[0], u.dtype))

    return Codec(write, read, fixed)


_LINEN_CELLS = {
    "lstm": _gate_codec("ifgo", dict.fromkeys("ifgo", "h"), inner=False, made_up=True),
    "gru": _gate_codec("rzn", dict.fromkeys("rzn", "i"), inner=True, made_up=True),
    "rnn": _gate_codec(("",), {"": "i"}, inner=False, made_up=True),
}


def _dense_pair(bias_at: str, *, inner: bool = False) -> Codec:
    """The codec of an NNX cell, which has one dense layer for the input and one for the state."""
    kernels = {"kernel": _cell("dense_i", "kernel"), "recurrent": _cell("dense_h", "kernel")}
    bias = _cell(bias_at, "bias")

    def write(params: Tree, state: Tree, hint: Hint) -> Arrays:
        expect_names("params", params, ["kernel", "recurrent", "bias", *["recurrent_bias"] * inner])
        if np.any(params.get("recurrent_bias", 0)):
            raise ShapeError(
                "expected recurrent_bias of zeros, as the GRUCell of flax.nnx has none, got other numbers. "
                "Use style='linen', whose GRUCell has one."
            )
        made = {theirs: params[ours] for ours, theirs in kernels.items()}
        return made | ({bias: params["bias"]} if "bias" in params else {})

    def read(given: Arrays, params: Tree, state: Tree, hint: Hint) -> tuple[Tree, Tree]:
        made = {ours: given[theirs] for ours, theirs in kernels.items()}
        if "bias" in params:
            made["bias"] = given[bias]
            if inner:
                made["recurrent_bias"] = np.zeros_like(params["recurrent_bias"])
        return made, state

    def fixed(params: Tree, hint: Hint) -> Arrays:
        u = params["recurrent"]
        return {} if "bias" in params else {bias: np.zeros(u.shape[1], u.dtype)}

    return Codec(write, read, fixed)


_NNX_CELLS = {"lstm": _dense_pair("dense_h"), "gru": _dense_pair("dense_i", inner=True), "rnn": _dense_pair("dense_i")}

_PROJECTIONS = ("query", "key", "value", "out")


def _attention(*, grouped: bool) -> Codec:
    def write(params: Tree, state: Tree, hint: Hint) -> Arrays:
        expect_names("params", params, list(_PROJECTIONS))
        wide, narrow = params["query"]["kernel"].shape[1], params["key"]["kernel"].shape[1]
        if hint.heads is None:
            raise StructureError(
                "expected heads for a network with attention, got None. Flax's kernels have an axis of heads: give "
                "their number, heads=8."
            )
        d, left = divmod(wide, hint.heads)
        if left or narrow % d:
            raise ShapeError(f"expected heads that divide {wide}, got {hint.heads}. Give those of the layer.")
        if narrow != wide and not grouped:
            raise ShapeError(
                f"expected as many heads of keys and values as of queries, as in flax.linen, got {narrow // d} for "
                f"{hint.heads}. Use style='nnx'."
            )
        made: Arrays = {}
        for name in _PROJECTIONS[:3]:
            for part, a in params[name].items():
                made[(_PARAMS, name, part)] = np.reshape(a, (*a.shape[:-1], a.shape[-1] // d, d))
        out = params["out"]["kernel"]
        made[(_PARAMS, "out", "kernel")] = np.reshape(out, (hint.heads, d, out.shape[1]))
        return made | ({(_PARAMS, "out", "bias"): params["out"]["bias"]} if "bias" in params["out"] else {})

    def read(given: Arrays, params: Tree, state: Tree, hint: Hint) -> tuple[Tree, Tree]:
        made = {
            name: {part: np.reshape(given[(_PARAMS, name, part)], like.shape) for part, like in params[name].items()}
            for name in _PROJECTIONS
        }
        return made, state

    return Codec(write, read)


_COMMON = {
    "dense": by_fields(_KERNEL, _BIAS),
    "conv": by_fields(_KERNEL, _BIAS),
    "depthwise_conv": by_fields(_KERNEL, _BIAS),
    "conv_transpose": by_fields(Field("kernel", (_PARAMS, "kernel"), _flipped, _flipped), _BIAS),
    "batch_norm": by_fields(_SCALE, _OFFSET, *_STATISTICS),
    "layer_norm": by_fields(_SCALE, _OFFSET),
    "rms_norm": by_fields(_SCALE),
    "group_norm": by_fields(_SCALE, _OFFSET),
    "instance_norm": by_fields(_SCALE, _OFFSET),
    "embedding": by_fields(_param("embedding")),
    "learned_positions": by_fields(_param("embedding")),
}
LINEN_CODECS = {**_COMMON, **_LINEN_CELLS, "attention": _attention(grouped=False)}
NNX_CODECS = {**_COMMON, **_NNX_CELLS, "attention": _attention(grouped=True)}
