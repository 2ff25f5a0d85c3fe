"""plot.gradient_noise: the line is the exact variance of the examples' gradients, and measured noise follows it."""

import jax
import numpy as np
import pytest
from refusals import refuses

import purenet as pn
from purenet.plot.noises import _sizes

NET, LOSS = pn.serial(pn.dense(3), pn.tanh, pn.dense(1)), pn.losses.half_squared_error
PARAMS = NET.init(jax.random.key(1), pn.spec(2))[0]


SIZES = [64, 1, 4]


def data_of(n):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 2)).astype(np.float32), rng.normal(size=(n, 1)).astype(np.float32)


def test_the_line_is_that_of_all_examples_gradients(key):
    data = data_of(70)  # more than are in memory at a time
    ax = pn.plot.gradient_noise(NET, LOSS, PARAMS, data, sizes=SIZES, key=key)
    line, measured = ax.lines[:2]
    _, grads = jax.jit(pn.per_example_grad(NET, LOSS))(PARAMS, (), data)
    flat = np.concatenate([np.reshape(leaf, (70, -1)) for leaf in jax.tree.leaves(grads)], axis=1).astype(np.float64)
    mean = flat.mean(axis=0)
    scale = np.mean(np.sum((flat - mean) ** 2, axis=1)) / np.sum(mean**2)
    assert line.get_xdata().tolist() == measured.get_xdata().tolist() == [1, 4, 64]
    np.testing.assert_allclose(line.get_ydata(), np.sqrt(scale / np.array([1, 4, 64])), rtol=1e-4)
    assert line.get_label() == f"1/√B; noise scale {scale:.3g}"
    np.testing.assert_allclose(measured.get_ydata(), line.get_ydata(), rtol=0.3)  # by chance, some 15 %
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("batch size B", "gradient noise, |g - G| / |G|")


def test_sizes_are_powers_of_two_up_to_the_data():
    assert _sizes(None, 70) == [1, 2, 4, 8, 16, 32, 64]
    assert _sizes(None, 64) == [1, 2, 4, 8, 16, 32, 64]


def test_equal_examples_have_no_noise(key):
    xs, ys = np.ones((70, 2), np.float32), np.full((70, 1), 3, np.float32)
    line, measured = pn.plot.gradient_noise(NET, LOSS, PARAMS, (xs, ys), sizes=SIZES, key=key).lines[:2]
    assert np.all(line.get_ydata() < 1e-3)
    assert np.all(measured.get_ydata() < 1e-3)


REFUSED = {
    "no key": (
        {"key": None},
        pn.StructureError,
        "expected a JAX random key, got None. Make one with jax.random.key(0).",
    ),
    "size 0": (
        {"sizes": [0, 4]},
        pn.ShapeError,
        "expected batch sizes that are whole numbers of 1 or more, got 0. Leave it out.",
    ),
    "one size": (
        {"sizes": 4},
        pn.StructureError,
        "expected sizes to be a list of batch sizes, got 4. Such as [1, 8, 64].",
    ),
    "weights": (
        {"data": (*data_of(4), np.ones(4, np.float32))},
        pn.ShapeError,
        "expected data (xs, ys) of two examples or more without weights. Leave the weights out.",
    ),
    "a minimum": (
        {"data": (np.zeros((70, 2), np.float32), np.zeros((70, 1), np.float32)), "sizes": SIZES},
        pn.ShapeError,
        "expected a finite gradient that is not 0, got |G|² = 0. Choose other params.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused(case):
    arguments, kind, message = REFUSED[case]
    with refuses(kind, f"plot.gradient_noise: {message}"):
        pn.plot.gradient_noise(NET, LOSS, PARAMS, **{"data": data_of(2), "key": jax.random.key(0), **arguments})
