"""Multi-head attention as a layer: projections around the core of `attention_rules`."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purenet.contract import Layer, Spec, Tree, layer
from purenet.errors import ShapeError, StructureError, describe, expect_array, expect_key, expect_shape, is_whole
from purenet.layers.attention_rules import attend, attend_back, attended
from purenet.layers.positions import checked_base, turned
from purenet.layers.projections import expect_projection, project, project_back

Initializer = Callable[..., jax.Array]
PROJECTIONS = ("query", "key", "value", "out")


class Options(NamedTuple):
    """What a layer of attention is, beside its params."""

    heads: int
    groups: int
    causal: bool
    cross: bool
    mask: bool
    rotary: float | None
    bias: bool


def attention(
    heads: int,
    *,
    kv_heads: int | None = None,
    head_features: int | None = None,
    features: int | None = None,
    causal: bool = False,
    cross: bool = False,
    mask: bool = False,
    rotary: float | None = None,
    bias: bool = True,
    kernel_init: Initializer = jax.nn.initializers.glorot_uniform(),
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Layer:
    """Multi-head attention, y = Σₕ softmax(qₕ kₕᵀ / √D) vₕ Oₕ + b over heads h, with q, k and v linear in the input.

    Args:
      heads: the number H of heads, 1 or more.
      kv_heads: the number K of heads of keys and values, a divisor of H; left out, H. With fewer, head h uses those of
        number h // (H/K): grouped-query attention, and with 1 multi-query attention.
      head_features: the number D of features of a head; left out, C / H.
      features: the number of outputs; left out, C.
      causal: whether position t sees only positions up to t.
      cross: whether keys and values come from a second sequence: x is then a tuple `(x, memory)`.
      mask: whether x is a tuple that ends with an array of bools (T, S), True where t may look at s. A t that may look
        at nothing gets zeros from every head, so that y = b there, and no gradient.
      rotary: the base of rotary positions, such as 10000.0, by which queries and keys turn (see `pn.rotary`), for even
        D; left out, they do not.
      bias: whether all four projections have a bias.
      kernel_init: makes each kernel from a key; any of `jax.nn.initializers`.
      bias_init: makes each bias.

    Returns:
      A layer from (T, C), with memory (S, M), to (T, features), in the dtype of its spec. Params `{"query": …, "key":
      …, "value": …, "out": …}`, each `{"kernel": …, "bias": …}` of two and one axes: kernels (C, H D), twice (M, K D),
      and (H D, features), the features of head h together. Flax's are these with (H, D) as two axes, PyTorch's
      `in_proj_weight` is the first three side by side, transposed.

    Raises:
      ShapeError: if a number is below 1, `kv_heads` does not divide `heads` or `rotary` is not above 0; at trace time,
        for inputs of other shapes.
      StructureError: if an argument is of another type, or `causal` or `rotary` comes with `cross`; at trace time, for
        other dtypes, other params or inputs that are no such tuple.

    Derivation:
      With y = z O + 1bᵀ, z the heads side by side and δ = dJ/dy: dJ/dO = zᵀδ, dJ/db = δᵀ1 and dJ/dz = δOᵀ. For each
      head, s = q kᵀ/√D, p = softmax(s), z = p v, so with ζ = dJ/dz: dJ/dv = pᵀζ, g = dJ/dp = ζvᵀ, dJ/ds = p ∘ (g - ⟨p,
      g⟩) row by row, dJ/dq = dJ/ds k/√D and dJ/dk = (dJ/ds)ᵀq/√D; a group's queries add up in its keys and values. A
      rotation's transpose turns back. From there on q, k and v are dense layers: dJ/dQ = xᵀ dJ/dq and so on, and dJ/dx
      = dJ/dq Qᵀ + dJ/dk Kᵀ + dJ/dv Vᵀ, where the last two belong to memory if there is one. What must not be seen has p
      = 0, hence dJ/ds = 0.

    References:
      Vaswani and others (2017), Attention is all you need, section 3.2.
      Ainslie and others (2023), GQA: Training generalized multi-query transformer models from multi-head checkpoints.

    Example:
      >>> import jax, jax.numpy as jnp, purenet as pn
      >>> net = pn.attention(2, causal=True)
      >>> params, state = net.init(jax.random.key(0), pn.spec((5, 8)))
      >>> params["query"]["kernel"].shape, net.apply(params, jnp.zeros((5, 8))).shape
      ((8, 8), (5, 8))
    """
    options = _checked(heads, kv_heads, causal, cross, mask, rotary, bias)
    for what, value in {"head_features": head_features, "features": features}.items():
        if value is not None:
            _expect_count(what, value)
    if rotary is not None and head_features is not None and head_features % 2:
        raise ShapeError(
            f"attention: expected even head_features for rotary, got {head_features}. Its features turn in pairs."
        )

    def init(key: Any, spec: Spec) -> tuple[Tree, Tree]:
        x, memory, _ = _expect_inputs(options, spec, "spec")
        expect_key(key)
        d = head_features or _split(x.shape[1], heads, rotary)
        wide, narrow = heads * d, options.groups * d
        shapes = (
            (x.shape[1], wide),
            (memory.shape[1], narrow),
            (memory.shape[1], narrow),
            (wide, features or x.shape[1]),
        )
        params = {}
        for name, shape, one in zip(PROJECTIONS, shapes, jax.random.split(key, 4), strict=True):
            kernel_key, bias_key = jax.random.split(one)
            params[name] = {"kernel": kernel_init(kernel_key, shape, x.dtype)}
            if bias:
                params[name]["bias"] = bias_init(bias_key, shape[1:], x.dtype)
        return params, ()

    def check(params: Tree, spec: Spec) -> None:
        x, memory, _ = _expect_inputs(options, spec, "x")
        _expect_params(params, options)
        dtype = params["query"]["kernel"].dtype
        expect_shape(x, (x.shape[0], params["query"]["kernel"].shape[0]), dtype)
        expect_shape(memory, (memory.shape[0], params["key"]["kernel"].shape[0]), dtype, "memory" if cross else "x")

    def apply(params: Tree, x: Tree) -> jax.Array:
        x = jax.tree.map(lambda a: a[None], x)
        q, k, v = _queries_keys_values(options, params, x)
        _, _, allowed = _inputs(options, x)
        z = attended(q, k, v, allowed, causal)
        return project(params, ("out",), _merged(z))[0][0]

    def vjp(params: Tree, xs: Tree, state: Tree, key: Any) -> Any:
        ys, pullback = _rule(options, params, xs)
        return ys, state, pullback

    def forward(params: Tree, xs: Tree, state: Tree, key: Any) -> tuple[jax.Array, Tree]:
        return _trained(options)(params, xs), state

    return layer(apply, init=init, forward=forward, vjp=vjp, check=check, name="attention")


def _rule(options: Options, params: Tree, xs: Tree) -> tuple[jax.Array, Callable[..., Any]]:
    """The mini-batch's outputs and the pullback, by hand."""
    q, k, v = _queries_keys_values(options, params, xs)
    _, _, allowed = _inputs(options, xs)
    z, kept = attend(q, k, v, allowed, options.causal)
    z = _merged(z)
    ys = project(params, ("out",), z)[0]
    return ys, jax.tree_util.Partial(_pullback(options), params, xs, kept, z)


