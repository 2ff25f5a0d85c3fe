"""What a file holds, gzipped or not, judged by its first bytes and not by its name."""

import gzip
import hashlib
import zlib
from pathlib import Path
from typing import IO, cast

BLOCK = 1 << 20
GZIP_ERRORS = (gzip.BadGzipFile, EOFError, zlib.error)


def is_gzip(path: Path) -> bool:
    """Tells whether a file begins with gzip's magic number.

    The name does not tell: browsers and proxies unpack files and leave them their `.gz`.
    """
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def open_content(path: Path) -> IO[bytes]:
    """Opens a file for reading, unpacking it on the way if it is gzipped."""
    return cast("IO[bytes]", gzip.open(path, "rb")) if is_gzip(path) else path.open("rb")


def read_at_most(content: IO[bytes], limit: int) -> bytearray:
    """Reads up to `limit` bytes block by block, so memory follows the content and not the limit."""
    data = bytearray()
    while block := content.read(min(BLOCK, limit - len(data))):
        data += block
    return data


def content_is(path: Path, sha256: str, size: int) -> bool:
    """Tells whether a file's unpacked content has this length and SHA-256."""
    digest, left = hashlib.sha256(), size + 1
    try:
        with open_content(path) as content:
            while block := content.read(min(BLOCK, left)):
                digest.update(block)
                left -= len(block)
    except GZIP_ERRORS:
        return False
    return left == 1 and digest.hexdigest() == sha256
