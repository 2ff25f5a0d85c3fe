"""MNIST: 70,000 handwritten digits."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from purenet.data.downloading import download
from purenet.data.errors import DataError
from purenet.data.idx_files import read_idx

Examples = tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]


class _File(NamedTuple):
    """A file's name, and the length and SHA-256 of what it holds unpacked."""

    name: str
    size: int
    sha256: str


_MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
_FILES = (
    _File(
        "train-images-idx3-ubyte",
        47_040_016,
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    _File(
        "train-labels-idx1-ubyte",
        60_008,
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    _File(
        "t10k-images-idx3-ubyte",
        7_840_016,
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    _File(
        "t10k-labels-idx1-ubyte",
        10_008,
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)
_AGAIN = "Remove the file and download it again."


def mnist(path: str | os.PathLike[str] | None = None) -> tuple[Examples, Examples]:
    """Reads MNIST, 60,000 digits to train on and 10,000 to test with, downloading it if need be.

    The four files are those of the original: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`,
    `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`, each with or without `.gz`. Where both are
    there the `.gz` is read, since it carries a check sum.

    Args:
        path: A folder that holds the four; nothing is downloaded into it. Any number of examples is
            accepted, so sets in the same format with labels 0..9 (Fashion-MNIST) load too. Default: the
            subfolder `mnist` of the folder named by the environment variable PURENET_DATA, else
            `purenet/mnist` in XDG_CACHE_HOME or `~/.cache`; what is missing there is downloaded and
            checked against its SHA-256.

    Returns:
        `(train, test)`, each `(images, labels)`: float32 in 0..1 of shape (n, 28, 28), white on black, and
        int32 in 0..9 of shape (n,).

    Raises:
        FileNotFoundError: `path` lacks one of the files, or is not a folder.
        DataError: A file is damaged, or holds other types, shapes, counts or labels.
        DownloadError: A file could not be downloaded.

    References:
        Y. LeCun, L. Bottou, Y. Bengio, P. Haffner (1998), Gradient-based learning applied to document
        recognition, Proceedings of the IEEE 86 (11).

    Example:
        >>> import pathlib, tempfile
        >>> images = bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 28, 0, 0, 0, 28]) + bytes([255] * 784)
        >>> labels = bytes([0, 0, 8, 1, 0, 0, 0, 1, 7])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for part in ("train", "t10k"):
        ...         _ = pathlib.Path(folder, f"{part}-images-idx3-ubyte").write_bytes(images)
        ...         _ = pathlib.Path(folder, f"{part}-labels-idx1-ubyte").write_bytes(labels)
        ...     (xs, ys), test = mnist(folder)
        >>> xs.shape, float(xs.max()), ys
        ((1, 28, 28), 1.0, array([7], dtype=int32))
    """
    if path is None:
        folder = _default_folder()
        _complete(folder)
    else:
        folder = Path(path).expanduser()
    train_images, train_labels, test_images, test_labels = (_find(folder, file.name) for file in _FILES)
    return _read(train_images, train_labels), _read(test_images, test_labels)


def _default_folder() -> Path:
    if data := os.environ.get("PURENET_DATA"):
        return Path(data).expanduser() / "mnist"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "purenet" / "mnist"


def _present(folder: Path, name: str) -> Path | None:
    candidates = (folder / f"{name}.gz", folder / name)
    return next((file for file in candidates if file.exists()), None)


def _complete(folder: Path) -> None:
    names = ", ".join(f"{file.name}.gz" for file in _FILES)
    remedy = (
        f"Without a connection, put {names} into {folder} by hand, or set PURENET_DATA to a folder "
        "whose subfolder mnist holds them."
    )
    for file in _FILES:
        if _present(folder, file.name) is None:
            download(
                [f"{mirror}{file.name}.gz" for mirror in _MIRRORS],
                folder / f"{file.name}.gz",
                sha256=file.sha256,
                size=file.size,
                remedy=remedy,
            )


def _find(folder: Path, name: str) -> Path:
    if not folder.is_dir():
        got = "a file" if folder.exists() else "nothing"
        raise FileNotFoundError(
            f"mnist: expected a folder at {folder}, got {got} there. Name the folder that holds the four "
            "MNIST files, or call mnist() to download them."
        )
    file = _present(folder, name)
    if file is None:
        raise FileNotFoundError(
            f"mnist: expected {name}.gz or {name} in {folder}, got neither. Put the four MNIST files there, "
            "or call mnist() to download them."
        )
    return file


def _read(image_file: Path, label_file: Path) -> Examples:
    images, labels = read_idx(image_file), read_idx(label_file)
    _expect_layout(image_file, images, (28, 28), "(n, 28, 28)")
    _expect_layout(label_file, labels, (), "(n,)")
    if len(images) != len(labels):
        raise DataError(
            f"mnist: expected as many labels in {label_file} as images in {image_file}, got {len(labels)} "
            f"labels and {len(images)} images. Take both files from the same set."
        )
    if labels.max() > 9:
        index = int(np.argmax(labels > 9))
        raise DataError(f"mnist: expected labels 0..9 in {label_file}, got {labels[index]} at index {index}. {_AGAIN}")
    return np.divide(images, np.float32(255), dtype=np.float32), labels.astype(np.int32)


def _expect_layout(file: Path, array: npt.NDArray[Any], example: tuple[int, ...], shape: str) -> None:
    if array.dtype != np.uint8 or array.shape[1:] != example or array.ndim != 1 + len(example):
        raise DataError(
            f"mnist: expected uint8 of shape {shape} in {file}, got {array.dtype} of shape {array.shape}. "
            f"Check that images and labels are not exchanged. {_AGAIN}"
        )