@functools.cache  # one function for equal options, so that equal pullbacks have equal tree structures
def _pullback(options: Options) -> Callable[..., tuple[Tree, Tree]]:
    def pullback(params: Tree, xs: Tree, kept: Tree, z: jax.Array, dys: jax.Array) -> tuple[Tree, Tree]:
        x, memory, allowed = _inputs(options, xs)
        dparams, dz = project_back(params, ("out",), z, (dys,))
        dq, dk, dv = attend_back(kept, _parted(dz, options.heads), options.groups)
        if options.rotary is not None:
            dq, dk = turned(dq, options.rotary, -1), turned(dk, options.rotary, -1)
        dq, dk, dv = _merged(dq), _merged(dk), _merged(dv)
        if not options.cross:
            of_heads, dx = project_back(params, ("query", "key", "value"), x, (dq, dk, dv))
            dxs: tuple[Any, ...] = (dx,)
        else:
            of_queries, dx = project_back(params, ("query",), x, (dq,))
            of_memory, dmemory = project_back(params, ("key", "value"), memory, (dk, dv))
            of_heads, dxs = of_queries | of_memory, (dx, dmemory)
        if options.mask:
            dxs = (*dxs, np.zeros(allowed.shape, jax.dtypes.float0))
        return dparams | of_heads, dxs if isinstance(xs, tuple) else dx

    return pullback


@functools.cache
def _trained(options: Options) -> Callable[..., jax.Array]:
    """The outputs, with the hand rule installed as their derivative."""

    @jax.custom_vjp
    def trained(params: Tree, xs: Tree) -> jax.Array:
        return _rule(options, params, xs)[0]

    trained.defvjp(functools.partial(_rule, options), lambda pullback, dys: pullback(dys))
    return trained


def _queries_keys_values(options: Options, params: Tree, xs: Tree) -> list[jax.Array]:
    x, memory, _ = _inputs(options, xs)
    if options.cross:
        flat = [*project(params, ("query",), x), *project(params, ("key", "value"), memory)]
    else:
        flat = project(params, ("query", "key", "value"), x)
    q, k, v = (_parted(a, h) for a, h in zip(flat, (options.heads, options.groups, options.groups), strict=True))
    if options.rotary is not None:
        q, k = turned(q, options.rotary), turned(k, options.rotary)
    return [q, k, v]


