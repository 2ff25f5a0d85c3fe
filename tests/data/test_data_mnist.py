import hashlib
import struct
import zlib

import numpy as np
import pytest
from data.idx_samples import MNIST_FILES, idx, packed, write_mnist

from purenet import data

AGAIN = "Remove the file and download it again."
GOOD = idx(np.zeros((3, 28, 28), np.uint8))
LABELS = idx(np.arange(3, dtype=np.uint8))


def header(code, rank, *shape):
    return struct.pack(f">4B{len(shape)}I", 0, 0, code, rank, *shape)


def crc_of_zero(content):
    return packed(content)[:-8] + bytes(4) + packed(content)[-4:]


# Each row: what goes wrong, in which file, its content, the error without its beginning.
MALFORMED = [
    ("empty", "train_images", b"", "read_idx: expected an IDX file at {path}, got an empty file. " + AGAIN),
    (
        "web page",
        "train_images",
        b"\n<!DOCTYPE html><html>Sign in</html>",
        "read_idx: expected an IDX file (two zero bytes first) at {path}, got a web page. "
        "The server sent a page in place of the file: download the file itself.",
    ),
    (
        "LFS pointer",
        "train_images",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
        "read_idx: expected an IDX file (two zero bytes first) at {path}, got a Git LFS pointer. "
        "Run `git lfs pull` where it came from.",
    ),
    (
        "zip archive",
        "train_images",
        b"PK\3\4" + bytes(100),
        "read_idx: expected an IDX file (two zero bytes first) at {path}, got first bytes 50 4b 03 04. "
        "Check that this is the right file.",
    ),
    (
        "little-endian magic",
        "train_images",
        bytes([3, 8, 0, 0]) + GOOD[4:],
        "read_idx: expected an IDX file (two zero bytes first) at {path}, got first bytes 03 08 00 00. "
        "Check that this is the right file.",
    ),
    (
        "gzipped twice",
        "train_images",
        packed(packed(GOOD)),
        "read_idx: expected an IDX file (two zero bytes first) at {path}, got first bytes 1f 8b 08 00. "
        "Check that this is the right file.",
    ),
    (
        "three bytes",
        "train_images",
        bytes([0, 0, 8]),
        "read_idx: expected a header of at least 8 bytes in {path}, got 3. " + AGAIN,
    ),
    (
        "unknown type",
        "train_images",
        header(10, 3, 3, 28, 28) + GOOD[16:],
        "read_idx: expected a type code among 8, 9, 11, 12, 13, 14 in the third byte of {path}, got 10. " + AGAIN,
    ),
    (
        "rank 0",
        "train_images",
        header(8, 0) + b"\7",
        "read_idx: expected a rank of 1..64 in the fourth byte of {path}, got 0. " + AGAIN,
    ),
    (
        "rank 65",
        "train_images",
        header(8, 65, *[1] * 65) + b"\7",
        "read_idx: expected a rank of 1..64 in the fourth byte of {path}, got 65. " + AGAIN,
    ),
    (
        "header cut",
        "train_images",
        GOOD[:13],
        "read_idx: expected 12 bytes of dimensions in {path}, got 9. " + AGAIN,
    ),
    (
        "no images",
        "train_images",
        header(8, 3, 0, 28, 28),
        "read_idx: expected dimensions of at least 1 in {path}, got (0, 28, 28). " + AGAIN,
    ),
    (
        "one byte short",
        "train_images",
        GOOD[:-1],
        "read_idx: expected 2352 bytes after the header of {path} (uint8 of shape (3, 28, 28)), got 2351. " + AGAIN,
    ),
    (
        "one byte over",
        "train_images",
        GOOD + b"\0",
        "read_idx: expected 2352 bytes after the header of {path} (uint8 of shape (3, 28, 28)), got more. " + AGAIN,
    ),
    (
        "claims a terabyte",
        "train_images",
        header(8, 3, 256, 65536, 65536) + bytes(100),
        "read_idx: expected 1099511627776 bytes after the header of {path} "
        "(uint8 of shape (256, 65536, 65536)), got 100. " + AGAIN,
    ),
    (
        "claims more than 64 bits",
        "train_images",
        header(14, 3, *[2**32 - 1] * 3) + bytes(8),
        f"read_idx: expected {8 * (2**32 - 1) ** 3} bytes after the header of {{path}} "
        "(float64 of shape (4294967295, 4294967295, 4294967295)), got 8. " + AGAIN,
    ),
    (
        "gzipped, claims a terabyte",
        "train_images",
        packed(header(8, 3, 256, 65536, 65536)),
        "read_idx: expected 1099511627776 bytes after the header of {path} (uint8 of shape (256, 65536, 65536)), "
        f"got at most {1032 * len(packed(header(8, 3, 256, 65536, 65536)))}. " + AGAIN,
    ),
    (
        "gzipped, one byte short",
        "train_images",
        packed(GOOD[:-1]),
        "read_idx: expected 2352 bytes after the header of {path} (uint8 of shape (3, 28, 28)), got 2351. " + AGAIN,
    ),
    (
        "gzipped, one byte over",
        "train_images",
        packed(GOOD + b"\0"),
        "read_idx: expected 2352 bytes after the header of {path} (uint8 of shape (3, 28, 28)), got more. " + AGAIN,
    ),
    (
        "gzip cut",
        "train_images",
        packed(GOOD)[:-1],
        "read_idx: expected an intact gzip file at {path}, got one that ends too early. " + AGAIN,
    ),
    (
        "gzip with a tail",
        "train_images",
        packed(GOOD) + b"tail",
        "read_idx: expected an intact gzip file at {path}, got other bytes after its end. " + AGAIN,
    ),
    (
        "gzip with a wrong check sum",
        "train_images",
        crc_of_zero(GOOD),
        "read_idx: expected an intact gzip file at {path}, "
        f"got a damaged one (CRC check failed 0x0 != {hex(zlib.crc32(GOOD))}). " + AGAIN,
    ),
    (
        "gzip with a wrong length",
        "train_images",
        packed(GOOD)[:-4] + bytes(4),
        "read_idx: expected an intact gzip file at {path}, got a damaged one (Incorrect length of data produced). "
        + AGAIN,
    ),
    (
        "gzip with a broken body",
        "train_images",
        packed(GOOD)[:10] + b"\xff" * 30,
        "read_idx: expected an intact gzip file at {path}, "
        "got a damaged one (Error -3 while decompressing data: invalid block type). " + AGAIN,
    ),
    (
        "gzip of an unknown method",
        "train_images",
        b"\x1f\x8b\7" + packed(GOOD)[3:],
        "read_idx: expected an intact gzip file at {path}, got a damaged one (Unknown compression method). " + AGAIN,
    ),
    (
        "float images",
        "train_images",
        idx(np.zeros((3, 28, 28), np.float32)),
        "mnist: expected uint8 of shape (n, 28, 28) in {path}, got float32 of shape (3, 28, 28). "
        "Check that images and labels are not exchanged. " + AGAIN,
    ),
    (
        "27 columns",
        "test_images",
        idx(np.zeros((2, 28, 27), np.uint8)),
        "mnist: expected uint8 of shape (n, 28, 28) in {path}, got uint8 of shape (2, 28, 27). "
        "Check that images and labels are not exchanged. " + AGAIN,
    ),
    (
        "flat images",
        "train_images",
        idx(np.zeros((3, 784), np.uint8)),
        "mnist: expected uint8 of shape (n, 28, 28) in {path}, got uint8 of shape (3, 784). "
        "Check that images and labels are not exchanged. " + AGAIN,
    ),
    (
        "labels for images",
        "train_images",
        LABELS,
        "mnist: expected uint8 of shape (n, 28, 28) in {path}, got uint8 of shape (3,). "
        "Check that images and labels are not exchanged. " + AGAIN,
    ),
    (
        "images for labels",
        "train_labels",
        GOOD,
        "mnist: expected uint8 of shape (n,) in {path}, got uint8 of shape (3, 28, 28). "
        "Check that images and labels are not exchanged. " + AGAIN,
    ),
    (
        "labels in a column",
        "train_labels",
        idx(np.zeros((3, 1), np.uint8)),
        "mnist: expected uint8 of shape (n,) in {path}, got uint8 of shape (3, 1). "
        "Check that images and labels are not exchanged. " + AGAIN,
    ),
    (
        "signed labels",
        "train_labels",
        idx(np.array([0, -1, 2], np.int8)),
        "mnist: expected uint8 of shape (n,) in {path}, got int8 of shape (3,). "
        "Check that images and labels are not exchanged. " + AGAIN,
    ),
    (
        "label 10",
        "train_labels",
        idx(np.array([9, 0, 10], np.uint8)),
        "mnist: expected labels 0..9 in {path}, got 10 at index 2. " + AGAIN,
    ),
    (
        "label 255 in the test set",
        "test_labels",
        idx(np.array([255, 0], np.uint8)),
        "mnist: expected labels 0..9 in {path}, got 255 at index 0. " + AGAIN,
    ),
    (
        "a label missing",
        "train_labels",
        idx(np.arange(2, dtype=np.uint8)),
        "mnist: expected as many labels in {path} as images in {folder}/train-images-idx3-ubyte, "
        "got 2 labels and 3 images. Take both files from the same set.",
    ),
]


