"""Which line of the user's made an operation, and what the user calls its result."""

import ast
import functools
import importlib.util
import linecache
import pathlib
import sysconfig
from collections.abc import Iterator
from types import CodeType
from typing import Any, NamedTuple


def _folder(package: str) -> str:
    found = importlib.util.find_spec(package)
    return str(pathlib.Path(found.origin).parent) if found and found.origin else "<absent>"


_HOME = _folder("purenet")
# What stands between a user's line and the operation. An installed package of the user's own counts as the user's.
_PACKAGES = (
    "jax",
    "jaxlib",
    "numpy",
    "scipy",
    "optax",
    "chex",
    "flax",
    "haiku",
    "equinox",
    "lineax",
    "optimistix",
    "diffrax",
)
_LIBRARIES = (_HOME, *map(_folder, _PACKAGES))
_PYTHON = sysconfig.get_paths()["stdlib"]
_GENERATED = ("<frozen", "<__array_function__", "<attrs generated", "<string>")


class Source(NamedTuple):
    """A place in somebody's program.

    Attributes:
      file: the file's name.
      line: the line's number, from 1; 0 if it is not known.
      function: the function that it stands in.
      text: the line itself, or the lines of the whole expression, without indentation; empty if it cannot be read.
      code: the expression that made the operation, as the user wrote it; empty if it cannot be told.
      name: what the user calls the expression's value, if a statement gives it a name.
      returned: whether the function gives back the expression's value.
    """

    file: str = ""
    line: int = 0
    function: str = ""
    text: str = ""
    code: str = ""
    name: str = ""
    returned: bool = False

    @property
    def place(self) -> str:
        """File and line, the file without its folders."""
        return f"{pathlib.PurePath(self.file).name}:{self.line}" if self.line else ""


def source_of(eqn: Any) -> Source | None:
    """Finds the innermost line of the user's own that made an operation; None if all of it is a library's."""
    for code, at in _frames(eqn):
        if not is_library(code.co_filename):
            return _source(code, at)
    return None


def library_source_of(eqn: Any) -> Source | None:
    """Finds the innermost line of purenet's that made an operation."""
    for code, at in _frames(eqn):
        if _is_in(code.co_filename, _HOME) and not code.co_filename.endswith(("contract.py", "recording.py")):
            return _source(code, at)
    return None


def is_library(file: str) -> bool:
    """Tells whether a file belongs to JAX, purenet, those that they stand on, or Python itself."""
    if file.startswith(_GENERATED) or any(_is_in(file, folder) for folder in _LIBRARIES):
        return True
    return _is_in(file, _PYTHON) and "-packages" not in file


def _is_in(file: str, folder: str) -> bool:
    return file.startswith((folder + "/", folder + "\\"))


def _frames(eqn: Any) -> Iterator[tuple[CodeType, int]]:
    """Code and instruction, from the inside out."""
    traceback = getattr(eqn.source_info, "traceback", None)
    return iter(()) if traceback is None else zip(*traceback.raw_frames(), strict=True)


@functools.lru_cache(maxsize=4096)
def _source(code: CodeType, at: int) -> Source:
    positions = list(code.co_positions())
    line, last, start, stop = positions[at // 2] if at // 2 < len(positions) else (None, None, None, None)
    if line is None:
        return Source(code.co_filename, 0, code.co_qualname)
    lines = tuple(linecache.getlines(code.co_filename))
    text = " ".join(part.strip() for part in lines[line - 1 : max(line, last or line)])
    where = (line, start, last, stop)
    found = _expressions(lines).get(where, ("", False)) if None not in where else ("", False)
    return Source(code.co_filename, line, code.co_qualname, text, _cut(lines, where), *found)


def _cut(lines: tuple[str, ...], where: tuple[int | None, ...]) -> str:
    """The characters of an expression; positions count bytes."""
    line, start, last, stop = where
    if line is None or start is None or last is None or stop is None or last > len(lines):
        return ""
    part = [text.encode() for text in lines[line - 1 : last]]
    part[-1] = part[-1][:stop]
    part[0] = part[0][start:]
    return " ".join(piece.decode(errors="replace").strip() for piece in part)


@functools.lru_cache(maxsize=64)
def _expressions(lines: tuple[str, ...]) -> dict[tuple[int | None, ...], tuple[str, bool]]:
    """Where a file's named or returned expressions stand: their names, and whether they are returned."""
    try:
        tree = ast.parse("".join(lines))
    except SyntaxError:  # a notebook's cell with commands in it
        return {}
    found: dict[tuple[int | None, ...], tuple[str, bool]] = {}
    for node in ast.walk(tree):
        for target, value in _bindings(node):
            where = (value.lineno, value.col_offset, value.end_lineno, value.end_col_offset)
            found[where] = (target, isinstance(node, (ast.Return, ast.Lambda)))
    return found


def _bindings(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """The names that a statement gives to values."""
    if isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr)) and node.value is not None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if len(targets) == 1 and isinstance(targets[0], ast.Name):
            yield targets[0].id, node.value
        elif isinstance(targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple):
            for target, value in zip(targets[0].elts, node.value.elts, strict=False):
                if isinstance(target, ast.Name):
                    yield target.id, value
    elif isinstance(node, ast.Return) and node.value is not None:
        yield "", node.value
    elif isinstance(node, ast.Lambda):
        yield "", node.body
