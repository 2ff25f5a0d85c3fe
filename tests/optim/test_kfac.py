"""K-FAC: its factors are the second moments of inputs and deltas, and its steps those of the natural gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from refusals import refuses

import purenet as pn
from purenet.gradients import as_batch
from purenet.optim.curvature import linearise
from purenet.optim.kronecker import Factors, inverses_of, moments, precondition
from purenet.optim.quadratic import lowest_in_plane
from purenet.tapping import Tap, _root, tap_dense

NET = pn.serial(pn.dense(5), pn.tanh, pn.dense(3))
LOSS = pn.losses.softmax_cross_entropy


def data(n=64, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n).astype(np.int32)
    return jnp.asarray((rng.normal(size=(n, 4)) + 2 * np.eye(3, 4)[labels]).astype(np.float32)), jnp.asarray(labels)


def start(optimizer, net=NET, spec=None):
    return pn.train_state(net, optimizer, jax.random.key(0), pn.spec(4) if spec is None else spec)


def test_taps_are_inputs_and_deltas_with_the_gauss_newton_matrix_as_second_moment():
    with jax.enable_x64(True):
        xs, ys = (jnp.asarray(a, a.dtype if a.dtype == jnp.int32 else jnp.float64) for a in data(8))
        params, state = NET.init(jax.random.key(0), pn.spec(4, jnp.float64))
        batch = as_batch((xs, ys))

        def taps(key):
            found = tap_dense(NET, LOSS, params, state, batch, (None, key))
            return [(tap.inputs, tap.deltas) for tap in found]

        drawn = jax.jit(jax.vmap(taps))(jax.random.split(jax.random.key(1), 20_000))
        np.testing.assert_array_equal(drawn[0][0][0], xs)
        hidden = jnp.tanh(xs @ params[0]["kernel"] + params[0]["bias"])
        np.testing.assert_allclose(drawn[1][0][0], hidden, rtol=1e-12)
        # the deltas of the last layer, example by example: covariance diag(p) - ppᵀ
        shares = jax.nn.softmax(hidden @ params[2]["kernel"] + params[2]["bias"])
        covariance = jnp.einsum("kbi,kbj->bij", drawn[1][1], drawn[1][1]) / 20_000
        expected = jax.vmap(lambda p: jnp.diag(p) - jnp.outer(p, p))(shares)
        np.testing.assert_allclose(covariance, expected, atol=0.02)
        assert float(jnp.abs(expected).max()) > 0.1


def test_weights_count_in_the_deltas_and_an_example_of_weight_zero_does_not():
    xs, ys = data(4)
    params, state = NET.init(jax.random.key(0), pn.spec(4))
    keys = (None, jax.random.key(1))
    weights = jnp.array([0.0, 1.0, 1.0, 2.0])
    plain = tap_dense(NET, LOSS, params, state, as_batch((xs, ys)), keys)
    weighted = tap_dense(NET, LOSS, params, state, as_batch((xs, ys, weights)), keys)
    ratio = np.asarray(weighted[1].deltas) / np.asarray(plain[1].deltas)
    np.testing.assert_allclose(ratio, np.sqrt([0, 1, 1, 2])[:, None] * np.ones((1, 3)), rtol=1e-5)


def test_padding_of_weight_zero_changes_neither_factor():
    """The rows of an example follow each other: four in an `each`."""
    xs, ys = data(6)
    xs = jnp.stack([xs, 2 * xs, -xs, xs + 1], axis=1)
    net = pn.serial(pn.each(pn.dense(2)), pn.flatten, pn.dense(3))
    params, state = net.init(jax.random.key(0), pn.spec((4, 4)))
    weights = jnp.array([1.0, 2.0, 1.0, 3.0, 0.0, 0.0])

    def factors(count, key):
        batch = as_batch((xs[:count], ys[:count], weights[:count]))
        # the cotangents' noise is per example: of few examples as of many
        taps = tap_dense(net, LOSS, params, state, batch, (None, key))
        return [moments([tap], True, jnp.float32) for tap in taps]

    keys = jax.random.split(jax.random.key(1), 4000)
    few, many = (jax.jit(jax.vmap(lambda key, n=n: factors(n, key)))(keys) for n in (4, 6))
    shares = np.repeat(np.asarray(weights[:4]) / 7, 4) / 4
    rows = np.concatenate([np.asarray(xs[:4]).reshape(16, 4), np.ones((16, 1))], axis=1)
    np.testing.assert_allclose(few[0].inputs[0], (rows * shares[:, None]).T @ rows, rtol=1e-5)
    for one, other in zip(few, many, strict=True):
        np.testing.assert_allclose(one.inputs[0], other.inputs[0], rtol=1e-5)
        scale = float(jnp.max(jnp.mean(one.deltas, axis=0)))
        np.testing.assert_allclose(np.mean(one.deltas, axis=0), np.mean(other.deltas, axis=0), atol=0.06 * scale)


def test_the_preconditioner_is_the_inverse_of_the_kronecker_product():
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        inputs, deltas = rng.normal(size=(50, 4)), rng.normal(size=(50, 3))
        tap = Tap("", jnp.asarray(inputs), jnp.asarray(deltas), 50, None)
        factors = moments([tap], True, jnp.float64)
        ones = np.concatenate([inputs, np.ones((50, 1))], axis=1)
        np.testing.assert_allclose(factors.inputs, ones.T @ ones / 50, rtol=1e-12)
        np.testing.assert_allclose(factors.deltas, deltas.T @ deltas / 50, rtol=1e-12)
        gradient = rng.normal(size=(5, 3))
        natural = precondition(inverses_of(factors, jnp.float64(0.01)), jnp.asarray(gradient))
        a, g = np.asarray(factors.inputs), np.asarray(factors.deltas)
        balance = np.sqrt((np.trace(a) / 5) / (np.trace(g) / 3))
        matrix = np.kron(a + balance * 0.1 * np.eye(5), g + 0.1 / balance * np.eye(3))
        np.testing.assert_allclose(np.ravel(natural), np.linalg.solve(matrix, np.ravel(gradient)), rtol=1e-9)


def test_it_learns_in_a_fraction_of_adams_steps():
    def losses(optimizer, steps):
        run = jax.jit(pn.train(NET, LOSS, optimizer, epochs=steps))
        return np.asarray(run(start(optimizer), data())[1]["loss"])

    natural = losses(pn.optim.kfac(), 60)
    rates = jnp.array([0.003, 0.01, 0.03, 0.1])
    adam = optax.inject_hyperparams(optax.adam)(0.1)

    def best(rate):
        state = start(adam)
        state.opt_state.hyperparams["learning_rate"] = rate
        return pn.train(NET, LOSS, adam, epochs=160)(state, data())[1]["loss"][-1]

    assert natural[-1] < float(jnp.min(jax.jit(jax.vmap(best))(rates)))
    assert np.all(np.isfinite(natural))


def test_one_layer_of_least_squares_is_solved_by_its_quadratic_model():
    rng = np.random.default_rng(0)
    xs = jnp.asarray(rng.normal(size=(32, 4)).astype(np.float32))
    ys = xs @ jnp.asarray(rng.normal(size=(4, 2)).astype(np.float32)) + 1
    optimizer = pn.optim.kfac(damping=1e-3)
    run = jax.jit(pn.train(pn.dense(2), pn.losses.half_squared_error, optimizer, epochs=10))
    _, history = run(start(optimizer, pn.dense(2)), (xs, ys))
    assert float(history["loss"][-1]) < 1e-5 * float(history["loss"][0])


def test_a_rate_and_momentum_of_ones_own_and_vmap_over_them():
    def last(rate, damping):
        optimizer = pn.optim.kfac(rate, damping=damping, momentum=0.5, every=2)
        return pn.train(NET, LOSS, optimizer, batch_size=32, epochs=5)(start(optimizer), data())[1]["loss"][-1]

    rates, dampings = jnp.array([0.1, 0.3]), jnp.array([0.1, 1.0])
    together = jax.jit(jax.vmap(last))(rates, dampings)
    alone = [jax.jit(last)(rate, damping) for rate, damping in zip(rates, dampings, strict=True)]
    np.testing.assert_allclose(together, alone, rtol=1e-4)


def test_it_trains_in_fit_with_each_and_shared_layers_and_beside_another_optimizer():
    xs, ys = data()
    sequence = jnp.stack([xs, -xs], axis=1)
    shared = pn.dense(4)
    net = pn.serial(pn.each(pn.serial(shared, pn.tanh)), pn.flatten, pn.dense(3))
    result = pn.fit(
        net, (sequence, ys), loss=LOSS, optimizer=pn.optim.kfac(), key=jax.random.key(0), batch_size=32, epochs=10
    )
    assert result.history["loss"][-1] < 0.5 * result.history["loss"][0]
    normed = pn.serial(pn.dense(5), pn.layer_norm(), pn.relu, pn.dense(3))

    def which(params):
        return jax.tree_util.tree_map_with_path(lambda path, _: "adam" if path[0].idx == 1 else "kfac", params)

    both = optax.partition({"kfac": pn.optim.kfac(0.1), "adam": optax.adam(0.01)}, which)
    run = jax.jit(pn.train(normed, LOSS, both, batch_size=32, epochs=5))
    _, history = run(start(both, normed), (xs, ys))
    assert history["loss"][-1] < 0.5 * history["loss"][0]


@pytest.mark.parametrize("second_order", [pn.optim.kfac, pn.optim.gauss_newton, pn.optim.newton_cg])
def test_a_part_of_the_network_is_the_quadratic_models_alone(second_order):
    """The rest stands still, so that the part's own problem is the whole one."""
    net = pn.serial(pn.dense(4), pn.tanh, pn.dense(3))
    given = {"part": second_order(), "still": optax.set_to_zero()}
    optimizer = optax.partition(given, lambda params: ("still", (), "part"))
    run = jax.jit(pn.train(net, LOSS, optimizer, epochs=5))
    _, history = run(start(optimizer, net), data())
    fresh = start(optimizer, net)
    features = jax.vmap(pn.serial(*net.parts[:2]).apply, (None, 0))(fresh.params[:2], data()[0])
    alone = second_order()
    state = pn.train_state(pn.dense(3), alone, jax.random.key(0), pn.spec(4), params=fresh.params[2])
    _, expected = jax.jit(pn.train(pn.dense(3), LOSS, alone, epochs=5))(state, (features, data()[1]))
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=0.02)  # CG ends one product apart
    assert history["loss"][-1] < history["loss"][0]


