import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from scipy import stats

from purenet import shuffling
from purenet.shuffling import shuffle, shuffle_numpy

SIZES = (1, 2, 3, 63, 64, 65, 127, 4095, 4097, 60_000, 65_537, 1_000_003)
KEY = jax.random.key(20)
GOLDEN = {
    10: [8, 9, 2, 7, 3],
    100: [95, 65, 71, 60, 43],
    60_013: [51968, 16759, 52513, 39808, 3749],
    4_294_967_291: [1683029390, 1908801371, 3511367803, 2837028080, 2394653086],
    1_000_000_000_000_000: [52616334203673, 459644575010102, 964195577053866, 11880402702577, 647638385585406],
}


def many(n, count, seed, indices=None):
    """The images under `count` keys, one row each."""
    keys = jax.random.split(jax.random.key(seed), count)
    return np.asarray(jax.jit(jax.vmap(lambda key: shuffle(key, n, indices)))(keys))


def weak(n, count, rounds, seed=0):
    """As `many`, by the network with too few rounds."""
    round_keys = np.random.default_rng(seed).integers(0, 2**32, (rounds, count, 1), dtype=np.uint32)
    grid = shuffling._grid(n)
    assert grid[0] * grid[1] == n
    return shuffling._network(np.arange(n, dtype=np.uint32)[None], round_keys, grid, np).astype(np.int64)


def p_value(counts, freedom=None, factor=1.0):
    """Chi-square against equal expectations."""
    expected = counts.mean()
    assert expected >= 5
    statistic = factor * ((counts - expected) ** 2 / expected).sum()
    return stats.chi2.sf(statistic, counts.size - 1 if freedom is None else freedom)


def p_positions(orders):
    """P(π(i) = j) = 1/n; rows and columns of the table of counts have fixed sums."""
    n = orders.shape[1]
    counts = np.bincount((orders + n * np.arange(n)).ravel(), minlength=n * n)
    return p_value(counts, (n - 1) ** 2, (n - 1) / n)


def p_pairs(orders, i, j):
    """P(π(i) = u, π(j) = v) = 1 / n(n-1)."""
    n = orders.shape[1]
    counts = np.bincount(orders[:, i] * n + orders[:, j], minlength=n * n).reshape(n, n)
    assert not counts.diagonal().any()
    return p_value(counts[~np.eye(n, dtype=bool)])


