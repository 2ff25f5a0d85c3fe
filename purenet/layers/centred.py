"""Normalisation of every vector of features by itself: layer_norm and rms_norm."""

from purenet.contract import Layer, Spec
from purenet.layers.standardised import (
    Axes,
    affine_names,
    checked_epsilon,
    expect_features,
    expect_several,
    normalising,
)


def layer_norm(*, epsilon: float = 1e-5, scale: bool = True, offset: bool = True) -> Layer:
    """Layer normalisation along the last axis: y = scale ∘ (x - mean(x)) / √(var(x) + ε) + offset.

    The variance is the biased one, mean((x - mean(x))²). To normalise over all axes of an example, use
    `pn.group_norm(1)`.

    Args:
      epsilon: ε above 0, a Python number; it keeps vectors of equal numbers from being divided by zero.
      scale: whether a scale per feature is there, which begins at 1.
      offset: whether an offset per feature is there, which begins at 0.

    Returns:
      A layer for shape (…, C) with any axes in front and any floating dtype, which y keeps; float16 and bfloat16 are
      computed in float32. Params `{"scale": …, "offset": …}`, each of shape (C,), or `()` without either.

    Raises:
      ShapeError: if `epsilon` is not above 0; at trace time, if x has no two features, or other ones than the params.
      StructureError: if `epsilon` is not a Python number; at trace time, for other dtypes or other params.

    Derivation:
      With x̂ = (x - mean(x))/σ and g = dJ/dx̂ = scale ∘ dJ/dy: dx̂ = (dx - mean(dx) - x̂ mean(x̂ ∘ dx))/σ, a
      symmetric map (it takes off the parts along 1 and x̂), so dJ/dx = (g - mean(g) - x̂ mean(x̂ ∘ g))/σ.
      dJ/dscale = Σ x̂ ∘ dJ/dy and dJ/doffset = Σ dJ/dy over all vectors.

    References:
      Ba, Kiros and Hinton (2016), Layer normalization, eqs. 3-4.

    Example:
      >>> import jax, jax.numpy as jnp, purenet as pn
      >>> net = pn.layer_norm()
      >>> params, state = net.init(None, pn.spec(4))
      >>> net.apply(params, jnp.array([1.0, 1.0, 3.0, 3.0])).round(3).tolist()
      [-1.0, -1.0, 1.0, 1.0]
    """

    def check(x: Spec) -> None:
        expect_features(x)
        expect_several(x.shape[-1], "the last axis", x)

    checked = checked_epsilon("layer_norm", epsilon)
    return normalising("layer_norm", affine_names("layer_norm", scale, offset), checked, _last_axis, check)


def rms_norm(*, epsilon: float = 1e-6, scale: bool = True) -> Layer:
    """Normalisation by the root of the mean square along the last axis: y = scale ∘ x / √(mean(x²) + ε).

    Args:
      epsilon: ε above 0, a Python number; it keeps vectors of zeros from being divided by zero.
      scale: whether a scale per feature is there, which begins at 1.

    Returns:
      A layer for shape (…, C) with any axes in front and any floating dtype, which y keeps; float16 and bfloat16 are
      computed in float32. Params `{"scale": …}` of shape (C,), or `()` without.

    Raises:
      ShapeError: if `epsilon` is not above 0; at trace time, if x has no axis, or another last axis than the params.
      StructureError: if `epsilon` is not a Python number; at trace time, for other dtypes or other params.

    Derivation:
      With x̂ = x/ρ, ρ² = mean(x²) + ε and g = scale ∘ dJ/dy: ρ dρ = mean(x ∘ dx), so dx̂ = (dx - x̂ mean(x̂ ∘ dx))/ρ,
      a symmetric map, and dJ/dx = (g - x̂ mean(x̂ ∘ g))/ρ. dJ/dscale = Σ x̂ ∘ dJ/dy over all vectors.

    References:
      Zhang and Sennrich (2019), Root mean square layer normalization, eq. 4.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> net = pn.rms_norm()
      >>> params, state = net.init(None, pn.spec(2))
      >>> net.apply(params, jnp.array([3.0, 3.0])).round(3).tolist()
      [1.0, 1.0]
    """
    checked = checked_epsilon("rms_norm", epsilon)
    names = affine_names("rms_norm", scale, False)
    return normalising("rms_norm", names, checked, _last_axis, expect_features, centred=False)


def _last_axis(shape: tuple[int, ...]) -> tuple[tuple[int, ...], Axes]:
    return shape, (-1,)
