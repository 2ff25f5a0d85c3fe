"""What one operation costs is what one counts by hand, and where XLA counts alike, what XLA counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import purenet as pn
from purenet.flop_rules import ELEMENTWISE, FREE, REDUCTIONS, _taps
from purenet.layers.products import product

X = pn.spec((4, 6))
SQUARE = pn.spec((5, 5))
IMAGES, KERNEL = pn.spec((2, 9, 9, 4)), pn.spec((3, 3, 4, 6))


def conv(stride=1, padding="VALID", **options):
    numbers = ("NHWC", "HWIO", "NHWC")
    return lambda xs, w: lax.conv_general_dilated(xs, w, (stride,) * 2, padding, dimension_numbers=numbers, **options)


def gradient(fn):
    """Of both arguments; the value itself is not needed."""
    return jax.grad(lambda *args: jnp.sum(fn(*args)), (0, 1))


MATMULS = {
    "matrices": (lambda a, b: a @ b, (X, pn.spec((6, 3))), 2 * 4 * 6 * 3),
    "a vector": (lambda a, b: a @ b, (X, pn.spec(6)), 2 * 4 * 6),
    "an outer product": (jnp.outer, (pn.spec(4), pn.spec(3)), 0),
    "nothing to sum": (lambda a, b: a @ b, (pn.spec((4, 0)), pn.spec((0, 3))), 0),
    "a batch": (lambda a, b: jnp.einsum("bij,bjk->bik", a, b), (pn.spec((7, 4, 6)), pn.spec((7, 6, 3))), 7 * 144),
    "vmap": (jax.vmap(lambda a, b: a @ b, (0, None)), (pn.spec((7, 4, 6)), pn.spec((6, 3))), 7 * 144),
    "three, in the best order": (
        lambda a, b, c: jnp.einsum("ij,jk,k->i", a, b, c),
        (X, pn.spec((6, 3)), pn.spec(3)),
        2 * 6 * 3 + 2 * 4 * 6,
    ),
    "gradients of a product": (gradient(lambda a, b: a @ b), (X, pn.spec((6, 3))), 2 * 144),
    "bfloat16 into float32": (
        lambda a: lax.dot(a, a.T, preferred_element_type=jnp.float32),
        (pn.spec((4, 6), jnp.bfloat16),),
        2 * 4 * 6 * 4,
    ),
    "float8": (lambda a: lax.dot(a, a.T, preferred_element_type=jnp.float32), (pn.spec((4, 6), "float8_e5m2"),), 192),
    "complex": (lambda a: a @ a.T, (pn.spec((4, 6), jnp.complex64),), 192),
    "integers": (lambda a: a @ a.T, (pn.spec((4, 6), jnp.int32),), 0),
    "ragged rows": (lax.ragged_dot, (pn.spec((8, 6)), pn.spec((3, 6, 5)), pn.spec(3, jnp.int32)), 2 * 8 * 6 * 5),
    "ragged rows, gradients": (
        lambda a, b, sizes: gradient(lambda a, b: lax.ragged_dot(a, b, sizes))(a, b),
        (pn.spec((8, 6)), pn.spec((3, 6, 5)), pn.spec(3, jnp.int32)),
        2 * (2 * 8 * 6 * 5),
    ),
    "Cholesky": (lax.linalg.cholesky, (SQUARE,), 1 + 4 + 9 + 16 + 25),
    "LU": (lax.linalg.lu, (SQUARE,), 4 * 9 + 3 * 7 + 2 * 5 + 1 * 3),
    "LU of a batch of tall matrices": (lax.linalg.lu, (pn.spec((2, 4, 2)),), 2 * (3 * 3 + 2 * 1)),
    "a triangular system": (
        lambda a, b: jax.scipy.linalg.solve_triangular(a, b, lower=True),
        (SQUARE, pn.spec((5, 3))),
        25 * 3,
    ),
    "a linear system": (jnp.linalg.solve, (SQUARE, pn.spec((5, 3))), 70 + 2 * 25 * 3),
}

# (function, arguments, result's elements × kernel positions × input channels of a group); the images are 9×9.
CONVOLUTIONS = {
    "valid": (conv(), (IMAGES, KERNEL), (2 * 7 * 7 * 6) * 9 * 4),
    "same": (conv(padding="SAME"), (IMAGES, KERNEL), (2 * 9 * 9 * 6) * 9 * 4),
    "stride": (conv(2), (IMAGES, KERNEL), (2 * 4 * 4 * 6) * 9 * 4),
    "groups": (conv(feature_group_count=2), (IMAGES, pn.spec((3, 3, 2, 6))), (2 * 7 * 7 * 6) * 9 * 2),
    "depthwise": (conv(feature_group_count=4), (IMAGES, pn.spec((3, 3, 1, 4))), (2 * 7 * 7 * 4) * 9),
    "groups of the batch": (conv(batch_group_count=2), (IMAGES, KERNEL), (1 * 7 * 7 * 6) * 9 * 4),
    "dilated": (conv(rhs_dilation=(2, 2)), (IMAGES, KERNEL), (2 * 5 * 5 * 6) * 9 * 4),
    "one axis": (
        lambda xs, w: lax.conv_general_dilated(xs, w, (1,), "VALID"),
        (pn.spec((2, 3, 10)), pn.spec((5, 3, 4))),
        (2 * 7 * 5) * 4 * 3,
    ),
    # Every input meets every position of the kernel once.
    "transposed": (
        lambda xs, w: lax.conv_transpose(xs, w, (3, 3), "VALID"),
        (IMAGES, KERNEL),
        (2 * 9 * 9 * 6) * 9 * 4,
    ),
    "gradients, same": (gradient(conv(padding="SAME")), (IMAGES, KERNEL), 2 * (2 * 9 * 9 * 6) * 9 * 4),
    # With respect to the images, the kernel slides over cotangents padded to 9×9.
    "gradients, valid": (gradient(conv()), (IMAGES, KERNEL), (2 * 7 * 7 * 6) * 9 * 4 + (2 * 9 * 9 * 4) * 9 * 6),
    "gradients, stride": (gradient(conv(3)), (IMAGES, KERNEL), 2 * (2 * 3 * 3 * 6) * 9 * 4),
    "gradients, groups": (
        gradient(conv(padding="SAME", feature_group_count=2)),
        (IMAGES, pn.spec((3, 3, 2, 6))),
        2 * (2 * 9 * 9 * 6) * 9 * 2,
    ),
    "gradients, stride, even sides": (
        gradient(conv(2, "SAME")),
        (pn.spec((2, 8, 8, 4)), KERNEL),
        2 * (2 * 4 * 4 * 6) * 9 * 4,
    ),
}

ELEMENTWISES = {
    "arithmetic": (lambda a: -a * a + a / 2, (X,), 4 * 24),
    "broadcast": (lambda a, b: lax.expand_dims(b, (0,)) + a, (X, pn.spec(6)), 24),
    "transcendental": (lambda a: jnp.exp(jnp.tanh(a)) + lax.rsqrt(a), (X,), 4 * 24),
    "a power": (lambda a: a**3, (X,), 24),
    "complex": (lambda a: a * a, (pn.spec(6, jnp.complex64),), 6),
    "the larger": (lambda a: jnp.maximum(a, 0), (X,), 24),
    "relu, through custom_jvp": (jax.nn.relu, (X,), 24),
    "a sum": (lambda a: jnp.sum(a, axis=1), (X,), 24),
    "the largest": (lambda a: jnp.max(a), (X,), 24),
    "a running sum": (lambda a: jnp.cumsum(a, axis=0), (X,), 24),
    "softmax": (
        lambda a: jax.nn.softmax(a, axis=1),
        (X,),
        24 + 4 + 24 + 24 + 24 + 24,
    ),  # max, max with −∞, −, exp, Σ, /
    "any reduction": (lambda a: lax.reduce(a, jnp.float32(0), lambda a, b: a * b + a, (0,)), (X,), 2 * 24),
    "pooling": (lambda a: lax.reduce_window(a, -jnp.inf, lax.max, (2, 2), (1, 1), "VALID"), (X,), 3 * 5 * 4),
    "any pooling": (
        lambda a: lax.reduce_window(a, jnp.float32(0), lambda a, b: a * b + a, (2, 2), (1, 1), "VALID"),
        (X,),
        2 * 3 * 5 * 4,
    ),
    "the gradient of pooling": (
        jax.grad(lambda a: jnp.sum(lax.reduce_window(a, -jnp.inf, lax.max, (2, 2), (2, 2), "VALID"))),
        (X,),
        2 * 3,
    ),
    "adding at places": (lambda a: a.at[jnp.array([0, 2])].add(1.0, mode="drop"), (X,), 2 * 6),
    "setting at places": (lambda a: a.at[jnp.array([0, 2])].set(1.0, mode="drop"), (X,), 0),
    "a function at a place": (lambda a: a.at[1].apply(jnp.sin), (X,), 6),
    "a Fourier transform": (jnp.fft.fft, (pn.spec((3, 8), jnp.complex64),), 3 * 5 * 8 * 3),
    "a real Fourier transform": (jnp.fft.rfft, (pn.spec((3, 8)),), 3 * 5 * 8 * 3 // 2),
    "and back": (jnp.fft.irfft, (pn.spec((3, 5), jnp.complex64),), 3 * 5 * 8 * 3 // 2),
    "integers": (lambda i: i * i + jnp.sum(i) // 2, (pn.spec(6, jnp.int32),), 0),
    "comparisons and choices": (lambda a, b: jnp.where(a > b, a, b), (X, X), 0),
    "moves and conversions": (lambda a: jnp.concatenate([a.T[::2], a.T])[1:].astype(jnp.bfloat16), (X,), 0),
    "stacking, which newer JAX holds as one operation": (lambda a: jnp.stack([a, a], axis=1), (X,), 0),
    "an order": (lambda a: (jnp.sort(a), jnp.argmax(a)), (X,), 0),
    "a search, which newer JAX holds as one operation": (jnp.searchsorted, (pn.spec(8), pn.spec(3)), 0),
    "random bits": (lambda key: jax.random.permutation(key, 100), (jax.random.key(0),), 0),
    "what is not needed": (lambda a: (jnp.sin(a), a + 1)[1], (X,), 24),
    "notes in passing": (lambda a: (jax.debug.print("{}", a), lax.optimization_barrier(a))[1], (X,), 0),
}


@pytest.mark.parametrize("name", MATMULS)
def test_matrix_products(name):
    fn, args, count = MATMULS[name]
    assert pn.flops(fn, *args).matmul == count


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name):
    fn, args, multiply_adds = CONVOLUTIONS[name]
    assert pn.flops(fn, *args) == pn.Flops(2 * multiply_adds, 0)


@pytest.mark.parametrize("name", ELEMENTWISES)
def test_elements(name):
    fn, args, count = ELEMENTWISES[name]
    assert pn.flops(fn, *args) == pn.Flops(0, count)


@pytest.mark.parametrize(
    "case",
    [MATMULS[name] for name in ("matrices", "a batch", "vmap", "bfloat16 into float32")]
    + [CONVOLUTIONS[name] for name in ("valid", "stride", "groups", "groups of the batch", "dilated", "one axis")]
    + [CONVOLUTIONS["gradients, stride"]],
)
def test_xla_counts_the_same_where_nothing_is_padded(case):
    fn, args, _ = case
    told = jax.jit(fn).lower(*args).cost_analysis()
    assert pn.flops(fn, *args).matmul == told["flops"]


def test_transposed_taps_are_those_counted_one_by_one():
    for out, kernel, stride, low, dilation, spread in np.random.default_rng(0).integers(1, 7, (200, 6)).tolist():
        pairs = ((o * stride + k * spread - low) % dilation for o in range(out) for k in range(kernel))
        assert _taps(out, kernel, stride, low, dilation, spread) == sum(rest == 0 for rest in pairs)


def test_no_primitive_stands_in_two_tables():
    assert len(ELEMENTWISE | REDUCTIONS | FREE) == len(ELEMENTWISE) + len(REDUCTIONS) + len(FREE)


def test_what_depends_on_the_platform_counts_as_its_default():
    def either(x):
        return jax.lax.platform_dependent(x, cpu=lambda x: x * 2 + 1, default=lambda x: x @ x)

    assert pn.flops(either, pn.spec((4, 4))) == pn.Flops(matmul=2 * 4**3, elementwise=0)


def test_a_small_product_counts_as_a_product():
    assert pn.flops(product, pn.spec((4, 2)), pn.spec((2, 16))) == pn.Flops(matmul=2 * 4 * 2 * 16, elementwise=0)
