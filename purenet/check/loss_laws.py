"""One loss under check: what is drawn for it, and every law on it."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purenet.check import leaves, points
from purenet.check.comparing import compare, compare_each, not_numbers, traced_again
from purenet.check.compiling import quick
from purenet.check.gradient_laws import Verdict, judge
from purenet.check.reports import CheckReport, Failure, LawResult, absent, attempt, verdict
from purenet.check.second_order import second_order_law
from purenet.check.shape_laws import FORMATS, misshapen
from purenet.check.subjects import coarsest, has_own_rule, loss_subject, stack_draws
from purenet.check.transform_laws import CLOSE, run_laws
from purenet.contract import Tree, spec_of
from purenet.errors import StructureError, describe
from purenet.losses.base import Loss
from purenet.streams import generator_of

GRADIENTS = ("hand rule", "autodiff", "kinks")
LAWS = (*GRADIENTS, "second order", "jit", "vmap", "scan", "retrace", "dtype", "broadcast", "labels", "nan", "extremes")

Pair = tuple[Tree, Tree]


class Pairs(NamedTuple):
    """Predictions and targets of single examples, in float64.

    Attributes:
      random: drawn.
      special: with a label: where losses have kinks.
      domain: whether the user draws them, so that no other points are known to be allowed.
      rng: for what else is drawn.
    """

    random: list[Pair]
    special: list[tuple[str, Pair]]
    domain: bool
    rng: np.random.Generator


def make_pairs(specs: Any, inputs: Callable[[Any], Pair] | None, key: Any, draws: int) -> Pairs:
    """Draws pairs, by the user's function or by specs."""
    rng = generator_of(key)
    if inputs is not None:
        drawn = [inputs(one) for one in jax.random.split(key, draws)]
        for pair in drawn:
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise StructureError(
                    f"expected inputs to give (prediction, target), got {describe(pair)}. Return a tuple of two."
                )
        return Pairs([_wide(pair) for pair in drawn], [], True, rng)
    wide = leaves.widened(specs)
    random = [jax.tree.map(lambda leaf: points.plain(rng, leaf, leaf.shape), wide) for _ in range(draws)]
    prediction, target = random[0]
    special: list[tuple[str, Pair]] = []
    for level in points.LEVELS[:3]:
        filled = jax.tree.map(lambda a, level=level: np.full_like(a, level) if leaves.is_float(a) else a, prediction)
        special.append((f"prediction = {level:g}", (filled, target)))
    if (
        leaves.alike(prediction, target)
        and all(leaves.is_float(a) for a in jax.tree.leaves(target))
        and _shapes(prediction) == _shapes(target)
    ):
        special.append(("prediction = target", (target, target)))
        for shift in (1, -1):
            moved = jax.tree.map(lambda a, shift=shift: a + shift, target)
            special.append((f"prediction = target {shift:+d}", (moved, target)))
    return Pairs(random, special, False, rng)


def _wide(pair: Pair) -> Pair:
    wide: Pair = leaves.widened(jax.tree.map(np.asarray, pair))
    return wide


def _shapes(tree: Tree) -> list[Any]:
    return [np.shape(leaf) for leaf in jax.tree.leaves(tree)]


