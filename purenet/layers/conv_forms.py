"""The forms of a correlation and its gradients that XLA runs fast on a CPU, at top level and inside a loop.

XLA puts a convolution into the layout of its library, but not inside the body of a loop; there the gradients that
`jax.grad` makes run without it. So all forms are made of convolutions that are in that layout from the start, with
stride 1 where x is dilated, one group and two axes of space at most, or of matrix products, or of sums that fuse.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp

from purenet.layers.conv_by_lax import flipped, numbers
from purenet.layers.conv_geometry import Geometry
from purenet.layers.windows import Pads

_Form = Callable[[jax.Array, jax.Array, Geometry], jax.Array]

# Measured on two cores in float32, ms, at top level / in a loop. The library's convolution and the gradients that
# autodiff makes of it, against these forms:
#   28x28x1 to 16 by 3x3, B=128: forward 7.3/9.5, as patches times a matrix 1.3/0.8, as sums that fuse 0.4/0.5;
#     dW 2.3/37, here 1.2/1.7
#   14x14x16 to 32 by 3x3, B=128: dW 6.8/353, here 4.3/6.6; dx 4.3/178, here 3.8/7.4
#   16x16x32 to 64 by 3x3, stride 2, B=64: dW 2.4/689, here 2.3/3.5; dx 1.7/99, here 1.7/3.3
#   16x16x32 by 3x3, each channel by itself, B=64: forward 32/32, here 0.3/0.2; dx 46/4.9, here 0.3/0.2; dW 7.9/1965,
#     here 2.6/6.7
#   16x16x32 to 32 by 3x3 in 4 groups, B=64: dW 660/321, here 3.4/5.9
#   12x12x12x4 to 8 by 3x3x3, B=16: forward 30/28, here 2.9/2.9; dx 29/34, here 5/5; dW 11/11, here 1.3/3.6
# Patches and shifts win up to 4 channels (28x28, 3x3 to 16, B=64, forward 5.2 against 2.4, dx 11.7 against 1.6) and
# lose at 8 or at 25 taps; sums of one channel still win at 25 taps (1.9 against 1.5).
_FEW, _PATCH_TAPS, _SUM_TAPS = 4, 9, 25
# 64 channels in 16 groups, forward: as 16 convolutions 18, as one with zeros in its kernel 10; in 8 groups: 4.1, 6.0.
_WIDE = 16


def _in_32_bits(form: _Form) -> _Form:
    """Adds up 16-bit numbers in 32: their sums would be rounded at every tap, and CPUs convert them anyway."""

    @functools.wraps(form)
    def widened(left: jax.Array, right: jax.Array, geometry: Geometry) -> jax.Array:
        if left.dtype.itemsize > 2:
            return form(left, right, geometry)
        return form(left.astype(jnp.float32), right.astype(jnp.float32), geometry).astype(left.dtype)

    return widened


@_in_32_bits
def correlate(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """Gives y from x and W."""
    taps, channels = math.prod(geometry.window), x.shape[-1]
    if geometry.groups == channels and (channels > 1 or taps <= _SUM_TAPS):
        return _by_sums(x, kernel, geometry)
    if geometry.groups > 1:
        return _grouped(correlate, x, kernel, geometry)
    if taps == 1:
        return _matmul(_shifted(x, (0,) * geometry.rank, geometry), kernel.reshape(kernel.shape[-2:]))
    return _convolved(x, kernel, geometry)


@_in_32_bits
def spread(y: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """Gives x from y and W."""
    taps, channels = math.prod(geometry.window), kernel.shape[-2]
    if geometry.groups > 1:
        if channels > 1:
            return _grouped(spread, y, kernel, geometry)
        return _spread_by_sums(y, kernel, geometry)
    if taps == 1 or (channels <= _FEW and taps <= _PATCH_TAPS):
        return _spread_by_shifts(y, kernel, geometry)
    turned = jnp.swapaxes(flipped(kernel, 1), -1, -2)
    return _convolved(_interleaved(y, geometry), turned, _backward(geometry))


@_in_32_bits
def correlate_kernels(x: jax.Array, y: jax.Array, geometry: Geometry) -> jax.Array:
    """Gives W from x and y."""
    if geometry.groups > 1:
        if geometry.groups == x.shape[-1]:
            return _kernels_by_sums(x, y, geometry)
        return _grouped_kernels(x, y, geometry)
    if math.prod(geometry.window) == 1:
        kernel = _matmul(_rows(_shifted(x, (0,) * geometry.rank, geometry)).T, _rows(y))
        return kernel.reshape(*geometry.window, *kernel.shape)
    if geometry.rank == 3:
        depth, channels = geometry.window[0], x.shape[-1]
        flat = correlate_kernels(_laid(x, geometry), _folded(y), _of_layers(geometry))
        apart = flat.reshape(*geometry.window[1:], depth, channels, y.shape[-1])
        return jnp.moveaxis(apart, -3, 0)
    rank, cut = geometry.rank, [(0, min(high, 0), 0) for _, high in geometry.seen]
    seen = _padded(x, cut)
    pads = tuple((low, max(high, 0)) for low, high in geometry.seen)
    swapped = (*range(1, rank + 1), 0)
    turned = _convolve(
        seen.transpose(rank + 1, *swapped), y.transpose(*swapped, rank + 1), geometry.dilation, pads, geometry.stride
    )
    return turned.transpose(*swapped, rank + 1)


# One group, by the library.


def _convolve(
    x: jax.Array, kernel: jax.Array, stride: tuple[int, ...], pads: Pads, dilation: tuple[int, ...]
) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x, kernel, stride, pads, rhs_dilation=dilation, dimension_numbers=numbers(len(stride))
    )


def _convolved(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    if geometry.rank == 3:
        *_, channels, features = kernel.shape
        flat = jnp.moveaxis(kernel, 0, 2).reshape(*geometry.window[1:], geometry.window[0] * channels, features)
        y = _convolved(_laid(x, geometry), flat, _of_layers(geometry))
        return y.reshape(len(x), *geometry.out, features)
    if x.shape[-1] <= _FEW and math.prod(geometry.window) <= _PATCH_TAPS:
        patches = jnp.concatenate([_shifted(x, tap, geometry) for tap in _taps(geometry)], axis=-1)
        return _matmul(patches, kernel.reshape(-1, kernel.shape[-1]))
    return _convolve(x, kernel, geometry.stride, geometry.pads, geometry.dilation)


def _interleaved(y: jax.Array, geometry: Geometry) -> jax.Array:
    """Zeros around and between the elements of y, so that the flipped kernel goes over all of x at stride 1."""
    edges = zip(geometry.spreading, geometry.stride, strict=True)
    return _padded(y, [(low, high, stride - 1) for (low, high), stride in edges])


def _backward(geometry: Geometry) -> Geometry:
    """How the flipped kernel goes over `_interleaved` y."""
    rank = geometry.rank
    space = tuple(n + reach for n, reach in zip(geometry.space, geometry.reach, strict=True))
    return geometry._replace(space=space, stride=(1,) * rank, pads=((0, 0),) * rank)


# Three axes of space as two: what the taps along the first axis see, side by side in the channels.


def _laid(x: jax.Array, geometry: Geometry) -> jax.Array:
    first = geometry._replace(
        window=(geometry.window[0], 1, 1), stride=(geometry.stride[0], 1, 1), pads=(geometry.pads[0], (0, 0), (0, 0))
    )
    return _folded(jnp.concatenate([_shifted(x, tap, first) for tap in _taps(first)], axis=-1))


def _folded(a: jax.Array) -> jax.Array:
    return a.reshape(a.shape[0] * a.shape[1], *a.shape[2:])


def _of_layers(geometry: Geometry) -> Geometry:
    g = geometry
    return Geometry(g.space[1:], g.window[1:], g.stride[1:], g.dilation[1:], g.pads[1:], g.groups)


# Shifts: what one tap sees.


def _taps(geometry: Geometry) -> Iterator[tuple[int, ...]]:
    return itertools.product(*map(range, geometry.window))


def _padded(x: jax.Array, edges: list[tuple[int, int, int]]) -> jax.Array:
    return jax.lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])


def _shifted(x: jax.Array, tap: tuple[int, ...], geometry: Geometry) -> jax.Array:
    """What the tap sees of x, in the space of y."""
    padded = _padded(x, [(*pair, 0) for pair in geometry.pads])
    start = [t * d for t, d in zip(tap, geometry.dilation, strict=True)]
    stop = [a + (out - 1) * s + 1 for a, out, s in zip(start, geometry.out, geometry.stride, strict=True)]
    return jax.lax.slice(padded, (0, *start, 0), (len(x), *stop, x.shape[-1]), (1, *geometry.stride, 1))


def _unshifted(a: jax.Array, tap: tuple[int, ...], geometry: Geometry) -> jax.Array:
    """Puts what belongs to one tap, in the space of y, where the tap sees it in x."""
    edges = []
    for t, d, n, out, s, (low, _) in zip(
        tap, geometry.dilation, geometry.space, geometry.out, geometry.stride, geometry.pads, strict=True
    ):
        before = t * d - low
        edges.append((before, n - before - (out - 1) * s - 1, s - 1))
    return _padded(a, edges)


def _rows(a: jax.Array) -> jax.Array:
    return a.reshape(math.prod(a.shape[:-1]), a.shape[-1])


def _matmul(a: jax.Array, matrix: jax.Array) -> jax.Array:
    return jnp.dot(_rows(a), matrix).reshape(*a.shape[:-1], matrix.shape[-1])


def _spread_by_shifts(y: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    channels = kernel.shape[-2]
    seen = _matmul(y, kernel.reshape(-1, kernel.shape[-1]).T)
    parts = jnp.split(seen, math.prod(geometry.window), axis=-1) if channels else []
    return _total([_unshifted(part, tap, geometry) for part, tap in zip(parts, _taps(geometry), strict=True)])


# Each channel by itself: sums that fuse into one loop.


def _by_sums(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    channels, multiplier = x.shape[-1], kernel.shape[-1] // x.shape[-1]
    by_channel = kernel.reshape(*geometry.window, channels, multiplier)
    shape = (len(x), *geometry.out, channels, multiplier)
    y = _total(
        [
            jnp.broadcast_to(_shifted(x, tap, geometry)[..., None], shape) * jnp.broadcast_to(by_channel[tap], shape)
            for tap in _taps(geometry)
        ]
    )
    return y.reshape(*shape[:-2], channels * multiplier)


def _spread_by_sums(y: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    channels, multiplier = geometry.groups, kernel.shape[-1] // geometry.groups
    kernels = flipped(kernel, 1).reshape(*geometry.window, channels, multiplier)
    ys = _interleaved(y, geometry)
    ys = ys.reshape(*ys.shape[:-1], channels, multiplier)
    backward = _backward(geometry)
    return _total([_by_sums(ys[..., j], kernels[..., None, :, j], backward) for j in range(multiplier)])


def _kernels_by_sums(x: jax.Array, y: jax.Array, geometry: Geometry) -> jax.Array:
    """One tap after the other: with all in one loop 7x7 taps took 80 ms, so 9.6 (28x28x32, B=16); 3x3 took the same."""
    channels, multiplier = geometry.groups, y.shape[-1] // geometry.groups
    apart = y.reshape(*y.shape[:-1], channels, multiplier)
    padded = _padded(x, [(*pair, 0) for pair in geometry.pads])
    covered = [(out - 1) * stride + 1 for out, stride in zip(geometry.out, geometry.stride, strict=True)]

    def of_tap(start: list[jax.Array]) -> jax.Array:
        seen = jax.lax.dynamic_slice(padded, start, (len(x), *covered, channels))
        seen = jax.lax.slice(seen, (0,) * seen.ndim, seen.shape, (1, *geometry.stride, 1))
        sums = [jnp.sum(seen * apart[..., j], axis=tuple(range(geometry.rank + 1))) for j in range(multiplier)]
        return jnp.stack(sums, axis=-1)

    starts = [(0, *(t * d for t, d in zip(tap, geometry.dilation, strict=True)), 0) for tap in _taps(geometry)]
    axes = [jnp.array(axis, jnp.int32) for axis in zip(*starts, strict=True)]
    kernel: jax.Array = jax.lax.map(of_tap, axes)
    return kernel.reshape(*geometry.window, 1, channels * multiplier)


def _total(terms: list[jax.Array]) -> jax.Array:
    return functools.reduce(jnp.add, terms)


# Groups: a convolution each, of several groups where they are narrow, with zeros between them in the kernel.


def _joined(groups: int, channels: int) -> int:
    """How many groups of so many channels make one convolution."""
    return max(many for many in range(1, groups + 1) if groups % many == 0 and (many == 1 or many * channels <= _WIDE))


def _grouped(form: _Form, a: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    together = _joined(geometry.groups, kernel.shape[-2])
    count, single = geometry.groups // together, geometry._replace(groups=1)
    pairs = zip(jnp.split(a, count, axis=-1), jnp.split(kernel, count, axis=-1), strict=True)
    return jnp.concatenate([form(part, _block_diagonal(one, together), single) for part, one in pairs], axis=-1)


def _grouped_kernels(x: jax.Array, y: jax.Array, geometry: Geometry) -> jax.Array:
    together = _joined(geometry.groups, x.shape[-1] // geometry.groups)
    count, single = geometry.groups // together, geometry._replace(groups=1)
    pairs = zip(jnp.split(x, count, axis=-1), jnp.split(y, count, axis=-1), strict=True)
    return jnp.concatenate([_diagonal(correlate_kernels(a, b, single), together) for a, b in pairs], axis=-1)


def _block_diagonal(kernel: jax.Array, groups: int) -> jax.Array:
    """The kernel of so many groups as one of a single group, with zeros where no group sees."""
    *window, channels, features = kernel.shape
    apart = kernel.reshape(*window, 1, channels, groups, features // groups)
    own = jnp.eye(groups, dtype=bool).reshape(*[1] * len(window), groups, 1, groups, 1)
    wide = jnp.where(own, apart, jnp.zeros((), kernel.dtype))
    return wide.reshape(*window, groups * channels, features)


def _diagonal(kernel: jax.Array, groups: int) -> jax.Array:
    *window, channels, features = kernel.shape
    apart = kernel.reshape(*window, groups, channels // groups, groups, features // groups)
    own = jnp.moveaxis(jnp.diagonal(apart, axis1=-4, axis2=-2), -1, -2)
    return own.reshape(*window, channels // groups, features)
