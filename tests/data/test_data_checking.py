import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purenet import data

XS, YS = np.arange(6, dtype=np.float32).reshape(3, 2), np.array([0, 2, 1], np.int32)
X64_OFF = "while JAX's 64-bit mode is off"
ENABLE = 'jax.config.update("jax_enable_x64", True)'


def test_good_data_comes_back_as_it_is():
    whole = ({"image": XS, "mask": XS > 1}, jnp.asarray(YS), np.ones(3, jnp.bfloat16), np.ones(3, np.uint8))
    checked = data.check_data(whole)
    assert jax.tree.structure(checked) == jax.tree.structure(whole)
    for before, after in zip(jax.tree.leaves(whole), jax.tree.leaves(checked), strict=True):
        assert after is before
    assert data.check_data(XS) is XS


@pytest.mark.parametrize(
    ("leaf", "dtype"),
    [
        (np.array([-(2**31), 2**31 - 1]), np.int32),
        (np.array([0, 2**32 - 1], np.uint64), np.uint32),
        (np.array([1, 2], ">i4"), np.int32),
        (np.array([1, 2], ">i8"), np.int32),
        (np.array([1, 2], ">f4"), np.float32),
    ],
)
def test_representations_change_and_values_do_not(leaf, dtype):
    checked = data.check_data(leaf)
    assert checked.dtype == dtype
    assert checked.dtype.isnative
    np.testing.assert_array_equal(checked, leaf)
    assert jax.jit(lambda x: x)(checked).dtype == dtype


def test_64_bits_pass_when_jax_keeps_them():
    whole = (np.ones(2), np.array([2**40, 1]), np.array([2**63, 1], np.uint64))
    with jax.enable_x64(True):
        checked = data.check_data(whole)
        wide = jnp.array([1, 2**40]), jnp.array([1, 2])
    assert all(after is before for before, after in zip(whole, checked, strict=True))
    assert data.check_data(wide[1]).dtype == np.int32
    with pytest.raises(ValueError, match=r"got 1099511627776 at \[1\]"):
        data.check_data(wide[0])


def test_memory_mapped_files_are_not_copied(tmp_path):
    np.save(tmp_path / "xs.npy", XS)
    mapped = np.load(tmp_path / "xs.npy", mmap_mode="r")
    assert np.shares_memory(data.check_data(mapped), mapped)


def test_infinities_are_counted_over_blocks(monkeypatch):
    monkeypatch.setattr("purenet.data.checking._VALUES_AT_ONCE", 4)
    xs = np.zeros((9, 2), np.float32)
    xs[5, 1], xs[8] = np.inf, np.nan
    with pytest.raises(ValueError, match=r"got 3 NaN or infinite of 18, the first inf at \[5, 1\]"):
        data.check_data(xs)


def test_inside_jit_concrete_arrays_pass_and_traced_ones_do_not():
    xs = jnp.asarray(XS)
    assert jax.jit(lambda: data.check_data(xs))().shape == (3, 2)
    with pytest.raises(TypeError, match=r"^check_data") as error:
        jax.jit(data.check_data)(xs)
    assert str(error.value) == (
        "check_data: expected concrete values in data, got a traced array. Call it outside jit, vmap and grad."
    )


class Frame:
    """Quacks like a table of pandas or polars."""

    def to_numpy(self):
        return XS


def with_nan(kind=np.asarray):
    xs = XS.copy()
    xs[1, 1], xs[2, 0] = np.nan, -np.inf
    return kind(xs)


