"""One optimizer under check, on a convex quadratic, and every law on it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from purenet.check import leaves
from purenet.check.comparing import compare
from purenet.check.reports import Failure, LawResult, verdict
from purenet.check.transform_laws import run_laws
from purenet.contract import Tree
from purenet.updates import taken

LAWS = (
    *("tree", "jit", "vmap", "scan", "retrace", "deterministic"),
    *("zero gradients", "descends", "bfloat16", "resumed", "empty tree"),
)
# Compiled float32 rounds otherwise, and line searches take it further.
_CLOSE, _FEW = 2e-4, 3

Carry = tuple[Tree, Tree]


class OptimizerCheck:
    """One optimizer, minimising ½ Σ a (p - t)² with a from ½ to 2, for params p and fixed t."""

    def __init__(self, optimizer: Any, params: Tree, steps: int, rng: np.random.Generator):
        self.optimizer, self.params, self.steps = optimizer, params, steps
        self.names = taken(optimizer.update)
        self.targets = jax.tree.map(lambda p: np.asarray(rng.normal(size=p.shape)), params)
        self.state = self.begin(params)
        self.traces = 0
        self.jitted = jax.jit(self.counted)

    def begin(self, params: Tree) -> Tree:
        """The first state, without weak types, as training makes it."""
        state = self.optimizer.init(params)
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, leaf.dtype) if hasattr(leaf, "dtype") else leaf, state)

    def value(self, params: Tree) -> jax.Array:
        """The quadratic."""
        total = jnp.zeros((), jnp.float32)
        for p, t in zip(jax.tree.leaves(params), jax.tree.leaves(self.targets), strict=True):
            scale = jnp.linspace(0.5, 2.0, max(1, p.size)).reshape(p.shape).astype(p.dtype)
            total += 0.5 * jnp.sum(scale * jnp.square(p - t.astype(p.dtype))).astype(total.dtype)
        return total.astype(jax.tree.leaves(params)[0].dtype) if jax.tree.leaves(params) else total

    def update(self, params: Tree, state: Tree, value_fn: Callable[[Tree], jax.Array]) -> tuple[Tree, Tree]:
        """One update, with what training would tell the optimizer."""
        value, grads = jax.value_and_grad(value_fn)(params)
        given = {
            "value": value,
            "grad": grads,
            "value_fn": value_fn,
            "obj_fn": value_fn,
            "grad_fn": lambda params, *_: jax.grad(value_fn)(params),
        }
        updates, state = self.optimizer.update(grads, state, params, **{name: given[name] for name in self.names})
        return updates, state

    def step(self, carry: Carry) -> Carry:
        """One step of training."""
        params, state = carry
        updates, state = self.update(params, state, self.value)
        return optax.apply_updates(params, updates), state

    def counted(self, carry: Carry) -> Carry:
        """The same, counting how often JAX traces it."""
        self.traces += 1
        return self.step(carry)

    def after(self, count: int, carry: Carry | None = None) -> Carry:
        """So many steps, compiled."""
        carry = (self.params, self.state) if carry is None else carry
        for _ in range(count):
            carry = self.jitted(carry)
        return carry

    def results(self, wanted: tuple[str, ...]) -> list[LawResult]:
        """Runs the laws that are wanted."""
        laws: dict[str, Callable[[], LawResult]] = {
            "tree": self.tree,
            "jit": self.jit,
            "vmap": self.vmap,
            "scan": self.scan,
            "retrace": self.retrace,
            "deterministic": self.deterministic,
            "zero gradients": self.zero_gradients,
            "descends": self.descends,
            "bfloat16": self.bfloat16,
            "resumed": self.resumed,
            "empty tree": self.empty_tree,
        }
        return run_laws(laws, wanted)

    def tree(self) -> LawResult:
        """Updates like params, new state like state."""
        updates, state = jax.eval_shape(lambda p, s: self.update(p, s, self.value), self.params, self.state)
        failures = []
        for what, made, wanted in (("updates", updates, self.params), ("state", state, self.state)):
            failures += _unlike("tree", what, made, jax.eval_shape(lambda tree: tree, wanted))
        return verdict("tree", failures, None, "updates like params, new state like state")

    def jit(self) -> LawResult:
        """Compiled as operation by operation."""
        eager, compiled = self.step((self.params, self.state)), self.after(1)
        failures, gap = compare("jit", _named(eager), _named(compiled), _CLOSE, "jit changes what it computes.")
        return verdict("jit", failures, gap, "one update, params and state")

    def vmap(self) -> LawResult:
        """Over networks, a loop."""
        other = jax.tree.map(lambda p: p * 0.5 + 0.25, self.params)
        carries = [(self.params, self.state), (other, self.begin(other))]
        together = jax.jit(jax.vmap(self.step))(leaves.stacked(carries))
        failures: list[Failure] = []
        worst = 0.0
        for index, carry in enumerate(carries):
            text = "vmap over networks is not a loop over them."
            pair = _named(self.after(1, carry)), _named(leaves.pick(together, index))
            found, gap = compare("vmap", *pair, _CLOSE, text)
            failures, worst = failures or found, max(worst, gap)
        return verdict("vmap", failures, worst, "two networks against each alone")

    def scan(self) -> LawResult:
        """In a scan, a loop; and `descends` is measured in the same program."""
        scanned = jax.jit(lambda carry: jax.lax.scan(lambda c, _: (self.step(c), None), carry, length=_FEW)[0])
        text = "Inside lax.scan it computes something else."
        pair = _named(self.after(_FEW)), _named(scanned((self.params, self.state)))
        failures, gap = compare("scan", *pair, _CLOSE, text)
        return verdict("scan", failures, gap, f"{_FEW} updates")

    def retrace(self) -> LawResult:
        """Its own new state is the same program's."""
        self.after(_FEW)
        text = "Its own new state made JAX trace it again: a dtype, shape or weak type changes."
        failures = [Failure("retrace", "", None, "1 trace", f"{self.traces} traces", text)] if self.traces > 1 else []
        return verdict("retrace", failures, None, f"{_FEW} updates")

    def deterministic(self) -> LawResult:
        """The same bits again."""
        pair = _named(self.after(_FEW)), _named(self.after(_FEW))
        failures, _ = compare("deterministic", *pair, 0.0, "The same inputs give other numbers.")
        return verdict("deterministic", failures, None, "the same bits again")

    def zero_gradients(self) -> LawResult:
        """Finite updates where the gradient is zero."""

        def flat(params: Tree) -> jax.Array:
            return 0 * self.value(params)

        updates, state = jax.jit(lambda p, s: self.update(p, s, flat))(self.params, self.state)
        failures = _infinite("zero gradients", {"updates": updates, "state": state}, "0/0, or √ of a sum of nothing?")
        return verdict("zero gradients", failures, None, "finite updates and state")

    def descends(self) -> LawResult:
        """The value falls."""
        run = jax.jit(lambda carry: jax.lax.scan(lambda c, _: (self.step(c), None), carry, length=self.steps)[0])
        before, after = float(self.value(self.params)), float(self.value(run((self.params, self.state))[0]))
        reason = "A wrong sign, a rate too large, or one too small for these steps?"
        failures = [] if after < before else [Failure("descends", "value", (), f"below {before:.6g}", after, reason)]
        return verdict("descends", failures, None, f"from {before:.3g} to {after:.3g} in {self.steps} updates")

    def bfloat16(self) -> LawResult:
        """Params of bfloat16 get finite updates of bfloat16."""
        params = leaves.cast(self.params, jnp.bfloat16)
        updates, _ = jax.jit(lambda p, s: self.update(p, s, self.value))(params, self.optimizer.init(params))
        failures = _unlike("bfloat16", "updates", updates, jax.eval_shape(lambda tree: tree, params))
        failures += _infinite("bfloat16", {"updates": updates}, "An ε that 16 bits round to 0?")
        return verdict("bfloat16", failures, None, "finite updates of the params' dtype")

    def resumed(self) -> LawResult:
        """A state saved and loaded goes on in the same bits."""

        def saved(leaf: Any) -> Any:
            is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            return leaf if is_key or not hasattr(leaf, "dtype") else jnp.asarray(np.asarray(leaf).copy())

        stopped = jax.tree.map(saved, self.after(_FEW))
        pair = _named(self.after(2 * _FEW)), _named(self.after(_FEW, stopped))
        text = "What it needs is not all in its state."
        failures, _ = compare("resumed", *pair, 0.0, text)
        return verdict("resumed", failures, None, f"{_FEW} + {_FEW} updates = {2 * _FEW}, to the bit")

    def empty_tree(self) -> LawResult:
        """A network without params is trained by doing nothing."""
        targets, self.targets = self.targets, {}
        try:
            updates, _ = self.update({}, self.optimizer.init({}), self.value)
        finally:
            self.targets = targets
        failures = [Failure("empty tree", "updates", None, "{}", str(updates), "")] if jax.tree.leaves(updates) else []
        return verdict("empty tree", failures, None, "params without arrays")


