"""The transposed convolution: what a convolution takes from a large space to a small one, taken back."""

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
from purenet.layers.windows import Windows, as_sizes, expect_axes, make_windows


def conv_transpose(
    features: int,
    window: Any,
    *,
    stride: Any = 1,
    padding: Any = "same",
    dilation: Any = 1,
    output_padding: Any = 0,
    bias: bool = True,
    kernel_init: Initializer = jax.nn.initializers.glorot_uniform(),
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Layer:
    """Transposed convolution: each x[i] stamps the kernel into y: y[s∘i + d∘t - p, f] += Σ_c x[i, c] W[t, c, f].

    To which b[f] is added. The transpose, as a linear map, of `conv` with the same window, stride, padding and
    dilation. With the extent e = d·(window - 1) + 1, an axis of n becomes

        "same"      n·s, p = max(e - s, 0) // 2
        "valid"     (n - 1)·s + e + output_padding, p = 0: all that the stamps reach
        (p, q)      (n - 1)·s + e - p - q + output_padding: as "valid", p cut off before and q behind

    Numbers are PyTorch's `ConvTranspose` with padding p = q, its weight (C, F, window…) with the axes moved to
    (window…, C, F); "same" is Keras's `ConvTranspose` layers, and so is "valid" where e >= s (else Keras adds s - e
    zeros behind), their kernel (window…, F, C) with the last axes swapped. `jax.lax.conv_transpose` of strings is the
    same with W flipped in space.

    Args:
      features: the number F of output channels, 1 or more.
      window: the kernel's sizes; their number is that of the axes of space, (3, 3) for images; 3 means (3,).
      stride: the step s from one stamp to the next; one for all axes, or one for each.
      padding: "same", "valid", a number for all sides, or for each axis one or (before, behind).
      dilation: the step d from one tap of the kernel to the next; one for all axes, or one for each.
      output_padding: how much longer y is behind, less than the stride; one for all axes, or one for each.
      bias: whether b is there.
      kernel_init: makes W, shape (window…, C, F), from a key; any of `jax.nn.initializers`.
      bias_init: makes b, shape (F,).

    Returns:
      A layer from shape (space…, C) to (out…, F) in the dtype of its spec; params `{"kernel": W, "bias": b}`.

    Raises:
      ShapeError: for arguments out of range; at `init` and at trace time for other axes than the window's, for other
        channels than W's, and where the padding cuts all of y off.
      StructureError: for arguments of another type; at trace time, for other dtypes or other params.

    Derivation:
      y is linear in x and in W. With δ = dJ/dy, the factor of dx[i, c] in dJ is Σₜ Σ_f δ[s∘i + d∘t - p, f] W[t, c, f]:
      the convolution of which this layer is the transpose, of δ. The factor of dW[t, c, f] is
      Σ_b Σᵢ x[b, i, c] δ[b, s∘i + d∘t - p, f], that convolution's weight gradient with x and δ in each other's place.
      dJ/db sums δ over b and space.

    References:
      Zeiler, Krishnan, Taylor and Fergus (2010), Deconvolutional networks; Dumoulin and Visin (2016), A guide to
      convolution arithmetic for deep learning, chapter 4.

    Example:
      >>> import jax, purenet as pn
      >>> net = pn.conv_transpose(8, (4, 4), stride=2)
      >>> params, state = net.init(jax.random.key(0), pn.spec((7, 7, 16)))
      >>> params["kernel"].shape, net.apply(params, jax.numpy.zeros((7, 7, 16))).shape
      ((4, 4, 16, 8), (14, 14, 8))
    """
    features = as_count("conv_transpose", "features", features)
    if isinstance(padding, str) and padding not in ("same", "valid"):
        raise ShapeError(
            f"conv_transpose: expected padding to be 'same', 'valid' or whole numbers, got {padding!r}. "
            "Choose one of them."
        )
    windows = make_windows("conv_transpose", window, stride, dilation, padding)
    longer = as_sizes("conv_transpose", "output_padding", output_padding, windows.rank, least=0)
    if any(more >= step for more, step in zip(longer, windows.stride, strict=True)):
        raise ShapeError(
            f"conv_transpose: expected output_padding less than the stride {windows.stride}, got {longer}. "
            "Use a larger stride, or less padding."
        )
    if padding == "same" and any(longer):
        raise ShapeError(
            f"conv_transpose: expected no output_padding with padding='same', got {longer}. Give padding as numbers."
        )
    expect_flags("conv_transpose", bias=bias)
    return _transposed(windows, features, longer, bias, kernel_init, bias_init)


def _transposed(
    windows: Windows,
    features: int,
    longer: tuple[int, ...],
    bias: bool,
    kernel_init: Initializer,
    bias_init: Initializer,
) -> Layer:
    def kernel_shape(x: Spec) -> tuple[int, ...]:
        expect_axes(x, windows.rank)
        shape = (*windows.size, expect_channels(x), features)
        out = geometry(x.shape).space
        if min(out) < 1:
            raise ShapeError(
                f"expected padding that leaves something of y, got space of {out} from x of shape {x.shape}. Pad less."
            )
        return shape

    def init(key: Any, spec: Spec) -> tuple[Tree, Tree]:
        return made_params(key, kernel_shape(spec), spec.dtype, bias, kernel_init, bias_init), ()

    def check(params: Tree, x: Spec) -> None:
        expect_params(params, kernel_shape(x), bias, x)

    def geometry(shape: tuple[int, ...]) -> Geometry:
        """That of the convolution from y to x."""
        space = shape[:-1]
        if windows.padding == "same":
            space = tuple(n * step for n, step in zip(space, windows.stride, strict=True))
            pads = windows.pads(space)
        else:
            pads = windows.pads(space)
            space = tuple(
                (n - 1) * step + extent - low - high + more
                for n, step, extent, (low, high), more in zip(
                    space, windows.stride, windows.extent, pads, longer, strict=True
                )
            )
        return Geometry(space, windows.size, windows.stride, windows.dilation, pads)

    def run(form: Callable[..., jax.Array], params: Tree, xs: jax.Array) -> jax.Array:
        ys = form(xs, _swapped(params["kernel"]), geometry(xs.shape[1:]))
        return ys + params["bias"].reshape(*[1] * (windows.rank + 1), -1) if bias else ys

    def apply(params: Tree, x: jax.Array) -> jax.Array:
        return run(conv_by_lax.spread, params, x[None])[0]

    def forward(params: Tree, xs: jax.Array, state: Tree, key: Any) -> tuple[jax.Array, Tree]:
        return run(spread, params, xs), state

    def vjp(params: Tree, xs: jax.Array, state: Tree, key: Any) -> Any:
        pullback = _pullback(geometry(xs.shape[1:]), bias)
        return *forward(params, xs, state, key), jax.tree_util.Partial(pullback, params["kernel"], xs)

    return layer(apply, init=init, forward=forward, vjp=vjp, check=check, name="conv_transpose")


def _swapped(kernel: jax.Array) -> jax.Array:
    return jnp.swapaxes(kernel, -1, -2)


@functools.cache  # one function a geometry, so that equal pullbacks have equal tree structures
def _pullback(geometry: Geometry, bias: bool) -> Callable[..., tuple[Tree, jax.Array]]:
    def pullback(kernel: jax.Array, xs: jax.Array, dys: jax.Array) -> tuple[Tree, jax.Array]:
        dparams = {"kernel": _swapped(correlate_kernels(dys, xs, geometry))}
        if bias:
            dparams["bias"] = jnp.sum(dys, axis=tuple(range(dys.ndim - 1)))
        return dparams, correlate(dys, _swapped(kernel), geometry)

    return pullback
