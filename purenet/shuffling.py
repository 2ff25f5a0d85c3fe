"""The random-access shuffle: a keyed bijection of 0..n-1, evaluated index by index."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

__all__ = ["shuffle", "shuffle_numpy"]

# The measurements below: for cells of the grid in one row or one column, 1 to 4 apart, how often are their
# images in one row or column, and as far apart? All such pairs of every key are counted; z is the worst class's
# deviation from a uniform permutation in standard errors, "clean" is |z| < 3. Positions, pairs, triples and
# differences of given indices, fixed points and parity look uniform two rounds earlier.

# Below this a sort: exact, and there as fast. The network of 12 rounds is clean at 64, 65, 67, 81 and 101 (10**6
# keys).
_SORT_BELOW = 64

# The bias falls by 1/sqrt(n) every two rounds. 10 rounds: z = 10 at 64, 5 at 132, clean at 256 (10**6 keys).
# 8 rounds: z = 26 at 256 (10**6 keys), 3.7 at 1,024 (2 * 10**5), clean at 4,096 (10**5); 6 there: z = 52.
# A round costs 5 to 15 % of a shuffle.
_MANY_ROUNDS, _FEW_ROUNDS, _FEW_ROUNDS_FROM = 12, 8, 4096

# XLA vectorises CPU loops only in whole vectors: 60,013 elements take three times as long as 60,016.
_LANES = 64

# Multiplier, shift, multiplier: the heart of lowbias32 (32 bits) and of splitmix64 (64 bits). As here the argument
# is a few low bits and the top bits of the result are used, two multiplications do as well as the whole mixer in
# every measurement. One does not: with it, pairs fail at any number of rounds (z > 10**4 with ten).
_MIXERS = {32: (0x7FEB352D, 15, 0x846CA68B), 64: (0xBF58476D1CE4E5B9, 27, 0x94D049BB133111EB)}


def shuffle(key: jax.Array, n: int, indices: ArrayLike | None = None) -> jax.Array:
    r"""The places of ``indices`` in a random order of 0..n-1 that is never stored.

    An index i < n is a cell (l, r) of a grid of a rows and b columns, i = l b + r. Rounds t = 1, 2, … add to one
    coordinate a keyed hash of the other, in turn, so each can be undone and their composition is a bijection:

        l ← l + ⌊F(r, k_t) a⌋ mod a        (t odd)
        r ← r + ⌊F(l, k_t) b⌋ mod b        (t even),        F in [0, 1).

    Of the grids with a <= b <= 2 a the one is chosen that exceeds n least: by 3 to 5 cells on average, by 51 in the
    worst of 70,000 tried. An image in one of those cells outside 0..n-1 is mapped on until it falls inside (cycle
    walking); they are so few that their walks are made once and looked up. Nothing is sorted for n >= 64; below
    that the order is that of n random words.

    Args:
      key: one PRNG key, typed (``jax.random.key``) or legacy (``jax.random.PRNGKey``). For independent orders,
        as of epochs, fold in a number; for many keys at once use ``jax.vmap``.
      n: the number of elements, a Python int from 1 to 2**32; static under ``jit``.
      indices: integers from 0 to n-1, of any shape; ``None`` stands for all of them, in order. Python and NumPy
        values are checked; the values of a ``jax.Array`` are not, and one outside 0..n-1 gives the largest
        value of the result's dtype (for n < 2**31 never an index of the data, and ``jnp.take`` makes it NaN).

    Returns:
      The images, in the shape of ``indices`` (``(n,)`` for ``None``): int32 for n <= 2**31, else uint32. Each of
      0..n-1 is the image of exactly one index. The values depend on the key, n and the index alone: not on
      ``jit``, ``vmap``, 64-bit mode or, for the default kind of key, the device.

    Raises:
      TypeError: ``n`` is not an int, ``indices`` are not integers, or ``key`` is not a PRNG key.
      ValueError: ``n`` is out of range, ``key`` is an array of keys, or a Python or NumPy index is out of range.

    References:
      Luby and Rackoff, "How to construct pseudorandom permutations from pseudorandom functions", SIAM J. Comput.,
      1988. Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA, 2002: cycle walking, and the
      generalised Feistel network on a × b. Patarin, "Security of random Feistel schemes with 5 or more rounds",
      CRYPTO, 2004: what is left of the bias after so many rounds.

    Example:
      >>> import jax
      >>> order = shuffle(jax.random.key(0), 100)
      >>> sorted(order.tolist()) == list(range(100))
      True
      >>> bool(shuffle(jax.random.key(0), 100, 42) == order[42])
      True
    """
    n = _checked_size("shuffle", n, 32)
    _check_key("shuffle", key)
    if indices is not None and not isinstance(indices, jax.Array):
        indices = jnp.asarray(_checked_indices("shuffle", n, indices).astype(np.uint32))
    if indices is not None and not jnp.issubdtype(indices.dtype, jnp.integer):
        raise _not_integers("shuffle", indices.dtype)
    places: jax.Array = _places(key, n, indices)
    return places


def shuffle_numpy(key: jax.Array, n: int, indices: Any = None) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The twin of `shuffle` on the host, equal to the bit for n <= 2**32, and for n up to 2**62.

    The same network in NumPy; above 2**32 in 64-bit words. An image outside 0..n-1 is mapped on by itself.

    Args:
      key: as for `shuffle`.
      n: the number of elements, a Python int from 1 to 2**62.
      indices: integers from 0 to n-1, of any shape; ``None``, for n <= 2**32 only, stands for all of them.

    Returns:
      The images as int64, in the shape of ``indices``.

    Raises:
      TypeError: as for `shuffle`.
      ValueError: as for `shuffle`; or ``indices`` is ``None`` and n > 2**32.

    References:
      As for `shuffle`.

    Example:
      >>> import jax
      >>> shuffle_numpy(jax.random.key(0), 10**15, range(10**6, 10**6 + 3))
      array([287834384247875, 57655765603272, 594223700870450])
    """
    n = _checked_size("shuffle_numpy", n, 62)
    _check_key("shuffle_numpy", key)
    if indices is None and n > 2**32:
        raise ValueError(f"shuffle_numpy: expected indices for n over 2**32, got None with n = {n}. Pass some.")
    word = np.uint32 if n <= 2**32 else np.uint64
    places = np.arange(n) if indices is None else _checked_indices("shuffle_numpy", n, indices)
    if n < _SORT_BELOW:
        draws = np.asarray(jax.random.bits(key, (_SORT_BELOW,), jnp.uint32))[:n]
        return np.asarray(np.argsort(draws, kind="stable")[places], np.int64)
    grid = _grid(n)
    count = _rounds(n) * np.dtype(word).itemsize // 4
    round_keys = np.asarray(jax.random.bits(key, (count,), jnp.uint32)).astype("<u4").view(f"<u{word(0).itemsize}")
    images = _network(np.ravel(places).astype(word), round_keys, grid, np)
    while (outside := images >= n).any():
        images[outside] = _network(images[outside], round_keys, grid, np)
    return np.asarray(images, np.int64).reshape(places.shape)


