"""What one primitive operation costs, told from its shapes: the tables and formulas that `flops` reads."""

import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

# A `jax.extend.core.JaxprEqn`, of whose operands type checkers do not know that they have shapes.
Eqn = Any


class Flops(NamedTuple):
    """Floating-point operations, as `flops` counts them. Counts add up with `+` and multiply with `*`.

    Attributes:
      matmul: those of matrix products, convolutions and factorisations.
      elementwise: those of elementwise functions, reductions and Fourier transforms.

    Example:
      >>> import purenet as pn
      >>> count = 10 * pn.Flops(matmul=60, elementwise=3) + pn.Flops(matmul=0, elementwise=5)
      >>> count, count.total
      (Flops(matmul=600, elementwise=35), 635)
    """

    matmul: int
    elementwise: int

    @property
    def total(self) -> int:
        """Both kinds together."""
        return self.matmul + self.elementwise

    def __add__(self, other: "Flops") -> "Flops":  # type: ignore[override]
        """The operations of both; a tuple's own sum would be a longer tuple."""
        if not isinstance(other, Flops):
            return NotImplemented
        return Flops(self.matmul + other.matmul, self.elementwise + other.elementwise)

    def __mul__(self, times: int) -> "Flops":  # type: ignore[override]
        """The same operations many times."""
        times = operator.index(times)  # of NumPy's integers too, which would overflow
        return Flops(self.matmul * times, self.elementwise * times)

    def __rmul__(self, times: int) -> "Flops":  # type: ignore[override]
        """The same operations many times."""
        return self * times


# NumPy's numbers would take it for a sequence, and np.int64(2) * flops for an array.
Flops.__array_ufunc__ = None  # type: ignore[attr-defined]


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


# One operation per element of the result, whatever the function.
ELEMENTWISE = _names(
    """
    abs acos acosh add add_any asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt ceil clamp conj cos cosh
    digamma div erf erf_inv erfc exp exp2 expm1 floor igamma igamma_grad_a igammac integer_pow lgamma log log1p log2
    logistic max min mul neg nextafter one_minus_square polygamma pow random_gamma_grad regularized_incomplete_beta
    rem round rsqrt sign sin sinh sqrt square sub tan tanh zeta
    """
)
# One operation per element of what is reduced; in a `shard_map`, on each device.
REDUCTIONS = _names(
    """
    cumlogsumexp cummax cummin cumprod cumsum pmax pmin psum psum_invariant reduce_max reduce_min reduce_prod
    reduce_scatter reduce_sum unreduced_pmax unreduced_pmin unreduced_psum unreduced_reduce_scatter
    """
)
# Comparisons, choices, moves, copies, conversions, random bits, notes to the compiler.
FREE = _names(
    """
    all_gather all_gather_invariant all_gather_reduced all_to_all approx_top_k argmax argmin bitcast_convert_type
    broadcast_in_dim broadcast_to check complex concatenate convert_element_type copy copy_p create_linear dce_sink
    debug_callback debug_print device_put dynamic_slice dynamic_update_slice empty empty2 empty_ref eq eq_to
    free_ref freeze gather ge get gt imag inspect_sharding iota is_finite layout_constraint le le_to lt lt_to name
    ne new_ref optimization_barrier pad pbroadcast pbroadcast_dynamic pin ppermute preduced pvary ragged_all_to_all
    real reduce_precision reduced_vary_cast reshape reshard rev rng_uniform select_and_gather_add select_n
    sharding_constraint slice sort split squeeze stack stop_gradient swap tie tile top_k transpose unpin unstack
    vary_unreduced_cast xla_metadata_value
    """
)


def is_counted(atom: Any) -> bool:
    """Tells whether the operand or result is of floating or complex dtype."""
    dtype = getattr(atom.aval, "dtype", None)
    return dtype is not None and bool(jnp.issubdtype(dtype, jnp.inexact))


def size(atom: Any) -> int:
    """The number of elements of an operand or result."""
    return math.prod(map(int, atom.aval.shape))


def one_each(atoms: Any) -> Flops:
    """One operation for each element of these operands or results, if they are floating."""
    return Flops(0, sum(size(atom) for atom in atoms if is_counted(atom)))


def _dot_general(eqn: Eqn) -> int:
    (contracted, _), _ = eqn.params["dimension_numbers"]
    return 2 * size(eqn.outvars[0]) * _length(eqn.invars[0], contracted)


def _ragged_dot_general(eqn: Eqn) -> int:
    """Each row meets one group's matrix; where the sum is what is ragged, each term belongs to one group's result."""
    numbers = eqn.params["ragged_dot_dimension_numbers"]
    (contracted, _), _ = numbers.dot_dimension_numbers
    count = 2 * size(eqn.outvars[0]) * _length(eqn.invars[0], contracted)
    ragged_sum = set(numbers.lhs_ragged_dimensions) & set(contracted)
    return count // max(int(eqn.invars[2].aval.shape[-1]), 1) if ragged_sum else count


def _length(operand: Any, dimensions: tuple[int, ...]) -> int:
    return math.prod(int(operand.aval.shape[d]) for d in dimensions)


def _conv_general_dilated(eqn: Eqn) -> int:
    params, out, kernel = eqn.params, eqn.outvars[0].aval.shape, eqn.invars[1].aval.shape
    _, (_, per_group, *kernel_axes), (batch, features, *out_axes) = params["dimension_numbers"]
    taps = [
        _taps(out[o], kernel[k], stride, low, dilation, spread)
        for o, k, stride, (low, _), dilation, spread in zip(
            out_axes,
            kernel_axes,
            params["window_strides"],
            params["padding"],
            params["lhs_dilation"],
            params["rhs_dilation"],
            strict=True,
        )
    ]
    return int(2 * out[batch] * out[features] * kernel[per_group] * math.prod(taps))


