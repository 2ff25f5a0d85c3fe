import os
import tracemalloc

import numpy as np
import pytest
from data.idx_samples import CODES, idx, packed

from purenet import data


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("pack", [bytes, packed], ids=["raw", "gzip"])
def test_every_type_returns_in_native_order(tmp_path, dtype, pack):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype) - np.array(5 if dtype != "uint8" else 0, dtype)
    path = tmp_path / "file"
    path.write_bytes(pack(idx(array)))
    result = data.read_idx(path)
    assert result.dtype == np.dtype(dtype)
    assert result.dtype.isnative
    assert result.flags.writeable
    np.testing.assert_array_equal(result, array)


def test_the_content_and_not_the_name_says_whether_it_is_gzipped(tmp_path):
    array = np.array([1, 2, 3], np.uint8)
    (tmp_path / "unpacked.gz").write_bytes(idx(array))
    (tmp_path / "packed").write_bytes(packed(idx(array)))
    np.testing.assert_array_equal(data.read_idx(tmp_path / "unpacked.gz"), array)
    np.testing.assert_array_equal(data.read_idx(str(tmp_path / "packed")), array)


def test_ranks_one_to_sixty_four(tmp_path):
    path = tmp_path / "file"
    for rank in (1, 64):
        path.write_bytes(idx(np.ones((1,) * rank, np.uint8)))
        assert data.read_idx(path).shape == (1,) * rank


def test_a_gzip_file_may_have_several_members_and_zero_padding(tmp_path):
    content = idx(np.array([1, 2, 3], np.uint8))
    path = tmp_path / "file"
    path.write_bytes(packed(content[:5]) + packed(content[5:]) + bytes(7))
    np.testing.assert_array_equal(data.read_idx(path), [1, 2, 3])


@pytest.mark.parametrize("pack", [bytes, packed], ids=["raw", "gzip"])
def test_every_truncation_and_every_surplus_byte_is_refused(tmp_path, pack):
    whole = pack(idx(np.arange(20, dtype=np.int16).reshape(4, 5)))
    path = tmp_path / "file"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(data.DataError, match=r"^read_idx: expected .*, got .*\. \w.*\.$"):
            data.read_idx(path)
    for byte in range(1, 256):
        path.write_bytes(whole + bytes([byte]))
        with pytest.raises(data.DataError, match=r"^read_idx: expected .*, got .*\. \w.*\.$"):
            data.read_idx(path)


def test_no_bit_flip_in_a_gzip_body_changes_a_value(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, 30, np.uint8)
    whole = packed(idx(array))
    path, refused = tmp_path / "file", 0
    for bit in range(8 * 10, 8 * len(whole)):  # the ten bytes before describe the packing
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            np.testing.assert_array_equal(data.read_idx(path), array)  # Deflate has bits without a meaning
        except data.DataError:
            refused += 1
    assert refused >= 8 * (len(whole) - 11)


@pytest.mark.parametrize("pack", [bytes, packed], ids=["raw", "gzip"])
def test_memory_follows_the_file_and_not_the_header(tmp_path, pack):
    claims_much = idx(np.zeros((1, 1, 1), np.uint8)).replace(b"\0\0\0\1" * 3, b"\0\0\1\0" + b"\0\1\0\0" * 2)
    claims_little = idx(np.zeros(10, np.uint8)) + bytes(50_000_000)
    path = tmp_path / "file"
    for content, got in ((claims_much, "1099511627776 bytes"), (claims_little, "got more")):
        path.write_bytes(pack(content))
        del content
        tracemalloc.start()
        with pytest.raises(data.DataError, match=got):
            data.read_idx(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4_000_000


def test_what_is_not_a_file(tmp_path):
    with pytest.raises(FileNotFoundError) as missing:
        data.read_idx(tmp_path / "absent")
    assert str(missing.value) == (f"read_idx: expected a file at {tmp_path}/absent, got nothing there. Check the path.")
    with pytest.raises(IsADirectoryError) as folder:
        data.read_idx(tmp_path)
    assert str(folder.value) == f"read_idx: expected a file, got the folder {tmp_path}. Name a file in it."
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(data.DataError) as pipe:
        data.read_idx(tmp_path / "pipe")
    assert str(pipe.value) == (
        f"read_idx: expected a regular file, got the device or pipe {tmp_path}/pipe. Copy it to a file."
    )