def test_a_step_uphill_is_not_made():
    """Thirty-two sequences at once, with saturated logits, about which the model foretells nothing."""
    xs, ys = data(32)
    net = pn.serial(pn.each(pn.dense(4)), pn.flatten, pn.dense(3))
    run = jax.jit(pn.train(net, LOSS, pn.optim.kfac(), epochs=12))
    sequences = jnp.stack([xs, xs[::-1], -xs], axis=1)
    _, history = run(start(pn.optim.kfac(), net, pn.spec((3, 4))), (3 * sequences, ys))
    assert np.all(np.diff(history["loss"]) <= 1e-5)
    assert history["loss"][-1] < 0.7 * history["loss"][0]


def test_weight_decay_in_front_is_part_of_what_falls():
    xs, ys = data()
    optimizer = optax.chain(optax.add_decayed_weights(0.1), pn.optim.kfac(damping=1.0))
    final, _ = jax.jit(pn.train(NET, LOSS, optimizer, epochs=60))(start(optimizer), (xs, ys))
    (_, _), grads = pn.value_and_grad(NET, LOSS)(final.params, final.state, (xs, ys))
    total = jax.tree.map(lambda g, p: jnp.abs(g + 0.1 * p).max(), grads, final.params)
    assert float(jnp.max(jnp.stack(jax.tree.leaves(total)))) < 1e-3  # at the minimum of the loss and its penalty


