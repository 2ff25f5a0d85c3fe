"""Downloads that resume, and that are checked before they take their name."""

import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from purenet.data.contents import content_is
from purenet.data.errors import DownloadError

_BLOCK = 1 << 16
_LOCK = ".download.lock"


class _ServerError(Exception):
    """What one server did wrong; another may do better."""


def download(
    urls: Sequence[str],
    path: str | os.PathLike[str],
    *,
    sha256: str,
    size: int,
    timeout: float = 30.0,
    remedy: str | None = None,
) -> Path:
    """Brings one file from the first of several addresses that serves it whole, unless it is there.

    Bytes go to `<path>.part`, which takes its name only when its unpacked content has the SHA-256 given;
    `path` is therefore either absent or right. An interrupted download is resumed by the next call,
    from any of the addresses. Processes that want the same folder wait for each other.

    Args:
        urls: Addresses of the file, tried in order; http or https.
        path: Where to put it; missing folders are made.
        sha256: SHA-256 of the content in hexadecimal, after unpacking if the file is gzipped: packed
            bytes may differ between mirrors.
        size: Length of that content in bytes; a server that sends more is cut off.
        timeout: Seconds a server may be silent.
        remedy: What the error advises. Default: to put the file there by hand.

    Returns:
        `path`.

    Raises:
        ValueError: An address is neither http nor https.
        DownloadError: No address served the file (the message says what each did), or it could not be
            stored.

    Example:
        >>> import hashlib, pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder) / "words.txt"
        ...     _ = file.write_bytes(b"there already")
        ...     digest = hashlib.sha256(b"there already").hexdigest()
        ...     download(["https://example.org/words.txt"], file, sha256=digest, size=13) == file
        True
    """
    path = Path(path)
    remedy = remedy or f"Check the connection and call again, or put the file at {path} by hand."
    for url in urls:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"download: expected an http or https address, got {url!r}. Write it in full.")
    if path.is_file():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone_in(path.parent):
            if not path.is_file():  # brought by another process meanwhile
                _from_any(urls, path, sha256, size, timeout, remedy)
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(
            f"download: expected to store {path.name} in {path.parent}, got {error.strerror or error}. "
            f"Make room or permit writing there. {remedy}"
        ) from error
    return path


def _from_any(urls: Sequence[str], path: Path, sha256: str, size: int, timeout: float, remedy: str) -> None:
    part = path.with_name(path.name + ".part")
    failures = []
    for url in urls:
        try:
            _fetch(url, part, sha256, size, timeout)
        except _ServerError as error:
            failures.append(f"{error} from {url}")
        else:
            part.replace(path)
            return
    raise DownloadError(
        f"download: expected {path.name} with SHA-256 {sha256}, got {'; '.join(failures) or 'no address'}. {remedy}"
    )


def _fetch(url: str, part: Path, sha256: str, size: int, timeout: float) -> None:
    """Leaves the verified file at `part`, or raises; a part that turned out wrong is removed."""
    while True:
        start = part.stat().st_size if part.exists() else 0
        _transfer(url, part, start, size, timeout)
        if content_is(part, sha256, size):
            return
        part.unlink()
        # What was there before may have been stale or from a mirror that packs differently.
        if not start:
            raise _ServerError("content with another SHA-256 (removed)")


def _transfer(url: str, part: Path, start: int, size: int, timeout: float) -> None:
    """Appends to `part`, which has `start` bytes, what the server has beyond them."""
    headers = {"User-Agent": "purenet", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:  # nothing lies beyond: the part is whole, or wrong
            return
        raise _ServerError(f"HTTP {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _ServerError(_reason(error)) from error
    with response:
        start = _accepted_start(response, start)
        with part.open("ab" if start else "wb") as file, _bar(part, start, response.length) as bar:
            for block in _blocks(response, start, size):
                file.write(block)
                bar.update(len(block))
            file.flush()
            os.fsync(file.fileno())


def _accepted_start(response: Any, start: int) -> int:
    """Reads from the answer where its bytes begin: servers may ignore a range."""
    answered = response.headers.get("Content-Range", "")
    return start if response.status == 206 and answered.startswith(f"bytes {start}-") else 0


def _blocks(response: Any, start: int, size: int) -> Iterator[bytes]:
    """Yields what the server sends, and raises where it stops early."""
    # Deflate stores what it cannot pack at five bytes per 16 KiB, behind a header with a file name.
    limit = size + size // 1000 + 4096
    total = None if response.length is None else start + response.length
    while True:
        try:
            block: bytes = response.read1(_BLOCK)  # what has arrived, so that a break loses none of it
        except (OSError, http.client.HTTPException) as error:
            raise _ServerError(f"{_reason(error)} after {start} bytes (kept; the next call resumes)") from error
        if not block:
            break
        start += len(block)
        if start > limit:  # too much to be right; the check sum will say so
            return
        yield block
    if total is not None and start != total:
        raise _ServerError(f"an end after {start} of {total} bytes (kept; the next call resumes)")


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    return str(getattr(cause, "strerror", None) or cause or type(cause).__name__)


def _bar(part: Path, start: int, remaining: int | None) -> Any:
    total = None if remaining is None else start + remaining
    # disable=None keeps the bar to terminals.
    return tqdm(desc=part.stem, initial=start, total=total, unit="B", unit_scale=True, leave=False, disable=None)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Holds the folder's lock, which the system releases even if the process is killed.

    The lock file stays: removing it would let a third process lock a new one beside a waiting second.
    """
    import fcntl  # here, because only downloads need it and not every system has it

    with (folder / _LOCK).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
