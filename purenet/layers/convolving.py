"""Convolutions: the same small kernel at every place of a sequence, an image or a volume."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from purenet.contract import Layer, Spec, Tree, layer
from purenet.errors import ShapeError, expect_flags
from purenet.layers import conv_by_lax
from purenet.layers.conv_geometry import Geometry
from purenet.layers.conv_params import Initializer, as_count, expect_channels, expect_params, made_params
from purenet.layers.correlation import correlate, correlate_kernels, spread
from purenet.layers.windows import Pads, Windows, expect_space, make_windows


def conv(
    features: int,
    window: Any,
    *,
    stride: Any = 1,
    padding: Any = "same",
    dilation: Any = 1,
    groups: int = 1,
    bias: bool = True,
    kernel_init: Initializer = jax.nn.initializers.glorot_uniform(),
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Layer:
    """Convolution over one to three axes of space, y[o, f] = Σₜ Σ_c x[s∘o + d∘t - p, c] W[t, c, f] + b[f].

    As everywhere in deep learning the kernel is not flipped: a cross-correlation. Channels are last: sequences are
    (T, C), images (H, W, C), volumes (D, H, W, C). On a CPU `forward` takes forms of the sum and its gradients that
    are fast inside `jax.lax.scan` too; elsewhere it is `jax.lax.conv_general_dilated`, as `apply` is everywhere.

    Args:
      features: the number F of output channels, 1 or more.
      window: the kernel's sizes; their number is that of the axes of space, (3, 3) for images; 3 means (3,).
      stride: the step s from one window to the next; one for all axes, or one for each.
      padding: p, the zeros around x. "same": so many that y has ⌈n / s⌉ places an axis, the odd one behind; "valid":
        none; "causal", for sequences: only before, so that y[o] sees nothing behind x[s·o]; "circular": as "same",
        but x goes round in place of zeros; a number for all sides; or for each axis one or (before, behind).
      dilation: the step d from one tap of the kernel to the next; one for all axes, or one for each.
      groups: the channels fall into so many groups, and so do the features; each group of features sees only its own
        group of channels. Divides both.
      bias: whether b is there.
      kernel_init: makes W, shape (window…, C / groups, F), from a key; any of `jax.nn.initializers`.
      bias_init: makes b, shape (F,).

    Returns:
      A layer from shape (space…, C) to (out…, F) in the dtype of its spec; params `{"kernel": W, "bias": b}`.

    Raises:
      ShapeError: for arguments out of range, or `features` that `groups` does not divide; at `init` and at trace time
        for other axes than the window's, for channels other than W's or that `groups` does not divide, and for a
        window larger than x with its padding.
      StructureError: for arguments of another type; at trace time, for other dtypes or other params.

    Derivation:
      y is linear in x and in W. With δ = dJ/dy, in dJ = Σ δ[b, o, f] dy[b, o, f] the factor of dW[t, c, f] is
      Σ_b Σ_o x[b, s∘o + d∘t - p, c] δ[b, o, f]: x correlated with δ, whose taps are s apart, at steps of d. The factor
      of dx[b, i, c] is the sum over all o, t with s∘o + d∘t - p = i of Σ_f δ[b, o, f] W[t, c, f]: put s - 1 zeros
      between the δ, and correlate them at stride 1 with W flipped in space. dJ/db sums δ over b and o. With
      padding="circular" what falls on the edges is added to where they were copied from.

    References:
      LeCun, Bottou, Bengio and Haffner (1998), Gradient-based learning applied to document recognition, section II.
      Dumoulin and Visin (2016), A guide to convolution arithmetic for deep learning, chapters 2 and 4.

    Example:
      >>> import jax, purenet as pn
      >>> net = pn.conv(16, (3, 3), stride=2)
      >>> params, state = net.init(jax.random.key(0), pn.spec((28, 28, 1)))
      >>> jax.tree.map(lambda a: a.shape, params)
      {'bias': (16,), 'kernel': (3, 3, 1, 16)}
      >>> net.apply(params, jax.numpy.zeros((28, 28, 1))).shape
      (14, 14, 16)
    """
    windows = make_windows("conv", window, stride, dilation, padding)
    features, groups = as_count("conv", "features", features), as_count("conv", "groups", groups)
    if features % groups:
        raise ShapeError(f"conv: expected features that {groups} groups divide, got {features}. Give a multiple.")
    return _convolution("conv", windows, lambda channels: (features, groups), bias, kernel_init, bias_init)


def depthwise_conv(
    window: Any,
    *,
    multiplier: int = 1,
    stride: Any = 1,
    padding: Any = "same",
    dilation: Any = 1,
    bias: bool = True,
    kernel_init: Initializer = jax.nn.initializers.glorot_uniform(),
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Layer:
    """Convolution of each channel by itself, y[o, cm + j] = Σₜ x[s∘o + d∘t - p, c] W[t, 0, cm + j] + b[cm + j].

    It is `conv` with as many groups as channels.

    Args:
      window: the kernel's sizes, as for `conv`.
      multiplier: the number m of features that each channel becomes, 1 or more.
      stride: as for `conv`.
      padding: as for `conv`.
      dilation: as for `conv`.
      bias: whether b is there.
      kernel_init: makes W, shape (window…, 1, C·m), from a key; any of `jax.nn.initializers`.
      bias_init: makes b, shape (C·m,).

    Returns:
      A layer from shape (space…, C) to (out…, C·m) in the dtype of its spec; params `{"kernel": W, "bias": b}`.

    Raises:
      ShapeError: for arguments out of range; at `init` and at trace time for other axes than the window's, for other
        channels than W's, and for a window larger than x with its padding.
      StructureError: for arguments of another type; at trace time, for other dtypes or other params.

    Derivation:
      That of `conv`, where the sums over the channels and features of a group have one and m terms: dJ/dW[t, 0, cm+j]
      = Σ_b Σ_o x[b, s∘o + d∘t - p, c] δ[b, o, cm+j], and dJ/dx[b, i, c] sums δ[b, o, cm+j] W[t, 0, cm+j] over j and all
      o, t with s∘o + d∘t - p = i.

    References:
      Sifre (2014), Rigid-motion scattering for image classification, section 6.2; Chollet (2017), Xception: deep
      learning with depthwise separable convolutions.

    Example:
      >>> import jax, purenet as pn
      >>> net = pn.depthwise_conv((3, 3), multiplier=2)
      >>> params, state = net.init(jax.random.key(0), pn.spec((8, 8, 4)))
      >>> params["kernel"].shape, net.apply(params, jax.numpy.zeros((8, 8, 4))).shape
      ((3, 3, 1, 8), (8, 8, 8))
    """
    windows = make_windows("depthwise_conv", window, stride, dilation, padding)
    m = as_count("depthwise_conv", "multiplier", multiplier)

    def shares(channels: int) -> tuple[int, int]:
        return m * channels, channels

    return _convolution("depthwise_conv", windows, shares, bias, kernel_init, bias_init)


def _convolution(
    name: str,
    windows: Windows,
    shares: Callable[[int], tuple[int, int]],
    bias: bool,
    kernel_init: Initializer,
    bias_init: Initializer,
) -> Layer:
    """A convolution; `shares` tells features and groups from the number of channels."""
    expect_flags(name, bias=bias)

    def kernel_shape(x: Spec) -> tuple[int, ...]:
        expect_space(x, windows)
        channels = expect_channels(x)
        features, groups = shares(channels)
        if channels % groups:
            raise ShapeError(
                f"expected channels that {groups} groups divide, got {channels}, in x of shape {x.shape}. "
                "Use a divisor of the channels as groups."
            )
        return (*windows.size, channels // groups, features)

    def init(key: Any, spec: Spec) -> tuple[Tree, Tree]:
        return made_params(key, kernel_shape(spec), spec.dtype, bias, kernel_init, bias_init), ()

    def check(params: Tree, x: Spec) -> None:
        expect_params(params, kernel_shape(x), bias, x)

    def geometry(shape: tuple[int, ...]) -> tuple[Geometry, Pads | None]:
        *space, channels = shape
        pads, _, groups = windows.pads(space), *shares(channels)
        around = pads if windows.padding == "circular" else None
        if around:
            space = [n + low + high for n, (low, high) in zip(space, pads, strict=True)]
            pads = ((0, 0),) * windows.rank
        return Geometry(tuple(space), windows.size, windows.stride, windows.dilation, pads, groups), around

    def run(form: Callable[..., jax.Array], params: Tree, xs: jax.Array) -> jax.Array:
        static, around = geometry(xs.shape[1:])
        ys = form(_wrapped(xs, around), params["kernel"], static)
        return ys + params["bias"].reshape(*[1] * (windows.rank + 1), -1) if bias else ys

    def apply(params: Tree, x: jax.Array) -> jax.Array:
        return run(conv_by_lax.correlate, params, x[None])[0]

    def forward(params: Tree, xs: jax.Array, state: Tree, key: Any) -> tuple[jax.Array, Tree]:
        return run(correlate, params, xs), state

    def vjp(params: Tree, xs: jax.Array, state: Tree, key: Any) -> Any:
        pullback = _pullback(*geometry(xs.shape[1:]), bias)
        return *forward(params, xs, state, key), jax.tree_util.Partial(pullback, params["kernel"], xs)

    return layer(apply, init=init, forward=forward, vjp=vjp, check=check, name=name)


@functools.cache  # one function a geometry, so that equal pullbacks have equal tree structures
def _pullback(geometry: Geometry, around: Pads | None, bias: bool) -> Callable[..., tuple[Tree, jax.Array]]:
    def pullback(kernel: jax.Array, xs: jax.Array, dys: jax.Array) -> tuple[Tree, jax.Array]:
        dparams = {"kernel": correlate_kernels(_wrapped(xs, around), dys, geometry)}
        if bias:
            dparams["bias"] = jnp.sum(dys, axis=tuple(range(dys.ndim - 1)))
        return dparams, _unwrapped(spread(dys, kernel, geometry), around)

    return pullback


def _wrapped(xs: jax.Array, around: Pads | None) -> jax.Array:
    """Puts the end of each axis of space before it, and its beginning behind it."""
    for axis, (low, high) in enumerate(around or (), start=1):
        n = xs.shape[axis]
        before = jax.lax.slice_in_dim(xs, n - low, n, axis=axis)
        behind = jax.lax.slice_in_dim(xs, 0, high, axis=axis)
        xs = jnp.concatenate([before, xs, behind], axis=axis)
    return xs


def _unwrapped(dxs: jax.Array, around: Pads | None) -> jax.Array:
    """The transpose of `_wrapped`: adds the edges to where they came from."""
    for axis, (low, high) in reversed(list(enumerate(around or (), start=1))):
        n = dxs.shape[axis] - low - high
        dxs = (
            jax.lax.slice_in_dim(dxs, low, low + n, axis=axis)
            + _put(jax.lax.slice_in_dim(dxs, 0, low, axis=axis), n - low, 0, axis)
            + _put(jax.lax.slice_in_dim(dxs, low + n, low + n + high, axis=axis), 0, n - high, axis)
        )
    return dxs


def _put(part: jax.Array, before: int, behind: int, axis: int) -> jax.Array:
    edges = [(0, 0, 0)] * part.ndim
    edges[axis] = (before, behind, 0)
    return jax.lax.pad(part, jnp.zeros((), part.dtype), edges)
