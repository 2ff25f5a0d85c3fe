"""A layer stays the same function under jit, vmap and scan, for every key, and in every order of the examples."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purenet.check import leaves
from purenet.check.comparing import compare, compare_each, traced_again
from purenet.check.compiling import quick
from purenet.check.reports import LawResult, absent, attempt, verdict
from purenet.check.subjects import Given, like
from purenet.contract import Layer, Tree

EXACT, CLOSE = 0.0, 1e-9


class Runs:
    """A layer's four functions as one, run in several ways; what is compiled is compiled once."""

    def __init__(self, layer: Layer, given: list[Given], rng: np.random.Generator, tolerance: float):
        self.layer, self.given, self.tolerance = layer, [leaves.cast(one, None) for one in given], tolerance
        shapes = jax.eval_shape(lambda one: layer.forward(one.params, one.xs, one.state, one.key)[0], self.given[0])
        self.dys = [jnp.asarray(rng.normal(size=y.shape), y.dtype) for y in leaves.floats(shapes)]
        self.traces = 0
        self.jitted = jax.jit(self.counted)

    def everything(self, one: Given, dys: Any = None) -> dict[str, Any]:
        """What apply, forward, vjp and its pullback give."""
        layer, dys = self.layer, self.dys if dys is None else dys
        ys, learned, pullback = layer.vjp(one.params, one.xs, one.state, one.key)
        dparams, dxs = pullback(like(ys, dys))
        forwarded, state = layer.forward(one.params, one.xs, one.state, one.key)
        return {
            "apply": jax.vmap(lambda x: layer.apply(one.params, x, one.state))(one.xs),
            "forward": forwarded,
            "state": state,
            "vjp": ys,
            "state of vjp": learned,
            "dparams": leaves.floats(dparams),
            "dxs": leaves.floats(dxs),
        }

    def counted(self, one: Given, dys: Any) -> dict[str, Any]:
        """The same, counting how often JAX traces it."""
        self.traces += 1
        return self.everything(one, dys)

    def run(self, one: Given, dys: Any = None) -> dict[str, Any]:
        """Runs it compiled."""
        result: dict[str, Any] = self.jitted(one, self.dys if dys is None else dys)
        return result


def transform_laws(runs: Runs, heeds_key: bool) -> dict[str, Callable[[], LawResult]]:
    """The laws by name, each ready to run."""
    return {
        "jit": lambda: _jit(runs),
        "vmap": lambda: _vmap(runs),
        "scan": lambda: _scan(runs),
        "key": lambda: _key(runs, heeds_key),
        "retrace": lambda: _retrace(runs),
        "permutation": lambda: _permutation(runs, heeds_key),
    }


def _jit(runs: Runs) -> LawResult:
    eager = runs.everything(runs.given[0])
    failures, gap = compare("jit", eager, runs.run(runs.given[0]), runs.tolerance, "jit changes what it computes.")
    return verdict("jit", failures, gap, "compiled against operation by operation")


def _vmap(runs: Runs) -> LawResult:
    together = quick(jax.vmap(runs.everything))(leaves.stacked(runs.given[:2]))
    return _like_a_loop(runs, "vmap", together, "vmap over networks is not a loop over them.")


def _scan(runs: Runs) -> LawResult:
    def scanned(many: Given) -> Any:
        return jax.lax.scan(lambda carry, one: (carry, runs.everything(one)), None, many)[1]

    together = quick(scanned)(leaves.stacked(runs.given[:2]))
    return _like_a_loop(runs, "scan", together, "Inside lax.scan it computes something else.")


def _like_a_loop(runs: Runs, law: str, together: Tree, reason: str) -> LawResult:
    alone = map(runs.run, runs.given[:2])
    return compare_each(law, alone, together, runs.tolerance, reason, "two networks against each alone")


def _key(runs: Runs, heeds_key: bool) -> LawResult:
    one = runs.given[0]
    once, again = runs.everything(one), runs.everything(one)
    failures, _ = compare("key", once, again, EXACT, "The same key gives other numbers: something else is random.")
    if not failures:
        failures, _ = compare("key", runs.run(one), runs.run(one), EXACT, "The same key gives other numbers.")
    other = one._replace(key=jax.random.fold_in(one.key, 7))
    asked = {"apply": runs.run(one)["apply"]}, {"apply": runs.run(other)["apply"]}
    failures += compare("key", *asked, EXACT, "Inference depends on the key of training.")[0]
    note = "same key, same bits; another key, other values" if heeds_key else "nothing is random"
    return verdict("key", failures, None, note)


def _retrace(runs: Runs) -> LawResult:
    for one in runs.given[:2]:
        runs.run(one)
    state = runs.given[0].state
    for _ in range(2):
        state = runs.run(runs.given[0]._replace(state=state))["state"]
    text = "Other values, or its own new state, made JAX trace it again: a dtype, shape or weak type changes."
    return verdict("retrace", traced_again(runs.traces, text), None, "other values, and the state fed back")


def _permutation(runs: Runs, heeds_key: bool) -> LawResult:
    one = runs.given[0]
    batch = len(jax.tree.leaves(one.xs)[0])
    if heeds_key:
        return absent("permutation", "the examples draw from one key")
    if batch < 2:
        return absent("permutation", "one example has one order")
    order = np.roll(np.arange(batch), 1)
    plain = runs.run(one)
    moved = runs.run(one._replace(xs=jax.tree.map(lambda a: a[order], one.xs)), [dy[order] for dy in runs.dys])
    back = np.argsort(order)
    for name in ("apply", "forward", "vjp", "dxs"):
        moved[name] = jax.tree.map(lambda a: a[back], moved[name])
    text = "Another order of the examples gives another result: they are mixed up, or their order counts."
    failures, gap = compare("permutation", plain, moved, runs.tolerance, text)
    return verdict("permutation", failures, gap, "examples and their cotangents in another order")


def run_laws(laws: dict[str, Callable[[], LawResult]], wanted: tuple[str, ...]) -> list[LawResult]:
    """Runs those that are wanted."""
    return [attempt(name, law) for name, law in laws.items() if name in wanted]
