"""Scikit-learn's digits: a real data set that needs no download."""

import numpy as np
import numpy.typing as npt

Examples = tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]


def digits(test_fraction: float = 0.25, seed: int = 0) -> tuple[Examples, Examples]:
    """Reads 1,797 real 8×8 scans of handwritten digits that come with scikit-learn.

    The split is stratified: of a class of c scans, test_fraction · c are held out, give or take one. It is
    random over writers, who therefore appear in both parts.

    Args:
        test_fraction: Share to hold out, in (0, 1); round(1797 · test_fraction) scans.
        seed: Seed of the split, a non-negative integer; the same one gives the same split.

    Returns:
        `(train, test)`, each `(images, labels)`: float32 in 0..1 in steps of 1/16, of shape (n, 8, 8), and
        int32 in 0..9 of shape (n,).

    Raises:
        ImportError: scikit-learn is not installed.
        ValueError: `test_fraction` leaves a part empty, or `seed` is negative.
        TypeError: `seed` is not an integer.

    References:
        E. Alpaydin, C. Kaynak (1998), Optical recognition of handwritten digits, UCI Machine Learning
        Repository.

    Example:
        >>> (xs, ys), (xs_test, ys_test) = digits()
        >>> xs.shape, ys.shape, xs_test.shape, ys_test.shape
        ((1348, 8, 8), (1348,), (449, 8, 8), (449,))
    """
    if not isinstance(seed, int | np.integer):
        raise TypeError(f"digits: expected seed to be an integer, got {type(seed).__name__}. Pass seed=0.")
    if seed < 0:
        raise ValueError(f"digits: expected seed to be at least 0, got {seed}. Pass seed=0.")
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError('digits: expected scikit-learn, got none. Run pip install "purenet[examples]".') from error
    scans = load_digits()
    images = (scans.images / 16).astype(np.float32)
    labels = scans.target.astype(np.int32)
    held_out = _stratified(labels, test_fraction, seed)
    return (images[~held_out], labels[~held_out]), (images[held_out], labels[held_out])


def _stratified(labels: npt.NDArray[np.int32], fraction: float, seed: int) -> npt.NDArray[np.bool_]:
    """Marks the examples to hold out: evenly spaced ones, after shuffling and sorting by label."""
    n = len(labels)
    held = round(n * fraction) if 0 < fraction < 1 else 0
    if not 0 < held < n:
        raise ValueError(
            f"digits: expected test_fraction in (0, 1) that leaves both parts filled, got {fraction}. Pass 0.25."
        )
    order = np.random.default_rng(seed).permutation(n)
    order = order[np.argsort(labels[order], kind="stable")]
    # Integers, since floor(i · fraction) in floating point may miscount by one.
    steps = np.arange(n + 1) * held // n
    marked = np.zeros(n, bool)
    marked[order] = np.diff(steps) > 0
    return marked
