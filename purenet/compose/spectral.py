"""spectral_norm: a layer whose kernels are divided by their largest singular value."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from purenet.compose.kernels import expect_kernels, expect_unrepeated, kernels_of, with_kernels
from purenet.compose.parts import as_parts, expect_parts, key_of
from purenet.contract import Layer, Spec, Tree, layer
from purenet.errors import ShapeError, StructureError, at, describe, expect_key, expect_like, is_whole
from purenet.layers.standardised import checked_epsilon, wide, wide_dtype

# What `init` does, so that inference before any update divides by about the right number.
_FIRST_ITERATIONS = 15


def spectral_norm(part: Any, *, iterations: int = 1, epsilon: float = 1e-12) -> Layer:
    """Spectral normalisation: every kernel W divided by its largest singular value σ, so that ‖Wx‖ <= ‖x‖.

    A kernel counts as a matrix with its last axis, the output features, as columns. σ = uᵀWv, where training refines
    the unit vectors u and v by power iteration, v ← Wᵀu/‖Wᵀu‖ and u ← Wv/‖Wv‖, and keeps them in the state;
    inference takes them as they are. u and v count as constants in the gradient. All leaves named "kernel" are
    divided, also in layers made of layers. A convolution's kernel bounds its operator only up to a factor.

    Args:
      part: a layer that has a kernel, such as `dense(3)`.
      iterations: rounds of power iteration in an update, 1 or more.
      epsilon: up to which σ a kernel passes as it is and norms leave u and v as they were, above 0; a Python number.

    Returns:
      A layer like it; params and state are tuples with one entry, the params those of `part`. The state's entry is
      `{"part": its state, "vectors": ({"left": u, "right": v}, …)}`, one pair a kernel, in float32 or more.

    Raises:
      StructureError: if `part` is not a layer or has `repeat` in it, or another argument is no number; by `init`, if
        there is no kernel; at trace time, for params or state of another network, or no state.
      ShapeError: if `iterations` is below 1, or `epsilon` not above 0; at trace time, for vectors that do not fit.

    Derivation:
      With constant u and v, dσ = uᵀ dW v. For Ŵ = W/σ: dŴ = dW/σ - W dσ/σ². With G = dJ/dŴ from the layer's own rule
      and dJ = ⟨G, dŴ⟩, reading off gives dJ/dW = (G - ⟨G, Ŵ⟩ uvᵀ)/σ. At exact singular vectors this is the true
      gradient, as there u and v do not change σ to first order.

    References:
      Miyato, Kataoka, Koyama and Yoshida (2018), Spectral normalization for generative adversarial networks,
      eqs. 8-10 and algorithm 1.

    Example:
      >>> import jax, jax.numpy as jnp, purenet as pn
      >>> net = pn.spectral_norm(pn.dense(2, bias=False))
      >>> params, state = net.init(jax.random.key(0), pn.spec(2))
      >>> params = ({"kernel": jnp.diag(jnp.array([4.0, 2.0]))},)
      >>> for _ in range(20):
      ...     ys, state = net.forward(params, jnp.ones((1, 2)), state)
      >>> ys.round(3).tolist()
      [[1.0, 0.5]]
    """
    parts = as_parts("spectral_norm", (part,))
    inner, eps = parts[0], checked_epsilon("spectral_norm", epsilon)
    expect_unrepeated("spectral_norm", inner)
    if not is_whole(iterations):
        raise StructureError(
            f"spectral_norm: expected iterations to be a whole number, got {iterations!r}. Give an int."
        )
    if iterations < 1:
        raise ShapeError(f"spectral_norm: expected iterations of 1 or more, got {iterations}. Give 1 for the usual.")

    def init(key: Any, spec: Spec) -> tuple[Tree, Tree]:
        expect_key(key)
        with at("[0]"):
            params, state = inner.init(key_of(key, 0), spec)
        expect_kernels(params)
        kernels = kernels_of(params)
        drawn = [_drawn(key_of(key, i), kernel) for i, kernel in enumerate(kernels, 1)]
        vectors = _iterated(kernels, drawn, _FIRST_ITERATIONS, eps)
        return (params,), ({"part": state, "vectors": vectors},)

    def check(params: Tree, x: Spec) -> None:
        expect_parts("params", params, parts)

    def apply(params: Tree, x: Tree, state: Tree) -> Tree:
        kept, vectors = _opened(state, params[0])
        kernels = kernels_of(params[0])
        divided = [_divided(kernel, pair, eps)[0] for kernel, pair in zip(kernels, vectors, strict=True)]
        with at("[0]"):
            return inner.apply(with_kernels(params[0], divided), x, kept)

    def trained(params: Tree, state: Tree) -> tuple[Tree, Tree, Any, list[Any]]:
        """Gives the part's params and state, the new vectors, and what the pullback needs of each kernel."""
        kept, vectors = _opened(state, params[0])
        kernels = kernels_of(params[0])
        vectors = _iterated(kernels, vectors, iterations, eps)
        made = [_divided(kernel, pair, eps) for kernel, pair in zip(kernels, vectors, strict=True)]
        residuals = [(kernel, sigma, pair) for (kernel, sigma), pair in zip(made, vectors, strict=True)]
        return with_kernels(params[0], [kernel for kernel, _ in made]), kept, vectors, residuals

    def forward(params: Tree, xs: Tree, state: Tree, key: Any) -> tuple[Tree, Tree]:
        divided, kept, vectors, _ = trained(params, state)
        with at("[0]"):
            ys, new = inner.forward(divided, xs, kept, key_of(key, 0))
        return ys, ({"part": new, "vectors": vectors},)

    def vjp(params: Tree, xs: Tree, state: Tree, key: Any) -> Any:
        divided, kept, vectors, residuals = trained(params, state)
        with at("[0]"):
            ys, new, pullback = inner.vjp(divided, xs, kept, key_of(key, 0))
        return ys, ({"part": new, "vectors": vectors},), jax.tree_util.Partial(_pullback, pullback, residuals)

    return layer(apply, init=init, forward=forward, vjp=vjp, name="spectral_norm", parts=parts, check=check)


