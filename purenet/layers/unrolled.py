"""From a cell to a layer of the contract: how its params begin, and what its four functions do."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from purenet.contract import Layer, Spec, Tree, layer
from purenet.errors import expect_flags, expect_key
from purenet.layers.cells import Cell
from purenet.layers.sequences import Options, checked_features, expect_choice, expect_visible
from purenet.layers.through_time import ahead, alive, behind, poison

Initializer = Callable[..., jax.Array]


def orthogonal(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Makes an orthogonal matrix, in float32 where the dtype has 16 bits, which the decomposition does not take."""
    wide = dtype if jnp.finfo(dtype).bits >= 32 else jnp.float32
    return jax.nn.initializers.orthogonal()(key, shape, wide).astype(dtype)


class Inits:
    """How the params of a recurrent layer begin."""

    def __init__(self, kernel: Initializer, recurrent: Initializer, bias: Initializer, forget: float = 0.0):
        self.kernel, self.recurrent, self.bias, self.forget = kernel, recurrent, bias, forget

    def params(self, key: Any, n: int, options: Options, dtype: Any) -> Tree:
        """Makes them; kernels one gate at a time."""
        expect_key(key)
        h, gates = options.features, options.gates
        keys = jax.random.split(key, 2 * gates + 2)
        made = {
            "kernel": jnp.concatenate([self.kernel(k, (n, h), dtype) for k in keys[:gates]], axis=1),
            "recurrent": jnp.concatenate([self.recurrent(k, (h, h), dtype) for k in keys[gates:-2]], axis=1),
        }
        if "bias" in options.names:
            made["bias"] = self.bias(keys[-2], (gates * h,), dtype)
            if self.forget:
                made["bias"] = made["bias"].at[h : 2 * h].add(self.forget)
        if "recurrent_bias" in options.names:
            made["recurrent_bias"] = self.bias(keys[-1], (h,), dtype)
        return made


def recurrent(cell: Cell, features: int, outputs: str, lengths: bool, carry: bool, bias: bool, inits: Inits) -> Layer:
    """Makes the layer of a cell."""
    features = checked_features(cell.name, features)
    expect_choice(cell.name, "outputs", outputs, ("all", "last"))
    expect_flags(cell.name, lengths=lengths, carry=carry, bias=bias)
    names = ("kernel", "recurrent", *["bias"] * bias, *["recurrent_bias"] * (bias and cell.name == "gru"))
    options = Options(cell.name, features, len(cell.scales), cell.carried, outputs, lengths, carry, names)
    whole = outputs == "all"

    def init(key: Any, spec: Spec) -> tuple[Tree, Tree]:
        x = options.expect_spec(spec)
        return inits.params(key, x.shape[1], options, x.dtype), ()

    def apply(params: Tree, given: Tree) -> Tree:
        x, length, start = options.read(given)
        expect_visible(length, x.shape[0])
        start = start or (jnp.zeros_like(x, shape=(features,)),) * cell.carried
        live = None if length is None else alive(jnp.asarray(length), x.shape[0])
        x = x if live is None else jnp.where(live[:, None], x, 0)

        def step(old: Any, now: Any) -> Any:
            # The input's product in here: before the loop, `vmap` would make it three-dimensional, and inference at
            # T=28, B=128, n=28, h=128 took 14 ms for 8.
            z = jnp.dot(now[0], params["kernel"])
            new = cell.plain(params, z + params["bias"] if bias else z, old)
            if now[1] is not None:
                new = tuple(jnp.where(now[1], a, b) for a, b in zip(new, old, strict=True))
            return new, new[0] if whole else None

        last, ys = lax.scan(step, start, (x, live))
        if live is not None:
            sound = poison(jnp.asarray(length), x.shape[0], x.dtype)
            last = tuple(a * sound for a in last)
            ys = jnp.where(live[:, None], ys, 0) * sound if whole else None
        return options.write(ys if whole else last[0], last)

    def run(params: Tree, given: Tree, traced: bool) -> Any:
        xs, length, start = options.read(given)
        # Like xs and not just zeros: inside of `jax.shard_map` the carry varies over devices as xs does.
        start = start or (jnp.zeros_like(xs, shape=(xs.shape[0], features)),) * cell.carried
        through = ahead(cell, params, xs, length, start, whole, traced)
        ys = through.ys if whole else through.carry[0]
        return options.write(ys, through.carry), through.trace

    def pullback(trace: Any, dys: Tree) -> tuple[Tree, Tree]:
        dy, dlast = dys if carry else (dys, None)
        if dlast is None:
            dlast = tuple(jnp.zeros_like(a) for a in trace.carry)
        elif cell.carried == 1:
            dlast = (dlast,)
        if not whole:
            dlast = (dlast[0] + dy, *dlast[1:])
        dparams, dxs, dstart = behind(cell, trace, dy if whole else None, dlast)
        if not (lengths or carry):
            return dparams, dxs
        dlength = (np.zeros((dxs.shape[0],), jax.dtypes.float0),) if lengths else ()
        dcarry = ((dstart[0] if cell.carried == 1 else dstart),) if carry else ()
        return dparams, (dxs, *dlength, *dcarry)

    faster = jax.custom_vjp(lambda params, given: run(params, given, False)[0])
    faster.defvjp(lambda params, given: run(params, given, True), pullback)

    def forward(params: Tree, given: Tree, state: Tree, key: Any) -> tuple[Tree, Tree]:
        _visible(options, given)
        return faster(params, given), state

    def vjp(params: Tree, given: Tree, state: Tree, key: Any) -> Any:
        _visible(options, given)
        ys, trace = run(params, given, True)
        return ys, state, jax.tree_util.Partial(pullback, trace)

    return layer(apply, init=init, forward=forward, vjp=vjp, check=options.check, name=cell.name)


def _visible(options: Options, given: Tree) -> None:
    xs, length, _ = options.read(given)
    expect_visible(length, xs.shape[1])
