"""The IDX format of MNIST, read strictly."""

import math
import os
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from purenet.data.contents import GZIP_ERRORS, is_gzip, open_content, read_at_most
from purenet.data.errors import DataError

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_RANK = 64  # NumPy's limit
_MAX_INFLATION = 1032  # Deflate's limit: 258 bytes from two bits
_AGAIN = "Remove the file and download it again."


def read_idx(path: str | os.PathLike[str]) -> npt.NDArray[Any]:
    """Reads one IDX file, gzipped or raw, and refuses whatever is not exactly that.

    An IDX file is two zero bytes, a type code, the rank r, r big-endian 32-bit dimensions, and then
    ∏ dimensions values in big-endian order and nothing more. Whether the file is gzipped is read from
    its first bytes. Memory is taken for the bytes that are there, never for those a header claims.

    Args:
        path: The file.

    Returns:
        A writable array in native byte order, of dtype uint8, int8, int16, int32, float32 or float64,
        with 1 to 64 dimensions of at least 1.

    Raises:
        FileNotFoundError: There is no such file.
        IsADirectoryError: `path` is a folder.
        DataError: The header is wrong, bytes are missing or left over, or the gzip stream is damaged
            (zero padding after its end, which gzip permits, is accepted).

    References:
        Y. LeCun, C. Cortes, C. Burges (1998), The MNIST database of handwritten digits, "File formats".

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder) / "labels-idx1-ubyte"
        ...     _ = file.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
        ...     read_idx(file)
        array([7, 2, 1], dtype=uint8)
    """
    path = Path(path)
    _expect_file(path)
    try:
        with open_content(path) as content:
            dtype, shape = _read_header(content, path)
            payload = _read_payload(content, path, dtype, shape)
    except GZIP_ERRORS as error:
        raise DataError(
            f"read_idx: expected an intact gzip file at {path}, got {_gzip_fault(error)}. {_AGAIN}"
        ) from error
    return np.frombuffer(payload, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _expect_file(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(f"read_idx: expected a file, got the folder {path}. Name a file in it.")
    if not path.exists():
        raise FileNotFoundError(f"read_idx: expected a file at {path}, got nothing there. Check the path.")
    if not path.is_file():
        raise DataError(f"read_idx: expected a regular file, got the device or pipe {path}. Copy it to a file.")
    if path.stat().st_size == 0:
        raise DataError(f"read_idx: expected an IDX file at {path}, got an empty file. {_AGAIN}")


def _read_header(content: IO[bytes], path: Path) -> tuple[np.dtype[Any], tuple[int, ...]]:
    magic = content.read(4)
    if magic[:2] != b"\0\0":
        raise DataError(_foreign(path, magic + content.read(60)))
    if len(magic) < 4:
        raise DataError(f"read_idx: expected a header of at least 8 bytes in {path}, got {len(magic)}. {_AGAIN}")
    code, rank = magic[2:]
    if code not in _TYPES:
        known = ", ".join(map(str, _TYPES))
        raise DataError(
            f"read_idx: expected a type code among {known} in the third byte of {path}, got {code}. {_AGAIN}"
        )
    if not 1 <= rank <= _MAX_RANK:
        raise DataError(
            f"read_idx: expected a rank of 1..{_MAX_RANK} in the fourth byte of {path}, got {rank}. {_AGAIN}"
        )
    sizes = content.read(4 * rank)
    if len(sizes) < 4 * rank:
        raise DataError(f"read_idx: expected {4 * rank} bytes of dimensions in {path}, got {len(sizes)}. {_AGAIN}")
    shape = tuple(np.frombuffer(sizes, ">u4").tolist())
    if 0 in shape:
        raise DataError(f"read_idx: expected dimensions of at least 1 in {path}, got {shape}. {_AGAIN}")
    return np.dtype(_TYPES[code]), shape


def _read_payload(content: IO[bytes], path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytearray:
    expected = math.prod(shape) * dtype.itemsize
    rule = f"{expected} bytes after the header of {path} ({dtype.name} of shape {shape})"
    size, packed = path.stat().st_size, is_gzip(path)
    most = size * _MAX_INFLATION if packed else size - 4 - 4 * len(shape)
    if expected > most:
        got = f"at most {most}" if packed else f"{most}"
        raise DataError(f"read_idx: expected {rule}, got {got}. {_AGAIN}")
    # One byte more than expected: it shows what is left over, and makes gzip check its own ending.
    payload = read_at_most(content, expected + 1)
    if len(payload) != expected:
        got = f"{len(payload)}" if len(payload) < expected else "more"
        raise DataError(f"read_idx: expected {rule}, got {got}. {_AGAIN}")
    return payload


def _foreign(path: Path, head: bytes) -> str:
    """Says what a file that does not begin as IDX seems to be."""
    if head.lstrip().startswith(b"<"):
        got, remedy = "a web page", "The server sent a page in place of the file: download the file itself."
    elif head.startswith(b"version https://git-lfs"):
        got, remedy = "a Git LFS pointer", "Run `git lfs pull` where it came from."
    else:
        got, remedy = f"first bytes {head[:4].hex(' ')}", "Check that this is the right file."
    return f"read_idx: expected an IDX file (two zero bytes first) at {path}, got {got}. {remedy}"


def _gzip_fault(error: Exception) -> str:
    if isinstance(error, EOFError):
        return "one that ends too early"
    if str(error).startswith("Not a gzipped file"):
        return "other bytes after its end"
    return f"a damaged one ({error})"