@pytest.mark.parametrize(
    ("file", "content", "message"), [row[1:] for row in MALFORMED], ids=[row[0] for row in MALFORMED]
)
def test_a_malformed_file_is_refused(tmp_path, file, content, message):
    path = write_mnist(tmp_path)[file]
    path.write_bytes(content)
    with pytest.raises(data.DataError) as error:
        data.mnist(tmp_path)
    assert str(error.value) == message.format(path=path, folder=tmp_path)


@pytest.mark.parametrize("packs", [(), ("train_images", "test_labels"), tuple(MNIST_FILES)])
def test_files_may_be_raw_or_gzipped(tmp_path, packs):
    paths = write_mnist(tmp_path)
    raw = data.read_idx(paths["train_images"])
    for key in packs:
        path = paths[key]
        path.with_name(f"{path.name}.gz").write_bytes(packed(path.read_bytes()))
        path.unlink()
    (xs, ys), (xs_test, ys_test) = data.mnist(str(tmp_path))
    assert (xs.dtype, ys.dtype, xs_test.dtype, ys_test.dtype) == (np.float32, np.int32, np.float32, np.int32)
    assert (xs.shape, xs_test.shape) == ((3, 28, 28), (2, 28, 28))
    np.testing.assert_array_equal(xs, raw.astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(ys, [0, 1, 2])
    np.testing.assert_array_equal(ys_test, [0, 1])


def test_where_both_are_there_the_gzipped_one_is_read(tmp_path):
    path = write_mnist(tmp_path)["train_labels"]
    path.with_name(f"{path.name}.gz").write_bytes(packed(idx(np.array([7, 8, 9], np.uint8))))
    np.testing.assert_array_equal(data.mnist(tmp_path)[0][1], [7, 8, 9])


def test_a_folder_without_the_files_is_refused(tmp_path):
    write_mnist(tmp_path)["test_labels"].unlink()
    with pytest.raises(FileNotFoundError) as lacking:
        data.mnist(tmp_path)
    assert str(lacking.value) == (
        f"mnist: expected t10k-labels-idx1-ubyte.gz or t10k-labels-idx1-ubyte in {tmp_path}, got neither. "
        "Put the four MNIST files there, or call mnist() to download them."
    )
    for name, got in (("absent", "nothing"), ("train-images-idx3-ubyte", "a file")):
        with pytest.raises(FileNotFoundError) as no_folder:
            data.mnist(tmp_path / name)
        assert str(no_folder.value) == (
            f"mnist: expected a folder at {tmp_path / name}, got {got} there. Name the folder that holds the "
            "four MNIST files, or call mnist() to download them."
        )


@pytest.fixture
def small_mirror(server, tmp_path, monkeypatch):
    """A mirror of a small MNIST, and its checksums in place of the real ones; nothing is cached yet."""
    from purenet.data import mnist_files

    source = tmp_path / "source"
    source.mkdir()
    files = []
    for path in write_mnist(source).values():
        content = path.read_bytes()
        server.files[f"{path.name}.gz"] = packed(content)
        files.append(mnist_files._File(path.name, len(content), hashlib.sha256(content).hexdigest()))
    monkeypatch.setattr(mnist_files, "_FILES", tuple(files))
    monkeypatch.setattr(mnist_files, "_MIRRORS", (server.url,))
    monkeypatch.delenv("PURENET_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return server


def test_what_is_missing_is_downloaded_once(small_mirror, tmp_path):
    (_, ys), _ = data.mnist()
    np.testing.assert_array_equal(ys, [0, 1, 2])
    data.mnist()
    assert sorted(entry[0] for entry in small_mirror.log) == sorted(f"{name}.gz" for name in MNIST_FILES.values())
    cached = tmp_path / "cache" / "purenet" / "mnist" / "t10k-labels-idx1-ubyte.gz"
    cached.unlink()
    data.mnist()
    assert small_mirror.log[4:] == [("t10k-labels-idx1-ubyte.gz", None, 200)]


@pytest.mark.parametrize("variable", ["PURENET_DATA", "HOME"])
def test_environment_variables_choose_the_folder(small_mirror, tmp_path, monkeypatch, variable):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv(variable, str(tmp_path / "here"))
    data.mnist()
    subfolder = {"PURENET_DATA": "mnist", "HOME": ".cache/purenet/mnist"}[variable]
    assert (tmp_path / "here" / subfolder / "train-images-idx3-ubyte.gz").is_file()


def test_offline_the_error_says_what_to_put_where(small_mirror, tmp_path, monkeypatch, closed_url):
    monkeypatch.setattr("purenet.data.mnist_files._MIRRORS", (closed_url, small_mirror.url + "elsewhere/"))
    folder = tmp_path / "cache" / "purenet" / "mnist"
    digest = hashlib.sha256((tmp_path / "source" / "train-images-idx3-ubyte").read_bytes()).hexdigest()
    with pytest.raises(data.DownloadError) as error:
        data.mnist()
    assert str(error.value) == (
        f"download: expected train-images-idx3-ubyte.gz with SHA-256 {digest}, "
        f"got Connection refused from {closed_url}train-images-idx3-ubyte.gz; "
        f"HTTP 404 Not Found from {small_mirror.url}elsewhere/train-images-idx3-ubyte.gz. "
        "Without a connection, put train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, "
        f"t10k-images-idx3-ubyte.gz, t10k-labels-idx1-ubyte.gz into {folder} by hand, or set PURENET_DATA to a "
        "folder whose subfolder mnist holds them."
    )


def test_the_real_files(real_mnist):
    (xs, ys), (xs_test, ys_test) = data.mnist(real_mnist)
    assert (xs.shape, ys.shape) == ((60000, 28, 28), (60000,))
    assert (xs_test.shape, ys_test.shape) == ((10000, 28, 28), (10000,))
    assert (xs.min(), xs.max(), xs.dtype) == (0, 1, np.float32)
    np.testing.assert_array_equal(ys[:10], [5, 0, 4, 1, 9, 2, 1, 3, 1, 4])
    np.testing.assert_array_equal(np.bincount(ys_test), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009])
    # The two numbers by which everyone normalises MNIST.
    assert round(float(xs.mean(dtype=np.float64)), 4) == 0.1307
    assert round(float(xs.std(dtype=np.float64)), 4) == 0.3081


def test_the_real_checksums_accept_the_real_files(real_mnist, server, tmp_path, monkeypatch):
    for name in MNIST_FILES.values():
        server.files[f"{name}.gz"] = (real_mnist / f"{name}.gz").read_bytes()
    monkeypatch.setattr("purenet.data.mnist_files._MIRRORS", (server.url,))
    monkeypatch.setenv("PURENET_DATA", str(tmp_path))
    (xs, _), _ = data.mnist()
    assert len(xs) == 60000
    assert [status for *_, status in server.log] == [200] * 4
