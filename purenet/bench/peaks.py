"""What this machine can do at best, measured in the same run: the limits that all other times are held against."""

import functools
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purenet.bench.machine import chosen_device

# Square matrices: large enough for the peak, small enough for a second. A CPU is fastest at some middle size.
_CPU_SIZES, _SIZES = (512, 1024, 2048), (4096, 8192, 16384)

# Bytes read and written per copy; far beyond every cache.
_CPU_COPIED, _COPIED = 2**28, 2**32

_SECONDS, _QUICK_SECONDS = 1.0, 0.3
_PRECISIONS = ("default", "high", "highest")


class Peak(NamedTuple):
    """The best rate of square matrix products.

    Attributes:
      arithmetic: the type of the numbers and, for float32, the precision asked of the product.
      flops: floating-point operations per second, 2 n³ a product.
      size: the n at which it was reached.
    """

    arithmetic: str
    flops: float
    size: int


class Peaks(NamedTuple):
    """The limits of one device.

    Attributes:
      matmul: by arithmetic, such as "float32 default" or "bfloat16".
      bandwidth: bytes per second, read and written, of an array that no cache holds.
      dispatch: seconds to call the smallest program and wait for it.
      compile: seconds to trace and compile the smallest program.
    """

    matmul: dict[str, Peak]
    bandwidth: float
    dispatch: float
    compile: float


def measure_peaks(quick: bool, dtype: str | None = None) -> Peaks:
    """Measures the limits of the default device: the best of many tries each, as nothing is faster than a limit.

    Args:
      quick: whether a third of the tries will do.
      dtype: one more type of numbers to measure products of, if it is not among the usual ones.

    Returns:
      The limits.
    """
    seconds = _QUICK_SECONDS if quick else _SECONDS
    matmul = {}
    for arithmetic in dict.fromkeys([*(f"float32 {one}" for one in _PRECISIONS), "bfloat16", dtype or "bfloat16"]):
        peak = None if arithmetic == "float32" else _matmul(arithmetic, seconds)
        if peak is not None:
            matmul[arithmetic] = peak
    if _on_cpu():  # where every precision is the same program
        same = [f"float32 {one}" for one in _PRECISIONS if f"float32 {one}" in matmul]
        best = max((matmul[one] for one in same), key=lambda peak: peak.flops)
        matmul |= {one: best._replace(arithmetic=one) for one in same}
    return Peaks(matmul, _bandwidth(seconds), _dispatch(seconds), _compile(seconds))


def better(one: Peaks, other: Peaks) -> Peaks:
    """Joins what was measured at two times: nothing is faster than a limit, so the better of each.

    Args:
      one: some limits.
      other: those of the same device, of the same arithmetics.

    Returns:
      The limits.
    """
    return Peaks(
        matmul={name: max(peak, other.matmul[name], key=lambda p: p.flops) for name, peak in one.matmul.items()},
        bandwidth=max(one.bandwidth, other.bandwidth),
        dispatch=min(one.dispatch, other.dispatch),
        compile=min(one.compile, other.compile),
    )


def arithmetic_of(dtype: str) -> str:
    """Names the arithmetic in which the default device multiplies matrices of this type, a key of `Peaks.matmul`.

    Args:
      dtype: such as "float32".

    Returns:
      The dtype's name; for float32 with the precision in force.
    """
    if dtype != "float32":
        return dtype
    precision = jax.config.jax_default_matmul_precision or "default"
    known = {"tensorfloat32": "high", "bfloat16_3x": "high", "float32": "highest"}
    precision = known.get(precision, precision)
    return f"float32 {precision if precision in _PRECISIONS else 'default'}"


def shown_arithmetic(dtype: str) -> str:
    """Says how the default device computes with numbers of this type.

    Args:
      dtype: such as "float32".

    Returns:
      The dtype's name; for float32 on an accelerator with the precision in force, and what it means by default.
    """
    if dtype != "float32" or _on_cpu():
        return dtype
    precision = jax.config.jax_default_matmul_precision or "default"
    means = {"gpu": ": TF32 where the GPU has it", "tpu": ": bfloat16 products"}.get(chosen_device().platform, "")
    return f"float32 ({precision}{means if precision == 'default' else ''})"


def _matmul(arithmetic: str, seconds: float) -> Peak | None:
    """The best rate over the sizes for which there is room; None if there is no such product on this device."""
    dtype, _, precision = arithmetic.partition(" ")
    multiply = jax.jit(functools.partial(jnp.matmul, precision=precision or None))
    best = None
    for size in _CPU_SIZES if _on_cpu() else _SIZES:
        try:
            a = jax.random.normal(jax.random.key(0), (size, size), jnp.float32).astype(dtype)
            flops = 2 * size**3 / _best(functools.partial(multiply, a, a), seconds / 3)
        except jax.errors.JaxRuntimeError:  # no room for this size, or no such product on this device
            break
        if best is None or flops > best.flops:
            best = Peak(arithmetic, flops, size)
    return best


def _bandwidth(seconds: float) -> float:
    count = (_CPU_COPIED if _on_cpu() else _COPIED) // 8
    array = [jnp.zeros(count, jnp.float32)]
    copy = jax.jit(lambda a: a + 1, donate_argnums=0)  # in place, so that no page is new: a copy, but for the sum

    def call() -> Any:
        array[0] = copy(array[0])
        return array[0]

    return 8 * count / _best(call, seconds)


def _dispatch(seconds: float) -> float:
    increase, one = jax.jit(lambda a: a + 1), jnp.zeros(())
    return _best(lambda: increase(one), seconds)


def _compile(seconds: float) -> float:
    shapes: Iterator[int] = itertools.count(1)  # each time a new one, as JAX remembers programs

    def call() -> Any:
        n = next(shapes)
        jax.jit(lambda a: a + n).lower(jax.ShapeDtypeStruct((n,), jnp.float32)).compile()

    return _best(call, seconds)


def _best(call: Callable[[], Any], seconds: float) -> float:
    """The shortest time of a call that is waited for, among those that fit into `seconds`, three at least."""
    jax.block_until_ready(call())
    times: list[float] = []
    until = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < until:
        started = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - started)
    return min(times)


def _on_cpu() -> bool:
    return bool(chosen_device().platform == "cpu")