def p_columns(orders, n):
    """Cells of one column of the grid, neighbours before: how often the same two, as far apart, after?"""
    rows, columns = shuffling._grid(n)
    cells = orders.reshape(-1, rows, columns)
    apart = (np.roll(cells, -1, 1) // columns - cells // columns) % rows
    same = (np.roll(cells, -1, 1) % columns == cells % columns) & (apart == 1)
    found = same.sum((1, 2))
    z = (found.mean() - n / (n - 1)) / (found.std() / np.sqrt(len(found)))
    return stats.norm.sf(z)


def plausible(p):
    return 1e-4 < p < 1 - 1e-4


def test_twin_is_a_bijection_for_every_small_n():
    for n in range(1, 2001):
        assert np.array_equal(np.sort(shuffle_numpy(KEY, n)), np.arange(n)), n


@pytest.mark.parametrize("n", SIZES)
def test_bijection_equal_to_twin(n):
    order = shuffle(KEY, n)
    chex.assert_shape(order, (n,))
    assert order.dtype == jnp.int32
    assert np.array_equal(np.bincount(order, minlength=n), np.ones(n))
    twin = shuffle_numpy(KEY, n)
    assert twin.dtype == np.int64
    assert np.array_equal(order, twin)


@pytest.mark.parametrize(
    ("n", "size"), [(2**31, 50_000), (2**31 + 1, 1_000_000), (2**32 - 1, 50_000), (2**32, 1_000_000)]
)
def test_random_access_near_the_limit(n, size):
    indices = n - 1 - np.append(np.arange(1000), np.arange(1000, n, n // size))
    images = shuffle(KEY, n, indices)
    assert images.dtype == (jnp.int32 if n <= 2**31 else jnp.uint32)
    assert np.unique(images).size == indices.size
    assert np.asarray(images, np.int64).max() < n
    assert np.array_equal(images, shuffle_numpy(KEY, n, indices))
    deciles = np.bincount(np.asarray(images, np.int64) * 10 // n)
    assert plausible(p_value(deciles))


@pytest.mark.parametrize("n", [2**32 + 1, 10**12 + 39, 2**62])
def test_twin_beyond_32_bits(n):
    indices = np.concatenate([np.arange(100_000), np.arange(n - 100_000, n)])
    images = shuffle_numpy(KEY, n, indices)
    assert np.unique(images).size == indices.size
    assert 0 <= images.min() <= images.max() < n
    assert plausible(p_value(np.bincount(images // (n // 10 + 1), minlength=10)))
    assert plausible(p_value(np.bincount(images % 1000, minlength=1000)))


def test_golden_values():
    key = jax.random.key(7)
    assert shuffle(key, 10, np.arange(5)).tolist() == GOLDEN[10]
    for n in (100, 60_013, 2**32 - 5, 10**15):
        indices = np.array([0, 1, 2, n // 2, n - 1])
        assert shuffle_numpy(key, n, indices).tolist() == GOLDEN[n]
        if n <= 2**32:
            assert shuffle(key, n, indices).tolist() == GOLDEN[n]


@pytest.mark.parametrize("n", [40, 100, 2**31 + 1])
def test_legacy_key_gives_the_same(n):
    indices = np.arange(30)
    for seed in (0, 3):
        typed, legacy = jax.random.key(seed), jax.random.PRNGKey(seed)
        expected = shuffle_numpy(typed, n, indices)
        assert np.array_equal(shuffle(typed, n, indices), expected)
        assert np.array_equal(shuffle(legacy, n, indices), expected)
        assert np.array_equal(shuffle_numpy(legacy, n, indices), expected)


@pytest.mark.parametrize("n", [2, 4, 5])
def test_every_order_of_few_is_equally_likely(n):
    orders = many(n, 40_000, seed=n)
    counts = np.unique(orders @ n ** np.arange(n), return_counts=True)[1]
    assert counts.size == np.prod(np.arange(1, n + 1))
    assert plausible(p_value(counts))


@pytest.mark.parametrize("n", [20, 64, 67, 100])
def test_positions_pairs_differences_and_fixed_points_are_uniform(n):
    orders = many(n, 80_000, seed=n)
    columns = shuffling._grid(n)[1]
    ps = {"positions": p_positions(orders)}
    for j in (1, columns, columns + 1):
        ps[f"pair 0, {j}"] = p_pairs(orders, 0, j)
        ps[f"pair 2, {j + 3}"] = p_pairs(orders, 2, j + 3)
        differences = (orders[:, 5 + j] - orders[:, 5]) % n
        ps[f"difference {j}"] = p_value(np.bincount(differences, minlength=n)[1:])
    fixed = np.bincount(np.minimum((orders == np.arange(n)).sum(1), 5), minlength=6)
    poisson = np.append(stats.poisson.pmf(np.arange(5), 1), stats.poisson.sf(4, 1))
    ps["fixed points"] = stats.chisquare(fixed, poisson * fixed.sum()).pvalue
    assert all(map(plausible, ps.values())), ps


@pytest.mark.parametrize("n", [64, 4096])
def test_neighbours_in_a_column_part(n):
    assert plausible(p_columns(many(n, 2**22 // n, seed=n + 1), n))


def test_positions_are_uniform_in_a_large_range():
    n, bins = 60_013, 100
    indices = np.linspace(0, n - 1, 20).astype(int)
    images = many(n, 5000, seed=5, indices=indices)
    counts = np.bincount((images * bins // n + bins * np.arange(20)).ravel(), minlength=20 * bins)
    assert plausible(p_value(counts, 20 * (bins - 1)))


def test_the_tests_reject_weak_shuffles():
    one_round = weak(100, 80_000, 1)
    assert p_positions(one_round) < 1e-12
    assert min(p_pairs(one_round, 0, j) for j in (1, 10)) < 1e-12
    assert p_value(np.bincount((one_round[:, 6] - one_round[:, 5]) % 100, minlength=100)[1:]) < 1e-12
    assert p_pairs(weak(100, 80_000, 4), 0, 10) < 1e-4
    assert p_columns(weak(256, 2**14, 6), 256) < 1e-4


def test_orders_are_odd_as_often_as_even():
    for n in (15, 81):
        inversions = np.zeros(4000, int)
        orders = many(n, 4000, seed=n)
        for i in range(n):
            inversions += (orders[:, i : i + 1] > orders[:, i:]).sum(1)
        assert plausible(stats.binomtest(int((inversions % 2).sum()), 4000).pvalue / 2)


def test_epochs_are_independent():
    n, epochs = 1009, 300
    keys = jax.vmap(lambda epoch: jax.random.fold_in(KEY, epoch))(jnp.arange(epochs))
    orders = np.asarray(jax.jit(jax.vmap(lambda key: shuffle(key, n)))(keys))
    collisions = (orders[1:] == orders[:-1]).sum(1)
    assert plausible(stats.poisson.cdf(collisions.sum(), epochs - 1))
    assert 0.7 < collisions.var() < 1.4
    correlations = np.corrcoef(orders)[np.triu_indices(epochs, 1)] * np.sqrt(n - 1)
    assert abs(correlations.mean()) < 4 / np.sqrt(correlations.size)
    assert 0.97 < correlations.std() < 1.03


def test_jit_eager_vmap_and_scan_agree():
    n = 101
    keys = jax.random.split(KEY, 3)
    expected = np.stack([shuffle_numpy(key, n) for key in keys])
    with jax.disable_jit():
        assert np.array_equal(shuffle(keys[0], n), expected[0])
    assert np.array_equal(jax.jit(shuffle, static_argnums=1)(keys[1], n), expected[1])
    assert np.array_equal(jax.vmap(lambda key: shuffle(key, n))(keys), expected)
    over_indices = jax.vmap(lambda i: shuffle(keys[0], n, i))(jnp.arange(n))
    assert np.array_equal(over_indices, expected[0])
    over_both = jax.vmap(lambda key, i: shuffle(key, n, i))(keys, jnp.array([7, 8, 9]))
    assert np.array_equal(over_both, expected[[0, 1, 2], [7, 8, 9]])
    _, scanned = lax.scan(lambda _, key: (None, shuffle(key, n)), None, keys)
    assert np.array_equal(scanned, expected)
    _, by_index = lax.scan(lambda _, i: (None, shuffle(keys[2], n, i)), None, jnp.arange(n))
    assert np.array_equal(by_index, expected[2])


@pytest.mark.parametrize("n", [10, 100])
def test_indices_of_any_shape_and_integer_dtype(n):
    order = shuffle_numpy(KEY, n)
    for twin in (shuffle, shuffle_numpy):
        image = twin(KEY, n, 7)
        assert image.shape == ()
        assert image == order[7]
        assert twin(KEY, n, np.zeros((0, 3), int)).shape == (0, 3)
        assert np.array_equal(twin(KEY, n, [[1, 2], [9, 1]]), order[[[1, 2], [9, 1]]])
    for dtype in (jnp.int8, jnp.uint32):
        images = shuffle(KEY, n, jnp.arange(9, dtype=dtype))
        assert images.dtype == jnp.int32
        assert np.array_equal(images, order[:9])


@pytest.mark.parametrize("n", [10, 100])
def test_jax_index_outside_gives_the_largest_value(n):
    images = shuffle(KEY, n, jnp.array([-1, -(2**31), 2**31 - 1, n], jnp.int32))
    assert (np.asarray(images) == 2**31 - 1).all()
    with jax.enable_x64(True):
        images = shuffle(KEY, n, jnp.array([2**32, 2**40 + 1, -(2**32) + 3], jnp.int64))
        assert (np.asarray(images) == 2**31 - 1).all()


def test_walk_ends_for_every_key():
    """Half the cells lie outside here, many on cycles that never enter."""
    keys = np.asarray(jax.random.bits(KEY, (200, 4)))
    starts = np.arange(32, 64).astype(np.uint32)
    ends = jax.jit(jax.vmap(lambda key: shuffling._walk(key, 32, (8, 8), starts)))(keys)
    for key, row in zip(keys, np.asarray(ends), strict=True):
        bijection = shuffling._network(np.arange(64, dtype=np.uint32), key, (8, 8), np)
        for start, end in zip(starts, row, strict=True):
            place = bijection[start]
            while place >= 32 and place != start:
                place = bijection[place]
            assert place == end


@pytest.mark.parametrize("n", [40, 101])
def test_modes_do_not_change_bits(n):
    plain = shuffle_numpy(KEY, n)
    for x64 in (False, True):
        with jax.enable_x64(x64), jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
            for images in (shuffle(KEY, n, jnp.arange(n)), shuffle(KEY, n)):
                assert images.dtype == jnp.int32
                assert np.array_equal(images, plain)
            assert np.array_equal(shuffle_numpy(KEY, n), plain)


def test_one_trace_per_shape():
    @jax.jit
    @chex.assert_max_traces(2)
    def traced(key, indices):
        return shuffle(key, 101, indices)

    for seed in range(3):
        for size in (2, 3):
            traced(jax.random.key(seed), jnp.arange(size))


SIZE = "It is the number of elements"
ONE_KEY = "Make one with jax.random.key(seed); for many keys use jax.vmap."
STATIC = SIZE + "; under jax.jit make it a static argument."
ERRORS = [
    (KEY, 0, None, ValueError, f"expected n from 1 to 2**LIMIT, got 0. {SIZE}."),
    (KEY, -3, None, ValueError, f"expected n from 1 to 2**LIMIT, got -3. {SIZE}."),
    (KEY, 2**62 + 1, [0], ValueError, f"expected n from 1 to 2**LIMIT, got {2**62 + 1}. {SIZE}."),
    (KEY, True, None, TypeError, f"expected n to be a Python int, got bool. {STATIC}"),
    (KEY, 10.0, None, TypeError, f"expected n to be a Python int, got float. {STATIC}"),
    (KEY, 10, [0.5], TypeError, "expected integer indices, got float64. Cast them to an integer dtype."),
    (KEY, 10, [True], TypeError, "expected integer indices, got bool. Cast them to an integer dtype."),
    (KEY, 10, [3, 10], ValueError, "expected indices from 0 to 9, got 10. They count the n elements."),
    (KEY, 100, [-1, 3], ValueError, "expected indices from 0 to 99, got -1. They count the n elements."),
    (0, 10, None, TypeError, f"expected key to be a JAX PRNG key, got int. {ONE_KEY}"),
    (np.zeros(2), 10, None, TypeError, f"expected key to be a JAX PRNG key, got an array of float64. {ONE_KEY}"),
    (
        jax.random.split(KEY, 3),
        10,
        None,
        ValueError,
        f"expected one key, got an array of keys of shape (3,). {ONE_KEY}",
    ),
]


@pytest.mark.parametrize(("key", "n", "indices", "error", "text"), ERRORS)
def test_errors(key, n, indices, error, text):
    for twin, limit in ((shuffle, "32"), (shuffle_numpy, "62")):
        message = f"{twin.__name__}: {text}".replace("LIMIT", limit)
        with pytest.raises(error, match=f"^{re.escape(message)}$"):
            twin(key, n, indices)


def test_errors_of_one_twin():
    with pytest.raises(TypeError, match=r"^shuffle: expected integer indices, got float32\. Cast them to an integer"):
        shuffle(KEY, 10, jnp.ones(3))
    with pytest.raises(ValueError, match=r"^shuffle: expected n from 1 to 2\*\*32, got 4294967297\. It is the"):
        shuffle(KEY, 2**32 + 1, [0])
    with pytest.raises(TypeError, match=r"^shuffle: expected n to be a Python int, got \w*Tracer\w*\. It is the"):
        jax.jit(shuffle)(KEY, 10)
    message = f"shuffle_numpy: expected indices for n over 2**32, got None with n = {2**32 + 1}. Pass some."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        shuffle_numpy(KEY, 2**32 + 1)