class LossCheck:
    """One loss under check."""

    def __init__(self, loss: Loss, pairs: Pairs):
        self.loss, self.pairs = loss, pairs
        self.many = [leaves.cast(pair, None) for pair in pairs.random]
        self.one = self.many[0]
        self.jaxpr = jax.make_jaxpr(loss.value)(*self.one)
        self.rounding = coarsest(self.jaxpr)
        self.traces = 0
        self.jitted = jax.jit(self.counted)

    def both(self, pair: Pair) -> dict[str, Any]:
        """Value and gradient."""
        return {"value": self.loss.value(*pair), "grad": self.loss.grad(*pair)}

    def counted(self, pair: Pair) -> dict[str, Any]:
        """The same, counting how often JAX traces it."""
        self.traces += 1
        return self.both(pair)

    def report(self, wanted: tuple[str, ...]) -> CheckReport:
        """Runs the laws that are wanted."""
        found, results = Verdict((), (), {}, False), []
        if set(wanted) & {*GRADIENTS, "second order"}:
            found = self.gradients(wanted)
            results = [result for result in found.laws if result.law in wanted]
        laws: dict[str, Callable[[], LawResult]] = {
            "jit": self.jit,
            "vmap": lambda: self.loop("vmap", jax.vmap(self.both), "vmap is not a loop over examples."),
            "scan": lambda: self.loop("scan", self.scanned, "Inside lax.scan it computes something else."),
            "retrace": self.retrace,
            "dtype": self.dtype,
            "broadcast": self.broadcast,
            "labels": self.labels,
            "nan": self.nan,
            "extremes": self.extremes,
        }
        results += run_laws(laws, wanted)
        return CheckReport(f"check.loss: {self.loss}", tuple(results), found.conventions, found.measured)

    def gradients(self, wanted: tuple[str, ...]) -> Verdict:
        """The laws of gradients."""
        subject = loss_subject(self.loss, self.pairs.random[0][0])
        labelled = [*(("", pair) for pair in self.pairs.random), *self.pairs.special]
        rows = []
        for _, (prediction, target) in labelled:
            moving, rest = leaves.part(prediction)
            rows.append((moving, (rest, target), (np.ones((), self.jaxpr.out_avals[0].dtype),)))
        draws = stack_draws(rows, [label for label, _ in labelled])
        found = judge(subject, draws, self.rounding, has_own_rule(self.jaxpr), self.pairs.rng)
        if "second order" not in wanted:
            return found
        law = attempt("second order", lambda: second_order_law(subject, draws, self.rounding, self.pairs.rng))
        return found._replace(laws=(*found.laws, law))

    def jit(self) -> LawResult:
        """Compiled as operation by operation."""
        failures, gap = compare(
            "jit", self.both(self.one), self.jitted(self.one), CLOSE, "jit changes what it computes."
        )
        return verdict("jit", failures, gap, "compiled against operation by operation")

    def scanned(self, many: Pair) -> Any:
        """All examples in a scan."""
        return jax.lax.scan(lambda carry, pair: (carry, self.both(pair)), None, many)[1]

    def loop(self, law: str, run: Callable[[Pair], Any], reason: str) -> LawResult:
        """A transformation over examples against each alone."""
        together = quick(run)(leaves.stacked(self.many[:2]))
        alone = map(self.jitted, self.many[:2])
        return compare_each(law, alone, together, CLOSE, reason, "two examples against each alone")

    def retrace(self) -> LawResult:
        """Other values are the same program."""
        for pair in self.many:
            self.jitted(pair)
        text = "Other values made JAX trace it again."
        return verdict("retrace", traced_again(self.traces, text), None, "other values")

    def dtype(self) -> LawResult:
        """The prediction's dtype is that of value and gradient."""
        failures: list[Failure] = []
        for dtype in FORMATS:
            out = jax.eval_shape(self.both, leaves.cast(self.one, dtype))
            for path, leaf in leaves.entries(**out):
                if leaves.is_float(leaf) and leaf.dtype != dtype:
                    texts = str(np.dtype(dtype)), str(leaf.dtype)
                    failures.append(Failure("dtype", path, None, *texts, "The dtype changes silently."))
        return verdict("dtype", failures[:3], None, "float32, bfloat16, float16, float64")

    def broadcast(self) -> LawResult:
        """A target of another shape raises."""
        failures, tried = [], 0
        prediction, target = spec_of(self.one)
        for path, wrong in misshapen("target", target):
            tried += 1
            try:
                jax.eval_shape(self.loss.value, prediction, wrong)
            except Exception:
                continue
            shapes = [" and ".join(str(leaf.shape) for leaf in jax.tree.leaves(tree)) for tree in (wrong, prediction)]
            got = f"a loss, for a target of shape {shapes[0]} and a prediction of shape {shapes[1]}"
            reason = "One was broadcast to the other: raise, with `check=` of pn.losses.loss."
            failures.append(Failure("broadcast", path, None, "an error", got, reason))
        return verdict("broadcast", failures[:2], None, f"{tried} wrong shapes")

    def labels(self) -> LawResult:
        """A label that is no class makes value and gradient NaN, or raises."""
        prediction, target = self.one
        shape = np.shape(jax.tree.leaves(prediction)[0])
        whole = [leaf for leaf in jax.tree.leaves(target) if jnp.issubdtype(leaf.dtype, jnp.integer)]
        if not whole or not shape:
            return absent("labels", "the target holds no whole numbers, or the prediction no axis of classes")
        failures = []
        for label in (-1, shape[-1], shape[-1] + 7):
            wrong = jax.tree.map(
                lambda a, label=label: jnp.full_like(a, label) if jnp.issubdtype(a.dtype, jnp.integer) else a, target
            )
            try:
                out = self.jitted((prediction, wrong))
            except Exception:
                continue
            failures += _number_failures("labels", f"target {label} of {shape[-1]} classes", out)
        return verdict("labels", failures[:2], None, f"-1, {shape[-1]} and {shape[-1] + 7} of {shape[-1]} classes")

    def nan(self) -> LawResult:
        """NaN in, NaN out."""
        failures = []
        for name, path, spoilt in _spoilt(self.one):
            value = self.jitted(spoilt)["value"]
            if not np.isnan(value):
                reason = "NaN is swallowed, and a broken network would look well."
                failures.append(Failure("nan", f"{name}{path}", None, "NaN", float(value), reason))
        return verdict("nan", failures[:2], None, "NaN in prediction or target")

    def extremes(self) -> LawResult:
        """No NaN for predictions of ±10⁴ in float32."""
        if self.pairs.domain:
            return absent("extremes", "inputs has a domain")
        prediction, target = leaves.cast(self.one, jnp.float32)
        wild = jax.tree.map(
            lambda a: (
                jnp.asarray(self.pairs.rng.choice([-points.EXTREME, points.EXTREME], a.shape), a.dtype)
                if leaves.is_float(a)
                else a
            ),
            prediction,
        )
        out = jax.device_get(quick(self.both)((wild, target)))
        failures = not_numbers("extremes", out, "Predictions of ±10⁴ overflow: subtract the largest before exp.")
        return verdict("extremes", failures, None, "predictions of ±10⁴ in float32")


