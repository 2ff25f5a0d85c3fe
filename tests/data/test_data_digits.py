import sys

import numpy as np
import pytest

from purenet import data


def test_the_scans():
    (xs, ys), (xs_test, ys_test) = data.digits()
    assert (xs.shape, ys.shape) == ((1348, 8, 8), (1348,))
    assert (xs_test.shape, ys_test.shape) == ((449, 8, 8), (449,))
    assert (xs.dtype, ys.dtype) == (np.float32, np.int32)
    everything = np.concatenate([xs, xs_test])
    assert (everything.min(), everything.max()) == (0, 1)
    np.testing.assert_array_equal(everything * 16, np.round(everything * 16))


@pytest.mark.parametrize("fraction", [0.25, 0.1, 0.5, 1 / 3, 0.001, 0.999])
def test_every_scan_is_in_one_part_and_every_class_keeps_its_share(fraction):
    from sklearn.datasets import load_digits

    scans = load_digits()
    (xs, ys), (xs_test, ys_test) = data.digits(fraction)
    assert len(xs_test) == round(1797 * fraction)
    together = np.concatenate([xs, xs_test]).reshape(-1, 64) * 16
    labelled = np.column_stack([together, np.concatenate([ys, ys_test])])
    original = np.column_stack([scans.data, scans.target])
    np.testing.assert_array_equal(np.unique(labelled, axis=0), np.unique(original, axis=0))
    assert len(labelled) == len(original)
    share = np.bincount(scans.target) * len(xs_test) / 1797
    assert np.abs(np.bincount(ys_test, minlength=10) - share).max() < 1


def test_the_seed_decides():
    first, again, other = data.digits(), data.digits(seed=0), data.digits(seed=1)
    np.testing.assert_array_equal(first[1][0], again[1][0])
    assert not np.array_equal(first[1][0], other[1][0])


@pytest.mark.parametrize("fraction", [0, 1, 0.0, 1.0, -0.1, 1.5, 1e-9, float("nan")])
def test_a_part_may_not_be_empty(fraction):
    with pytest.raises(ValueError, match=r"^digits") as error:
        data.digits(fraction)
    assert str(error.value) == (
        f"digits: expected test_fraction in (0, 1) that leaves both parts filled, got {fraction}. Pass 0.25."
    )


def test_seeds_are_non_negative_integers():
    with pytest.raises(ValueError, match=r"^digits") as negative:
        data.digits(seed=-1)
    assert str(negative.value) == "digits: expected seed to be at least 0, got -1. Pass seed=0."
    with pytest.raises(TypeError, match=r"^digits") as none:
        data.digits(seed=None)
    assert str(none.value) == "digits: expected seed to be an integer, got NoneType. Pass seed=0."


def test_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError) as error:
        data.digits()
    assert str(error.value) == 'digits: expected scikit-learn, got none. Run pip install "purenet[examples]".'
