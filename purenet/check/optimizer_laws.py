"""One optimizer under check, on a convex quadratic, and every law on it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from purenet.check import leaves
from purenet.check.comparing import compare, compare_each, not_numbers, traced_again, unlike
from purenet.check.reports import Failure, LawResult, verdict
from purenet.check.transform_laws import run_laws
from purenet.contract import Tree
from purenet.optimizers import extras

LAWS = (
    *("tree", "jit", "vmap", "scan", "retrace", "deterministic"),
    *("zero gradients", "descends", "bfloat16", "resumed", "empty tree"),
)
# Compiled float32 rounds otherwise, and line searches take it further.
_CLOSE, _FEW = 2e-4, 3
_CHANGES = "Shape or dtype changes."

Carry = tuple[Tree, Tree]


class OptimizerCheck:
    """One optimizer, minimising ½ Σ a (p - t)² with a from ½ to 2, for params p and fixed t."""

    def __init__(self, optimizer: Any, params: Tree, steps: int, rng: np.random.Generator):
        self.optimizer, self.params, self.steps = optimizer, params, steps
        self.targets = jax.tree.map(lambda p: np.asarray(rng.normal(size=p.shape)), params)
        self.state = self.begin(params)
        self.traces = 0
        self.jitted = jax.jit(self.counted)

    def begin(self, params: Tree) -> Tree:
        """The first state, without weak types, as training makes it."""
        state = self.optimizer.init(params)
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, leaf.dtype) if hasattr(leaf, "dtype") else leaf, state)

    def residuals(self, params: Tree) -> Tree:
        """√a (p - t), the predictions of this problem."""

        def residual(p: jax.Array, t: Any) -> jax.Array:
            scale = jnp.linspace(0.5, 2.0, max(1, p.size)).reshape(p.shape)
            made: jax.Array = jnp.sqrt(scale).astype(p.dtype) * (p - t.astype(p.dtype))
            return made

        return jax.tree.map(residual, params, self.targets)

    def half_squares(self, residuals: Tree) -> jax.Array:
        """½ Σ r², the loss of this problem."""
        leaves = jax.tree.leaves(residuals)
        total = jnp.zeros((), jnp.float32)
        for leaf in leaves:
            total += 0.5 * jnp.sum(jnp.square(leaf)).astype(total.dtype)
        return total.astype(leaves[0].dtype) if leaves else total

    def value(self, params: Tree) -> jax.Array:
        """The quadratic."""
        return self.half_squares(self.residuals(params))

    def update(self, params: Tree, state: Tree, factor: float = 1.0) -> tuple[Tree, Tree]:
        """One update on `factor` times the quadratic, with what training would tell the optimizer."""

        def loss_fn(residuals: Tree) -> jax.Array:
            return factor * self.half_squares(residuals)

        def value_fn(params: Tree) -> jax.Array:
            return loss_fn(self.residuals(params))

        value, grads = jax.value_and_grad(value_fn)(params)
        given = extras(
            self.optimizer,
            state,
            value=value,
            grads=grads,
            value_fn=value_fn,
            grad_fn=jax.grad(value_fn),
            predict_fn=self.residuals,
            loss_fn=loss_fn,
            key=jax.random.key(0),
        )
        updates, state = self.optimizer.update(grads, state, params, **given)
        return updates, state

    def step(self, carry: Carry) -> Carry:
        """One step of training."""
        params, state = carry
        updates, state = self.update(params, state)
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

    def scanned(self, count: int) -> Carry:
        """So many steps in a scan."""
        run = jax.jit(lambda carry: jax.lax.scan(lambda c, _: (self.step(c), None), carry, length=count)[0])
        carry: Carry = run((self.params, self.state))
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
        updates, state = jax.eval_shape(self.update, self.params, self.state)
        failures = []
        for what, made, wanted in (("updates", updates, self.params), ("state", state, self.state)):
            failures += unlike("tree", what, made, jax.eval_shape(lambda tree: tree, wanted), _CHANGES)[:3]
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
        text = "vmap over networks is not a loop over them."
        alone = (_named(self.after(1, carry)) for carry in carries)
        return compare_each("vmap", alone, _named(together), _CLOSE, text, "two networks against each alone")

    def scan(self) -> LawResult:
        """In a scan, a loop."""
        text = "Inside lax.scan it computes something else."
        pair = _named(self.after(_FEW)), _named(self.scanned(_FEW))
        failures, gap = compare("scan", *pair, _CLOSE, text)
        return verdict("scan", failures, gap, f"{_FEW} updates")

    def retrace(self) -> LawResult:
        """Its own new state is the same program's."""
        self.after(_FEW)
        text = "Its own new state made JAX trace it again: a dtype, shape or weak type changes."
        return verdict("retrace", traced_again(self.traces, text), None, f"{_FEW} updates")

    def deterministic(self) -> LawResult:
        """The same bits again."""
        pair = _named(self.after(_FEW)), _named(self.after(_FEW))
        failures, _ = compare("deterministic", *pair, 0.0, "The same inputs give other numbers.")
        return verdict("deterministic", failures, None, "the same bits again")

    def zero_gradients(self) -> LawResult:
        """Finite updates where the gradient is zero."""
        updates, state = jax.jit(lambda p, s: self.update(p, s, 0.0))(self.params, self.state)
        failures = not_numbers(
            "zero gradients", {"updates": updates, "state": state}, "0/0, or √ of a sum of nothing?"
        )[:3]
        return verdict("zero gradients", failures, None, "finite updates and state")

    def descends(self) -> LawResult:
        """The value falls."""
        before, after = float(self.value(self.params)), float(self.value(self.scanned(self.steps)[0]))
        reason = "A wrong sign, a rate too large, or one too small for these steps?"
        failures = [] if after < before else [Failure("descends", "value", (), f"below {before:.6g}", after, reason)]
        return verdict("descends", failures, None, f"from {before:.3g} to {after:.3g} in {self.steps} updates")

    def bfloat16(self) -> LawResult:
        """Params of bfloat16 get finite updates of bfloat16."""
        params = leaves.cast(self.params, jnp.bfloat16)
        updates, _ = jax.jit(self.update)(params, self.optimizer.init(params))
        failures = unlike("bfloat16", "updates", updates, jax.eval_shape(lambda tree: tree, params), _CHANGES)[:3]
        failures += not_numbers("bfloat16", {"updates": updates}, "An ε that 16 bits round to 0?")[:3]
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
            updates, _ = self.update({}, self.optimizer.init({}))
        finally:
            self.targets = targets
        failures = [Failure("empty tree", "updates", None, "{}", str(updates), "")] if jax.tree.leaves(updates) else []
        return verdict("empty tree", failures, None, "params without arrays")


def _named(carry: Carry) -> dict[str, Tree]:
    return {"params": carry[0], "state": carry[1]}
