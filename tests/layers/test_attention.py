"""Attention: against loops in NumPy, who sees whom, rows that see nothing, low precision, and refusals."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refuses

import purenet as pn
from purenet.errors import ShapeError, StructureError

T, S, C, M = 4, 3, 8, 6
OPTIONS = [
    {},
    {"causal": True, "bias": False},
    {"kv_heads": 2, "features": 5},
    {"kv_heads": 1, "mask": True, "rotary": 50.0},
    {"cross": True, "head_features": 3},
    {"cross": True, "mask": True, "kv_heads": 2},
    {"causal": True, "mask": True, "head_features": 4, "rotary": 10.0},
]


def example(options, seed=0, many=()):
    rng = np.random.default_rng(seed)
    x, memory = rng.normal(size=(*many, T, C)), rng.normal(size=(*many, S, M))
    s = S if options.get("cross") else T
    mask = rng.random((*many, T, s)) < 0.6
    given = (x, *((memory,) if options.get("cross") else ()), *((mask,) if options.get("mask") else ()))
    return given if len(given) > 1 else x


def drawn(net, xs, seed=1):
    spec = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), xs)
    params, _ = jax.eval_shape(lambda key: net.init(key, spec), jax.random.key(0))
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape), a.dtype), params)


def rotated(head, base):
    turned, half = head.copy(), head.shape[1] // 2
    for t in range(len(head)):
        for i in range(half):
            angle = t * base ** (-i / half)
            a, b = head[t, i], head[t, i + half]
            turned[t, i] = a * math.cos(angle) - b * math.sin(angle)
            turned[t, i + half] = a * math.sin(angle) + b * math.cos(angle)
    return turned


def by_loops(params, given, options, heads=4):
    """One example, head by head and position by position."""
    params = jax.tree.map(np.asarray, params)
    given = given if isinstance(given, tuple) else (given,)
    x, memory = given[0], given[1] if options.get("cross") else given[0]
    mask = given[-1] if options.get("mask") else np.ones((len(x), len(memory)), bool)
    q, k, v = (
        a @ params[name]["kernel"] + params[name].get("bias", 0)
        for name, a in {"query": x, "key": memory, "value": memory}.items()
    )
    groups = options.get("kv_heads", heads)
    d = q.shape[1] // heads
    z = np.zeros_like(q)
    for h in range(heads):
        g = h // (heads // groups)
        mine, theirs, values = q[:, h * d : h * d + d], k[:, g * d : g * d + d], v[:, g * d : g * d + d]
        if options.get("rotary"):
            mine, theirs = rotated(mine, options["rotary"]), rotated(theirs, options["rotary"])
        for t in range(len(x)):
            sees = [s for s in range(len(memory)) if mask[t, s] and not (options.get("causal") and s > t)]
            weights = [math.exp(mine[t] @ theirs[s] / math.sqrt(d)) for s in sees]
            for s, weight in zip(sees, weights, strict=True):
                z[t, h * d : h * d + d] += weight / sum(weights) * values[s]
    return z @ params["out"]["kernel"] + params["out"].get("bias", 0)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_it_is_what_loops_give_and_the_hand_rule_is_autodiff(options, x64):
    net, xs = pn.attention(4, **options), example(options, many=(3,))
    params = drawn(net, xs)

    @jax.jit
    def run(params, xs):
        ys, _, pullback = net.vjp(params, xs)
        plain, autodiff = jax.vjp(lambda p, x: jax.vmap(net.apply, (None, 0))(p, x), params, xs)
        forward, trained = jax.vjp(lambda p, x: net.forward(p, x)[0], params, xs)
        gradients = (pullback(ys), autodiff(ys), trained(ys))
        return (ys, plain, forward), tuple(
            [a for a in jax.tree.leaves(g) if a.dtype != jax.dtypes.float0] for g in gradients
        )

    values, gradients = run(params, xs)
    expected = np.stack([by_loops(params, jax.tree.map(lambda a, i=i: a[i], xs), options) for i in range(3)])
    for got in values:
        chex.assert_trees_all_close(got, expected, rtol=1e-11, atol=1e-12)
    for got in gradients[1:]:
        chex.assert_trees_all_close(got, gradients[0], rtol=1e-10, atol=1e-11)


def test_causal_outputs_do_not_depend_on_what_comes_later():
    net = pn.attention(2, causal=True)
    params, _ = net.init(jax.random.key(0), pn.spec((5, 4)))
    jacobian = jax.jacrev(lambda x: net.apply(params, x))(jax.random.normal(jax.random.key(1), (5, 4)))
    depends = jnp.abs(jacobian).max(axis=(1, 3)) > 0
    chex.assert_trees_all_equal(depends, jnp.tril(jnp.ones((5, 5), bool)))


def test_rotary_attention_sees_distances_alone():
    net = pn.attention(2, rotary=10000.0)
    params, _ = net.init(jax.random.key(0), pn.spec((6, 4)))
    a, b = jax.random.normal(jax.random.key(1), (2, 4))
    early = jnp.zeros((6, 4)).at[0].set(a).at[2].set(b)
    late = jnp.zeros((6, 4)).at[3].set(a).at[5].set(b)
    for t, later in ((0, 3), (2, 5)):
        chex.assert_trees_all_close(net.apply(params, early)[t], net.apply(params, late)[later], atol=1e-6)


@pytest.mark.parametrize("function", ["apply", "forward", "vjp"])
def test_a_row_that_sees_nothing_is_the_bias_and_has_no_gradient(function):
    net = pn.attention(2, mask=True)
    x = jax.random.normal(jax.random.key(0), (1, 3, 4))
    mask = jnp.array([[[True, False, True], [False] * 3, [True] * 3]])
    params = drawn(net, (x, mask))

    def value(x):
        if function == "apply":
            return net.apply(params, (x[0], mask[0]))[None]
        return getattr(net, function)(params, (x, mask))[0]

    ys = value(x)
    chex.assert_trees_all_close(ys[0, 1], params["out"]["bias"], rtol=1e-6)
    only = jnp.zeros_like(ys).at[0, 1].set(1.0)
    if function == "vjp":
        dparams, (dx, dmask) = net.vjp(params, (x, mask))[2](only)
        assert dmask.dtype == jax.dtypes.float0
        assert dmask.shape == mask.shape
        kernels = [dparams[name]["kernel"] for name in ("query", "key", "value", "out")]
        chex.assert_trees_all_equal((dx, kernels), jax.tree.map(jnp.zeros_like, (dx, kernels)))
    else:
        dx = jax.grad(lambda x: jnp.sum(only * value(x)))(x)
        chex.assert_trees_all_equal(dx, jnp.zeros_like(x))
    chex.assert_tree_all_finite(jax.grad(lambda x: jnp.sum(value(x)))(x))


@pytest.mark.parametrize("function", ["apply", "forward"])
def test_what_may_not_be_seen_leaves_no_trace_however_large(function):
    net = pn.attention(2, mask=True)
    x = jax.random.normal(jax.random.key(0), (1, 3, 4))
    mask = jnp.ones((1, 3, 3), bool).at[0, :2, 2].set(False)
    params = drawn(net, (x, mask))
    run = jax.vmap(net.apply, (None, 0)) if function == "apply" else lambda *a: net.forward(*a)[0]
    usual, large = run(params, (x, mask)), run(params, (x.at[0, 2].multiply(1e15), mask))
    chex.assert_trees_all_close(usual[0, :2], large[0, :2], rtol=1e-6)


@pytest.mark.parametrize("function", ["apply", "forward"])
def test_large_scores_do_not_overflow_and_nan_does_not_vanish(function):
    net = pn.attention(1, bias=False, causal=True)
    params = {name: {"kernel": jnp.eye(2)} for name in ("query", "key", "value", "out")}
    run = jax.vmap(net.apply, (None, 0)) if function == "apply" else lambda *a: net.forward(*a)[0]
    x = jnp.array([[[300.0, 0.0], [0.0, 300.0]]])
    chex.assert_trees_all_close(run(params, x), x)
    broken = run(params, x.at[0, 0, 0].set(jnp.nan))
    assert jnp.isnan(broken).any(axis=-1).all()


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_scores_and_softmax_are_in_32_bits(dtype):
    net = pn.attention(2, causal=True)
    x = jax.random.normal(jax.random.key(0), (2, 16, 8))
    params, _ = net.init(jax.random.key(1), pn.spec((16, 8)))
    low = jax.tree.map(lambda a: a.astype(dtype), (params, x))
    expected = net.forward(*jax.tree.map(lambda a: a.astype(jnp.float32), low))[0]
    tolerance = 6 * float(jnp.finfo(dtype).eps)
    for ys in (net.forward(*low)[0], jax.vmap(net.apply, (None, 0))(*low)):
        assert ys.dtype == dtype
        chex.assert_trees_all_close(ys.astype(jnp.float32), expected, atol=tolerance)


def test_an_empty_mini_batch_is_empty():
    net = pn.attention(2)
    params, _ = net.init(jax.random.key(0), pn.spec((3, 4)))
    ys, _, pullback = net.vjp(params, jnp.zeros((0, 3, 4)))
    assert ys.shape == (0, 3, 4)
    dparams, dxs = pullback(ys)
    assert dxs.shape == (0, 3, 4)
    chex.assert_trees_all_equal(dparams, jax.tree.map(jnp.zeros_like, params))


def test_shapes_of_params_follow_from_the_options():
    net = pn.attention(4, kv_heads=2, head_features=3, features=5, cross=True)
    params, _ = net.init(jax.random.key(0), (pn.spec((T, C)), pn.spec((S, M))))
    shapes = {name: (p["kernel"].shape, p["bias"].shape) for name, p in params.items()}
    assert shapes == {
        "query": ((C, 12), (12,)),
        "key": ((M, 6), (6,)),
        "value": ((M, 6), (6,)),
        "out": ((12, 5), (5,)),
    }
    kernels = [params[name]["kernel"][:2, :2] for name in ("key", "value")]
    assert not jnp.array_equal(*kernels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 0}, "attention: expected heads of 1 or more, got 0. Give their number."),
        (
            {"heads": 4, "kv_heads": 3},
            "attention: expected kv_heads that divide heads = 4, got 3. Each serves as many queries.",
        ),
        ({"heads": 2, "features": 0}, "attention: expected features of 1 or more, got 0. Give their number."),
        (
            {"heads": 2, "head_features": 3, "rotary": 10.0},
            "attention: expected even head_features for rotary, got 3. Its features turn in pairs.",
        ),
        (
            {"heads": 2, "rotary": -1.0},
            "attention: expected rotary above 0 and finite, got -1.0. Give one such as 10000.0.",
        ),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with refuses(ShapeError, message):
        pn.attention(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 2.0}, "attention: expected heads to be a whole number, got 2.0. Give an int."),
        ({"heads": 2, "causal": 1}, "attention: expected causal to be True or False, got 1. Give a bool."),
        (
            {"heads": 2, "causal": True, "cross": True},
            "attention: expected no causal with cross=True, got both. "
            "It compares positions, and those of two sequences have nothing in common.",
        ),
        (
            {"heads": 2, "rotary": 10.0, "cross": True},
            "attention: expected no rotary with cross=True, got both. "
            "It compares positions, and those of two sequences have nothing in common.",
        ),
    ],
)
def test_options_of_other_kinds_are_refused(options, message):
    with refuses(StructureError, message):
        pn.attention(**options)


def test_inputs_of_another_structure_are_refused():
    x, memory, mask = pn.spec((T, C)), pn.spec((S, M)), pn.spec((T, S), bool)
    key = jax.random.key(0)
    with refuses(
        StructureError,
        "attention: expected spec to be a tuple (x, memory, mask), got a tuple of 2. "
        "Give all of them, as the options cross and mask of attention ask for.",
    ):
        pn.attention(2, cross=True, mask=True).init(key, (x, memory))
    with refuses(
        StructureError, "attention: expected spec to be one array, got a tuple of 2. Pick one, or use jnp.asarray."
    ):
        pn.attention(2).init(key, (x, memory))
    with refuses(
        StructureError,
        "attention: expected mask to be one array of bools, got float32 of shape (4, 4). "
        "Give True where t may look at s.",
    ):
        pn.attention(2, mask=True).init(key, (x, pn.spec((T, T))))
    with refuses(
        ShapeError,
        "attention: expected mask of shape (4, 4), (positions that look, positions looked at), got (4, 3). "
        "Give True where t may look at s.",
    ):
        pn.attention(2, mask=True).init(key, (x, mask))


def test_inputs_of_another_shape_are_refused():
    key, net = jax.random.key(0), pn.attention(3)
    with refuses(ShapeError, "attention: expected a spec whose features 3 heads divide, got 8. Give head_features."):
        net.init(key, pn.spec((T, C)))
    with refuses(
        ShapeError,
        "attention: expected an even number of features of a head for rotary, got 1, 4 by 4 heads. "
        "Its features turn in pairs: give head_features.",
    ):
        pn.attention(4, rotary=10.0).init(key, pn.spec((T, 4)))
    for shape in ((C,), (2, T, C), (0, C)):
        with refuses(
            ShapeError,
            f"attention: expected spec of shape (positions, features), 1 or more of both, got {shape}. "
            "Leave the mini-batch axis out.",
        ):
            net.init(key, pn.spec(shape))
    params, _ = net.init(key, pn.spec((T, 6)))
    with refuses(
        ShapeError,
        "attention: expected x of shape (4, 6), got (4, 8). "
        "Initialise the network with the spec of the examples that it gets.",
    ):
        net.apply(params, jnp.zeros((T, C)))


def test_params_of_another_layer_are_refused():
    net, x = pn.attention(2), jnp.zeros((T, C))
    params, _ = net.init(jax.random.key(0), pn.spec((T, C)))
    with refuses(
        StructureError,
        "attention: expected params to be a dict of ['key', 'out', 'query', 'value'], got a dict of ['query']. "
        "Pass the params that this network's init made.",
    ):
        net.apply({"query": params["query"]}, x)
    with refuses(
        StructureError,
        "attention: expected params['key'] to be a dict of ['bias', 'kernel'], got a dict of ['kernel']. "
        "Pass the params that this network's init made.",
    ):
        net.apply(params | {"key": {"kernel": params["key"]["kernel"]}}, x)
    with refuses(
        ShapeError,
        "attention: expected params['out'] with a kernel of shape (n, m) and a bias of shape (m,), got (8,), (8, 8). "
        "Pass the params that this network's init made.",
    ):
        net.apply(params | {"out": dict(zip(("kernel", "bias"), ((jnp.zeros(8)), jnp.zeros((8, 8))), strict=True))}, x)
    with refuses(
        ShapeError,
        "attention: expected kernels of query, key, value and out for 3 heads and 3 of keys and values, got (8, 8), "
        "(8, 8), (8, 8), (8, 8). Pass the params that this network's init made.",
    ):
        pn.attention(3).apply(params, x)
    half = jax.tree.map(lambda a: a.astype(jnp.bfloat16), params["value"])
    with refuses(
        StructureError,
        "attention: expected params['value']['kernel'] of dtype float32, that of the first kernel, got bfloat16. "
        "Cast all parameters to one dtype.",
    ):
        net.apply(params | {"value": half | {"bias": params["value"]["bias"]}}, x)
