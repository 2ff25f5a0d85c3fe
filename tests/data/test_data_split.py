import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purenet import data


@pytest.mark.parametrize("key", [None, 0], ids=["in order", "shuffled"])
@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray])
@pytest.mark.parametrize(
    ("sizes", "lengths"),
    [
        ((1.0,), (10,)),
        ((0.8, 0.2), (8, 2)),
        ((0.25, 0.75), (3, 7)),  # 2.5, halves up
        ((1 / 3, 1 / 3, 1 / 3), (3, 4, 3)),
        ((0.1,) * 10, (1,) * 10),
        ((7, 3), (7, 3)),
        ((np.int64(1), 9), (1, 9)),
        ([0.5, 0.5], (5, 5)),
    ],
)
def test_every_example_is_in_exactly_one_part(key, kind, sizes, lengths):
    xs = kind(np.arange(20, dtype=np.float32).reshape(10, 2))
    whole = {"xs": xs, "ys": kind(np.arange(10))}
    parts = data.split(whole, sizes, key=None if key is None else jax.random.key(key))
    assert tuple(len(part["ys"]) for part in parts) == lengths
    for part in parts:
        assert isinstance(part["xs"], type(xs))
        np.testing.assert_array_equal(part["xs"], np.asarray(xs)[np.asarray(part["ys"])])
    order = np.concatenate([part["ys"] for part in parts])
    np.testing.assert_array_equal(np.sort(order), np.arange(10))
    assert (key is None) == np.array_equal(order, np.arange(10))


def test_the_key_decides():
    first, again, other = (data.split(np.arange(50), (0.5, 0.5), key=jax.random.key(k))[0] for k in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_it_can_be_jitted():
    xs = jnp.arange(10.0)
    cut = lambda xs, key: data.split(xs, (0.7, 0.3), key=key)  # noqa: E731
    for eager, jitted in zip(cut(xs, jax.random.key(0)), jax.jit(cut)(xs, jax.random.key(0)), strict=True):
        np.testing.assert_array_equal(eager, jitted)


XS = np.zeros((10, 2))


@pytest.mark.parametrize(
    ("whole", "sizes", "kind", "message"),
    [
        (
            XS,
            (0.8, 0.1),
            ValueError,
            "expected fractions that sum to 1, got (0.8, 0.1). Name the rest as a part too.",
        ),
        (
            XS,
            (0.8, 0.3),
            ValueError,
            "expected fractions that sum to 1, got (0.8, 0.3). Name the rest as a part too.",
        ),
        (
            XS,
            (float("nan"), 0.3),
            ValueError,
            "expected fractions that sum to 1, got (nan, 0.3). Name the rest as a part too.",
        ),
        (
            XS,
            (8, 1),
            ValueError,
            "expected numbers of examples that sum to 10, got (8, 1). Name the rest as a part too.",
        ),
        (
            XS,
            (),
            ValueError,
            "expected numbers of examples that sum to 10, got (). Name the rest as a part too.",
        ),
        (
            XS,
            (8, 0.2),
            TypeError,
            "expected sizes to be all floats (fractions) or all integers (numbers of examples), got (8, 0.2). "
            "Write (0.8, 0.2) or (800, 200).",
        ),
        (
            XS,
            (0.99, 0.01),
            ValueError,
            "expected at least one example in each part, got (0.99, 0.01) of 10 examples. Use fewer or larger parts.",
        ),
        (
            XS,
            (12, -2),
            ValueError,
            "expected at least one example in each part, got (12, -2) of 10 examples. Use fewer or larger parts.",
        ),
        (
            (XS, XS[:9]),
            (0.5, 0.5),
            ValueError,
            "expected equal leading lengths, got 10 in data[0] and 9 in data[1]. "
            "Give every example one row in each array.",
        ),
        (
            ([1, 2], XS),
            (0.5, 0.5),
            TypeError,
            "expected a NumPy or JAX array in data[0], got list. "
            "Convert it with np.asarray, or make it a tuple if it groups arrays.",
        ),
    ],
    ids=["too little", "too much", "NaN", "counts", "none", "mixed", "empty part", "negative", "lengths", "list"],
)
def test_wrong_arguments(whole, sizes, kind, message):
    with pytest.raises(kind, match=r"^split") as error:
        data.split(whole, sizes)
    assert str(error.value) == f"split: {message}"
