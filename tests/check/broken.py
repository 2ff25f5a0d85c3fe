"""Deliberately broken layers: each says which law, which leaf and which words the check must find."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import purenet as pn


class Saw(NamedTuple):
    """What a pullback knows."""

    params: Any
    xs: Any
    ys: Any
    dys: Any
    key: Any


class Mutation(NamedTuple):
    """A broken layer.

    Attributes:
      name: what was done to it.
      net: the layer.
      spec: of one example.
      leaf: the path of the leaf that is wrong, as the failure must name it.
      words: of the reason.
      law: the law that must fail.
      inputs: draws one example, or None.
    """

    name: str
    net: pn.Layer
    spec: Any
    leaf: str
    words: str
    law: str = "hand rule"
    inputs: Any = None


def bent(net: pn.Layer, change: Callable[[Any, Any, Saw], Any]) -> pn.Layer:
    """The layer with its pullback's results changed."""

    def vjp(params, xs, state, key):
        ys, new, pullback = net.vjp(params, xs, state, key)
        saw = Saw(params, xs, ys, None, key)
        return ys, new, lambda dys: change(*pullback(dys), saw._replace(dys=dys))

    return pn.layer(net.apply, init=net.init, forward=net.forward, vjp=vjp, name=net.name)


def in_params(net: pn.Layer, **changes: Callable[[Any, Saw], Any]) -> pn.Layer:
    """The layer with some of dparams changed."""
    return bent(net, lambda dp, dx, saw: ({**dp, **{name: f(dp[name], saw) for name, f in changes.items()}}, dx))


def in_x(net: pn.Layer, change: Callable[[Any, Saw], Any]) -> pn.Layer:
    """The layer with dx changed."""
    return bent(net, lambda dp, dx, saw: (dp, change(dx, saw)))


KERNEL, BIAS, SCALE, X = "params['kernel']", "params['bias']", "params['scale']", "x"
DENSE = pn.dense(3)
SQUARE = pn.dense(4)
FOUR = pn.spec(4)


def in_kernel(name: str, words: str, change: Any, net: pn.Layer = DENSE) -> Mutation:
    return Mutation(f"dense kernel {name}", in_params(net, kernel=change), FOUR, KERNEL, words)


def in_bias(name: str, words: str, change: Any, spec: Any = FOUR) -> Mutation:
    return Mutation(f"dense bias {name}", in_params(DENSE, bias=change), spec, BIAS, words)


def of(net: pn.Layer, name: str, words: str, change: Any, spec: Any = FOUR, **more: Any) -> Mutation:
    return Mutation(f"{net.name} {name}", in_x(net, change), spec, X, words, **more)


def product(xs, dys):
    return xs.T @ dys


LINEAR = (
    in_kernel("sign", "The sign is wrong", lambda d, saw: -d),
    in_kernel("averaged", "averaged where it is summed", lambda d, saw: d / 3),
    in_kernel("times N", "backward forgot the 1/3", lambda d, saw: d * 3),
    in_kernel("halved", "halved", lambda d, saw: d / 2),
    in_kernel("times 1.37", "1.37 times the gradient", lambda d, saw: d * 1.37),
    in_kernel("transposed", "The gradient is transposed", lambda d, saw: d.T, SQUARE),
    in_kernel("reshaped", "transposed, then reshaped", lambda d, saw: d.T.reshape(d.shape)),
    in_kernel("zero", "nothing flows back", lambda d, saw: jnp.zeros_like(d)),
    in_kernel("of the last example", "Only the last", lambda d, saw: product(saw.xs[-1:], saw.dys[-1:])),
    in_kernel("without dy", "not multiplied by dy", lambda d, saw: product(saw.xs, jnp.ones_like(saw.dys))),
    in_kernel("stale", "stale or shifted residual", lambda d, saw: product(jnp.roll(saw.xs, 1, 0), saw.dys)),
    in_kernel("without x", "does not depend on x", lambda d, saw: product(jnp.ones_like(saw.xs), saw.dys)),
    in_kernel("rolled", "rolled by 1 along axis 0", lambda d, saw: jnp.roll(d, 1, 0)),
    in_kernel("reversed", "reversed along axis 1", lambda d, saw: jnp.flip(d, 1)),
    in_kernel("clipped", "not linear in dy", lambda d, saw: product(saw.xs, jnp.clip(saw.dys, -0.5, 0.5))),
    in_kernel("lost a column", "zeros at [1] of axis 1", lambda d, saw: d.at[:, 1].set(0.0)),
    in_kernel("summed over inputs", "summed over the wrong axis", lambda d, saw: 0 * d + jnp.sum(d, 0, keepdims=True)),
    in_kernel("one entry off", "differs in 1 of 12", lambda d, saw: d.at[2, 1].mul(1.001)),
    in_bias("doubled", "doubled", lambda d, saw: 2 * d),
    in_bias("zero", "nothing flows back", lambda d, saw: jnp.zeros_like(d)),
    in_bias("of the first example", "Only the first", lambda d, saw: saw.dys[0]),
    in_bias("over outputs", "differs in 3 of 3", lambda d, saw: jnp.sum(saw.dys, 1)),
    in_bias("over everything", "summed over the wrong axis", lambda d, saw: 0 * d + jnp.sum(saw.dys)),
    of(SQUARE, "x by W, not its transpose", "differs in 12 of 12", lambda d, saw: saw.dys @ saw.params["kernel"]),
    of(SQUARE, "x passed on", "passed on unchanged", lambda d, saw: saw.dys),
    of(SQUARE, "x zero", "nothing flows back", lambda d, saw: 0 * d),
)