def test_examples_without_weight_give_no_curvature_and_no_nan():
    xs, ys = data(1200)
    weights = jnp.where(jnp.arange(1200) < 1100, 0.0, 1.0)
    run = jax.jit(pn.train(NET, LOSS, pn.optim.kfac(), epochs=5))
    _, history = run(start(pn.optim.kfac()), (xs, ys, weights))
    assert np.all(np.isfinite(history["loss"]))
    assert history["loss"][-1] < history["loss"][0]


def test_roots_have_derivatives_where_eigenvectors_have_none():
    """At one eigenvalue (squared errors), a singular matrix (softmax) and one that bends down."""
    with jax.enable_x64(True):
        shares = jnp.array([0.2, 0.5, 0.3])
        softmax = jnp.diag(shares) - jnp.outer(shares, shares)
        matrices = jnp.stack([jnp.eye(3), softmax, jnp.array([[1.0, 0.2, 0.0], [0.2, -1.0, 0.3], [0.0, 0.3, 0.5]])])
        moves = jnp.stack([jnp.array([[1.0, 2.0, 0.0], [2.0, 0.0, 1.0], [0.0, 1.0, -1.0]]), softmax @ softmax, softmax])
        roots, tangents = jax.jvp(_root, (matrices,), (moves,))
        np.testing.assert_allclose((roots @ roots)[:2], matrices[:2], atol=1e-14)
        h = 1e-6
        np.testing.assert_allclose(
            tangents, (_root(matrices + h * moves) - _root(matrices - h * moves)) / (2 * h), atol=1e-7
        )


