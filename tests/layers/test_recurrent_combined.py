"""bidirectional and stacked: what they are made of, lengths and carries."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refuses

import purenet as pn
from purenet.errors import ShapeError, StructureError

pytestmark = pytest.mark.slow

T, N, B = 5, 3, 4
LENGTHS = jnp.array([1, 5, 3, 2], jnp.int32)


def drawn(net, xs, seed=0):
    rng = np.random.default_rng(seed)
    spec = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), xs)
    params, _ = jax.eval_shape(lambda key: net.init(key, spec), jax.random.key(0))
    return jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape)), params)


def sequences(seed=1, shape=(B, T, N)):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def numbers(tree):
    return [leaf for leaf in jax.tree.leaves(tree) if leaf.dtype != jax.dtypes.float0]


def expect_proven(net, params, xs):
    """Hand rule and forward give autodiff of apply."""

    @jax.jit
    def three(params, xs):
        plain, autodiff = jax.vjp(jax.vmap(net.apply, (None, 0)), params, xs)
        ys, _, pullback = net.vjp(params, xs)
        forwarded, through = jax.vjp(lambda params, xs: net.forward(params, xs)[0], params, xs)
        dys = jax.tree.map(jnp.cos, plain)
        return [(plain, numbers(autodiff(dys))), (ys, numbers(pullback(dys))), (forwarded, numbers(through(dys)))]

    expected, by_hand, by_forward = three(params, xs)
    chex.assert_trees_all_close(by_hand, expected, rtol=1e-11, atol=1e-13)
    chex.assert_trees_all_close(by_forward, expected, rtol=1e-11, atol=1e-13)


def test_the_second_layer_runs_against_time(x64):
    part = pn.gru(2)
    net, xs = pn.bidirectional(part), sequences()
    params = drawn(net, xs)
    ys = jax.vmap(net.apply, (None, 0))(params, xs)
    one = part.forward(params[0], xs)[0]
    other = part.forward(params[1], xs[:, ::-1])[0][:, ::-1]
    chex.assert_trees_all_close(ys, jnp.concatenate([one, other], axis=-1), rtol=1e-13)
    assert np.abs(params[0]["kernel"] - params[1]["kernel"]).min() > 0  # params of its own


def test_the_second_last_output_has_seen_the_first_step_last(x64):
    # h = x_T + U h: forward 3 + ½(2 + ½ · 1), backward 1 + ½(2 + ½ · 3).
    one = {"kernel": jnp.ones((1, 1)), "recurrent": jnp.full((1, 1), 0.5)}
    net = pn.bidirectional(pn.rnn(1, activation="identity", outputs="last", bias=False))
    assert net.apply((one, one), jnp.array([[1.0], [2.0], [3.0]])).tolist() == [4.25, 2.75]


@pytest.mark.parametrize("outputs", ["all", "last"])
def test_reversal_stays_within_the_length(outputs, x64):
    net = pn.bidirectional(pn.rnn(2, outputs=outputs, lengths=True))
    short = pn.bidirectional(pn.rnn(2, outputs=outputs))
    xs = sequences()
    params = drawn(net, (xs, LENGTHS))
    ys = jax.jit(lambda params, given: net.forward(params, given)[0])(params, (xs, LENGTHS))
    for y, x, length in zip(ys[1:3], xs[1:3], LENGTHS.tolist()[1:3], strict=True):
        expected = short.apply(params, x[:length])
        if outputs == "all":
            chex.assert_trees_all_equal(y[length:], jnp.zeros((T - length, 4)))
            y = y[:length]
        chex.assert_trees_all_close(y, expected, rtol=1e-13)
    expect_proven(net, params, (xs, LENGTHS))


def test_bad_lengths_are_nan_in_both_directions(x64):
    net = pn.bidirectional(pn.gru(2, lengths=True))
    xs, lengths = sequences(), jnp.array([0, 5, T + 1, 2], jnp.int32)
    params = drawn(net, (xs, lengths))
    ys, applied = jax.jit(lambda p, given: (net.forward(p, given)[0], jax.vmap(net.apply, (None, 0))(p, given)))(
        params, (xs, lengths)
    )
    for leaf in (ys, applied):
        assert np.isnan(leaf[::2]).all()
        assert np.isfinite(leaf[1::2]).all()


def test_bidirectional_carries_and_an_lstm(x64):
    start = tuple(tuple(sequences(seed, (B, 2)) for seed in pair) for pair in ((2, 3), (4, 5)))
    net = pn.bidirectional(pn.lstm(2, lengths=True, carry=True))
    given = (sequences(), LENGTHS, start)
    params = drawn(net, given)
    ys, carries = net.forward(params, given)[0]
    assert ys.shape == (B, T, 4)
    assert jax.tree.map(jnp.shape, carries) == (((B, 2), (B, 2)), ((B, 2), (B, 2)))
    expect_proven(net, params, given)


def test_stacked_without_more_is_serial(x64):
    layers, xs = (pn.rnn(2), pn.gru(3), pn.lstm(2, outputs="last")), sequences()
    net, plain = pn.stacked(*layers), pn.serial(*layers)
    params = drawn(net, xs)
    chex.assert_trees_all_equal(net.forward(params, xs)[0], plain.forward(params, xs)[0])
    with_gaps, its_own = (
        pn.stacked(*layers, between=pn.tanh),
        pn.serial(layers[0], pn.tanh, layers[1], pn.tanh, layers[2]),
    )
    params = drawn(with_gaps, xs)
    assert len(with_gaps.parts) == 5
    chex.assert_trees_all_equal(with_gaps.forward(params, xs)[0], its_own.forward(params, xs)[0])


def test_stacked_hands_on_lengths_and_carries(x64):
    options = {"lengths": True, "carry": True}
    net = pn.stacked(pn.lstm(2, **options), pn.bidirectional(pn.gru(3, **options)), between=pn.each(pn.dense(2)))
    first = (sequences(2, (B, 2)), sequences(3, (B, 2)))
    second = (sequences(4, (B, 3)), sequences(5, (B, 3)))
    given = (sequences(), LENGTHS, (first, second))
    params = drawn(net, given)
    assert len(params) == 3
    expect_proven(net, params, given)
    part, gap, top = net.parts

    @jax.jit
    def by_hand(params, xs, lengths, starts):
        h, carry = part.forward(params[0], (xs, lengths, starts[0]))[0]
        y, last = top.forward(params[2], (gap.forward(params[1], h)[0], lengths, starts[1]))[0]
        return y, (carry, last)

    expected = by_hand(params, *given)
    chex.assert_trees_all_close(jax.jit(net.forward)(params, given)[0], expected, rtol=1e-12, atol=1e-14)


def test_dropout_between_draws_from_the_key():
    net = pn.stacked(pn.rnn(8), pn.rnn(8), between=pn.dropout(0.5))
    xs = sequences()
    params, state = net.init(jax.random.key(0), pn.spec((T, N)))
    run = jax.jit(lambda key: net.forward(params, xs, state, key)[0])
    one, other, again = (run(jax.random.key(seed)) for seed in (1, 2, 1))
    assert not np.array_equal(one, other)
    chex.assert_trees_all_equal(one, again)


def test_what_is_no_sequence_is_refused():
    net = pn.bidirectional(pn.rnn(2))
    params, _ = net.init(jax.random.key(0), pn.spec((T, N)))
    with refuses(
        ShapeError,
        "bidirectional: expected x of shape (T, n) with T of 1 or more, got float32 of shape (3,). Give one sequence.",
    ):
        net.apply(params, jnp.ones(3))
    with refuses(
        StructureError,
        "bidirectional: expected the input to be x, (x, length), (x, carry) or (x, length, carry), got a tuple of 4. "
        "Give what the recurrent layers take.",
    ):
        net.apply(params, (jnp.ones((T, N)),) * 4)
    with refuses(
        StructureError,
        "bidirectional[0].rnn: expected x to be one array, got a tuple of 2. Pick one, or use jnp.asarray.",
    ):
        net.apply(params, (jnp.ones((T, N)), jnp.int32(2)))
    with refuses(
        StructureError,
        "bidirectional[0]: expected a layer or a function of one example, got 3. "
        "Give layers as separate arguments, such as pn.serial(pn.dense(3), pn.relu).",
    ):
        pn.bidirectional(3)


def test_carries_of_another_stack_are_refused():
    net = pn.stacked(pn.rnn(2, carry=True), pn.rnn(2, carry=True))
    start = (jnp.zeros(2), jnp.zeros(2))
    params, _ = net.init(jax.random.key(0), (pn.spec((T, 2)), (pn.spec(2), pn.spec(2))))
    assert net.apply(params, (jnp.ones((T, 2)), start))[0].shape == (T, 2)
    with refuses(
        StructureError,
        "stacked: expected carry to be a tuple of 2, one entry per recurrent layer, got a tuple of 3. "
        "Give each layer's initial carry, or those that came out before.",
    ):
        net.apply(params, (jnp.ones((T, 2)), (*start, jnp.zeros(2))))
    with refuses(
        ShapeError, "stacked: expected at least one layer, got none. Give layers, such as pn.stacked(pn.dense(3))."
    ):
        pn.stacked()
    last = pn.stacked(pn.rnn(2, outputs="last"), pn.rnn(2))
    with refuses(
        ShapeError,
        "stacked[1].rnn: expected x of shape (T, n) with T of 1 or more, got (2,). "
        "One example is one sequence; leave the mini-batch axis out, or use jax.vmap(net.apply, (None, 0)).",
    ):
        last.init(jax.random.key(0), pn.spec((T, 2)))