def _inputs(options: Options, xs: Tree) -> tuple[Any, Any, Any]:
    """Gives x, what keys and values are made of, and the mask or None."""
    given = xs if isinstance(xs, tuple) else (xs,)
    return given[0], given[1] if options.cross else given[0], given[-1] if options.mask else None


def _parted(a: jax.Array, heads: int) -> jax.Array:
    return jnp.reshape(a, (*a.shape[:2], heads, a.shape[2] // heads))


def _merged(a: jax.Array) -> jax.Array:
    return jnp.reshape(a, (*a.shape[:2], a.shape[2] * a.shape[3]))


def _expect_inputs(options: Options, spec: Spec, what: str) -> tuple[Any, Any, Any]:
    """Gives the specs of x, memory and mask, after refusing inputs of another structure, rank or size."""
    names = ("x", *(("memory",) if options.cross else ()), *(("mask",) if options.mask else ()))
    if len(names) > 1 and not (isinstance(spec, tuple) and len(spec) == len(names)):
        raise StructureError(
            f"expected {what} to be a tuple ({', '.join(names)}), got {describe(spec)}. "
            "Give all of them, as the options cross and mask of attention ask for."
        )
    x, memory, allowed = _inputs(options, spec if len(names) > 1 else (spec,))
    for name, one in ((what if len(names) == 1 else "x", x), ("memory", memory)):
        expect_array(one, name)
        if len(one.shape) != 2 or 0 in one.shape:
            raise ShapeError(
                f"expected {name} of shape (positions, features), 1 or more of both, got {one.shape}. "
                "Leave the mini-batch axis out."
            )
    if options.mask:
        wanted = (x.shape[0], memory.shape[0])
        if not isinstance(allowed, jax.ShapeDtypeStruct) or allowed.dtype != np.bool_:
            raise StructureError(
                f"expected mask to be one array of bools, got {describe(allowed)}. Give True where t may look at s."
            )
        if allowed.shape != wanted:
            raise ShapeError(
                f"expected mask of shape {wanted}, (positions that look, positions looked at), got {allowed.shape}. "
                "Give True where t may look at s."
            )
    return x, memory, allowed


def _expect_params(params: Tree, options: Options) -> None:
    if not isinstance(params, dict) or sorted(params) != sorted(PROJECTIONS):
        came = f"a dict of {sorted(params)}" if isinstance(params, dict) else describe(params)
        raise StructureError(
            f"expected params to be a dict of {sorted(PROJECTIONS)}, got {came}. "
            "Pass the params that this network's init made."
        )
    for name in PROJECTIONS:
        expect_projection(params[name], name, options.bias, params["query"])
    wide, narrow = params["query"]["kernel"].shape[1], params["key"]["kernel"].shape[1]
    fits = wide % options.heads == 0 and narrow * options.heads == wide * options.groups
    if not fits or params["value"]["kernel"].shape[1] != narrow or params["out"]["kernel"].shape[0] != wide:
        raise ShapeError(
            f"expected kernels of query, key, value and out for {options.heads} heads and {options.groups} of keys and "
            f"values, got {', '.join(str(params[name]['kernel'].shape) for name in PROJECTIONS)}. "
            "Pass the params that this network's init made."
        )


def _split(c: int, heads: int, rotary: float | None) -> int:
    if c % heads:
        raise ShapeError(f"expected a spec whose features {heads} heads divide, got {c}. Give head_features.")
    if rotary is not None and c // heads % 2:
        raise ShapeError(
            f"expected an even number of features of a head for rotary, got {c // heads}, {c} by {heads} heads. "
            "Its features turn in pairs: give head_features."
        )
    return c // heads


def _expect_count(what: str, value: Any) -> None:
    if not is_whole(value):
        raise StructureError(f"attention: expected {what} to be a whole number, got {describe(value)}. Give an int.")
    if value < 1:
        raise ShapeError(f"attention: expected {what} of 1 or more, got {value}. Give their number.")


def _checked(heads: Any, kv_heads: Any, causal: Any, cross: Any, mask: Any, rotary: Any, bias: Any) -> Options:
    _expect_count("heads", heads)
    groups = heads if kv_heads is None else kv_heads
    _expect_count("kv_heads", groups)
    if heads % groups:
        raise ShapeError(
            f"attention: expected kv_heads that divide heads = {heads}, got {groups}. Each serves as many queries."
        )
    for what, value in {"causal": causal, "cross": cross, "mask": mask, "bias": bias}.items():
        if not isinstance(value, bool):
            raise StructureError(f"attention: expected {what} to be True or False, got {describe(value)}. Give a bool.")
    for what, given in {"causal": causal, "rotary": rotary is not None}.items():
        if cross and given:
            raise StructureError(
                f"attention: expected no {what} with cross=True, got both. "
                "It compares positions, and those of two sequences have nothing in common."
            )
    base = None if rotary is None else checked_base("attention", "rotary", rotary)
    return Options(int(heads), int(groups), causal, cross, mask, base, bias)
