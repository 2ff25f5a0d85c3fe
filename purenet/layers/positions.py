"""What tells a network where in a sequence a vector stands: sinusoidal, learned and rotary positions."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purenet.contract import Layer, Spec, Tree, layer
from purenet.errors import ShapeError, StructureError, describe, expect_array, expect_kept, expect_key, is_whole
from purenet.layers.standardised import wide, wide_dtype

Initializer = Callable[..., jax.Array]
_NORMAL = jax.nn.initializers.normal(0.02)


def sinusoidal_positions(*, base: float = 10000.0) -> Layer:
    """Adds waves of many lengths: yₜ = xₜ + pₜ, where pₜ,₂ᵢ = sin(t / base^(2i/C)) and pₜ,₂ᵢ₊₁ = cos of the same.

    Args:
      base: what the wavelengths grow to, over 2π; above 0, a Python number.

    Returns:
      A layer for shape (T, C) with even C and any floating dtype, which y keeps; no params.

    Raises:
      ShapeError: if `base` is not above 0; at trace time, if x has not two axes or C is odd.
      StructureError: if `base` is not a Python number; at trace time, if x is not one floating array.

    Derivation:
      y is x and something that does not depend on it: dJ/dx = dJ/dy.

    References:
      Vaswani and others (2017), Attention is all you need, section 3.5.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> pn.sinusoidal_positions().apply((), jnp.zeros((2, 2))).round(3).tolist()
      [[0.0, 1.0], [0.841..., 0.54...]]
    """
    wavelength = checked_base("sinusoidal_positions", "base", base)

    def apply(params: Tree, x: jax.Array) -> jax.Array:
        angles = _angles(*x.shape, wavelength)
        waves = np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(x.shape)
        return x + jnp.asarray(waves, x.dtype)

    def vjp(params: Tree, xs: jax.Array, state: Tree, key: Any) -> Any:
        return jax.vmap(lambda x: apply((), x))(xs), state, jax.tree_util.Partial(_unchanged)

    return layer(apply, vjp=vjp, check=_even_features, name="sinusoidal_positions")


def rotary(*, base: float = 10000.0) -> Layer:
    """Turns pairs of features by angles φ that grow with the position t: rotary position embedding.

    At t, yᵢ = xᵢ cos φ - xⱼ sin φ and yⱼ = xᵢ sin φ + xⱼ cos φ, with φ = t base^(-2i/C) and j = i + C/2. The inner
    product of two vectors so turned depends on the difference of their positions alone: in `pn.attention(heads,
    rotary=10000.0)` queries and keys turn, head by head. Pairs are halves apart, as in Llama's weights for PyTorch;
    with neighbours as pairs, as in the paper, the features are in another order.

    Args:
      base: what the wavelengths grow to, over 2π; above 0, a Python number.

    Returns:
      A layer for shape (T, C) with even C and any floating dtype, which y keeps; no params.

    Raises:
      ShapeError: if `base` is not above 0; at trace time, if x has not two axes or C is odd.
      StructureError: if `base` is not a Python number; at trace time, if x is not one floating array.

    Derivation:
      y = R x with rotations R, whose transpose is their inverse: dJ/dx = Rᵀ dJ/dy turns by -φ.

    References:
      Su and others (2024), RoFormer: Enhanced transformer with rotary position embedding, eqs. 14-15 and 34.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> pn.rotary().apply((), jnp.array([[1.0, 0.0], [1.0, 0.0]])).round(3).tolist()
      [[1.0, 0.0], [0.54..., 0.841...]]
    """
    wavelength = checked_base("rotary", "base", base)

    def apply(params: Tree, x: jax.Array) -> jax.Array:
        return turned(x[None, :, None], wavelength)[0, :, 0]

    def forward(params: Tree, xs: jax.Array, state: Tree, key: Any) -> tuple[jax.Array, Tree]:
        return turned(xs[:, :, None], wavelength)[:, :, 0], state

    def vjp(params: Tree, xs: jax.Array, state: Tree, key: Any) -> Any:
        return *forward(params, xs, state, key), jax.tree_util.Partial(_back(wavelength))

    return layer(apply, forward=forward, vjp=vjp, check=_even_features, name="rotary")


def learned_positions(length: int, *, embedding_init: Initializer = _NORMAL) -> Layer:
    """Adds a learned vector per position, yₜ = xₜ + Eₜ.

    Args:
      length: the largest number of positions, 1 or more; sequences may be shorter.
      embedding_init: makes E, shape (length, C), from a key; any of `jax.nn.initializers`.

    Returns:
      A layer for shape (T, C), T up to `length`, in the dtype of its spec; params `{"embedding": E}`.

    Raises:
      ShapeError: if `length` is below 1; at trace time, if x has not two axes, more positions than `length`, or other
        features than E.
      StructureError: if `length` is not a whole number; at trace time, for other dtypes or other params.

    Derivation:
      Every example of the mini-batch adds the same E: dJ/dEₜ = Σ dJ/dyₜ over the examples, 0 beyond T, and dJ/dx =
      dJ/dy.

    References:
      Gehring, Auli, Grangier, Yarats and Dauphin (2017), Convolutional sequence to sequence learning, section 3.1.

    Example:
      >>> import jax, purenet as pn
      >>> params, state = pn.learned_positions(8).init(jax.random.key(0), pn.spec((5, 2)))
      >>> params["embedding"].shape
      (8, 2)
    """
    if not is_whole(length):
        raise StructureError(
            f"learned_positions: expected length to be a whole number, got {describe(length)}. Give an int."
        )
    if length < 1:
        raise ShapeError(f"learned_positions: expected length of 1 or more, got {length}. Give the longest sequence's.")

    def fits(x: Spec) -> None:
        _one_sequence(x)
        if x.shape[0] > length:
            raise ShapeError(
                f"expected x of up to {length} positions, got {x.shape[0]}. Cut the sequence, or give a larger length."
            )

    def init(key: Any, spec: Spec) -> tuple[Tree, Tree]:
        fits(spec)
        expect_key(key)
        return {"embedding": embedding_init(key, (length, spec.shape[1]), spec.dtype)}, ()

    def check(params: Tree, x: Spec) -> None:
        fits(x)
        expect_embedding(params, (length, x.shape[1]))
        if params["embedding"].dtype != x.dtype:
            raise StructureError(
                f"expected x of dtype {params['embedding'].dtype}, that of the parameters, got {x.dtype}. "
                "Cast x or the parameters with astype."
            )

    def apply(params: Tree, x: jax.Array) -> jax.Array:
        return jnp.add(x, params["embedding"][: len(x)])

    def forward(params: Tree, xs: jax.Array, state: Tree, key: Any) -> tuple[jax.Array, Tree]:
        return xs + params["embedding"][None, : xs.shape[1]], state

    def vjp(params: Tree, xs: jax.Array, state: Tree, key: Any) -> Any:
        return *forward(params, xs, state, key), jax.tree_util.Partial(_sum_up(length))

    return layer(apply, init=init, forward=forward, vjp=vjp, check=check, name="learned_positions")


def turned(x: jax.Array, base: float, sense: int = 1) -> jax.Array:
    """Turns the features of every head, shape (B, T, H, D), by the angles of their positions; sense -1 turns back."""
    angles = _angles(x.shape[1], x.shape[3], base)[None, :, None]
    dtype = wide_dtype(x.dtype)
    cos, sin = jnp.asarray(np.cos(angles), dtype), jnp.asarray(sense * np.sin(angles), dtype)
    one, other = jnp.split(wide(x), 2, axis=-1)
    return jnp.concatenate([one * cos - other * sin, one * sin + other * cos], axis=-1).astype(x.dtype)


def checked_base(name: str, what: str, base: Any) -> float:
    """Gives a base of positions as a float, after refusing what is none."""
    if isinstance(base, bool) or not isinstance(base, (int, float, np.integer, np.floating)):
        raise StructureError(
            f"{name}: expected {what} to be a Python number, got {describe(base)}. Give one such as 10000.0."
        )
    if not 0 < base < float("inf"):
        raise ShapeError(f"{name}: expected {what} above 0 and finite, got {base}. Give one such as 10000.0.")
    return float(base)


def expect_embedding(params: Tree, shape: tuple[int, ...]) -> None:
    """Raises unless params are one table of vectors, of this shape."""
    if not isinstance(params, dict) or sorted(params) != ["embedding"]:
        came = f"a dict of {sorted(params)}" if isinstance(params, dict) else describe(params)
        raise StructureError(
            f"expected params to be a dict of ['embedding'], got {came}. Pass the params that this network's init made."
        )
    if jnp.shape(params["embedding"]) != shape:
        raise ShapeError(
            f"expected params['embedding'] of shape {shape}, got {jnp.shape(params['embedding'])}. "
            "Initialise the network with the spec of the examples that it gets, and pass the params that it made."
        )
    expect_kept(params["embedding"])
    if not jnp.issubdtype(params["embedding"].dtype, jnp.floating):
        raise StructureError(
            f"expected params['embedding'] of floating dtype, got {params['embedding'].dtype}. Cast it with astype."
        )


@functools.cache
def _angles(t: int, features: int, base: float) -> np.ndarray:
    """Angles t base^(-2i/C) of all positions t and pairs i, in 64 bits."""
    return np.arange(t)[:, None] * base ** (-2 * np.arange(features // 2) / features)[None]


def _one_sequence(x: Spec) -> None:
    expect_array(x)
    if len(x.shape) != 2:
        raise ShapeError(f"expected x of shape (positions, features), got {x.shape}. Leave the mini-batch axis out.")


def _even_features(params: Tree, x: Spec) -> None:
    _one_sequence(x)
    if x.shape[1] % 2:
        raise ShapeError(
            f"expected x with an even number of features, got {x.shape[1]}. They belong together in pairs."
        )


def _unchanged(dys: jax.Array) -> tuple[Tree, jax.Array]:
    return (), dys


@functools.cache  # one function a base, so that equal pullbacks have equal tree structures
def _back(base: float) -> Callable[[jax.Array], tuple[Tree, jax.Array]]:
    return lambda dys: ((), turned(dys[:, :, None], base, -1)[:, :, 0])


@functools.cache
def _sum_up(length: int) -> Callable[[jax.Array], tuple[Tree, jax.Array]]:
    def pullback(dys: jax.Array) -> tuple[Tree, jax.Array]:
        beyond = ((0, length - dys.shape[1]), (0, 0))
        return {"embedding": jnp.pad(jnp.sum(dys, axis=0), beyond)}, dys

    return pullback
