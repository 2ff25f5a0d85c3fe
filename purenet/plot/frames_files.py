"""Where a report or a film goes: checked before the work, and written in one step after it."""

import os
import pathlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from purenet.errors import ShapeError, StructureError, describe


def expect_path(caller: str, path: Any, suffixes: tuple[str, ...] = ()) -> pathlib.Path:
    """Takes a path to a file that can be written.

    Args:
      caller: the function's name, for errors that are not purenet's own.
      path: a string or a path.
      suffixes: one of which it must end in; any, if there is none.

    Returns:
      The path.

    Raises:
      StructureError: if it is no path.
      ShapeError: for another suffix.
      FileNotFoundError: if its folder does not exist.
      IsADirectoryError: if it is a folder.
    """
    if not isinstance(path, (str, os.PathLike)) or not isinstance(os.fspath(path), str) or not os.fspath(path):
        raise StructureError(f"expected path to be that of a file, got {describe(path)}. Give a str or a pathlib.Path.")
    target = pathlib.Path(path)
    if suffixes and target.suffix.lower() not in suffixes:
        raise ShapeError(f"expected path to end in {' or '.join(suffixes)}, got {target.name!r}. Name the file so.")
    if target.is_dir():
        raise IsADirectoryError(f"{caller}: expected path to be a file, got the folder {target}. Name a file in it.")
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"{caller}: expected a folder that exists, got {target.parent}. Make it with os.makedirs."
        )
    return target


def expect_title(title: Any) -> str | None:
    """Takes a title, or None."""
    if title is not None and not isinstance(title, str):
        raise StructureError(f"expected title to be a text, got {describe(title)}. Give a str.")
    return title or None


@contextmanager
def written(target: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a draft to write, which takes the place of `target` at the end of the block, or goes if that fails.

    Args:
      target: the file that is to be.

    Yields:
      A new file beside it, with the same suffix.
    """
    draft = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")
    draft.touch(exist_ok=False)
    try:
        yield draft
        os.replace(draft, target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
