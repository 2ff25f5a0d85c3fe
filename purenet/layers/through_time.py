"""A cell over all steps of a mini-batch, and back-propagation through time: one scan each way."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from purenet.contract import Tree
from purenet.layers.cells import Carry, Cell, Step
from purenet.layers.products import product


class Trace(NamedTuple):
    """What the way back needs; times along the first axis, examples along the second.

    Attributes:
      params: the layer's.
      xs: the inputs, shape (T, B, n), zero beyond the lengths.
      hs: the first array of the carry after every step, shape (T, B, h).
      factors: what the cell keeps of each step, with a first axis of T.
      carry: the initial one, arrays of shape (B, h).
      lengths: shape (B,), or None where all steps count.
    """

    params: Tree
    xs: jax.Array
    hs: jax.Array
    factors: Carry
    carry: Carry
    lengths: jax.Array | None


class Through(NamedTuple):
    """The way forward: what `ahead` gives.

    Attributes:
      ys: the outputs of all steps, shape (B, T, h), or None where only the last is asked for.
      carry: the final one.
      trace: for the way back, or None where it is not asked for.
    """

    ys: jax.Array | None
    carry: Carry
    trace: Trace | None


def alive(lengths: jax.Array, steps: int) -> jax.Array:
    """Tells for each step whether it is within the length: shape (T, …) for lengths of shape (…).

    All steps are within a length that is none, so that NaN reaches everything.
    """
    times = jnp.reshape(jnp.arange(steps, dtype=lengths.dtype), (steps, *[1] * lengths.ndim))
    return (times < lengths[None]) | ~_sound(lengths, steps)[None]


def poison(lengths: jax.Array, steps: int, dtype: Any) -> jax.Array:
    """Gives 1 for a length that is one, 1 to T, else NaN: what outputs and cotangents are multiplied by."""
    return jnp.where(_sound(lengths, steps), 1, jnp.nan).astype(dtype)


def _sound(lengths: jax.Array, steps: int) -> jax.Array:
    return (lengths >= 1) & (lengths <= steps)


def ahead(cell: Cell, params: Tree, xs: jax.Array, lengths: Any, carry: Carry, whole: bool, traced: bool) -> Through:
    """Runs a cell over a mini-batch.

    Args:
      cell: the recurrence.
      params: the layer's.
      xs: shape (B, T, n).
      lengths: int32 of shape (B,), or None.
      carry: the initial one, arrays of shape (B, h).
      whole: whether the outputs of all steps are wanted.
      traced: whether there will be a way back.

    Returns:
      Outputs, final carry and trace.
    """
    (examples, steps, n), gates, width = xs.shape, len(cell.scales), carry[0].shape[1]
    live = None if lengths is None else alive(lengths, steps)[..., None]
    times = jnp.transpose(xs, (1, 0, 2))
    times = times if live is None else jnp.where(live, times, 0)
    kernel, recurrent, bias, inner = _scaled(cell, params, width)
    # One product for the inputs of all steps. The bias is added inside of the loop, where it costs nothing: outside it
    # takes another array of that size, at T=28, B=128, n=28, h=128 36 MB of temporaries in place of 29. Beyond 32 MiB
    # glibc takes them from the system anew in every call, and value and gradient took 42 ms for 24.
    inputs = jnp.reshape(product(jnp.reshape(times, (steps * examples, n)), kernel), (steps, examples, gates, width))

    def step(carry: Carry, now: tuple[jax.Array, Any]) -> tuple[Carry, Any]:
        through_h = jnp.reshape(product(carry[0], recurrent), (examples, gates, width))
        new, factors = cell.step(Step(now[0], through_h, bias, inner), carry)
        if now[1] is not None:
            new = tuple(jnp.where(now[1], a, old) for a, old in zip(new, carry, strict=True))
        return new, (new[0] if whole or traced else None, factors if traced else None)

    last, (hs, factors) = lax.scan(step, carry, (inputs, live))
    trace = Trace(params, times, hs, factors, carry, lengths) if traced else None
    ys = jnp.transpose(hs, (1, 0, 2)) if whole else None
    if live is None or lengths is None:
        return Through(ys, last, trace)
    sound = poison(lengths, steps, xs.dtype)
    if ys is not None:
        ys = jnp.where(jnp.transpose(live, (1, 0, 2)), ys, 0) * sound[:, None, None]
    return Through(ys, tuple(a * sound[:, None] for a in last), trace)


def behind(cell: Cell, trace: Trace, dys: jax.Array | None, dcarry: Carry) -> tuple[Tree, jax.Array, Carry]:
    """Goes back through the steps, the last first.

    Args:
      cell: the recurrence.
      trace: from `ahead`.
      dys: the outputs' cotangents, shape (B, T, h), or None where only the last was asked for.
      dcarry: those of the final carry.

    Returns:
      (dparams, dxs, that of the initial carry).
    """
    (steps, examples, width), gates = trace.hs.shape, len(cell.scales)
    live = None
    if trace.lengths is not None:
        live = alive(trace.lengths, steps)[..., None]
        sound = poison(trace.lengths, steps, trace.hs.dtype)[:, None]
        dcarry = tuple(a * sound for a in dcarry)
        dys = None if dys is None else dys * sound[:, None]
    given = None if dys is None else jnp.transpose(dys, (1, 0, 2))
    if given is not None and live is not None:
        given = jnp.where(live, given, 0)
    transposed = lax.optimization_barrier(trace.params["recurrent"].T)

    def step(dcarry: Carry, now: tuple[Any, Any, Carry]) -> tuple[Carry, tuple[jax.Array, Any]]:
        dy, alive_now, factors = now
        total = dcarry if dy is None else (dcarry[0] + dy, *dcarry[1:])
        moving = total if alive_now is None else tuple(jnp.where(alive_now, a, 0) for a in total)
        back = cell.back(moving, factors)
        through_h = product(jnp.reshape(back.recurrent, (examples, gates * width)), transposed)
        h = through_h if back.direct is None else back.direct + through_h
        new: Carry = (h, *back.others)
        if alive_now is not None:  # beyond the length the carry passed by
            new = tuple(a + jnp.where(alive_now, 0, old) for a, old in zip(new, total, strict=True))
        return new, (back.recurrent, back.last)

    first, (deltas, last) = lax.scan(step, dcarry, (given, live, trace.factors), reverse=True)
    return *_sums(trace, deltas, last, live), first


def _sums(trace: Trace, deltas: jax.Array, last: Any, live: Any) -> tuple[Tree, jax.Array]:
    """Gives dparams, each as one product over all steps and examples, and dxs."""
    params, (steps, examples, n), width = trace.params, trace.xs.shape, trace.hs.shape[2]
    rows = steps * examples
    inputs = deltas if last is None else jnp.concatenate([deltas[:, :, :-1], last[:, :, None]], axis=2)
    to_kernel = jnp.reshape(inputs, (rows, params["kernel"].shape[1]))
    before = jnp.concatenate([trace.carry[0][None], trace.hs[:-1]])
    dparams = {
        "kernel": product(jnp.reshape(trace.xs, (rows, n)).T, to_kernel),
        "recurrent": product(jnp.reshape(before, (rows, width)).T, jnp.reshape(deltas, to_kernel.shape)),
    }
    if "bias" in params:
        dparams["bias"] = jnp.sum(to_kernel, axis=0)
    if "recurrent_bias" in params:
        dparams["recurrent_bias"] = jnp.sum(deltas[:, :, -1], axis=(0, 1))
    dxs = jnp.reshape(product(to_kernel, params["kernel"].T), (steps, examples, n))
    return dparams, jnp.transpose(dxs if live is None else jnp.where(live, dxs, 0), (1, 0, 2))


def _scaled(cell: Cell, params: Tree, width: int) -> tuple[jax.Array, jax.Array, Any, Any]:
    """Gives kernel, recurrent, bias and inner bias, the gates multiplied by the scales that the cell's step wants."""
    kernel, bias, inner = params["kernel"], params.get("bias"), params.get("recurrent_bias")
    scale = np.repeat(cell.scales, width)[None].astype(kernel.dtype)
    shape = (1, len(cell.scales), width)
    return (
        kernel * scale,
        params["recurrent"] * scale,
        None if bias is None else jnp.reshape(bias[None] * scale, shape),
        None if inner is None else inner[None],
    )
