"""What tracing alone shows of a layer: dtypes, trees, and shapes that must not broadcast."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purenet.check import leaves
from purenet.check.comparing import unlike
from purenet.check.reports import Failure, LawResult, absent, verdict
from purenet.check.subjects import Given, like
from purenet.contract import Layer, Spec, Tree, spec_of

FORMATS = (jnp.float32, jnp.bfloat16, jnp.float16, jnp.float64)


def dtype_law(layer: Layer, one: Given, wide: bool) -> LawResult:
    """Whatever floating dtype comes, that dtype leaves: outputs, gradients and params of `init`.

    Where `wide` is false the session has no float64, and what a layer makes without a dtype is float32 there.
    """
    failures: list[Failure] = []
    refused = []
    for dtype in FORMATS:
        given = leaves.widened(one._replace(state=()), dtype)._replace(state=one.state)
        try:
            with jax.enable_x64(wide or dtype == jnp.float64):
                out = _run(layer, given._replace(state=_state(layer, given)))
        except Exception as error:
            text = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}".rstrip(": ")
            if jnp.finfo(dtype).bits == 16 and type(error).__name__ != "TypePromotionError":
                refused.append(str(np.dtype(dtype)))  # aloud, as operations do that have no such format
                continue
            failures.append(Failure("dtype", "", None, f"a result in {np.dtype(dtype)}", "an error", text))
            continue
        for path, leaf in leaves.entries(**out):
            if leaves.is_float(leaf) and leaf.dtype != dtype:
                reason = f"The dtype changes silently, for inputs and params in {np.dtype(dtype)}."
                failures.append(Failure("dtype", path, None, str(np.dtype(dtype)), str(leaf.dtype), reason))
    note = "float32, bfloat16, float16, float64" + (f"; it raises for {' and '.join(refused)}" if refused else "")
    return verdict("dtype", failures[:3], None, note)


def _run(layer: Layer, one: Given) -> dict[str, Any]:
    def everything(one: Given) -> dict[str, Any]:
        ys, _, pullback = layer.vjp(one.params, one.xs, one.state, one.key)
        dparams, dxs = pullback(like(ys, [jnp.zeros(y.shape, y.dtype) for y in leaves.floats(ys)]))
        spec = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), one.xs)
        made = layer.init(jax.random.key(0), spec)[0] if leaves.floats(spec) else ()
        applied = jax.vmap(lambda x: layer.apply(one.params, x, one.state))(one.xs)
        return {
            "init": made,
            "apply": applied,
            "forward": layer.forward(one.params, one.xs, one.state, one.key)[0],
            "vjp": ys,
            "dparams": leaves.floats(dparams),
            "dx": leaves.floats(dxs),
        }

    result: dict[str, Any] = jax.eval_shape(everything, one)
    return result


def _state(layer: Layer, one: Given) -> Tree:
    """A state of the dtypes that `init` gives it for these inputs."""
    spec = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), one.xs)
    made = jax.eval_shape(lambda key: layer.init(key, spec)[1], jax.random.key(0))
    return jax.tree.map(lambda a, b: np.asarray(a).astype(b.dtype) if leaves.is_float(b) else a, one.state, made)


def tree_law(layer: Layer, one: Given) -> LawResult:
    """Gradients and the new state have structure, shapes and dtypes of params, inputs and state."""
    failures: list[Failure] = []

    def trees(one: Given) -> Any:
        ys, state, pullback = layer.vjp(one.params, one.xs, one.state, one.key)
        dparams, dxs = pullback(like(ys, [jnp.zeros(y.shape, y.dtype) for y in leaves.floats(ys)]))
        _, forwarded = layer.forward(one.params, one.xs, one.state, one.key)
        return {"dparams": dparams, "dxs": dxs, "state of vjp": state, "state of forward": forwarded}

    got = jax.eval_shape(trees, one)
    wanted = {"dparams": one.params, "dxs": one.xs, "state of vjp": one.state, "state of forward": one.state}
    for what, tree in wanted.items():
        made, expected = got[what], spec_of(jax.tree.map(jnp.asarray, tree))
        if jax.tree.leaves(made) or jax.tree.leaves(expected):
            failures += unlike("tree", what, made, expected, "Shape or dtype differs from what it belongs to.")
    return verdict("tree", failures, None, "gradients like params and inputs, new state like state")


def broadcast_law(layer: Layer, spec: Spec, params: Tree, state: Tree) -> LawResult:
    """An example of another shape than the params were made for raises, instead of being broadcast."""
    if not leaves.floats(params):
        return absent("broadcast", "it has no params that an example could fail to fit")
    failures, tried = [], 0
    made = spec_of(params)
    for path, wrong in misshapen("x", spec):
        if _fits_as_well(layer, wrong, made):
            continue  # such as a longer sequence, for which the same params are right
        tried += 1
        try:
            y = jax.eval_shape(layer.apply, params, wrong, state)
        except Exception:
            continue
        shapes = [leaf.shape for leaf in jax.tree.leaves(wrong)], [leaf.shape for leaf in jax.tree.leaves(y)]
        taken = ", ".join(map(str, shapes[0]))
        reason = (
            f"An example of shape {taken} was broadcast: raise, with `check=` of pn.layer (or skip=('broadcast',))."
        )
        failures.append(Failure("broadcast", path, None, "an error", f"outputs of shape {shapes[1]}", reason))
    return verdict("broadcast", failures[:2], None, f"{tried} wrong shapes")


def misshapen(name: str, spec: Spec) -> Iterator[tuple[str, Spec]]:
    """Specs with one leaf of a wrong shape: an axis too many, one too few, or of size 1."""
    all_leaves, structure = jax.tree.flatten(spec)
    for place, (path, leaf) in enumerate(leaves.entries(**{name: spec})):
        shapes = [(2, *leaf.shape), (*leaf.shape, 1)]
        shapes += [leaf.shape[1:]] if leaf.shape else []
        shapes += [(*leaf.shape[:i], 1, *leaf.shape[i + 1 :]) for i, n in enumerate(leaf.shape) if n > 1]
        for shape in shapes:
            changed = list(all_leaves)
            changed[place] = jax.ShapeDtypeStruct(shape, leaf.dtype)
            yield path, jax.tree.unflatten(structure, changed)


def _fits_as_well(layer: Layer, spec: Spec, made: Tree) -> bool:
    """Whether `init` makes the same params for this spec, so that it is none of those to refuse."""
    try:
        params, _ = jax.eval_shape(lambda key: layer.init(key, spec), jax.random.key(0))
    except Exception:
        return False
    if not leaves.alike(params, made):
        return False
    pairs = zip(jax.tree.leaves(params), jax.tree.leaves(made), strict=True)
    return all(a.shape == b.shape for a, b in pairs)
