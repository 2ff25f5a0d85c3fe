"""The correlation of a mini-batch with a kernel and its two gradients: three bilinear maps that are each other's.

    correlate   (x, W) -> y    y[b, o, f] = Σ_t Σ_c x[b, s∘o + d∘t - p, c] W[t, c, f]
    spread      (y, W) -> x    dJ/dx of the first from dJ/dy: every y stamps W into x
    correlate_kernels (x, y) -> W    dJ/dW of the first from dJ/dy: x against y

J = ⟨ŷ, correlate(x, W)⟩ is linear in each of ŷ, x and W, and the three maps are its derivatives by them. So the
gradients of each map are the other two, and derivatives of every order stay within the three. Shapes: x (B, space…, C),
y (B, out…, F), W (window…, C/groups, F); s is the stride, d the dilation, p what is padded before.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from purenet.layers import conv_by_lax, conv_forms
from purenet.layers.conv_geometry import Geometry


def correlate(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """Correlates a mini-batch with a kernel."""
    return _run(_correlate, conv_by_lax.correlate, x, kernel, geometry)


def spread(y: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """Gives the gradient of `correlate` by x, whose space is that of the geometry."""
    return _run(_spread, conv_by_lax.spread, y, kernel, geometry)


def correlate_kernels(x: jax.Array, y: jax.Array, geometry: Geometry) -> jax.Array:
    """Gives the gradient of `correlate` by its kernel."""
    return _run(_kernels, conv_by_lax.correlate_kernels, x, y, geometry)


_Form = Callable[[jax.Array, jax.Array, Geometry], jax.Array]


def _run(primitive: Primitive, by_lax: _Form, left: jax.Array, right: jax.Array, geometry: Geometry) -> jax.Array:
    known = all(isinstance(size, int) for size in (*left.shape, *right.shape))  # `jax.export` has symbols
    if not known or not jax.sharding.get_abstract_mesh().empty:
        return by_lax(left, right, geometry)
    # What the caller chose around the trace must still hold when the program is lowered, behind it.
    precision = jax.config.jax_default_matmul_precision
    out: jax.Array = primitive.bind(left, right, geometry=geometry, precision=precision)
    return out


# Primitives, as only those can be one thing for a single run and another under `jax.vmap`, and have all derivatives.
_correlate = Primitive("conv_correlate")
_spread = Primitive("conv_spread")
_kernels = Primitive("conv_kernels")


def _many(primitive: Primitive, by_lax: _Form, args: Any, axes: Any, **params: Any) -> tuple[jax.Array, int]:
    """Many at once: with one kernel more examples; else, on a CPU, one after the other."""
    # Each with a kernel of its own, value and both gradients, ms at top level / in a loop, in turn against together:
    # 8 of 14x14x16 to 32 by 3x3, B=32, 77/46 against 240/2482; 64 of 8x8x1 to 4, B=8, 0.8/0.4 against 4.8/1.7;
    # 256 of 8x8x4 to 8, B=1, 6.1/4.0 against 5.1/46.
    args = [a if axis is None else jnp.moveaxis(a, axis, 0) for a, axis in zip(args, axes, strict=True)]
    where = tuple(None if axis is None else 0 for axis in axes)
    if where == (0, None) and primitive is not _kernels:
        many, one = args[0].shape[:2]
        folded = primitive.bind(args[0].reshape(many * one, *args[0].shape[2:]), args[1], **params)
        return folded.reshape(many, one, *folded.shape[1:]), 0

    def in_turn(*both: jax.Array) -> jax.Array:
        def single(moving: list[jax.Array]) -> jax.Array:
            left = iter(moving)
            pair = [a if axis is None else next(left) for a, axis in zip(both, where, strict=True)]
            out: jax.Array = primitive.bind(*pair, **params)
            return out

        outs: jax.Array = jax.lax.map(single, [a for a, axis in zip(both, where, strict=True) if axis is not None])
        return outs

    together = jax.vmap(_with_params(by_lax, **params), where)
    out: jax.Array = jax.lax.platform_dependent(*args, cpu=in_turn, default=together)
    return out, 0


def _with_params(form: _Form, geometry: Geometry, precision: Any) -> Callable[[jax.Array, jax.Array], jax.Array]:
    def run(left: jax.Array, right: jax.Array) -> jax.Array:
        with jax.default_matmul_precision(precision):
            return form(left, right, geometry)

    return run


def _define(primitive: Primitive, by_lax: _Form, on_cpu: _Form) -> None:
    def run(left: jax.Array, right: jax.Array, **params: Any) -> jax.Array:
        cpu, default = _with_params(on_cpu, **params), _with_params(by_lax, **params)
        chosen: jax.Array = jax.lax.platform_dependent(left, right, cpu=cpu, default=default)
        return chosen

    def shape(left: Any, right: Any, **params: Any) -> Any:
        return left.update(shape=jax.eval_shape(_with_params(by_lax, **params), left, right).shape)

    def lowered(form: _Form) -> Any:
        return mlir.lower_fun(lambda *args, **params: _with_params(form, **params)(*args), multiple_results=False)

    primitive.def_impl(jax.jit(run, static_argnames=("geometry", "precision")))
    primitive.def_abstract_eval(shape)
    batching.primitive_batchers[primitive] = functools.partial(_many, primitive, by_lax)
    mlir.register_lowering(primitive, lowered(by_lax))
    mlir.register_lowering(primitive, lowered(on_cpu), platform="cpu")


_define(_correlate, conv_by_lax.correlate, conv_forms.correlate)
_define(_spread, conv_by_lax.spread, conv_forms.spread)
_define(_kernels, conv_by_lax.correlate_kernels, conv_forms.correlate_kernels)
ad.defbilinear(
    _correlate,
    lambda dy, x, kernel, **params: _spread.bind(dy, kernel, **params),
    lambda dy, x, kernel, **params: _kernels.bind(x, dy, **params),
)
ad.defbilinear(
    _spread,
    lambda dx, y, kernel, **params: _correlate.bind(dx, kernel, **params),
    lambda dx, y, kernel, **params: _kernels.bind(dx, y, **params),
)
ad.defbilinear(
    _kernels,
    lambda dw, x, y, **params: _spread.bind(y, dw, **params),
    lambda dw, x, y, **params: _correlate.bind(x, dw, **params),
)
