"""Kronecker factors: a dense layer's curvature as the product of its inputs' and its deltas' second moments."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purenet.contract import Tree
from purenet.errors import ShapeError, StructureError
from purenet.optim.checking import MOST_BYTES, amount


class Factors(NamedTuple):
    """Two square matrices: of the inputs (and a 1 for the bias), and of the deltas."""

    inputs: jax.Array
    deltas: jax.Array


class Dense(NamedTuple):
    """Where a dense layer's kernel and bias, or None, stand among the leaves, and the kernel's path."""

    kernel: int
    bias: int | None
    place: str

    def joined(self, leaves: list[jax.Array], dtype: Any) -> jax.Array:
        """Kernel and bias as one matrix: the bias is the weight of an input that is always 1."""
        kernel = leaves[self.kernel].astype(dtype)
        return kernel if self.bias is None else jnp.concatenate([kernel, leaves[self.bias][None].astype(dtype)])


def dense_in(params: Tree) -> list[Dense]:
    """Finds the dense layers among params, after refusing any other.

    Args:
      params: the network's.

    Returns:
      One entry per layer, in the order of their kernels.

    Raises:
      StructureError: if there are params of anything else.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    index = {jax.tree_util.keystr(path): i for i, (path, _) in enumerate(leaves)}
    found = []
    for path, leaf in leaves:
        name, outer = _last(path), jax.tree_util.keystr(path[:-1])
        kernel_place = index.get(f"{outer}['kernel']")
        if name == "kernel" and jnp.ndim(leaf) == 2:
            place = jax.tree_util.keystr(path)
            found.append(Dense(index[place], index.get(f"{outer}['bias']"), place))
        elif not (name == "bias" and kernel_place is not None and jnp.ndim(leaves[kernel_place][1]) == 2):
            raise StructureError(
                f"expected params of dense layers alone, got others at {jax.tree_util.keystr(path) or 'the top'}. "
                "Give those another optimizer with optax.partition, or use pn.optim.gauss_newton."
            )
    return found


def empty_factors(dense: Dense, leaves: list[jax.Array], dtype: Any) -> Factors:
    """Zeros in the sizes of a layer's factors."""
    n, m = leaves[dense.kernel].shape
    n += dense.bias is not None
    return Factors(jnp.zeros((n, n), dtype), jnp.zeros((m, m), dtype))


def expect_widths(denses: list[Dense], leaves: list[jax.Array], dtype: Any) -> None:
    """Raises if a factor would take more memory than any matrix shall."""
    for dense in denses:
        width = max(leaves[dense.kernel].shape) + (dense.bias is not None)
        needed = width**2 * np.dtype(dtype).itemsize
        if needed > MOST_BYTES:
            raise ShapeError(
                f"expected layers whose factors take at most {amount(MOST_BYTES)}, got {dense.place}, of which one of "
                f"{width} by {width} takes {amount(needed)}. Give that layer another optimizer with optax.partition, "
                "or use pn.optim.gauss_newton."
            )


def moments(taps: list[Any], bias: bool, dtype: Any) -> Factors:
    """The second moments over a mini-batch of B examples: the mean over rows of inputs, the sum of deltas' over B.

    A layer with several rows for an example, such as in `each`, or with several calls, has the sum of its rows'
    curvatures, as if they were independent (Grosse and Martens 2016, and "expand" in Eschenhagen et al. 2023). Examples
    of unequal weight count with their shares; those of the deltas are scaled already.
    """
    inputs = jnp.concatenate([tap.inputs.astype(dtype) for tap in taps])
    deltas = jnp.concatenate([tap.deltas.astype(dtype) for tap in taps])
    if bias:
        inputs = jnp.concatenate([inputs, jnp.ones((len(inputs), 1), inputs.dtype)], axis=1)
    weighted = inputs / len(inputs)
    if taps[0].shares is not None:
        rows = jnp.concatenate([jnp.repeat(tap.shares, len(tap.inputs) // tap.examples) for tap in taps])
        weighted = inputs * (rows.astype(dtype) * (taps[0].examples / len(inputs)))[:, None]
    return Factors(inputs.T @ weighted, deltas.T @ deltas / taps[0].examples)


def inverses_of(factors: Factors, damping: jax.Array) -> Factors:
    """Inverts A + π √λ I and G + √λ / π I, where π balances the two by their mean eigenvalues.

    NaN if one is not positive definite.

    References:
      Martens and Grosse (2015), section 6.3.
    """
    tiny = jnp.finfo(factors.inputs.dtype).tiny
    # the root before the quotient, which would overflow where no delta comes through
    of_inputs, of_deltas = (jnp.sqrt(jnp.trace(a) / len(a) + tiny) for a in factors)
    balance, root = of_inputs / of_deltas, jnp.sqrt(damping).astype(factors.inputs.dtype)
    return Factors(_inverse(factors.inputs, balance * root), _inverse(factors.deltas, root / balance))


def precondition(inverses: Factors, gradient: jax.Array) -> jax.Array:
    """(A⁻¹ ⊗ G⁻¹) ∇ as two matrix products."""
    return inverses.inputs @ gradient @ inverses.deltas


def expect_tapped(denses: list[Dense], params: Tree, groups: list[list[Any]]) -> None:
    """Raises if a dense layer was not heard."""
    names = [jax.tree_util.keystr(path[:-1]) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    for dense, taps in zip(denses, groups, strict=True):
        if not taps:
            raise StructureError(
                f"expected the params at {names[dense.kernel] or 'the top'} to be those of a pn.dense, called outside "
                "of loops (pn.repeat, pn.remat and recurrences are loops), got no such call. "
                "Give them another optimizer with optax.partition, or use pn.optim.gauss_newton."
            )


def _inverse(matrix: jax.Array, damping: jax.Array) -> jax.Array:
    eye = jnp.eye(len(matrix), dtype=matrix.dtype)
    root = jax.scipy.linalg.cho_factor(matrix + damping * eye)
    inverse: jax.Array = jax.scipy.linalg.cho_solve(root, eye)
    return inverse


def _last(path: tuple[Any, ...]) -> Any:
    return getattr(path[-1], "key", None) if path else None