@pytest.mark.slow
def test_it_has_a_gradient_with_respect_to_its_damping():
    with jax.enable_x64(True):
        xs, ys = data(12)

        def last(damping):
            optimizer = pn.optim.kfac(damping=damping)
            state = start(optimizer, spec=pn.spec(4, jnp.float64))
            return pn.train(NET, LOSS, optimizer, epochs=3)(state, (jnp.asarray(xs, jnp.float64), ys))[1]["loss"][-1]

        h = 1e-5
        values, slopes = jax.jit(jax.vmap(jax.value_and_grad(last)))(0.2 + h * jnp.array([0.0, 1.0, -1.0]))
        np.testing.assert_allclose(slopes[0], (values[1] - values[2]) / (2 * h), rtol=1e-6)


def test_a_loss_that_bends_down_is_no_reason_to_go_up():
    def step(bend):
        def loss(p):
            return p[0] + 0.5 * bend * p[0] ** 2 + 0.5 * p[1] ** 2

        outer = linearise(lambda x: x, loss, jnp.zeros(2))
        directions = jnp.array([-1.0, 0.0]), jnp.array([0.0, 1.0])
        return lowest_in_plane(outer, jnp.array([1.0, 0.0]), directions, jnp.float32(0.5))

    steps = jax.vmap(step)(jnp.array([2.0, 0.0, -0.4, -2.0]))
    np.testing.assert_allclose(steps.step[:, 0], [-1 / 2.5, -2, -2, -2], rtol=1e-6)
    assert np.all(np.asarray(steps.change) < 0)


def test_bfloat16_inside_multi_steps():
    """The params that `optax.MultiSteps` hands on are not the network's own arrays: it updates in a condition."""
    xs, ys = data()
    optimizer = optax.MultiSteps(pn.optim.kfac(), 2)
    state = start(optimizer, spec=pn.spec(4, jnp.bfloat16))
    run = jax.jit(pn.train(NET, LOSS, optimizer, batch_size=32, epochs=8))
    final, history = run(state, (xs.astype(jnp.bfloat16), ys))
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert final.params[0]["kernel"].dtype == jnp.bfloat16


def test_params_that_are_one_array_have_taps_of_their_own():
    net = pn.serial(pn.dense(4), pn.tanh, pn.dense(4))
    one = {"kernel": jnp.eye(4), "bias": jnp.zeros(4)}
    xs, _ = data(4)
    taps = tap_dense(
        net, pn.losses.half_squared_error, (one, (), one), ((), (), ()), as_batch((xs, xs)), (None, jax.random.key(0))
    )
    assert [tap.place for tap in taps] == ["[0]['kernel']", "[2]['kernel']"]


def test_no_curvature_at_all_is_no_overflow():
    """An absolute error is flat between its kinks; the deltas are 0."""
    factors = Factors(jnp.eye(2) * 100, jnp.zeros((3, 3)))
    natural = precondition(inverses_of(factors, jnp.float32(0.1)), jnp.ones((2, 3)))
    np.testing.assert_allclose(natural, 10 * np.ones((2, 3)), rtol=1e-4)


