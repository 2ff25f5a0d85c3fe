"""Through a network, layer by layer: what another library calls it, what is written, and what is read back."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purenet.compose.parts import expect_parts, states_of
from purenet.contract import Layer, Spec, Tree
from purenet.convert.base import Arrays, Codec, Dialect, Hint, Key, zeros_like
from purenet.convert.orders import needs_spec, orders_of
from purenet.errors import ShapeError, StructureError, describe
from purenet.recording import joined


class Found(NamedTuple):
    """A layer with params or state of its own, and what it is called."""

    layer: Layer
    path: str
    prefix: Key
    hint: Hint


Visit = Callable[[Found, Tree, Tree], tuple[Tree, Tree]]


class Walk:
    """A walk through a network under the names of another library."""

    def __init__(self, dialect: Dialect, names: Mapping[str, str] | None, orders: Mapping[str, Any], heads: Any):
        self.dialect, self.orders, self.heads = dialect, orders, heads
        self.names = _checked_names(names)
        self.unused = set(self.names)
        self.prefixes: dict[Layer, Key] = {}

    def through(self, net: Layer, params: Tree, state: Tree, visit: Visit) -> tuple[Tree, Tree]:
        """Visits every layer that has something to convert, and builds params and state of what the visits give."""
        result = self._go(net, params, state, visit, "", "", (), Hint(heads=self.heads))
        if self.unused:
            raise ShapeError(
                f"expected names of places in the network, got {sorted(self.unused)}. A place is the numbers of the "
                "parts on the way to it, '2.0' for what errors call serial[2].residual[0]."
            )
        return result

    def _go(
        self, layer: Layer, params: Tree, state: Tree, visit: Visit, place: str, outer: str, prefix: Key, hint: Hint
    ) -> tuple[Tree, Tree]:
        path = joined(outer, layer.name)
        if place in self.names:
            self.unused.discard(place)
            prefix, hint = self.dialect.parse(self.names[place]), Hint(heads=self.heads)
        self.prefixes[layer] = prefix
        if layer.owner is not None or (not layer.parts and not jax.tree.leaves((params, state))):
            if layer.owner is not None:
                visit(Found(layer, path, prefix, Hint()), params, state)
            return params, state
        if not layer.parts:
            return visit(Found(layer, path, prefix, hint._replace(order=self.orders.get(path))), params, state)
        if layer.name in ("weight_norm", "spectral_norm"):
            raise unknown(self.dialect, layer, path)
        _expect_entries(path, params, layer.parts)
        if layer.name == "repeat":
            return self._repeated(layer, params, state, visit, place, path, prefix, hint)
        branches = self.dialect.branches(layer.name, layer.parts, prefix, hint)
        made = [
            self._go(part, params[i], one, visit, _inner(place, i), f"{path}[{i}]", *branches[i])
            for i, (part, one) in enumerate(zip(layer.parts, states_of(layer.parts, state), strict=True))
        ]
        return _both(made)

    def _repeated(
        self, layer: Layer, params: Tree, state: Tree, visit: Visit, place: str, path: str, prefix: Key, hint: Hint
    ) -> tuple[Tree, Tree]:
        """Each repetition is a part of its own there; its place in `names` is its number."""
        inside, part = states_of(layer.parts, state)[0], layer.parts[0]
        (times,) = {leaf.shape[0] for leaf in jax.tree.leaves((params[0], inside))} or {0}
        branches = self.dialect.branches("serial", (part,) * times, prefix, hint)
        made = []
        for i in range(times):
            param, one = (jax.tree.map(lambda a, i=i: a[i], tree) for tree in (params[0], inside))
            made.append(self._go(part, param, one, visit, _inner(place, i), f"{path}[0]", *branches[i]))
        if not made:
            return params, state
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *made)
        return (stacked[0],), (stacked[1],)


def write(net: Layer, params: Tree, state: Tree, walk: Walk) -> Arrays:
    """Gives all that the network holds under the other library's keys."""
    arrays, _ = _written(net, jax.tree.map(np.asarray, (params, state)), walk)
    return {key: np.array(a, order="C") for key, a in arrays.items()}


