"""K-FAC: its factors are the second moments of inputs and deltas, and its steps those of the natural gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from refusals import refuses

import purenet as pn
from purenet.gradients import as_batch
from purenet.optim.kronecker import inverses_of, moments, precondition
from purenet.tapping import tap_dense

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


def test_the_preconditioner_is_the_inverse_of_the_kronecker_product():
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        inputs, deltas = rng.normal(size=(50, 4)), rng.normal(size=(50, 3))

        class Tap:
            examples = 50

        tap = Tap()
        tap.inputs, tap.deltas = jnp.asarray(inputs), jnp.asarray(deltas)
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
