"""Pooling against loops over windows: values, who gets the gradient, padding, NaN, and what is refused."""

import itertools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refuses

import purenet as pn
from purenet.errors import ShapeError, StructureError

# (window, stride, padding, space): disjoint, ragged, overlapping, with gaps, padded, and more taps than go at once.
CASES = [
    (2, None, "valid", (7,)),
    (3, 1, "causal", (5,)),
    (2, 3, "valid", (9,)),
    (12, 5, "same", (23,)),
    ((2, 2), None, "valid", (5, 4)),
    ((3, 3), 2, "valid", (7, 8)),
    ((2, 2), 1, "same", (3, 4)),
    ((3, 2), (2, 3), ((1, 2), (0, 1)), (6, 5)),
    ((4, 3), (1, 2), "same", (6, 7)),
    ((5, 5), 2, 2, (6, 6)),
    ((2, 1, 2), None, "valid", (3, 2, 5)),
    ((3, 2, 2), 1, 1, (3, 3, 2)),
]


def pads_of(window, stride, padding, space):
    """How far the padding reaches before and behind each axis."""
    if padding == "valid":
        return [(0, 0)] * len(space)
    if padding == "causal":
        return [(window[0] - 1, 0)]
    if padding == "same":
        total = [max(0, (math.ceil(n / s) - 1) * s + k - n) for n, k, s in zip(space, window, stride, strict=True)]
        return [(t // 2, t - t // 2) for t in total]
    return [(p, p) if isinstance(p, int) else p for p in (padding if isinstance(padding, tuple) else [padding] * 3)]


def windows_of(window, stride, padding, space):
    """For each window its place in the result and the positions that it sees, in row-major order."""
    window = window if isinstance(window, tuple) else (window,)
    stride = window if stride is None else stride if isinstance(stride, tuple) else (stride,) * len(window)
    pads = pads_of(window, stride, padding, space)
    out = [(n + low + high - k) // s + 1 for n, k, s, (low, high) in zip(space, window, stride, pads, strict=False)]
    for place in itertools.product(*map(range, out)):
        starts = [i * s - low for i, s, (low, _) in zip(place, stride, pads, strict=False)]
        offsets = itertools.product(*map(range, window))
        seen = [tuple(start + o for start, o in zip(starts, offset, strict=True)) for offset in offsets]
        yield place, [at for at in seen if all(0 <= i < n for i, n in zip(at, space, strict=True))]


def looped(kind, x, case, dys=None):
    """Pools one example by loops; with `dys`, gives the gradient instead."""
    window, *_ = case
    found = list(windows_of(*case))
    out = tuple(np.max([place for place, _ in found], axis=0) + 1)
    ys, dx = np.zeros((*out, x.shape[-1])), np.zeros_like(x)
    for place, seen in found:
        count = math.prod(np.atleast_1d(window)) if kind == "padded mean" else len(seen)
        for c in range(x.shape[-1]):
            values = [x[(*at, c)] for at in seen]
            ys[(*place, c)] = max(values) if kind == "max" else sum(values) / count
            if dys is not None and kind == "max":
                dx[(*seen[values.index(max(values))], c)] += dys[(*place, c)]
            elif dys is not None:
                for at in seen:
                    dx[(*at, c)] += dys[(*place, c)] / count
    return ys if dys is None else dx


def made(kind, window, stride, padding):
    if kind == "max":
        return pn.max_pool(window, stride=stride, padding=padding)
    return pn.avg_pool(window, stride=stride, padding=padding, count_padding=kind == "padded mean")


PADDED = [case for case in CASES if case[2] != "valid"]


@pytest.mark.parametrize(
    ("kind", "case"),
    [(kind, case) for kind in ("max", "mean") for case in CASES] + [("padded mean", case) for case in PADDED[2:]],
    ids=str,
)
def test_all_functions_are_the_loop_and_ties_go_to_the_first(kind, case, rng, x64):
    net, space = made(kind, *case[:3]), case[3]
    # Small whole numbers from 0, so that most windows hold several that are the largest.
    xs = np.maximum(rng.integers(-3, 3, (2, *space, 2)), 0).astype(float)
    expected = np.stack([looped(kind, x, case) for x in xs])
    dys = rng.integers(1, 9, expected.shape).astype(float)
    gradient = np.stack([looped(kind, x, case, dy) for x, dy in zip(xs, dys, strict=True)])

    @jax.jit
    def three(xs, dys):
        applied, by_autodiff = jax.vjp(lambda xs: jax.vmap(lambda x: net.apply((), x))(xs), xs)
        forwarded, through_forward = jax.vjp(lambda xs: net.forward((), xs)[0], xs)
        ys, _, pullback = net.vjp((), xs)
        return (applied, *by_autodiff(dys)), (forwarded, *through_forward(dys)), (ys, pullback(dys)[1])

    for values, gradients in three(xs, dys):
        chex.assert_trees_all_close(values, expected, rtol=1e-14)
        chex.assert_trees_all_close(gradients, gradient, rtol=1e-14)


def test_zeros_behind_a_relu_give_their_gradient_to_the_first_and_relu_drops_it():
    net = pn.serial(pn.relu, pn.max_pool((2, 2)))
    xs = jnp.array([[-1.0, -2.0], [-3.0, -4.0]])[None, ..., None]
    ys, _, pullback = net.vjp(((), ()), xs, ((), ()))
    chex.assert_trees_all_equal(ys, jnp.zeros((1, 1, 1, 1)))
    chex.assert_trees_all_equal(pullback(jnp.ones_like(ys))[1], jnp.zeros_like(xs))
    _, _, pullback = pn.max_pool((2, 2)).vjp((), jnp.zeros_like(xs))
    expected = jnp.array([[1.0, 0.0], [0.0, 0.0]])[None, ..., None]
    chex.assert_trees_all_equal(pullback(jnp.ones_like(ys))[1], expected)


@pytest.mark.parametrize("window", [(2, 2), (4, 4)])  # at once, and an axis at a time
def test_the_first_of_equals_is_the_first_in_row_major_order(window):
    x = jnp.zeros((4, 4, 1)).at[0, 3].set(1).at[1, 0].set(1).at[3, 3].set(1)
    net = pn.max_pool(window, stride=4)
    gradient = jax.grad(lambda xs: jnp.sum(net.forward((), xs)[0]))(x[None])[0, ..., 0]
    first = (0, 3) if window == (4, 4) else (1, 0)
    chex.assert_trees_all_equal(gradient, jnp.zeros((4, 4)).at[first].set(1))


@pytest.mark.parametrize("window", [(2, 2), (5, 4)])
def test_all_modes_and_second_derivatives_go_through_apply_and_forward(window, rng, x64):
    net = pn.max_pool(window, stride=1, padding=1)
    xs = jnp.asarray(rng.permuted(np.arange(60.0)).reshape(2, 6, 5, 1))
    v = jnp.asarray(rng.normal(size=xs.shape))

    def cost(function):
        return lambda xs: jnp.sum(jnp.square(function(xs)))

    def applied(xs):
        return jax.vmap(lambda x: net.apply((), x))(xs)

    def forward(xs):
        return net.forward((), xs)[0]

    @jax.jit
    def modes(xs, v):
        ys, back = jax.vjp(applied, xs)
        tangent = jax.jvp(applied, (xs,), (v,))[1]
        products = []
        for function in (applied, forward):
            gradient = jax.grad(cost(function))
            products.append(jax.jvp(gradient, (xs,), (v,))[1])
            products.append(jax.grad(lambda xs, gradient=gradient: jnp.vdot(gradient(xs), v))(xs))
        return (jnp.vdot(tangent, ys), jnp.vdot(v, back(ys)[0])), 2 * back(tangent)[0], products

    (forwards, backwards), product, products = modes(xs, v)
    chex.assert_trees_all_close(forwards, backwards, rtol=1e-12)
    for got in products:  # y is linear around xs: the Hessian of Σy² is 2AᵀA
        chex.assert_trees_all_close(got, product, rtol=1e-12)


@pytest.mark.parametrize("window", [(2, 2), (2, 6)])
def test_nan_comes_out_as_nan_and_takes_its_gradient(window):
    xs = jnp.arange(24.0).reshape(1, 4, 6, 1).at[0, 0, 1].set(jnp.nan).at[0, 1, 0].set(jnp.nan)
    net = pn.max_pool(window)
    ys, _, pullback = net.vjp((), xs)
    assert jnp.argwhere(jnp.isnan(ys)).tolist() == [[0, 0, 0, 0]]
    chex.assert_trees_all_equal(net.forward((), xs)[0], ys)
    chex.assert_trees_all_equal(net.apply((), xs[0]), ys[0])
    by_autodiff = jax.vjp(lambda x: net.apply((), x), xs[0])[1](jnp.ones_like(ys[0]))[0]
    gradient = pullback(jnp.ones_like(ys))[1][0]
    chex.assert_trees_all_equal(gradient, by_autodiff)
    assert gradient[0, 1, 0] == 1  # the first NaN
    assert gradient[1, 0, 0] == 0


def test_padding_never_wins_and_infinities_stay():
    x = jnp.full((3, 1), -jnp.inf)
    chex.assert_trees_all_equal(pn.max_pool(3, stride=1, padding=1).apply((), x), x)
    x = jnp.full((3, 1), -5.0)
    chex.assert_trees_all_equal(pn.max_pool(3, stride=1, padding="same").apply((), x), x)
    x = jnp.array([[1.0], [jnp.inf], [2.0]])
    assert pn.max_pool(3).apply((), x).tolist() == [[math.inf]]
    assert pn.avg_pool(3).apply((), x).tolist() == [[math.inf]]


def test_a_constant_image_stays_constant_unless_padding_counts():
    x = jnp.full((3, 3, 1), 2.0)
    chex.assert_trees_all_equal(pn.avg_pool((3, 3), stride=1, padding="same").apply((), x), x)
    counted = pn.avg_pool((3, 3), stride=1, padding="same", count_padding=True).apply((), x)
    expected = 2 * jnp.array([[4.0, 6, 4], [6, 9, 6], [4, 6, 4]])[..., None] / 9
    chex.assert_trees_all_close(counted, expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_means_of_16_bits_are_summed_in_32(dtype):
    xs = jnp.full((1, 4096, 1), 17.0, dtype)
    for net in (pn.avg_pool((11, 1)), pn.global_avg_pool):  # sums of 187 and 69,632, rounded on their way in 16 bits
        ys, _, pullback = jax.jit(net.vjp)((), xs[..., None])
        chex.assert_trees_all_equal(ys, jnp.full_like(ys, 17))
        assert pullback(ys)[1].dtype == dtype


def test_an_empty_mini_batch_is_pooled():
    for net in (pn.max_pool((2, 2)), pn.avg_pool((2, 2)), pn.global_max_pool, pn.global_avg_pool):
        ys, _, pullback = net.vjp((), jnp.zeros((0, 4, 4, 3)))
        assert ys.shape[0] == 0
        assert pullback(ys)[1].shape == (0, 4, 4, 3)


def test_equal_layers_give_pullbacks_of_equal_structure():
    xs = jnp.ones((1, 4, 4, 1))
    for make in (lambda: pn.max_pool((2, 2)), lambda: pn.avg_pool((2, 2))):
        first, second = (jax.tree.structure(make().vjp((), xs)[2]) for _ in range(2))
        assert first == second


def test_global_pooling_is_over_all_axes_but_the_last(rng):
    x = rng.normal(size=(3, 2, 4, 5)).astype(np.float32)
    chex.assert_trees_all_equal(pn.global_max_pool.apply((), x), x.max(axis=(0, 1, 2)))
    chex.assert_trees_all_close(pn.global_avg_pool.apply((), x), x.mean(axis=(0, 1, 2)), rtol=1e-5)


def test_global_max_gives_ties_and_nan_to_the_first():
    x = jnp.array([[0.0, 1.0, 5.0], [2.0, jnp.nan, 5.0], [2.0, jnp.nan, 5.0]])
    expected = jnp.array([[0.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    ys, _, pullback = pn.global_max_pool.vjp((), x[None])
    chex.assert_trees_all_equal(ys[0], jnp.array([2.0, jnp.nan, 5.0]))
    chex.assert_trees_all_equal(pn.global_max_pool.apply((), x), ys[0])
    by_autodiff = jax.grad(lambda x: jnp.sum(pn.global_max_pool.apply((), x)))(x)
    through_forward = jax.grad(lambda xs: jnp.sum(pn.global_max_pool.forward((), xs)[0]))(x[None])[0]
    for gradient in (pullback(jnp.ones((1, 3)))[1][0], by_autodiff, through_forward):
        chex.assert_trees_all_equal(gradient, expected)


def test_flops_of_pooling():
    def counted(net, space):
        xs = pn.spec((2, *space, 3))

        def forward(xs):
            return net.forward((), xs)[0]

        def both(xs):
            ys, back = jax.vjp(forward, xs)
            return ys, back(ys)

        forward, both = pn.flops(forward, xs), pn.flops(both, xs)
        assert forward.matmul == both.matmul == 0
        return forward.elementwise, both.elementwise

    out = 2 * 2 * 2 * 3
    assert counted(pn.max_pool((2, 2)), (4, 5)) == (3 * out, 3 * out)  # choices are free
    # Stride 1: four shifted cotangents on 4×4 take three sums.
    assert counted(pn.max_pool((2, 2), stride=1), (4, 4)) == (3 * 54, 3 * 54 + 3 * 96)
    assert counted(pn.avg_pool((2, 2)), (4, 5))[0] == 3 * out + out
    assert counted(pn.global_max_pool, (4, 5)) == (2 * 20 * 3, 2 * 20 * 3)
    assert counted(pn.global_avg_pool, (4, 5))[0] == 2 * 20 * 3 + 6


def test_what_does_not_fit_is_refused():
    with refuses(
        ShapeError,
        "max_pool: expected x with room for a window of (3, 3), got space of (2, 5) padded by ((0, 0), (0, 0)). "
        "Use a smaller window or dilation, or padding='same'.",
    ):
        pn.max_pool((3, 3)).apply((), jnp.ones((2, 5, 1)))
    with refuses(
        ShapeError,
        "avg_pool: expected x of 3 axes, 2 of space and the channels last, got (4, 4). "
        "For one channel put pn.reshape((4, 4, 1)) before it.",
    ):
        pn.avg_pool((2, 2)).apply((), jnp.ones((4, 4)))
    with refuses(
        ShapeError,
        "max_pool: expected x with space of 1 or more along each axis, got (0, 1). Drop empty examples.",
    ):
        pn.max_pool(2, padding=1).apply((), jnp.ones((0, 1)))
    with refuses(
        StructureError,
        "max_pool: expected x of floating dtype, got int32. Convert the examples, such as x.astype(np.float32).",
    ):
        pn.max_pool(2).forward((), jnp.ones((1, 4, 1), jnp.int32))
    with refuses(
        ShapeError,
        "global_max_pool: expected x of two axes or more, space and the channels last, got (3,). "
        "Give the shape of one example; for one channel put pn.reshape((-1, 1)) before it.",
    ):
        pn.global_max_pool.apply((), jnp.ones(3))
    with refuses(
        ShapeError,
        "global_avg_pool: expected x with space of 1 or more along each axis, got (2, 0, 3). Drop empty examples.",
    ):
        pn.global_avg_pool.forward((), jnp.ones((1, 2, 0, 3)))


def test_options_out_of_range_are_refused():
    with refuses(
        ShapeError,
        "max_pool: expected padding below the window's size 2, got 2. A window of nothing but padding has no value.",
    ):
        pn.max_pool((2, 3), padding=(2, 2))
    with refuses(
        ShapeError,
        "avg_pool: expected padding of 'valid', 'same', 'causal' or whole numbers, got 'circular'. "
        "Only convolutions go round.",
    ):
        pn.avg_pool(2, padding="circular")
    with refuses(StructureError, "avg_pool: expected count_padding to be True or False, got 1. Give one of them."):
        pn.avg_pool(2, count_padding=1)
    with refuses(ShapeError, "max_pool: expected window of 1 or more, got 0. Give 1 or more for each axis."):
        pn.max_pool(0)
    with refuses(
        ShapeError,
        "max_pool: expected stride with 2 sizes, one for each axis, got (1, 2, 3). "
        "Give as many as the window has, or one number for all.",
    ):
        pn.max_pool((2, 2), stride=(1, 2, 3))