def _named(carry: Carry) -> dict[str, Tree]:
    return {"params": carry[0], "state": carry[1]}


def _unlike(law: str, what: str, made: Tree, wanted: Tree) -> list[Failure]:
    """Where structure, shape or dtype differ."""
    if not leaves.alike(made, wanted):
        texts = str(jax.tree.structure(wanted)), str(jax.tree.structure(made))
        return [Failure(law, what, None, *texts, "The tree differs.")]
    failures = []
    for (path, a), b in zip(leaves.entries(**{what: wanted}), jax.tree.leaves(made), strict=True):
        if a.shape != b.shape or a.dtype != b.dtype:
            texts = f"{a.dtype} of shape {a.shape}", f"{b.dtype} of shape {b.shape}"
            failures.append(Failure(law, path, None, *texts, "Shape or dtype changes."))
    return failures[:3]


def _infinite(law: str, trees: dict[str, Tree], reason: str) -> list[Failure]:
    failures = []
    for path, leaf in leaves.entries(**trees):
        if leaves.is_float(leaf) and np.isnan(np.asarray(leaf, np.float64)).any():
            index = tuple(int(i) for i in np.argwhere(np.isnan(np.asarray(leaf, np.float64)))[0])
            failures.append(Failure(law, path, index, "a number", float("nan"), reason))
    return failures[:3]