def read(net: Layer, given: Arrays, made: tuple[Tree, Tree], walk: Walk) -> tuple[Tree, Tree]:
    """Gives params and state from what another library holds, after refusing what does not fit to the last key."""
    dialect = walk.dialect
    blank = jax.tree.map(zeros_like, made)
    wanted, notes = _written(net, blank, walk)
    _expect_keys(given, wanted, notes, dialect)
    for key, a in given.items():
        if key in wanted and key not in notes.ignored:
            _expect_same_kind(key, a, wanted[key], notes, dialect)
    taken = {key: np.asarray(a) for key, a in given.items()}

    def take(found: Found, params: Tree, state: Tree) -> tuple[Tree, Tree]:
        if found.layer.owner is not None:
            return params, state
        codec = dialect.codecs[found.layer.name]
        keys = codec.write(params, state, found.hint)
        own = {key: taken[dialect.spell(found.prefix, key)] for key in keys}
        return codec.read(own, params, state, found.hint)

    params, state = walk.through(net, blank[0], blank[1], take)
    for key, tied in notes.tied.items():
        if key in taken and not _equal(taken[key], taken[tied]):
            raise ShapeError(
                f"expected {dialect.show(key)} to be {dialect.show(tied)}, to which {notes.where[key]} is tied, got "
                "other numbers. Use a dense layer for weights that are not tied."
            )
    return jax.tree.map(jnp.asarray, params), jax.tree.map(jnp.asarray, state)


class _Notes(NamedTuple):
    where: dict[Any, str]
    fixed: dict[Any, Any]
    ignored: set[Any]
    tied: dict[Any, Any]


def _written(net: Layer, trees: tuple[Tree, Tree], walk: Walk) -> tuple[Arrays, _Notes]:
    arrays: Arrays = {}
    notes = _Notes({}, {}, set(), {})
    dialect = walk.dialect

    def put(found: Found, key: Key, array: Any) -> Any:
        whole = dialect.spell(found.prefix, key)
        if whole in arrays:
            raise ShapeError(
                f"expected a key for every array, got {dialect.show(whole)} for both {notes.where[whole]} and "
                f"{found.path}. Give each of them a prefix of its own by names."
            )
        arrays[whole], notes.where[whole] = array, found.path
        return whole

    def visit(found: Found, params: Tree, state: Tree) -> tuple[Tree, Tree]:
        owner = found.layer.owner
        if owner is not None:
            later.append(found)
            return params, state
        codec = codec_of(dialect, found)
        try:
            own, fixed = codec.write(params, state, found.hint), codec.fixed(params, found.hint)
        except (ShapeError, StructureError) as error:
            error.purenet_path = found.path  # type: ignore[union-attr]
            raise
        for key, array in own.items():
            put(found, key, array)
        for key, array in fixed.items():
            whole = put(found, key, array)
            notes.fixed[whole] = array
            if key in codec.ignored:
                notes.ignored.add(whole)
        return params, state

    later: list[Found] = []
    walk.through(net, trees[0], trees[1], visit)
    for found in later:
        if dialect.library == "PyTorch" and found.layer.owner is not None:
            table = dialect.spell(walk.prefixes[found.layer.owner], ("weight",))
            whole = put(found, ("weight",), arrays[table])
            notes.tied[whole] = table
    return arrays, notes


def codec_of(dialect: Dialect, found: Found) -> Codec:
    """Gives the codec of a layer, or raises if the other library has no such layer."""
    if found.layer.name not in dialect.codecs:
        raise unknown(dialect, found.layer, found.path)
    return dialect.codecs[found.layer.name]


def unknown(dialect: Dialect, layer: Layer, path: str) -> StructureError:
    """Makes the error for a layer without counterpart."""
    return StructureError(
        f"expected layers that {dialect.library} has, too, got {layer.name} at {path}. Convert the parts around it by "
        "themselves, such as net.parts[0] with params[0], and this one by hand."
    )