ARRAY = "expected a NumPy or JAX array in"
WIDTH = "expected booleans, integers or floats of at most 64 bits in"
NUMBERS = "Encode it as such numbers."
FINITE = "expected finite values in"
REPLACE = "Leave those examples out or replace the values."
SCALAR = "got a scalar. Give each example its value."
REFUSED = {
    "nothing": ((), ValueError, "expected at least one array in data, got none. Pass (xs, ys)."),
    "list": (
        (XS, [0, 2, 1]),
        TypeError,
        f"{ARRAY} data[1], got list. Convert it with np.asarray, or make it a tuple if it groups arrays.",
    ),
    "list of arrays": (
        [XS, YS],
        TypeError,
        f"{ARRAY} data, got list. Convert it with np.asarray, or make it a tuple if it groups arrays.",
    ),
    "None": ((XS, YS, None), TypeError, f"{ARRAY} data[2], got NoneType. Leave it out."),
    "number": ((XS, 3), TypeError, f"{ARRAY} data[1], got int. Convert it with np.asarray."),
    "text": ("xs", TypeError, f"{ARRAY} data, got str. Convert it with np.asarray."),
    "masked": (
        (np.ma.masked_array(XS), YS),
        TypeError,
        f"{ARRAY} data[0], got MaskedArray. Fill its gaps with .filled(value), or leave those examples out.",
    ),
    "table": ((Frame(), YS), TypeError, f"{ARRAY} data[0], got Frame. Convert it with .to_numpy()."),
    "scalar array": (
        (XS, jnp.float32(3)),
        ValueError,
        f"expected an array with a leading axis of examples in data[1], {SCALAR}",
    ),
    "NumPy scalar": (
        (XS, np.float32(3)),
        ValueError,
        f"expected an array with a leading axis of examples in data[1], {SCALAR}",
    ),
    "lengths": (
        ({"image": XS}, YS[:2]),
        ValueError,
        "expected equal leading lengths, got 3 in data[0]['image'] and 2 in data[1]. "
        "Give every example one row in each array.",
    ),
    "empty": (
        (XS[:0], YS[:0]),
        ValueError,
        "expected at least one value in data[0], got shape (0, 2). Check how the data was selected.",
    ),
    "no features": (
        (XS[:, :0], YS),
        ValueError,
        "expected at least one value in data[0], got shape (3, 0). Check how the data was selected.",
    ),
    "NaN": (
        ({"image": with_nan()}, YS),
        ValueError,
        f"{FINITE} data[0]['image'], got 2 NaN or infinite of 6, the first nan at [1, 1]. {REPLACE}",
    ),
    "NaN in JAX": (
        (with_nan(jnp.asarray), YS),
        ValueError,
        f"{FINITE} data[0], got 2 NaN or infinite of 6, the first nan at [1, 1]. {REPLACE}",
    ),
    "bfloat16 infinity": (
        (XS, np.array([1, 2, -np.inf], jnp.bfloat16)),
        ValueError,
        f"{FINITE} data[1], got 1 NaN or infinite of 3, the first -inf at [2]. {REPLACE}",
    ),
    "float64": (
        (XS.astype(np.float64), YS),
        TypeError,
        f"expected float32 in data[0] {X64_OFF}, got float64. Use x.astype(np.float32) or {ENABLE}.",
    ),
    "int64": (
        (XS, np.array([1, 2, 2**40])),
        ValueError,
        f"expected values that fit int32 in data[1] {X64_OFF}, got 1099511627776 at [2]. "
        f"Use smaller values or {ENABLE}.",
    ),
    "negative int64": (
        (XS, np.array([1, -(2**31) - 1, 2])),
        ValueError,
        f"expected values that fit int32 in data[1] {X64_OFF}, got -2147483649 at [1]. Use smaller values or {ENABLE}.",
    ),
    "uint64": (
        (XS, np.array([[1], [2], [2**32]], np.uint64)),
        ValueError,
        f"expected values that fit uint32 in data[1] {X64_OFF}, got 4294967296 at [2, 0]. "
        f"Use smaller values or {ENABLE}.",
    ),
    "complex": (
        (XS.astype(np.complex64), YS),
        TypeError,
        "expected real numbers in data[0], got complex64. Pass the real and imaginary parts as two features.",
    ),
    "objects": ((XS.astype(object), YS), TypeError, f"{WIDTH} data[0], got object. {NUMBERS}"),
    "strings": ((XS, np.array(["a", "b", "c"])), TypeError, f"{WIDTH} data[1], got <U1. {NUMBERS}"),
    "bytes": ((XS, np.array([b"a", b"b", b"c"])), TypeError, f"{WIDTH} data[1], got |S1. {NUMBERS}"),
    "dates": ((XS, np.zeros(3, "datetime64[s]")), TypeError, f"{WIDTH} data[1], got datetime64[s]. {NUMBERS}"),
    "records": ((XS, np.zeros(3, [("a", "f4")])), TypeError, f"{WIDTH} data[1], got [('a', '<f4')]. {NUMBERS}"),
    "keys": ((jax.random.split(jax.random.key(0), 3), YS), TypeError, f"{WIDTH} data[0], got key<fry>. {NUMBERS}"),
}


@pytest.mark.parametrize(("whole", "kind", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(whole, kind, message):
    with pytest.raises(kind, match=r"^check_data") as error:
        data.check_data(whole)
    assert str(error.value) == f"check_data: {message}"


@pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="long doubles are doubles here")
def test_long_doubles_are_refused():
    with pytest.raises(TypeError, match=r"at most 64 bits in data, got (float128|longdouble)\. "):
        data.check_data(XS.astype(np.longdouble))


def test_the_caller_names_the_data():
    with pytest.raises(ValueError, match=r"got 3 in validation\[0\] and 2 in validation\[1\]\. "):
        data.check_data((XS, YS[:2]), where="validation")
