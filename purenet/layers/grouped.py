"""Normalisation of every example over space: group_norm and instance_norm."""

import math

from purenet.contract import Layer, Spec
from purenet.errors import ShapeError, StructureError, is_whole
from purenet.layers.standardised import (
    Axes,
    affine_names,
    checked_epsilon,
    expect_features,
    expect_several,
    normalising,
)


def group_norm(groups: int, *, epsilon: float = 1e-5, scale: bool = True, offset: bool = True) -> Layer:
    """Normalisation of groups of channels: y = scale ∘ (x - mean(x)) / √(var(x) + ε) + offset.

    Mean and (biased) variance are taken over all axes of space and the C / groups neighbouring channels of a group,
    for every example by itself. `group_norm(1)` normalises an example as a whole.

    Args:
      groups: their number, which divides the number C of channels.
      epsilon: ε above 0, a Python number; it keeps groups of equal numbers from being divided by zero.
      scale: whether a scale per channel is there, which begins at 1.
      offset: whether an offset per channel is there, which begins at 0.

    Returns:
      A layer for shape (…, C), with any axes of space or none, and any floating dtype, which y keeps; float16 and
      bfloat16 are computed in float32. Params `{"scale": …, "offset": …}`, each of shape (C,), or `()` without either.

    Raises:
      ShapeError: if `groups` is below 1 or `epsilon` not above 0; at trace time, if `groups` does not divide C, a group
        has but one number, or the params have another C.
      StructureError: if `groups` is not a whole number or `epsilon` not a Python number; at trace time, for other
        dtypes or other params.

    Derivation:
      Each group is a vector that is centred and divided by its deviation σ: with x̂ = (x - mean(x))/σ and
      g = scale ∘ dJ/dy, dJ/dx = (g - mean(g) - x̂ mean(x̂ ∘ g))/σ with the means over the group (see `layer_norm`).
      dJ/dscale = Σ x̂ ∘ dJ/dy and dJ/doffset = Σ dJ/dy over examples and space.

    References:
      Wu and He (2018), Group normalization, eqs. 1-2 and 7.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> net = pn.group_norm(2)
      >>> params, state = net.init(None, pn.spec(4))
      >>> net.apply(params, jnp.array([1.0, 3.0, 10.0, 30.0])).round(3).tolist()
      [-1.0, 1.0, -1.0, 1.0]
    """
    if not is_whole(groups):
        raise StructureError(f"group_norm: expected groups to be a whole number, got {groups!r}. Give an int.")
    if groups < 1:
        raise ShapeError(f"group_norm: expected groups of 1 or more, got {groups}. Give the number of groups.")

    def view(shape: tuple[int, ...]) -> tuple[tuple[int, ...], Axes]:
        inner = (*shape[:-1], groups, shape[-1] // groups)
        return inner, (*range(-len(inner), -2), -1)

    def check(x: Spec) -> None:
        expect_features(x)
        if x.shape[-1] % groups:
            raise ShapeError(
                f"expected a number of channels (the last axis of x) that {groups} groups divide, got {x.shape[-1]}. "
                "Choose a divisor of it."
            )
        expect_several(math.prod(x.shape) // groups, "a group of channels over space", x)

    checked = checked_epsilon("group_norm", epsilon)
    return normalising("group_norm", affine_names("group_norm", scale, offset), checked, view, check)


def instance_norm(*, epsilon: float = 1e-5, scale: bool = True, offset: bool = True) -> Layer:
    """Normalisation of every channel over space: y = scale ∘ (x - mean(x)) / √(var(x) + ε) + offset.

    Mean and (biased) variance are taken over all axes of space, for every example and channel by itself: `group_norm`
    with as many groups as channels. There are no running statistics: inference is what training is.

    Args:
      epsilon: ε above 0, a Python number; it keeps channels of equal numbers from being divided by zero.
      scale: whether a scale per channel is there, which begins at 1.
      offset: whether an offset per channel is there, which begins at 0.

    Returns:
      A layer for shape (…, C) with one axis of space or more and any floating dtype, which y keeps; float16 and
      bfloat16 are computed in float32. Params `{"scale": …, "offset": …}`, each of shape (C,), or `()` without either.

    Raises:
      ShapeError: if `epsilon` is not above 0; at trace time, if x has no two points in space, or another C than the
        params.
      StructureError: if `epsilon` is not a Python number; at trace time, for other dtypes or other params.

    Derivation:
      Each channel is a vector that is centred and divided by its deviation σ: with x̂ = (x - mean(x))/σ and
      g = scale ∘ dJ/dy, dJ/dx = (g - mean(g) - x̂ mean(x̂ ∘ g))/σ with the means over space (see `layer_norm`).
      dJ/dscale = Σ x̂ ∘ dJ/dy and dJ/doffset = Σ dJ/dy over examples and space.

    References:
      Ulyanov, Vedaldi and Lempitsky (2016), Instance normalization: the missing ingredient for fast stylization, eq. 2.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> net = pn.instance_norm()
      >>> params, state = net.init(None, pn.spec((2, 2)))
      >>> net.apply(params, jnp.array([[1.0, 10.0], [3.0, 30.0]])).round(3).tolist()
      [[-1.0, -1.0], [1.0, 1.0]]
    """

    def view(shape: tuple[int, ...]) -> tuple[tuple[int, ...], Axes]:
        return shape, tuple(range(-len(shape), -1))

    def check(x: Spec) -> None:
        expect_features(x)
        expect_several(math.prod(x.shape[:-1]), "a channel over space", x)

    checked = checked_epsilon("instance_norm", epsilon)
    return normalising("instance_norm", affine_names("instance_norm", scale, offset), checked, view, check)
