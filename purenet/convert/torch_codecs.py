"""PyTorch's layers: the arrays of each, and how they lie beside ours."""

from typing import Any

import numpy as np

from purenet.contract import Tree
from purenet.convert.base import (
    Arrays,
    Codec,
    Field,
    Hint,
    Key,
    by_fields,
    expect_names,
    features_back,
    features_out,
    keep,
)
from purenet.errors import ShapeError

_WEIGHT, _BIAS = ("weight",), ("bias",)


def _moved(ours: tuple[int, int]) -> Field:
    """A kernel whose two axes of channels stand last in ours and first, in this order, in theirs."""
    return Field(
        "kernel", _WEIGHT, lambda a, hint: np.moveaxis(a, ours, (0, 1)), lambda a, hint: np.moveaxis(a, (0, 1), ours)
    )


def _both_or_neither(params: Tree, hint: Hint) -> Arrays:
    """The norms that have a weight and a bias, or none of both."""
    if not isinstance(params, dict) or len(params) != 1:
        return {}
    (one,) = params.values()
    return {_BIAS: np.zeros_like(one)} if "scale" in params else {_WEIGHT: np.ones_like(one)}


def _with_count(params: Tree, hint: Hint) -> Arrays:
    return {**_both_or_neither(params, hint), ("num_batches_tracked",): np.zeros((), np.int64)}


def _weight_at_least(params: Tree, hint: Hint) -> Arrays:
    return _both_or_neither(params, hint) if isinstance(params, dict) and "scale" not in params else {}


_DENSE = Field(
    "kernel", _WEIGHT, lambda a, hint: features_out(a, hint).T, lambda a, hint: features_back(np.transpose(a), hint)
)
_SCALE = Field("scale", _WEIGHT, features_out, features_back)
_OFFSET = Field("offset", _BIAS, features_out, features_back)
_MEAN = Field("mean", ("running_mean",), features_out, features_back, of_state=True)
_VAR = Field("var", ("running_var",), features_out, features_back, of_state=True)
_CONV = by_fields(_moved((-1, -2)), keep("bias", _BIAS))


def _rnn_keys(hint: Hint) -> list[Key]:
    suffix = f"_l{hint.level}" + "_reverse" * hint.reverse
    return [(name + suffix,) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]


def _recurrent(names: list[str]) -> Codec:
    """A recurrent layer, whose second bias is the first's sum, but for what GRU has inside of its reset gate."""

    def write(params: Tree, state: Tree, hint: Hint) -> Arrays:
        expect_names("params", params, names)
        w_ih, w_hh, b_ih, b_hh = _rnn_keys(hint)
        made = {w_ih: np.transpose(params["kernel"]), w_hh: np.transpose(params["recurrent"])}
        if "bias" in params:
            second = np.zeros_like(params["bias"])
            if "recurrent_bias" in params:
                second[-len(params["recurrent_bias"]) :] = params["recurrent_bias"]
            made |= {b_ih: params["bias"], b_hh: second}
        return made

    def read(given: Arrays, params: Tree, state: Tree, hint: Hint) -> tuple[Tree, Tree]:
        w_ih, w_hh, b_ih, b_hh = _rnn_keys(hint)
        made = {"kernel": given[w_ih].T, "recurrent": given[w_hh].T}
        if "bias" in params:
            first, second = given[b_ih], given[b_hh]
            total = np.where(second == 0, first, first + second)  # so that -0 stays -0
            if "recurrent_bias" in params:
                h = len(params["recurrent_bias"])
                total = np.concatenate([total[:-h], first[-h:]])
                made["recurrent_bias"] = second[-h:]
            made["bias"] = total
        return made, state

    return Codec(write, read)


_IN_WEIGHT, _IN_BIAS = ("in_proj_weight",), ("in_proj_bias",)
_PROJECTIONS = ("query", "key", "value")
_APART = {"query": ("q_proj_weight",), "key": ("k_proj_weight",), "value": ("v_proj_weight",)}


def _is_apart(params: Tree) -> bool:
    return bool(params["query"]["kernel"].shape[0] != params["key"]["kernel"].shape[0])


def _write_attention(params: Tree, state: Tree, hint: Hint) -> Arrays:
    expect_names("params", params, [*_PROJECTIONS, "out"])
    kernels = {name: params[name]["kernel"] for name in (*_PROJECTIONS, "out")}
    c, wide = kernels["query"].shape
    if {c, wide, *(kernel.shape[1] for kernel in kernels.values())} != {c}:
        raise ShapeError(
            f"expected attention with as many features in its heads, of keys and values too, and at its end as in x, "
            f"{c}, as PyTorch's MultiheadAttention has, got kernels of shapes "
            f"{', '.join(str(kernel.shape) for kernel in kernels.values())}. Convert it by hand."
        )
    made: Arrays
    if _is_apart(params):
        made = {_APART[name]: kernels[name].T for name in _PROJECTIONS}
    else:
        made = {_IN_WEIGHT: np.concatenate([kernels[name].T for name in _PROJECTIONS])}
    made[("out_proj", "weight")] = kernels["out"].T
    if "bias" in params["query"]:
        made[_IN_BIAS] = np.concatenate([params[name]["bias"] for name in _PROJECTIONS])
        made[("out_proj", "bias")] = params["out"]["bias"]
    return made


def _read_attention(given: Arrays, params: Tree, state: Tree, hint: Hint) -> tuple[Tree, Tree]:
    weights = [given[_APART[name]] for name in _PROJECTIONS] if _is_apart(params) else np.split(given[_IN_WEIGHT], 3)
    made: dict[str, Any] = {name: {"kernel": w.T} for name, w in zip(_PROJECTIONS, weights, strict=True)}
    made["out"] = {"kernel": given[("out_proj", "weight")].T}
    if "bias" in params["query"]:
        for name, b in zip(_PROJECTIONS, np.split(given[_IN_BIAS], 3), strict=True):
            made[name]["bias"] = b
        made["out"]["bias"] = given[("out_proj", "bias")]
    return made, state


TORCH_CODECS = {
    "dense": by_fields(_DENSE, keep("bias", _BIAS)),
    "conv": _CONV,
    "depthwise_conv": _CONV,
    "conv_transpose": by_fields(_moved((-2, -1)), keep("bias", _BIAS)),
    "batch_norm": by_fields(_SCALE, _OFFSET, _MEAN, _VAR, fixed=_with_count, ignored=(("num_batches_tracked",),)),
    "layer_norm": by_fields(_SCALE, _OFFSET, fixed=_weight_at_least),
    "rms_norm": by_fields(_SCALE),
    "group_norm": by_fields(_SCALE, _OFFSET, fixed=_both_or_neither),
    "instance_norm": by_fields(_SCALE, _OFFSET, fixed=_both_or_neither),
    "embedding": by_fields(keep("embedding", _WEIGHT)),
    "learned_positions": by_fields(keep("embedding", _WEIGHT)),
    "rnn": _recurrent(["kernel", "recurrent", "bias"]),
    "lstm": _recurrent(["kernel", "recurrent", "bias"]),
    "gru": _recurrent(["kernel", "recurrent", "bias", "recurrent_bias"]),
    "attention": Codec(_write_attention, _read_attention),
}