def _matrix(kernel: jax.Array) -> jax.Array:
    return wide(jnp.reshape(kernel, (-1, kernel.shape[-1])))


def _drawn(key: Any, kernel: jax.Array) -> Tree:
    rows, columns = _matrix(kernel).shape
    left, right = (
        jax.random.normal(one, (n,), wide_dtype(kernel.dtype))
        for one, n in zip(jax.random.split(key), (rows, columns), strict=True)
    )
    return {"left": left / jnp.linalg.norm(left), "right": right / jnp.linalg.norm(right)}


def _iterated(
    kernels: Sequence[jax.Array], vectors: Sequence[Tree], iterations: int, epsilon: float
) -> tuple[Tree, ...]:
    """Refines the singular vectors of each kernel; they are constants to every derivative."""
    made = []
    for kernel, pair in zip(kernels, vectors, strict=True):
        matrix, *found = jax.lax.stop_gradient((_matrix(kernel), pair["left"], pair["right"]))
        left, right = jax.lax.fori_loop(0, iterations, functools.partial(_round, matrix, epsilon), tuple(found))
        made.append({"left": left, "right": right})
    return tuple(made)


def _round(matrix: jax.Array, epsilon: float, _: Any, vectors: Any) -> tuple[jax.Array, jax.Array]:
    """One round of power iteration; the left vector comes first in `vectors`."""
    left, right = vectors
    right = _unit(jnp.dot(left, matrix), right, epsilon)
    return _unit(jnp.dot(matrix, right), left, epsilon), right


def _unit(a: jax.Array, old: jax.Array, epsilon: float) -> jax.Array:
    """Gives a/‖a‖, or the old vector where a has no direction: a kernel that begins at zero may still grow."""
    norm = jnp.sqrt(jnp.sum(jnp.square(a)))
    return jnp.where(norm > epsilon, a / jnp.where(norm > epsilon, norm, 1), old)


def _divided(kernel: jax.Array, pair: Tree, epsilon: float) -> tuple[jax.Array, jax.Array]:
    """Gives W/σ, and σ."""
    sigma = jnp.dot(jnp.dot(pair["left"], _matrix(kernel)), pair["right"])
    sigma = jnp.where(jnp.abs(sigma) > epsilon, sigma, 1)
    return (wide(kernel) / sigma).astype(kernel.dtype), sigma


def _pullback(pullback: Any, residuals: Sequence[Any], dys: Tree) -> tuple[Tree, Tree]:
    dparams, dxs = pullback(dys)
    pairs = zip(residuals, kernels_of(dparams), strict=True)
    return (with_kernels(dparams, [_kernel_cotangent(residual, dw) for residual, dw in pairs]),), dxs


def _kernel_cotangent(residual: Any, dw: jax.Array) -> jax.Array:
    """Gives dJ/dW from G = dJ/dŴ."""
    divided, sigma, pair = residual
    matrix, g = _matrix(divided), _matrix(dw)
    outer = pair["left"][:, None] * pair["right"][None]
    return jnp.reshape((g - jnp.sum(g * matrix) * outer) / sigma, dw.shape).astype(dw.dtype)


def _opened(state: Tree, params: Tree) -> tuple[Tree, Tree]:
    """Gives the part's state and the vectors of each kernel of its params, after checking them."""
    entry = state[0] if isinstance(state, tuple) and len(state) == 1 else state
    if not isinstance(entry, dict) or sorted(entry) != ["part", "vectors"]:
        raise StructureError(
            f"expected state with the singular vectors, got {describe(state)}. Pass the one that init made and "
            "training moved on: net.apply(params, x, state)."
        )
    made = []
    for kernel in kernels_of(params):
        *rows, columns = kernel.shape
        dtype = wide_dtype(kernel.dtype)
        made.append(
            {"left": jax.ShapeDtypeStruct((math.prod(rows),), dtype), "right": jax.ShapeDtypeStruct((columns,), dtype)}
        )
    expect_like("vectors of the kernels in the state", entry["vectors"], tuple(made), "Pass the state of this network.")
    return entry["part"], entry["vectors"]