REFUSED = {
    "a layer that is none of its": (
        lambda: pn.train_state(pn.serial(pn.layer_norm(), pn.dense(3)), pn.optim.kfac(), jax.random.key(0), pn.spec(4)),
        TypeError,
        "kfac: expected params of dense layers alone, got others at [0]['offset']. Give those another optimizer with "
        "optax.partition, or use pn.optim.gauss_newton.",
    ),
    "a rate of zero": (
        lambda: pn.optim.kfac(0.0),
        ValueError,
        "kfac: expected learning_rate above 0 and finite, got 0.0. Give a positive number, or a schedule.",
    ),
    "no damping": (
        lambda: pn.optim.kfac(damping=0.0),
        ValueError,
        "kfac: expected damping above 0 and finite, got 0.0. Give a positive number.",
    ),
    "a decay of one": (
        lambda: pn.optim.kfac(decay=1.0),
        ValueError,
        "kfac: expected decay from 0 to below 1, got 1.0. Give such as 0.9.",
    ),
    "layers in a loop": (
        lambda: _step(pn.serial(pn.repeat(pn.dense(4), 2), pn.dense(3)), pn.optim.kfac()),
        TypeError,
        "kfac: expected params of dense layers alone, got others at [0][0]['bias']. Give those another optimizer with "
        "optax.partition, or use pn.optim.gauss_newton.",
    ),
    "layers whose values are forgotten": (
        lambda: _step(pn.serial(pn.remat(pn.dense(4)), pn.dense(3)), pn.optim.kfac()),
        TypeError,
        "kfac: expected the params at [0][0] to be those of a pn.dense, called outside of loops (pn.repeat, pn.remat "
        "and recurrences are loops), got no such call. Give them another optimizer with optax.partition, or use "
        "pn.optim.gauss_newton.",
    ),
    "a layer too wide": (
        lambda: jax.eval_shape(pn.optim.kfac().init, {"kernel": pn.spec((20_000, 2))}),
        ValueError,
        "kfac: expected layers whose factors take at most 1 GiB, got ['kernel'], of which one of 20000 by 20000 takes "
        "1.49 GiB. Give that layer another optimizer with optax.partition, or use pn.optim.gauss_newton.",
    ),
    "a layer of that name which is another": (
        lambda: _step(pn.layer(_square, init=pn.dense(3).init, name="dense"), pn.optim.kfac()),
        TypeError,
        "kfac: expected the params at the top to be those of a pn.dense, called outside of loops (pn.repeat, pn.remat "
        "and recurrences are loops), got no such call. Give them another optimizer with optax.partition, or use "
        "pn.optim.gauss_newton.",
    ),
    "the laws of an optimizer": (
        lambda: pn.check.optimizer(pn.optim.kfac(), params={"kernel": np.ones((2, 2), np.float32)}),
        TypeError,
        "check.optimizer: expected an optimizer of params and their loss, got one that needs a network's layers "
        "(taps_fn). Try it in pn.train.",
    ),
    "params that are an array": (
        lambda: pn.optim.kfac().init(jnp.ones(3)),
        TypeError,
        "kfac: expected params of dense layers alone, got others at the top. Give those another optimizer with "
        "optax.partition, or use pn.optim.gauss_newton.",
    ),
    "no network": (
        lambda: pn.optim.kfac().update(
            {"kernel": jnp.ones((2, 2))},
            pn.optim.kfac().init({"kernel": jnp.ones((2, 2))}),
            {"kernel": jnp.ones((2, 2))},
        ),
        TypeError,
        "kfac: expected value_fn, got None. pn.train_step, pn.train and pn.fit supply it; by hand, call "
        "update(grads, state, params, value_fn=…).",
    ),
}


def _square(params, x):
    return jnp.square(params["kernel"]).T @ x + params["bias"]


def _step(net, optimizer):
    return pn.train_step(net, LOSS, optimizer)(start(optimizer, net), data(8))


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case):
    act, kind, message = REFUSED[case]
    with refuses(kind, message):
        act()


def test_a_curvature_that_is_not_finite_is_told():
    xs, ys = data(8)
    optimizer = pn.optim.kfac(0.1)
    with pytest.raises(pn.DivergedError, match="kfac: the curvature at update 1, with damping, was not positive"):
        pn.fit(NET, (xs * 1e25, ys), loss=LOSS, optimizer=optimizer, key=jax.random.key(0), batch_size=None)