def orders(net: Layer, made: tuple[Tree, Tree] | None, spec: Spec) -> Mapping[str, Any]:
    """Gives the order of features behind every flatten, for which the spec is needed."""
    if made is None:
        if needs_spec(net):
            raise StructureError(
                "expected spec for a network with flatten, reshape or functions of your own, got None. PyTorch has "
                "channels first: give the spec of one example, so that the rows of the next kernel find their places."
            )
        return {}
    return orders_of(net, *made, spec) if needs_spec(net) else {}


def _expect_keys(given: Arrays, wanted: Arrays, notes: _Notes, dialect: Dialect) -> None:
    optional = set(notes.fixed) | set(notes.tied)
    missing = [key for key in wanted if key not in given and key not in optional]
    unused = [key for key in given if key not in wanted]
    if missing:
        others = f", but {_listed(unused, dialect)}, which nothing asks for" if unused else ""
        raise StructureError(
            f"expected the key {dialect.show(missing[0])} for {notes.where[missing[0]]}, got a dictionary without it"
            f"{others}. Give the prefixes of this network's places in names, or another network."
        )
    if unused:
        raise StructureError(
            f"expected only keys that the network has places for, got {_listed(unused, dialect)}. "
            "Take what belongs to other layers out of the dictionary, or give the prefixes in names."
        )


def _expect_same_kind(key: Any, a: Any, wanted: Any, notes: _Notes, dialect: Dialect) -> None:
    shown, where = dialect.show(key), notes.where[key]
    if not isinstance(a, (np.ndarray, np.generic, jax.Array)):
        raise StructureError(
            f"expected a NumPy array at {shown}, got {describe(a)} of {type(a).__module__}. Convert all of them, as "
            "with {k: v.numpy(force=True) for k, v in model.state_dict().items()} for PyTorch."
            if dialect.library == "PyTorch"
            else f"expected an array at {shown}, got {describe(a)}. Pass the arrays alone, as nnx.to_pure_dict does."
        )
    if tuple(a.shape) != tuple(wanted.shape):
        raise ShapeError(
            f"expected {shown} of shape {tuple(wanted.shape)} for {where}, got {tuple(a.shape)}. "
            "Use the network, and the spec, that these weights belong to."
        )
    if a.dtype != wanted.dtype:
        raise StructureError(
            f"expected {shown} of dtype {wanted.dtype}, that of {where} with this spec, got {a.dtype}. "
            "Cast the array with astype, or give a spec of the other dtype."
        )
    if key in notes.fixed and not _equal(a, notes.fixed[key]):
        constant = "ones" if np.all(np.asarray(notes.fixed[key]) == 1) else "zeros"
        raise ShapeError(
            f"expected {shown} to be all {constant}, as {where} has no such parameter, got other numbers. "
            "Use a layer that has it."
        )


def _equal(a: Any, b: Any) -> bool:
    return bool(np.array_equal(np.asarray(a), np.asarray(b), equal_nan=True))


def _listed(keys: Iterable[Any], dialect: Dialect) -> str:
    shown = [dialect.show(key) for key in keys]
    return ", ".join(shown[:4]) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "")


def _expect_entries(path: str, params: Tree, parts: tuple[Layer, ...]) -> None:
    try:
        expect_parts("params", params, parts)
    except StructureError as error:
        error.purenet_path = path  # type: ignore[attr-defined]
        raise


def _checked_names(names: Any) -> dict[str, str]:
    if names is None:
        return {}
    if not isinstance(names, Mapping):
        raise StructureError(f"expected names to be a dict, got {describe(names)}. Give such as {{'0.0': 'encoder'}}.")
    for place, prefix in names.items():
        if not isinstance(place, str) or not isinstance(prefix, str):
            raise StructureError(
                f"expected names of places and prefixes that are strings, got {place!r}: {prefix!r}. "
                "Give such as {'0.0': 'encoder'}."
            )
    return dict(names)


def _inner(place: str, i: int) -> str:
    return f"{place}.{i}" if place else str(i)


def _both(made: list[tuple[Tree, Tree]]) -> tuple[Tree, Tree]:
    params, states = zip(*made, strict=True)
    return params, states