def _number_failures(law: str, what: str, out: dict[str, Any]) -> list[Failure]:
    failures = []
    value = np.asarray(out["value"])
    grads = [np.asarray(leaf) for leaf in jax.tree.leaves(out["grad"]) if leaves.is_float(leaf)]
    reason = f"For {what}: it wraps, is clamped or counts as nothing. Make it NaN."
    if not np.isnan(value):
        failures.append(Failure(law, "value", (), "NaN or an error", float(value), reason))
    elif not any(np.isnan(grad).any() for grad in grads):
        failures.append(Failure(law, "grad", None, "NaN or an error", "numbers", reason))
    return failures


def _spoilt(pair: Pair) -> Iterator[tuple[str, str, Pair]]:
    """The pair with NaN in one of its arrays."""
    all_leaves, structure = jax.tree.flatten(pair)
    paths = jax.tree_util.tree_leaves_with_path(pair)
    for place, (path, leaf) in enumerate(paths):
        if not leaves.is_float(leaf) or not leaf.size:
            continue
        changed = list(all_leaves)
        changed[place] = jnp.reshape(jnp.reshape(leaf, -1).at[0].set(jnp.nan), leaf.shape)
        name = ("prediction", "target")[path[0].idx]
        yield name, jax.tree_util.keystr(path[1:]), jax.tree.unflatten(structure, changed)