@functools.partial(jax.jit, static_argnames="n")
def _places(key: jax.Array, n: int, indices: jax.Array | None) -> jax.Array:
    dtype = jnp.int32 if n <= 2**31 else jnp.uint32
    if indices is None:
        padded = -(-n // _LANES) * _LANES if n >= _SORT_BELOW else n
        images = _images(key, n, lax.iota(jnp.uint32, padded)).astype(dtype)
        # Without the barrier XLA moves the slice into the loop, and the whole vectors are gone.
        return images if padded == n else lax.optimization_barrier(images)[:n]
    words = indices.astype(jnp.uint32)
    outside = (indices < 0) | (words > np.uint32(n - 1))
    if indices.dtype.itemsize == 8:
        outside |= (indices >> 32) != 0
    images = _images(key, n, jnp.minimum(words, np.uint32(n - 1))).astype(dtype)
    return jnp.where(outside, np.array(jnp.iinfo(dtype).max, dtype), images)


def _images(key: jax.Array, n: int, indices: jax.Array) -> jax.Array:
    """Images of uint32 indices below n (above, up to the padding, they are meaningless)."""
    if n < _SORT_BELOW:
        draws = jax.random.bits(key, (_SORT_BELOW,), jnp.uint32)[:n]  # one length: the twin compiles once
        _, order = lax.sort_key_val(draws, lax.iota(jnp.uint32, n))
        chosen: jax.Array = order[indices]
        return chosen
    grid = _grid(n)
    round_keys = jax.random.bits(key, (_rounds(n),), jnp.uint32)
    images: jax.Array = _network(indices, round_keys, grid, jnp)
    excess = np.arange(n, math.prod(grid)).astype(np.uint32)
    if excess.size:
        ends = _walk(round_keys, n, grid, excess)
        for start, end in zip(excess, ends, strict=True):  # selects vectorise, a gather does not
            images = jnp.where(images == start, end, images)
    return images


def _walk(
    round_keys: jax.Array, n: int, grid: tuple[int, int], starts: np.ndarray[Any, np.dtype[np.uint32]]
) -> jax.Array:
    """Where the walks from the cells outside 0..n-1 first enter it.

    A walk that comes back to its start never enters; then no index leads there either, and it may stop.
    """

    def lost(places: jax.Array) -> jax.Array:
        return (places >= np.uint32(n)) & (places != starts)

    def step(places: jax.Array) -> jax.Array:
        return jnp.where(lost(places), _network(places, round_keys, grid, jnp), places)

    first = _network(jnp.asarray(starts), round_keys, grid, jnp)
    ends: jax.Array = lax.while_loop(lambda places: jnp.any(lost(places)), step, first)
    return ends


def _network(index: Any, round_keys: Any, grid: tuple[int, int], xp: Any) -> Any:
    """The bijection of the grid's cells, in the words (uint32 or uint64) of ``index``; xp is NumPy or jax.numpy."""
    word = index.dtype.type
    rows, columns = word(grid[0]), word(grid[1])
    left = index // columns
    right = index - left * columns
    for t in range(round_keys.shape[0]):
        if t % 2 == 0:
            total = left + _fraction(_mix(right, round_keys[t]), grid[0])
            left = xp.minimum(total, total - rows)  # modulo: a negative difference wraps to a huge number
        else:
            total = right + _fraction(_mix(left, round_keys[t]), grid[1])
            right = xp.minimum(total, total - columns)
    return left * columns + right


def _mix(half: Any, round_key: Any) -> Any:
    """A hash whose top bits are good."""
    word = half.dtype.type
    first, shift, second = _MIXERS[8 * half.dtype.itemsize]
    mixed = (half ^ round_key) * word(first)
    return (mixed ^ (mixed >> word(shift))) * word(second)


def _fraction(mixed: Any, size: int) -> Any:
    """⌊size · mixed / 2^bits⌋ without wider words, from as many top bits as fit."""
    word, bits, used = mixed.dtype.type, 8 * mixed.dtype.itemsize, size.bit_length()
    if 2 * used + 8 <= bits:
        # The shares of the values differ by size / 2^(bits - used) <= 2^-8, which four such sums modulo size
        # or more flatten to 2^-32. Saves up to half the time at n = 10**6.
        return ((mixed >> word(used)) * word(size)) >> word(bits - used)
    half = bits // 2 - 1
    high, low = mixed >> word(half + 2), (mixed >> word(2)) & word(2**half - 1)
    return (high * word(size) + ((low * word(size)) >> word(half))) >> word(half)


def _rounds(n: int) -> int:
    return _MANY_ROUNDS if n < _FEW_ROUNDS_FROM else _FEW_ROUNDS


@functools.lru_cache(maxsize=4096)
def _grid(n: int) -> tuple[int, int]:
    """Rows and columns, nearly square, whose product is the least even number found that holds n cells.

    Both odd is left out: a cycle of odd length is an even permutation, so every order would be an even one.
    """
    last = math.isqrt(n - 1) + 1
    rows = np.arange(max(math.isqrt(n // 2 - 1) + 1, last - 2**16), last + 1)
    columns = -(-n // rows)
    cells = np.where(rows * columns % 2 == 0, rows * columns, np.iinfo(np.int64).max)
    best = len(rows) - 1 - int(np.argmin(cells[::-1]))
    return int(rows[best]), int(columns[best])


def _checked_size(name: str, n: Any, power: int) -> int:
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)):
        raise TypeError(
            f"{name}: expected n to be a Python int, got {type(n).__name__}. "
            "It is the number of elements; under jax.jit make it a static argument."
        )
    if not 1 <= n <= 2**power:
        raise ValueError(f"{name}: expected n from 1 to 2**{power}, got {n}. It is the number of elements.")
    return int(n)


def _check_key(name: str, key: Any) -> None:
    remedy = "Make one with jax.random.key(seed); for many keys use jax.vmap."
    dtype = getattr(key, "dtype", None)
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    if not typed and dtype != np.uint32:
        got = type(key).__name__ if dtype is None else f"an array of {dtype}"
        raise TypeError(f"{name}: expected key to be a JAX PRNG key, got {got}. {remedy}")
    if len(key.shape) != (0 if typed else 1):
        raise ValueError(f"{name}: expected one key, got an array of keys of shape {key.shape}. {remedy}")


def _checked_indices(name: str, n: int, indices: Any) -> np.ndarray[Any, np.dtype[Any]]:
    places: np.ndarray[Any, np.dtype[Any]] = np.asarray(indices)
    if places.dtype.kind not in "iu":
        raise _not_integers(name, places.dtype)
    for worst in (int(places.min()), int(places.max())) if places.size else ():
        if not 0 <= worst < n:
            raise ValueError(f"{name}: expected indices from 0 to {n - 1}, got {worst}. They count the n elements.")
    return places


def _not_integers(name: str, dtype: Any) -> TypeError:
    return TypeError(f"{name}: expected integer indices, got {dtype}. Cast them to an integer dtype.")