POINTWISE = (
    of(pn.relu, "linear", "local derivative is missing", lambda d, saw: saw.dys),
    of(pn.relu, "the other side", "", lambda d, saw: jnp.where(saw.xs < 0, saw.dys, 0.0)),
    of(pn.sigmoid, "without 1 - y", "differs in 12 of 12", lambda d, saw: saw.dys * saw.ys),
    of(pn.tanh, "of x, not y", "differs in 12 of 12", lambda d, saw: saw.dys * (1 - saw.xs**2)),
    of(pn.softplus, "sign inside", "differs in 12 of 12", lambda d, saw: saw.dys - d),
    of(pn.leaky_relu(), "slope of both sides", "a constant factor", lambda d, saw: 0.01 * d),
    of(pn.softmax, "without the sum", "differs in 12 of 12", lambda d, saw: saw.ys * saw.dys),
    of(
        pn.log_softmax,
        "sum over examples",
        "differs",
        lambda d, saw: saw.dys - jnp.exp(saw.ys) * jnp.sum(saw.dys, 0, keepdims=True),
    ),
    of(
        pn.dropout(0.5),
        "without its mask",
        "passed on unchanged",
        lambda d, saw: saw.dys,
    ),
    of(
        pn.dropout(0.5),
        "with another mask",
        "differs",
        lambda d, saw: pn.dropout(0.5).vjp((), saw.xs, (), jax.random.key(9))[2](saw.dys)[1],
    ),
)


def _one_by_one(x):
    """Positions of the ones that are largest: each takes all."""
    return (x == jnp.max(x, axis=-2, keepdims=True)).astype(x.dtype)


def _overwrite(d, saw):
    flat = saw.xs.reshape(-1)
    return jnp.zeros_like(d).at[flat].set(saw.dys.reshape(-1, d.shape[1]))


def _constant_statistics(d, saw):
    centred = saw.xs - jnp.mean(saw.xs, 0, keepdims=True)
    spread = jnp.sqrt(jnp.mean(centred**2, 0, keepdims=True) + 1e-5)
    return saw.dys * saw.params["scale"][None] / spread


def _norm_without(what):
    def change(d, saw):
        centred = saw.xs - jnp.mean(saw.xs, -1, keepdims=True)
        spread = jnp.sqrt(jnp.mean(centred**2, -1, keepdims=True) + 1e-5)
        hat, g = centred / spread, saw.dys * saw.params["scale"][None]
        mean = 0 if what == "mean" else jnp.mean(g, -1, keepdims=True)
        along = 0 if what == "variance" else hat * jnp.mean(hat * g, -1, keepdims=True)
        return (g - mean - along) / spread

    return change


WORDS = Mutation(
    "embedding overwrites repeated words",
    in_params(pn.embedding(3, 2), embedding=_overwrite),
    pn.spec(4, jnp.int32),
    "params['embedding']",
    "differs",
)
SPACE = (
    of(pn.layer_norm(), "without the mean", "constant along axis 1", _norm_without("mean")),
    of(pn.layer_norm(), "without the variance", "differs in 12 of 12", _norm_without("variance")),
    Mutation(
        "layer_norm scale of the offset",
        bent(pn.layer_norm(), lambda dp, dx, saw: ({**dp, "scale": dp["offset"]}, dx)),
        FOUR,
        "params['scale']",
        "This is the gradient of params['offset']",
    ),
    of(pn.rms_norm(), "factor", "0.5 times|halved|Halved", lambda d, saw: 0.5 * d),
    of(pn.batch_norm(), "constant statistics", "differs in 12 of 12", _constant_statistics),
    Mutation(
        "conv kernel flipped",
        in_params(pn.conv(1, (2, 2)), kernel=lambda d, saw: d[::-1, ::-1]),
        pn.spec((3, 3, 1)),
        KERNEL,
        "reversed along all axes",
    ),
    Mutation(
        "conv bias averaged over space",
        in_params(pn.conv(2, 2), bias=lambda d, saw: d / 5),
        pn.spec((5, 1)),
        BIAS,
        "1/5 of the gradient, and 5 is the size of axis",
    ),
    of(pn.avg_pool(2), "forgot its window", "2 times the gradient", lambda d, saw: 2 * d, pn.spec((4, 1))),
    of(pn.global_avg_pool, "forgot the 1/n", "backward forgot the 1/4", lambda d, saw: 4 * d, pn.spec((4, 2))),
    of(
        pn.global_max_pool,
        "ties doubled",
        "ties doubled",
        lambda d, saw: _one_by_one(saw.xs) * saw.dys[:, None],
        pn.spec((4, 2)),
        law="kinks",
    ),
    of(pn.max_pool(2), "of the wrong element", "differs|reversed|rolled", lambda d, saw: d[:, ::-1], pn.spec((4, 1))),
    Mutation(
        "rnn backwards in time",
        in_x(pn.rnn(2), lambda d, saw: d[:, ::-1]),
        pn.spec((3, 2)),
        X,
        "reversed along axis 1",
    ),
    Mutation(
        "residual without its skip",
        bent(pn.residual(pn.dense(4)), lambda dp, dx, saw: (dp, dx - saw.dys)),
        FOUR,
        X,
        "differs in 12 of 12",
    ),
    WORDS,
)
