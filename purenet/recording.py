"""Listening to a network: while someone records, every call of a layer goes through their hands, with its place.

Layers stay pure functions: without a recorder a call costs one look, while JAX traces, and nothing in the compiled
program. A recorder belongs to its context (`contextvars`): other threads do not see it. What JAX has compiled or traced
before, such as the inside of a `jax.jit`, is not called again and not seen; so record around plain functions.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Any, NamedTuple


class Call(NamedTuple):
    """One call of a layer.

    Attributes:
      path: the layer's place, such as `serial[1].residual[0].dense`.
      kind: `apply`, `forward` or `vjp`.
      args: what the layer is called with: `(params, x, state)` for `apply`, else `(params, xs, state, key)`.
    """

    path: str
    kind: str
    args: tuple[Any, ...]


Recorder = Callable[[Call, Callable[..., Any]], Any]

_recorder: ContextVar[Recorder | None] = ContextVar("purenet_recorder", default=None)
_place: ContextVar[str] = ContextVar("purenet_place", default="")


@contextmanager
def recording(recorder: Recorder) -> Iterator[None]:
    """Hands every call of a layer to `recorder`, until the end of the block.

    Args:
      recorder: `(call, run) -> result`, which must call `run(*call.args)`, or with arguments like them, and return what
        it gives or the like. Layers in layers are called while `run` runs.

    Yields:
      Nothing.
    """
    recorder_before, place_before = _recorder.set(recorder), _place.set("")
    try:
        yield
    finally:
        _recorder.reset(recorder_before)
        _place.reset(place_before)


def record(kind: str, function: Callable[..., Any], *args: Any) -> Any:
    """Calls a layer's function, through the recorder if there is one."""
    recorder = _recorder.get()
    return function(*args) if recorder is None else recorder(Call(_place.get(), kind, args), function)


def enter(place: str) -> Token[str] | None:
    """Goes one place further in, if someone records."""
    return None if _recorder.get() is None else _place.set(joined(_place.get(), place))


def leave(token: Token[str] | None) -> None:
    """Goes back to where the token was made."""
    if token is not None:
        _place.reset(token)


def joined(outer: str, inner: str) -> str:
    """Puts two paths together, such as `serial`, `[2]` and `dense` to `serial[2].dense`."""
    return outer + ("" if not outer or not inner or inner.startswith("[") else ".") + inner
