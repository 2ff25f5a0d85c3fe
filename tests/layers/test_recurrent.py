"""Recurrent layers: known numbers, a loop in NumPy, lengths and carries, and what is not silent."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purenet as pn

T, N, H, B = 5, 3, 2, 4
MAKERS = {"rnn": pn.rnn, "lstm": pn.lstm, "gru": pn.gru}
NAMES = list(MAKERS)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def by_loop(name, params, x, start=None):
    """One sequence in NumPy, number by number as the formulas stand: outputs and final carry."""
    p = {key: np.asarray(value, np.float64) for key, value in params.items()}
    width = p["recurrent"].shape[0]
    h, c = (np.zeros(width), np.zeros(width)) if start is None else start
    ys = []
    for row in np.asarray(x, np.float64):
        a = [row @ p["kernel"][:, k : k + width] for k in range(0, p["kernel"].shape[1], width)]
        u = [h @ p["recurrent"][:, k : k + width] for k in range(0, p["kernel"].shape[1], width)]
        b = p.get("bias", np.zeros(p["kernel"].shape[1])).reshape(-1, width)
        if name == "rnn":
            h = np.tanh(a[0] + u[0] + b[0])
        elif name == "lstm":
            i, f, o = (sigmoid(a[k] + u[k] + b[k]) for k in (0, 1, 3))
            c = f * c + i * np.tanh(a[2] + u[2] + b[2])
            h = o * np.tanh(c)
        else:
            r, z = (sigmoid(a[k] + u[k] + b[k]) for k in (0, 1))
            new = np.tanh(a[2] + b[2] + r * (u[2] + p.get("recurrent_bias", np.zeros(width))))
            h = (1 - z) * new + z * h
        ys.append(h)
    return np.stack(ys), (h, c) if name == "lstm" else h


def start_of(name, rng, many=()):
    draw = [jnp.asarray(rng.normal(size=(*many, H))) for _ in range(2)]
    return tuple(draw) if name == "lstm" else draw[0]


def drawn(net, spec, rng):
    params, _ = jax.eval_shape(lambda key: net.init(key, spec), jax.random.key(0))
    return jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape)), params)


def case(name, rng, **options):
    """A layer with drawn params, and a mini-batch that it takes."""
    net = MAKERS[name](H, **options)
    xs = [jnp.asarray(rng.normal(size=(B, T, N)))]
    xs += [jnp.array([1, 5, 3, 2], jnp.int32)] if options.get("lengths") else []
    xs += [start_of(name, rng, (B,))] if options.get("carry") else []
    xs = tuple(xs) if len(xs) > 1 else xs[0]
    spec = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), xs)
    return net, drawn(net, spec, rng), xs


def numbers(tree):
    return [leaf for leaf in jax.tree.leaves(tree) if leaf.dtype != jax.dtypes.float0]


def rule(net):
    """Compiles the values and the gradients of their sum, by hand."""

    def both(params, xs):
        ys, _, pullback = net.vjp(params, xs)
        dparams, dxs = pullback(jax.tree.map(jnp.ones_like, ys))
        return ys, (dparams, *numbers(dxs))

    return jax.jit(both)


def test_a_linear_recurrence_by_hand(x64):
    # h₃ = x₁WU² + x₂WU + x₃W + b(1 + U + U²) with W = 1, U = ½, b = 0.
    net = pn.rnn(1, activation="identity", outputs="last")
    params = {"kernel": jnp.ones((1, 1)), "recurrent": jnp.full((1, 1), 0.5), "bias": jnp.zeros(1)}
    xs = jnp.array([[[1.0], [2.0], [4.0]]])
    ys, _, pullback = net.vjp(params, xs)
    dparams, dxs = pullback(jnp.ones((1, 1)))
    assert ys.tolist() == [[5.25]]
    assert dxs.tolist() == [[[0.25], [0.5], [1.0]]]
    # dh₃/dU = 2x₁U + x₂ = 3, dh₃/dW = ¼ + 2·½ + 4.
    assert jax.tree.map(jnp.sum, dparams) == {"kernel": 5.25, "recurrent": 3.0, "bias": 1.75}


def test_relu_chooses_zero_at_zero():
    net = pn.rnn(1, activation="relu")
    params = {"kernel": jnp.ones((1, 1)), "recurrent": jnp.zeros((1, 1)), "bias": jnp.zeros(1)}
    xs = jnp.array([[[0.0], [-1.0], [2.0]]])
    ys, _, pullback = net.vjp(params, xs)
    assert ys.ravel().tolist() == [0.0, 0.0, 2.0]
    assert pullback(jnp.ones_like(ys))[1].ravel().tolist() == [0.0, 0.0, 1.0]
    assert jax.grad(lambda x: jnp.sum(net.apply(params, x)))(xs[0]).ravel().tolist() == [0.0, 0.0, 1.0]


def test_an_lstm_that_counts():
    # Gates open by force, candidate 0.5: the memory counts half steps.
    force = 100.0
    params = {
        "kernel": jnp.zeros((1, 4)),
        "recurrent": jnp.zeros((1, 4)),
        "bias": jnp.array([force, force, np.arctanh(0.5), force]),
    }
    y, (h, c) = pn.lstm(1, carry=True).apply(params, (jnp.zeros((4, 1)), (jnp.zeros(1), jnp.ones(1))))
    chex.assert_trees_all_close(c, jnp.array([3.0]), rtol=1e-6)
    chex.assert_trees_all_close(y.ravel(), np.tanh([1.5, 2.0, 2.5, 3.0]), rtol=1e-6)
    chex.assert_trees_all_equal(h, y[-1])
    closed = params | {"bias": params["bias"].at[1].set(-force)}  # it forgets at once
    y, _ = pn.lstm(1, carry=True).apply(closed, (jnp.zeros((4, 1)), (jnp.zeros(1), jnp.ones(1))))
    chex.assert_trees_all_close(y.ravel(), np.full(4, np.tanh(0.5)), rtol=1e-6)


def test_a_gru_of_zeros_halves_its_state():
    params = {name: jnp.zeros(shape) for name, shape in {"kernel": (1, 6), "recurrent": (2, 6), "bias": 6}.items()}
    params["recurrent_bias"] = jnp.ones(2)
    net = pn.gru(2, carry=True)
    # z = r = ½ and n = tanh(½ · 1): h' = n/2 + h/2.
    y, h = net.apply(params, (jnp.zeros((1, 1)), jnp.array([1.0, -1.0])))
    chex.assert_trees_all_close(y[0], (np.tanh(0.5) + np.array([1.0, -1.0])) / 2, rtol=1e-6)
    chex.assert_trees_all_equal(h, y[0])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bias", [True, False])
def test_values_are_those_of_a_loop(name, bias, x64):
    rng = np.random.default_rng(1)
    net, params, (xs, lengths, start) = case(name, rng, lengths=True, carry=True, bias=bias)
    ys, last = jax.jit(net.forward)(params, (xs, lengths, start))[0]
    applied = jax.jit(jax.vmap(net.apply, (None, 0)))(params, (xs, lengths, start))
    chex.assert_trees_all_close(applied, (ys, last), rtol=1e-12)
    for i, length in enumerate(np.asarray(lengths)):
        begin = jax.tree.map(lambda a, i=i: np.asarray(a[i]), start)
        expected, end = by_loop(name, params, xs[i, :length], begin if name == "lstm" else (begin, None))
        chex.assert_trees_all_close(np.asarray(ys[i, :length]), expected, rtol=1e-12)
        chex.assert_trees_all_equal(np.asarray(ys[i, length:]), np.zeros((T - length, H)))
        chex.assert_trees_all_close(jax.tree.map(lambda a, i=i: np.asarray(a[i]), last), end, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("rnn", {"activation": "relu", "carry": True}),
        ("rnn", {"activation": "tanh", "outputs": "last", "lengths": True, "carry": True}),
        ("lstm", {"outputs": "last", "bias": False}),
        ("lstm", {"outputs": "last", "lengths": True, "carry": True}),
        ("gru", {"outputs": "last", "lengths": True, "bias": False}),
        ("gru", {"outputs": "last", "carry": True}),
    ],
)
def test_hand_rule_and_forward_are_autodiff_of_apply(name, options, x64):
    rng = np.random.default_rng(2)
    net, params, xs = case(name, rng, **options)

    @jax.jit
    def three(params, xs):
        plain, autodiff = jax.vjp(jax.vmap(net.apply, (None, 0)), params, xs)
        ys, _, pullback = net.vjp(params, xs)
        forwarded, through_forward = jax.vjp(lambda params, xs: net.forward(params, xs)[0], params, xs)
        dys = jax.tree.map(jnp.cos, plain)
        return [
            (plain, numbers(autodiff(dys))),
            (ys, numbers(pullback(dys))),
            (forwarded, numbers(through_forward(dys))),
        ]

    expected, by_hand, by_forward = three(params, xs)
    chex.assert_trees_all_close(by_hand, expected, rtol=1e-11, atol=1e-13)
    chex.assert_trees_all_close(by_forward, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("outputs", ["all", "last"])
def test_a_length_is_a_shorter_sequence(name, outputs, x64):
    net, params, (xs, _) = case(name, np.random.default_rng(3), outputs=outputs, lengths=True)
    xs, length = xs[:1], 3
    whole, short = net, MAKERS[name](H, outputs=outputs)
    # Whatever stands in the padding, NaN too, is not looked at.
    padded = xs.at[:, length:].set(jnp.nan)
    ys, (dparams, dxs, *_) = rule(whole)(params, (padded, jnp.array([length], jnp.int32)))
    expected, (wanted, dshort) = rule(short)(params, xs[:, :length])
    if outputs == "all":
        chex.assert_trees_all_equal(ys[:, length:], jnp.zeros((1, T - length, H)))
        ys = ys[:, :length]
    chex.assert_trees_all_close((ys, dparams, dxs[:, :length]), (expected, wanted, dshort), rtol=1e-12, atol=1e-14)
    chex.assert_trees_all_equal(dxs[:, length:], jnp.zeros((1, T - length, N)))


@pytest.mark.parametrize("name", NAMES)
def test_two_pieces_are_the_whole(name, x64):
    net, params, (xs, start) = case(name, np.random.default_rng(4), carry=True)

    def together(params, xs, start):
        return net.forward(params, (xs, start))[0]

    def in_pieces(params, xs, start):
        one, carry = net.forward(params, (xs[:, :2], start))[0]
        other, carry = net.forward(params, (xs[:, 2:], carry))[0]
        return jnp.concatenate([one, other], axis=1), carry

    @jax.jit
    def both(*given):
        (one, back), (other, reference) = (jax.vjp(f, *given) for f in (in_pieces, together))
        dys = jax.tree.map(jnp.cos, other)
        return (one, back(dys)), (other, reference(dys))

    got, expected = both(params, xs, start)
    chex.assert_trees_all_close(got, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("outputs", ["all", "last"])
def test_a_bad_length_is_nan_where_it_cannot_be_seen(name, outputs, x64):
    net, params, (xs, _, start) = case(name, np.random.default_rng(5), outputs=outputs, lengths=True, carry=True)

    def both(params, given):
        ys, _, pullback = net.vjp(params, given)
        return ys, net.forward(params, given)[0], jax.vmap(net.apply, (None, 0))(params, given), numbers(pullback(ys))

    run = jax.jit(both)
    for length in (0, -1, T + 1, 2**31 - 1):
        *values, gradients = run(params, (xs, jnp.array([1, length, T, 3], jnp.int32), start))
        for leaf in jax.tree.leaves(values):
            assert np.isnan(leaf[1]).all()
            assert np.isfinite(leaf[np.array([0, 2, 3])]).all()
        assert all(np.isnan(leaf).all() for leaf in gradients[: len(params)])
        assert all(np.isnan(leaf[1]).all() for leaf in gradients[len(params) :])


@pytest.mark.parametrize("name", NAMES)
def test_params_begin_as_documented(name):
    net = MAKERS[name](4)
    params, state = net.init(jax.random.key(0), pn.spec((T, N)))
    gates = {"rnn": 1, "lstm": 4, "gru": 3}[name]
    assert state == ()
    assert {key: value.shape for key, value in params.items()} == {
        "kernel": (N, 4 * gates),
        "recurrent": (4, 4 * gates),
        "bias": (4 * gates,),
    } | ({"recurrent_bias": (4,)} if name == "gru" else {})
    for block in jnp.split(params["recurrent"], gates, axis=1):
        chex.assert_trees_all_close(block.T @ block, jnp.eye(4), atol=1e-6)
    limit = np.sqrt(6 / (N + 4))  # Glorot's, of one gate's fans
    assert 0.5 * limit < jnp.abs(params["kernel"]).max() <= limit
    expected = [0.0] * 4 + [1.0] * 4 + [0.0] * 8 if name == "lstm" else [0.0] * 4 * gates
    assert params["bias"].tolist() == expected
    half, _ = net.init(jax.random.key(0), pn.spec((T, N), jnp.bfloat16))
    assert {leaf.dtype for leaf in jax.tree.leaves(half)} == {jnp.dtype(jnp.bfloat16)}


def test_the_forget_bias_is_an_option():
    params, _ = pn.lstm(1, forget_bias=0).init(jax.random.key(0), pn.spec((T, N)))
    assert params["bias"].tolist() == [0.0] * 4
    params, _ = pn.lstm(1, forget_bias=2.5, bias_init=jax.nn.initializers.ones).init(jax.random.key(0), pn.spec((T, N)))
    assert params["bias"].tolist() == [1.0, 3.5, 1.0, 1.0]


@pytest.mark.parametrize("name", NAMES)
def test_extreme_inputs_saturate_and_nan_shows(name):
    net = MAKERS[name](H)
    params, _ = net.init(jax.random.key(0), pn.spec((T, N)))
    xs = jnp.stack([jnp.full((T, N), 1e30), jnp.full((T, N), -1e30), jnp.zeros((T, N)).at[2, 0].set(jnp.nan)])
    ys, (_, dxs) = rule(net)(params, xs)
    applied = jax.jit(jax.vmap(net.apply, (None, 0)))(params, xs)
    chex.assert_trees_all_close(ys, applied, rtol=1e-5)
    assert np.isfinite(ys[:2]).all()
    assert np.isfinite(ys[2, :2]).all()
    assert np.isnan(ys[2, 2:]).all()
    assert np.isfinite(dxs[:2]).all()


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_mini_batch_is_no_trouble(name):
    net = MAKERS[name](H)
    params, _ = net.init(jax.random.key(0), pn.spec((T, N)))
    ys, _, pullback = net.vjp(params, jnp.zeros((0, T, N)))
    dparams, dxs = pullback(ys)
    assert ys.shape == (0, T, H)
    assert dxs.shape == (0, T, N)
    chex.assert_trees_all_equal(dparams, jax.tree.map(jnp.zeros_like, params))


def test_flops_count_every_step():
    for name, steps in itertools.product(NAMES, (3, 6)):
        net = MAKERS[name](H)
        params, _ = net.init(jax.random.key(0), pn.spec((steps, N)))
        wide = params["kernel"].shape[1]
        count = pn.flops(lambda params, xs, net=net: net.forward(params, xs)[0], params, jnp.zeros((B, steps, N)))
        assert count.matmul == 2 * steps * B * (N + H) * wide


@pytest.mark.parametrize("name", NAMES)
def test_inside_a_shard_map_the_first_carry_belongs_to_the_device_as_the_sequences_do(name):
    net = MAKERS[name](H)
    params, _ = net.init(jax.random.key(0), pn.spec((T, N)))
    xs = jax.random.normal(jax.random.key(1), (B, T, N))
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:1])
    spec = jax.sharding.PartitionSpec

    def both(params, xs):
        return net.forward(params, xs)[0], jax.vmap(net.apply, (None, 0))(params, xs)

    mapped = jax.shard_map(both, mesh=mesh, in_specs=(spec(), spec("data")), out_specs=spec("data"))
    chex.assert_trees_all_close(jax.jit(mapped)(params, xs), both(params, xs), rtol=1e-5, atol=1e-6)
