"""What a converter is made of: codecs, one for each kind of layer, and a dialect, the names another library gives."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from purenet.contract import Layer, Tree
from purenet.errors import StructureError, describe

Key = tuple[Any, ...]
Arrays = dict[Any, Any]


class Hint(NamedTuple):
    """What params do not tell about a layer.

    Attributes:
      order: where each feature that the other library sees stands among ours; None where all stand the same.
      level: the number of the recurrent layer in a stack of them.
      reverse: whether it runs against time.
      heads: the number of heads of attention, or None.
    """

    order: np.ndarray | None = None
    level: int = 0
    reverse: bool = False
    heads: int | None = None


class Codec(NamedTuple):
    """How one kind of layer is written in another library.

    Attributes:
      write: `(params, state, hint) -> arrays` under the keys of the other library's layer.
      read: `(arrays, params, state, hint) -> (params, state)`; what comes are arrays of the keys and shapes that
        `write` gives, and our specs.
      fixed: `(params, hint) -> arrays` that the other library keeps and we have not: written, and refused if another.
      ignored: keys that say nothing about the function, and are written as 0.
    """

    write: Callable[[Tree, Tree, Hint], Arrays]
    read: Callable[[Arrays, Tree, Tree, Hint], tuple[Tree, Tree]]
    fixed: Callable[[Tree, Hint], Arrays] = lambda params, hint: {}
    ignored: tuple[Key, ...] = ()


class Dialect(NamedTuple):
    """How another library names what is in a network.

    Attributes:
      library: its name.
      codecs: by the names of our layers.
      branches: `(name, parts, prefix, hint) -> [(prefix, hint), …]` of a layer made of parts, one for each.
      spell: `(prefix, key) -> key` of the whole dictionary.
      show: writes such a key for people.
      parse: makes a prefix of what a user wrote in `names`.
    """

    library: str
    codecs: Mapping[str, Codec]
    branches: Callable[[str, tuple[Layer, ...], Key, Hint], list[tuple[Key, Hint]]]
    spell: Callable[[Key, Key], Any]
    show: Callable[[Any], str]
    parse: Callable[[str], Key]


Turn = Callable[[Any, Hint], Any]


class Field(NamedTuple):
    """One array of ours that is one array of theirs.

    Attributes:
      ours: its name in params or state.
      theirs: its key there.
      out: `(array, hint) -> array`, to theirs.
      back: the inverse.
      of_state: whether it stands in our state.
    """

    ours: str
    theirs: Key
    out: Turn
    back: Turn
    of_state: bool = False


def by_fields(*fields: Field, fixed: Any = None, ignored: tuple[Key, ...] = ()) -> Codec:
    """Makes the codec of a layer whose arrays correspond one by one; those that ours has not are left out."""

    def write(params: Tree, state: Tree, hint: Hint) -> Arrays:
        return {f.theirs: f.out(side[f.ours], hint) for f, side in _present(fields, params, state)}

    def read(given: Arrays, params: Tree, state: Tree, hint: Hint) -> tuple[Tree, Tree]:
        made: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
        for f, _ in _present(fields, params, state):
            made[f.of_state][f.ours] = f.back(given[f.theirs], hint)
        return tuple(one if isinstance(like, dict) else like for one, like in zip(made, (params, state), strict=True))  # type: ignore[return-value]

    return Codec(write, read, fixed or (lambda params, hint: {}), ignored)


def _present(fields: tuple[Field, ...], params: Tree, state: Tree) -> list[tuple[Field, Any]]:
    """The fields that a layer has, after refusing params and state with others."""
    for what, tree, known in (
        ("params", params, [f.ours for f in fields if not f.of_state]),
        ("state", state, [f.ours for f in fields if f.of_state]),
    ):
        expect_names(what, tree, known)
    return [
        (f, state if f.of_state else params)
        for f in fields
        if isinstance(state if f.of_state else params, dict) and f.ours in (state if f.of_state else params)
    ]


def expect_names(what: str, tree: Tree, known: list[str]) -> None:
    """Raises unless a layer's params or state are nothing, or a dict with names among the known ones."""
    if tree is None and what == "state" and known:
        raise StructureError("expected state with the running statistics, got none. Pass the one that training made.")
    if tree is None or (isinstance(tree, (tuple, dict)) and not tree and what == "state" and not known):
        return
    if isinstance(tree, tuple) and not tree and what == "params":
        return
    if not isinstance(tree, dict) or not set(tree) <= set(known):
        came = f"a dict of {sorted(tree)}" if isinstance(tree, dict) else describe(tree)
        raise StructureError(
            f"expected {what} to be a dict with names among {known}, got {came}. "
            f"Pass the {what} that this network's init or training made."
        )


def same(a: Any, hint: Hint) -> Any:
    """As it is."""
    return a


def keep(ours: str, theirs: Key, *, of_state: bool = False) -> Field:
    """A field that is the same on both sides."""
    return Field(ours, theirs, same, same, of_state)


def features_out(a: Any, hint: Hint) -> Any:
    """Puts features, the first axis, into the other library's order."""
    return a if hint.order is None else a[hint.order]


def features_back(a: Any, hint: Hint) -> Any:
    """Puts features, the first axis, back into our order."""
    return a if hint.order is None else a[np.argsort(hint.order)]


def zeros_like(tree: Any) -> Any:
    """An array of zeros for a spec, which takes no memory."""
    return np.broadcast_to(np.zeros((), tree.dtype), tree.shape)
