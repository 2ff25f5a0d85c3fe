import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purenet import data

KINDS = [np.asarray, jnp.asarray]
CASES = np.random.default_rng(0).normal(3, 2, (50, 2, 3)).astype(np.float32)
FITS = {"standardize": data.standardize, "minmax": data.minmax}


@pytest.fixture(autouse=True)
def strict_jax():
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


@pytest.mark.parametrize("kind", KINDS)
def test_standardized_features_have_mean_0_and_std_1(kind):
    scaler = data.standardize(kind(CASES))
    z = scaler.apply(kind(CASES))
    assert isinstance(z, type(kind(CASES)))
    assert isinstance(scaler.mean, type(z))
    assert z.dtype == scaler.mean.dtype == scaler.std.dtype == np.float32
    np.testing.assert_allclose(scaler.mean, CASES.astype(np.float64).mean(0), rtol=1e-6)
    np.testing.assert_allclose(scaler.std, CASES.astype(np.float64).std(0), rtol=1e-6)
    np.testing.assert_allclose(np.mean(z, 0), 0, atol=1e-6)
    np.testing.assert_allclose(np.std(z, 0), 1, atol=1e-6)
    np.testing.assert_allclose(scaler.invert(z), CASES, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (2, 5)])
def test_minmax_reaches_both_ends(kind, low, high):
    scaler = data.minmax(kind(CASES), low, high)
    z = scaler.apply(kind(CASES))
    assert isinstance(z, type(kind(CASES)))
    assert z.dtype == np.float32
    np.testing.assert_array_equal(np.min(z, 0), np.full((2, 3), low))
    # XLA divides by an array that was broadcast by multiplying with its reciprocal.
    np.testing.assert_allclose(np.max(z, 0), np.full((2, 3), high), rtol=0 if kind is np.asarray else 1e-6)
    np.testing.assert_allclose(scaler.invert(z), CASES, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0.1, 0.0, -7.3e30, 1e-37])
def test_constant_features_become_0_or_low(kind, value):
    constant = kind(np.full((7, 1), value, np.float32))
    scaler = data.standardize(constant)
    np.testing.assert_array_equal(scaler.mean, np.float32([value]))
    np.testing.assert_array_equal(scaler.std, [1])
    np.testing.assert_array_equal(scaler.apply(constant), np.zeros((7, 1)))
    np.testing.assert_array_equal(data.minmax(constant, 0.5, 1.0).apply(constant), np.full((7, 1), 0.5))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("magnitude", [1e-30, 1e30])
def test_squares_neither_vanish_nor_overflow(kind, magnitude):
    x = np.array([[-1.0], [0.0], [1.0]], np.float32) * np.float32(magnitude)
    np.testing.assert_allclose(data.standardize(kind(x)).std, [magnitude * (2 / 3) ** 0.5], rtol=1e-6)


def test_many_float32_examples_lose_no_digits():
    x = (np.arange(200_000) % 2 + 1000).astype(np.float32)[:, None]
    scaler = data.standardize(x)
    np.testing.assert_array_equal(scaler.mean, np.float32([1000.5]))
    np.testing.assert_allclose(scaler.std, [0.5], rtol=1e-6)


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
def test_one_example_a_batch_jit_and_vmap_agree(fit):
    x = jnp.asarray(CASES)
    scaler = fit(x)
    z = scaler.apply(x)
    np.testing.assert_allclose(scaler.apply(x[3]), z[3], rtol=1e-6)
    np.testing.assert_allclose(scaler.apply(x.reshape(5, 10, 2, 3)), z.reshape(5, 10, 2, 3), rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(scaler.apply)(x), z, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(lambda s, x: s.apply(x))(scaler, x), z, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jax.jit(lambda x: fit(x).apply(x))(x), z, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jax.jit(lambda: fit(x).apply(x))(), z, rtol=1e-5, atol=1e-6)
    assert isinstance(fit(CASES).apply(x), jax.Array)


def test_numbers_alone_are_one_feature():
    scaler = data.standardize(np.array([1.0, 3.0]))
    np.testing.assert_array_equal(scaler.apply(np.array([[1.0, 2.0]])), [[-1, 0]])


@pytest.mark.parametrize(("name", "fit"), FITS.items(), ids=FITS)
@pytest.mark.parametrize(
    ("x", "kind", "message"),
    [
        ([[1.0]], TypeError, "expected train_x to be a NumPy or JAX array, got list. Convert it with np.asarray."),
        (
            np.ones((2, 3), np.uint8),
            TypeError,
            "expected train_x of a floating dtype, got uint8. Use x.astype(np.float32).",
        ),
        (
            np.zeros(0, np.float32),
            ValueError,
            "expected train_x of shape (n, ...) with n ≥ 1, got (0,). Pass all training examples.",
        ),
        (
            jnp.float32(1),
            ValueError,
            "expected train_x of shape (n, ...) with n ≥ 1, got (). Pass all training examples.",
        ),
        (
            np.array([[1, np.nan]]),
            ValueError,
            "expected finite values in train_x, got NaN or infinite ones. Find them with pn.data.check_data.",
        ),
        (
            jnp.array([1, -jnp.inf]),
            ValueError,
            "expected finite values in train_x, got NaN or infinite ones. Find them with pn.data.check_data.",
        ),
    ],
    ids=["list", "uint8", "empty", "scalar", "NaN", "infinite"],
)
def test_what_cannot_be_fitted(name, fit, x, kind, message):
    with pytest.raises(kind, match=rf"^{name}") as error:
        fit(x)
    assert str(error.value) == f"{name}: {message}"


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (1.0, 0.0), (0.0, float("inf")), (float("nan"), 1.0)])
def test_a_range_needs_two_ends(low, high):
    with pytest.raises(ValueError, match=r"^minmax") as error:
        data.minmax(CASES, low, high)
    assert str(error.value) == f"minmax: expected finite low < high, got {low} and {high}. Pass low=0.0, high=1.0."


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
@pytest.mark.parametrize("direction", ["apply", "invert"])
def test_nothing_broadcasts_or_changes_dtype(fit, direction):
    scaler = fit(CASES)
    call, where = getattr(scaler, direction), f"{type(scaler).__name__}.{direction}"
    for shape in [(50, 1, 3), (3,), (), (2, 3, 1)]:
        with pytest.raises(ValueError, match="expected x of shape") as error:
            call(np.ones(shape, np.float32))
        assert str(error.value) == (
            f"{where}: expected x of shape (..., 2, 3), got {shape}. Pass examples with the features that were fitted."
        )
    with pytest.raises(TypeError, match="dtype") as error:
        call(CASES.astype(np.float64))
    assert str(error.value) == (
        f'{where}: expected x of dtype float32, as fitted, got float64. Use x.astype("float32").'
    )
    with pytest.raises(TypeError, match="NumPy") as error:
        call([1.0])
    assert str(error.value) == f"{where}: expected x to be a NumPy or JAX array, got list. Convert it with np.asarray."
