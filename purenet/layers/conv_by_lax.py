"""A correlation and its gradients as `jax.grad` makes them of `jax.lax.conv_general_dilated`: for GPUs and TPUs."""

import jax
import jax.numpy as jnp

from purenet.layers.conv_geometry import Geometry


def numbers(rank: int) -> tuple[str, str, str]:
    """The layout: channels last."""
    space = "DHW"[3 - rank :]
    return f"N{space}C", f"{space}IO", f"N{space}C"


def correlate(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """Gives y from x and W."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        geometry.stride,
        geometry.pads,
        rhs_dilation=geometry.dilation,
        dimension_numbers=numbers(geometry.rank),
        feature_group_count=geometry.groups,
    )


def spread(y: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """Gives x from y and W."""
    rank, groups = geometry.rank, geometry.groups
    layout, _, _ = numbers(rank)
    return jax.lax.conv_general_dilated(
        y,
        flipped(kernel, groups),
        (1,) * rank,
        geometry.spreading,
        lhs_dilation=geometry.stride,
        rhs_dilation=geometry.dilation,
        dimension_numbers=(layout, f"{layout[1:-1]}OI", layout),
        feature_group_count=groups,
    )


def correlate_kernels(x: jax.Array, y: jax.Array, geometry: Geometry) -> jax.Array:
    """Gives W from x and y."""
    space = numbers(geometry.rank)[0][1:-1]
    return jax.lax.conv_general_dilated(
        x,
        y,
        geometry.dilation,
        geometry.seen,
        rhs_dilation=geometry.stride,
        dimension_numbers=(f"C{space}N", f"I{space}O", f"{space}NC"),
        batch_group_count=geometry.groups,
    )


def flipped(kernel: jax.Array, groups: int) -> jax.Array:
    """The taps in reverse, each group's channels beside the others': shape (window…, C, F/groups)."""
    *window, channels, features = kernel.shape
    turned = jnp.flip(kernel, tuple(range(len(window))))
    apart = turned.reshape(*window, channels, groups, features // groups)
    return jnp.moveaxis(apart, -2, -3).reshape(*window, groups * channels, features // groups)
