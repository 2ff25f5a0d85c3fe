"""One layer under check: what is drawn for it, and every law on it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purenet.check import leaves, points
from purenet.check.comparing import compare, not_numbers
from purenet.check.compiling import quick
from purenet.check.gradient_laws import Verdict, judge
from purenet.check.reports import CheckReport, Failure, LawResult, absent, attempt, verdict
from purenet.check.second_order import second_order_law
from purenet.check.shape_laws import broadcast_law, dtype_law, tree_law
from purenet.check.subjects import Draws, Given, Subject, coarsest, has_own_rule, layer_subject, like
from purenet.check.transform_laws import CLOSE, Runs, run_laws, transform_laws
from purenet.contract import Layer, Tree
from purenet.errors import StructureError, describe

GRADIENTS = ("hand rule", "forward's autodiff", "apply's autodiff", "kinks")
TRANSFORMS = ("jit", "vmap", "scan", "key", "retrace", "permutation")
LAWS = ("values", *GRADIENTS, "second order", *TRANSFORMS, "tree", "dtype", "broadcast", "extremes")
# Beyond so many numbers a layer is looked at in fewer places.
_SMALL, _LARGE = 1000, 100_000


class LayerCheck:
    """One layer under check."""

    def __init__(self, net: Layer, source: points.Source, draws: int, wide: bool):
        self.net, self.source, self.wide = net, source, wide
        self.given = source.many(draws)
        self.one = leaves.cast(self.given[0], None)
        self.outputs = jax.eval_shape(self.forward, self.one)
        for leaf in jax.tree.leaves((self.one.params, self.one.xs, self.outputs)):
            if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
                raise StructureError(
                    f"expected {net.name} to take and give real numbers, got {describe(leaf)}. Check its real and "
                    "imaginary parts, such as jnp.stack((y.real, y.imag))."
                )
        self.heeds_key = self._heeds_key()
        self.apart = self.heeds_key or bool(jax.tree.leaves(self.one.state))
        self.jaxpr = jax.make_jaxpr(self.forward)(self.one)
        self.rounding = coarsest(self.jaxpr)
        self.close = CLOSE if self.rounding < 1e-12 else 16 * self.rounding
        self.runs = Runs(self.net, self.given, self.source.rng, self.close)

    def forward(self, one: Given) -> Tree:
        """The layer in training."""
        return self.net.forward(one.params, one.xs, one.state, one.key)[0]

    def applied(self, one: Given) -> Tree:
        """The layer at inference, on every example."""
        return jax.vmap(lambda x: self.net.apply(one.params, x, one.state))(one.xs)

    def _heeds_key(self) -> bool:
        """Whether another key gives other outputs."""
        jaxpr = jax.make_jaxpr(lambda key: self.forward(self.one._replace(key=key)))(self.one.key).jaxpr
        if not any(jaxpr.invars[0] is v for eqn in jaxpr.eqns for v in eqn.invars):
            return False
        keys = jax.random.split(self.one.key, 8)
        many = quick(jax.vmap(lambda key: self.forward(self.one._replace(key=key))))(keys)
        return any(bool(np.any(np.asarray(leaf) != np.asarray(leaf)[:1])) for leaf in jax.tree.leaves(many))

    def report(self, wanted: tuple[str, ...]) -> CheckReport:
        """Runs the laws that are wanted."""
        results = run_laws({"values": self.values}, wanted)
        conventions: tuple[str, ...] = ()
        measured: dict[str, Any] = {}
        if set(wanted) & {*GRADIENTS, "second order"}:
            found, conventions, measured = self.gradients(wanted)
            results += found
        if set(wanted) & set(TRANSFORMS):
            results += run_laws(transform_laws(self.runs, self.heeds_key), wanted)
        shapes: dict[str, Callable[[], LawResult]] = {
            "tree": lambda: tree_law(self.net, self.one),
            "dtype": lambda: dtype_law(self.net, self.given[0], self.wide),
            "broadcast": lambda: broadcast_law(self.net, self.source.spec, self.one.params, self.one.state),
            "extremes": self.extremes,
        }
        results += run_laws(shapes, wanted)
        return CheckReport(f"check.layer: {self.net}", tuple(results), conventions, measured)

    def values(self) -> LawResult:
        """Forward, vjp and apply give the same, where training is no different."""
        got = self.runs.run(self.one)
        text = "vjp gives other values than forward."
        given = {"y": got["forward"], "state": got["state"]}, {"y": got["vjp"], "state": got["state of vjp"]}
        failures, gap = compare("values", *given, self.close, text)
        if self.apart:
            return verdict("values", failures, gap, "forward and vjp; inference may differ from training here")
        text = "forward gives other values than apply, though nothing is random and there is no state."
        found, other = compare("values", {"y": got["apply"]}, {"y": got["forward"]}, self.close, text)
        return verdict("values", failures or found, max(gap, other), "forward, vjp and apply")

    def gradients(self, wanted: tuple[str, ...]) -> tuple[list[LawResult], tuple[str, ...], dict[str, Any]]:
        """The laws of gradients that are wanted, the conventions at kinks, and what was measured."""
        names = [name for name in (*GRADIENTS, "second order") if name in wanted]
        moving = leaves.floats((self.one.params, self.one.xs))
        if not sum(leaves.sizes(leaves.floats(self.outputs))) or not sum(leaves.sizes(moving)):
            return [absent(name, "no floating numbers go in, or none come out") for name in names], (), {}
        whole, why = self.subject()
        subject = whole._replace(
            rules={name: rule for name, rule in whole.rules.items() if name in wanted} or whole.rules
        )
        drawn = self.draws(sum(leaves.sizes(moving)))
        own = has_own_rule(self.jaxpr) or has_own_rule(jax.make_jaxpr(self.applied)(self.one))
        results: dict[str, LawResult] = {}
        found = Verdict((), (), {}, False)
        if set(wanted) & set(GRADIENTS):
            try:
                found = judge(subject, drawn, self.rounding, own, self.source.rng)
                if found.doubtful and list(subject.rules) == ["hand rule"]:  # the others tell who is to blame, and why
                    found = judge(whole, drawn, self.rounding, own, self.source.rng)
            except Exception as error:
                raised = Failure(names[0], "", None, "a gradient", type(error).__name__, _first_line(error))
                found = Verdict((verdict(names[0], [raised]),), (), {}, False)
            results = {result.law: result for result in found.laws}
            results["apply's autodiff"] = results.get("apply's autodiff", absent("apply's autodiff", why))
            if not self.net.proven and "hand rule" in results:
                result = results["hand rule"]
                words = (result.note, "without a rule of its own in every part: there JAX's stands in")
                results["hand rule"] = result._replace(note="; ".join(word for word in words if word))
        if "second order" in wanted:
            results["second order"] = attempt(
                "second order", lambda: second_order_law(subject, drawn, self.rounding, self.source.rng)
            )
        return [results[name] for name in names if name in results], found.conventions, found.measured

    def subject(self) -> tuple[Subject, str]:
        """The layer as a function with rules; and why `apply` has none, if so."""
        if self.apart:
            return layer_subject(self.net, self.given[0], True), "training differs from inference"
        if str(jax.make_jaxpr(self.applied)(self.one)) == str(self.jaxpr):
            return layer_subject(self.net, self.given[0], True), "the same program as forward's"
        return layer_subject(self.net, self.given[0], False), ""

    def draws(self, size: int) -> Draws:
        """Random points, and those where kinks lie: fewer for layers of more numbers."""
        count = len(self.given) if size <= _SMALL else 2 if size <= _LARGE else 1
        random: list[tuple[str, Given]] = [("", one) for one in self.given[:count]]
        special = points.special(self.source, self.given[0], size <= _SMALL) if size <= _LARGE else []
        return points.draws_of(leaves.floats(self.outputs), [*random, *special], self.source.rng)

    def extremes(self) -> LawResult:
        """No NaN for inputs of ±10⁴ in float32, forward or backward."""
        if self.source.inputs is not None:
            return absent("extremes", "inputs has a domain")
        if not leaves.floats(self.one.xs):
            return absent("extremes", "the inputs are whole numbers")
        rng = self.source.rng
        wild = jax.tree.map(
            lambda a: rng.choice([-points.EXTREME, points.EXTREME], a.shape) if leaves.is_float(a) else a,
            self.given[0].xs,
        )
        spec = leaves.widened(self.source.spec, np.float32)
        made = leaves.cast(self.net.init(jax.random.key(1), spec)[0], np.float32)
        state = jax.tree.map(lambda a, b: jnp.asarray(a, b.dtype), self.given[0].state, self.state32(spec))
        one = Given(made, leaves.cast(wild, np.float32), state, self.one.key)

        def program(one: Given) -> Any:
            ys, _, pullback = self.net.vjp(one.params, one.xs, one.state, one.key)
            dparams, dxs = pullback(like(ys, [jnp.ones(y.shape, y.dtype) for y in leaves.floats(ys)]))
            return {"y": ys, "dparams": dparams, "dx": dxs}

        out = jax.device_get(quick(program)(one))
        return _finite_law({name: out[name] for name in ("y", "dparams", "dx")})

    def state32(self, spec: Any) -> Tree:
        """The specs of the state for inputs of float32."""
        return jax.eval_shape(lambda key: self.net.init(key, spec)[1], jax.random.key(0))


def _finite_law(out: dict[str, Tree]) -> LawResult:
    reason = "Inputs of ±10⁴ overflow: subtract the largest before exp, or bound what is divided."
    failures = not_numbers("extremes", out, reason)
    wrong = {failure.leaf for failure in failures}
    floats = [(path, leaf) for path, leaf in leaves.entries(**out) if leaves.is_float(leaf) and path not in wrong]
    overflows = [path for path, leaf in floats if np.isinf(leaf).any()]
    note = "inputs of ±10⁴ in float32" + (f"; infinite: {', '.join(overflows)}" if overflows else "")
    return verdict("extremes", failures, None, note)


def _first_line(error: Exception) -> str:
    return f"It raised: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
