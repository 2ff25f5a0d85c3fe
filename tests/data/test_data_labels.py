import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purenet import data


@pytest.fixture(autouse=True)
def strict_jax():
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.uint32])
@pytest.mark.parametrize("shape", [(), (6,), (2, 3)])
def test_each_row_has_its_one(kind, dtype, shape):
    labels = np.resize(np.array([3, 0, 1, 2, 3, 1]), shape).astype(dtype)
    rows = data.one_hot(kind(labels), 4)
    assert isinstance(rows, type(kind(labels)))
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, np.eye(4)[labels])
    np.testing.assert_array_equal(jax.jit(lambda y: data.one_hot(y, 4))(labels), np.eye(4)[labels])


@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray])
def test_more_classes_than_the_labels_can_name(kind):
    rows = data.one_hot(kind(np.array([5, 255], np.uint8)), 300)
    np.testing.assert_array_equal(np.argwhere(rows), [[0, 5], [1, 255]])


def test_the_dtype_is_kept():
    assert data.one_hot(np.array([1]), 2, np.float64).dtype == np.float64
    assert data.one_hot(jnp.array([1]), 2, jnp.bfloat16).dtype == jnp.bfloat16
    with jax.enable_x64(True):
        assert data.one_hot(jnp.array([1]), 2, np.float64).dtype == np.float64


@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray])
@pytest.mark.parametrize(
    ("labels", "got"),
    [([0, 3], "3 at [1]"), ([-1, 0], "-1 at [0]"), ([[0, 0], [0, 2**31 - 1]], "2147483647 at [1, 1]")],
)
def test_on_the_host_a_bad_label_is_an_error(kind, labels, got):
    with pytest.raises(ValueError, match=r"^one_hot") as error:
        data.one_hot(kind(np.array(labels, np.int32)), 3)
    assert str(error.value) == (
        f"one_hot: expected labels in 0..2, got {got}. Raise classes, or renumber the labels from 0."
    )


@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16])
def test_under_jit_and_vmap_a_bad_label_is_a_row_of_nan(dtype):
    labels = jnp.array([0, 3, -1, 2, 2**31 - 1, -(2**31)])
    expected = np.full((6, 3), np.nan)
    expected[[0, 3]] = np.eye(3)[[0, 2]]
    for rows in (
        jax.jit(lambda y: data.one_hot(y, 3, dtype))(labels),
        jax.vmap(lambda y: data.one_hot(y, 3, dtype))(labels),
        jax.jit(lambda: data.one_hot(labels, 3, dtype))(),
    ):
        assert rows.dtype == dtype
        np.testing.assert_array_equal(np.asarray(rows, np.float32), expected)
    unsigned = jax.jit(lambda y: data.one_hot(y, 3))(np.array([2**32 - 1, 1], np.uint32))
    np.testing.assert_array_equal(unsigned, [[np.nan] * 3, [0, 1, 0]])


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (([1, 2], 3), TypeError, "expected labels to be a NumPy or JAX array, got list. Convert it with np.asarray."),
        (
            (np.array([1.0]), 3),
            TypeError,
            "expected labels of an integer dtype, got float64. Use labels.astype(np.int32).",
        ),
        (
            (np.array([True]), 3),
            TypeError,
            "expected labels of an integer dtype, got bool. Use labels.astype(np.int32).",
        ),
        (
            (np.array([0]), 0),
            ValueError,
            "expected classes to be an integer of at least 1, got 0. Pass the number of classes.",
        ),
        (
            (np.array([0]), 3.0),
            ValueError,
            "expected classes to be an integer of at least 1, got 3.0. Pass the number of classes.",
        ),
        ((np.array([0]), 3, np.int32), TypeError, "expected a floating dtype, got int32. Use np.float32."),
        (
            (jnp.array([0]), 3, np.float64),
            TypeError,
            "expected dtype float32 while JAX's 64-bit mode is off, got float64. "
            'Use np.float32 or jax.config.update("jax_enable_x64", True).',
        ),
    ],
    ids=["list", "float", "bool", "no classes", "float classes", "integer dtype", "float64"],
)
def test_wrong_arguments(arguments, kind, message):
    with pytest.raises(kind, match=r"^one_hot") as error:
        data.one_hot(*arguments)
    assert str(error.value) == f"one_hot: {message}"