def _conv_spread(eqn: Eqn) -> int:
    """As `_conv_general_dilated` of a transposed convolution, which it is where no CPU runs it."""
    geometry, (batch, *_, channels) = eqn.params["geometry"], eqn.outvars[0].aval.shape
    taps = [
        _taps(n, size, 1, low, stride, dilation)
        for n, size, (low, _), stride, dilation in zip(
            geometry.space, geometry.window, geometry.spreading, geometry.stride, geometry.dilation, strict=True
        )
    ]
    return int(2 * batch * channels * (eqn.invars[0].aval.shape[-1] // geometry.groups) * math.prod(taps))


def _taps(out: int, kernel: int, stride: int, low: int, dilation: int, spread: int) -> int:
    """Pairs of a position of the result and one of the kernel, along one axis, that meet no inserted zero.

    A transposed convolution puts `dilation` - 1 zeros between its inputs, and no good implementation multiplies by
    them. Positions are taken by their remainders, so that long axes cost no time.
    """
    if dilation == 1:
        return out * kernel
    return sum(
        len(range(o, out, dilation)) * len(range(k, kernel, dilation))
        for o in range(min(out, dilation))
        for k in range(min(kernel, dilation))
        if (o * stride + k * spread - low) % dilation == 0
    )


def _cholesky(eqn: Eqn) -> int:
    """Σ s² for s = 1…n: step s takes a root, s−1 quotients and s(s−1)/2 multiply-adds."""
    n = int(eqn.outvars[0].aval.shape[-1])
    return size(eqn.outvars[0]) // max(n * n, 1) * (n * (n + 1) * (2 * n + 1) // 6)


def _lu(eqn: Eqn) -> int:
    """Step i of min(m, n) divides m−i entries of its column, and multiplies and subtracts in what is right of it."""
    m, n = (int(side) for side in eqn.invars[0].aval.shape[-2:])
    steps = sum((m - i) * (1 + 2 * (n - i)) for i in range(1, min(m, n) + 1))
    return size(eqn.invars[0]) // max(m * n, 1) * steps


def _triangular_solve(eqn: Eqn) -> int:
    """n² for each of the right-hand sides of length n."""
    return int(eqn.invars[0].aval.shape[-1]) * size(eqn.invars[1])


def _fft(eqn: Eqn) -> int:
    """5 n log₂ n for each transform of n complex numbers, half of it where one side is real."""
    n = math.prod(map(int, eqn.params["fft_lengths"]))
    sides = (eqn.invars[0], eqn.outvars[0])
    half = any(jnp.issubdtype(side.aval.dtype, jnp.floating) for side in sides)
    transforms = max(size(side) for side in sides) // max(n, 1)
    return transforms * round((2.5 if half else 5) * n * math.log2(max(n, 1)))


def _polynomial(eqn: Eqn) -> int:
    """Horner's rule: a product and a sum for each coefficient after the first."""
    return 2 * max(len(eqn.invars) - 2, 0) * size(eqn.outvars[0])


def window(eqn: Eqn) -> int:
    """The number of elements that the windows of a pooling see together."""
    return math.prod(map(int, eqn.params["window_dimensions"])) * size(eqn.outvars[0])


_MATMUL: dict[str, Callable[[Eqn], int]] = {
    "cholesky": _cholesky,
    "conv_general_dilated": _conv_general_dilated,
    "conv_correlate": lambda eqn: 2 * size(eqn.outvars[0]) * size(eqn.invars[1]) // int(eqn.invars[1].aval.shape[-1]),
    "conv_kernels": lambda eqn: 2 * size(eqn.invars[1]) * size(eqn.outvars[0]) // int(eqn.outvars[0].aval.shape[-1]),
    "conv_spread": _conv_spread,
    "dot_general": _dot_general,
    "lu": _lu,
    "ragged_dot_general": _ragged_dot_general,
    "small_product": lambda eqn: 2 * size(eqn.outvars[0]) * int(eqn.invars[1].aval.shape[0]),
    "triangular_solve": _triangular_solve,
}
_OTHERS: dict[str, Callable[[Eqn], int]] = {
    "addupdate": lambda eqn: size(eqn.invars[1]),
    "fft": _fft,
    "polynomial": _polynomial,
    "reduce_window_max": window,
    "reduce_window_min": window,
    "reduce_window_sum": window,
    **{f"scatter-{kind}": lambda eqn: size(eqn.invars[2]) for kind in ("add", "max", "min", "mul", "sub")},
    "select_and_scatter_add": lambda eqn: size(eqn.invars[0]),
}


def cost(eqn: Eqn) -> Flops | None:
    """Counts an operation that holds no other operations; None for one that is in no table."""
    name = eqn.primitive.name
    if name in FREE:
        return Flops(0, 0)
    if name in ELEMENTWISE:
        return one_each(eqn.outvars)
    if name in REDUCTIONS:
        return one_each(eqn.invars)
    if name not in _MATMUL and name not in _OTHERS:
        return None
    if not any(map(is_counted, eqn.outvars or eqn.invars)):
        return Flops(0, 0)
    return Flops(_MATMUL[name](eqn), 0) if name in _MATMUL else Flops(0, _OTHERS[name](eqn))
