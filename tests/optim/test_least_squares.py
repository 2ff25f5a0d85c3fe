"""Levenberg and Marquardt's method on curve fits, and the Gauss-Newton method on a classification."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from refusals import refuses

import purenet as pn
from purenet.optim.curvature import linearise, matrix_of

TIMES = np.linspace(0, 4, 40)
TRUE, START = np.array([1.0, 0.3, 2.0, 1.5]), np.array([0.5, 0.1, 1.0, 1.0])


def curve(p, t):
    """Two exponential decays."""
    return p[0] * jnp.exp(-p[1] * t) + p[2] * jnp.exp(-p[3] * t)


def fit(optimizer, steps, start=START, predict=curve, targets=None):
    """Params and state in the end, and the root mean square of the residuals after every update."""
    targets = curve(TRUE, TIMES) if targets is None else targets

    def predict_fn(p):
        return predict(p, jnp.asarray(TIMES, p.dtype))

    def loss_fn(y):
        return jnp.mean((y - jnp.asarray(targets, y.dtype)) ** 2) / 2

    def step(carry, _):
        p, state = carry
        grads = jax.grad(lambda p: loss_fn(predict_fn(p)))(p)
        updates, state = optimizer.update(grads, state, p, predict_fn=predict_fn, loss_fn=loss_fn)
        p = optax.apply_updates(p, updates)
        return (p, state), jnp.sqrt(2 * loss_fn(predict_fn(p)))

    run = jax.jit(lambda p: jax.lax.scan(step, (p, optimizer.init(p)), length=steps))
    (p, state), residuals = run(jnp.asarray(start))
    return p, state, np.asarray(residuals)


@pytest.mark.parametrize("solver", ["dense", "cg"])
def test_levenberg_marquardt_is_a_hundred_times_faster_than_adam(solver, x64):
    p, _, residuals = fit(pn.optim.levenberg_marquardt(solver=solver), 20)
    needed = int(np.argmax(residuals < 1e-8)) + 1
    assert residuals[-1] < 1e-8
    assert needed <= 8
    assert (np.diff(residuals) <= 0).all()
    np.testing.assert_allclose(p, TRUE, rtol=1e-7)
    if solver == "dense":
        adam = jax.vmap(lambda rate: _adam(rate, 100 * needed))(jnp.array([1e-3, 1e-2, 3e-2, 1e-1, 3e-1]))
        assert adam.min() > 1e-8


def _adam(rate, steps):
    optimizer = optax.with_extra_args_support(optax.adam(rate))

    def predict_fn(p):
        return curve(p, jnp.asarray(TIMES)) - curve(TRUE, TIMES)

    def step(carry, _):
        p, state = carry
        updates, state = optimizer.update(jax.grad(lambda p: jnp.mean(predict_fn(p) ** 2) / 2)(p), state, p)
        return (p + updates, state), jnp.sqrt(jnp.mean(predict_fn(p + updates) ** 2))

    return jax.lax.scan(step, (jnp.asarray(START), optimizer.init(jnp.asarray(START))), length=steps)[1].min()


def test_units_and_parameters_without_influence_do_not_matter(x64):
    plain, _, plain_residuals = fit(pn.optim.levenberg_marquardt(), 6)
    units = np.array([1e6, 1e-5, 1.0, 1e3, 1.0])
    start = np.append(START, 7.0) / units
    other, _, residuals = fit(pn.optim.levenberg_marquardt(), 6, start, lambda p, t: curve((p * units)[:4], t))
    np.testing.assert_allclose(residuals, plain_residuals, rtol=1e-4, atol=1e-12)
    np.testing.assert_allclose(other[:4] * units[:4], plain, rtol=1e-6)
    assert float(other[4]) == 7


def test_a_step_that_does_not_lower_the_value_is_refused():
    # at the best fit of noisy data, in float32, nothing lowers the value
    targets = curve(TRUE, TIMES) + np.random.default_rng(0).normal(0, 0.1, TIMES.shape)
    start = jnp.asarray(START, jnp.float32)
    p, state, residuals = fit(pn.optim.levenberg_marquardt(attempts=3), 60, start, targets=targets)
    assert (np.diff(residuals) <= 0).all()
    assert residuals[-1] == residuals[-2]
    assert not bool(state.accepted)
    assert int(state.attempts) == 3
    assert float(state.damping) <= 1e8
    assert p.dtype == jnp.float32


def test_where_the_loss_is_not_finite_the_updates_are_nan():
    _, _, residuals = fit(pn.optim.levenberg_marquardt(), 1, np.full(4, -1e4, np.float32))
    assert np.isnan(residuals).all()


@pytest.mark.slow
def test_any_convex_loss_does(x64):
    """A logistic regression by Levenberg and Marquardt ends where Newton's method does."""
    rng = np.random.default_rng(0)
    xs, ys = jnp.asarray(rng.normal(size=(60, 3))), jnp.asarray(rng.integers(0, 2, 60).astype(np.float64))

    def predict_fn(w):
        return xs @ w

    def loss_fn(logits):
        return jnp.mean(jnp.logaddexp(0, logits) - ys * logits)

    def value_fn(w):
        return loss_fn(predict_fn(w))

    ends = []
    for optimizer in (pn.optim.levenberg_marquardt(), pn.optim.newton(), pn.optim.gauss_newton(damping=0.0)):
        update = functools.partial(optimizer.update, predict_fn=predict_fn, loss_fn=loss_fn, value_fn=value_fn)

        def step(carry, _, update=update):
            updates, state = update(jax.grad(value_fn)(carry[0]), carry[1], carry[0])
            return (carry[0] + updates, state), None

        w = jnp.zeros(3)
        ends.append(jax.jit(lambda c, step=step: jax.lax.scan(step, c, length=20)[0][0])((w, optimizer.init(w))))
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-7)
    np.testing.assert_allclose(ends[2], ends[1], atol=1e-7)


def test_a_dense_system_too_large_is_refused_by_init():
    params = {"kernel": jax.ShapeDtypeStruct((200, 100), jnp.float32)}
    with refuses(
        pn.ShapeError,
        "levenberg_marquardt: expected a matrix of at most 1 GiB, max_bytes, got 20000 parameters, whose 20000 by "
        '20000 matrix of float32 takes 1.49 GiB. Use solver="cg", which needs no matrix, or raise max_bytes.',
    ):
        jax.eval_shape(pn.optim.levenberg_marquardt(solver="dense").init, params)
    jax.eval_shape(pn.optim.levenberg_marquardt().init, params)


@pytest.mark.parametrize("name", ["levenberg_marquardt", "gauss_newton"])
def test_without_the_predictions_the_remedy_is_named(name):
    optimizer, w = getattr(pn.optim, name)(), jnp.ones(2)
    with refuses(
        pn.StructureError,
        f"{name}: expected predict_fn, got None. pn.train_step, pn.train and pn.fit supply it; "
        "by hand, call update(grads, state, params, predict_fn=…).",
    ):
        optimizer.update(w, optimizer.init(w), w)


def test_options_out_of_range_are_refused():
    with refuses(
        pn.ShapeError,
        "levenberg_marquardt: expected damping above 0 and finite, got 0.0. Give a positive number.",
    ):
        pn.optim.levenberg_marquardt(damping=0)
    with refuses(
        pn.ShapeError,
        "levenberg_marquardt: expected solver to be one of ('dense', 'cg') or None, got 'qr'. Choose one of them.",
    ):
        pn.optim.levenberg_marquardt(solver="qr")
    with refuses(pn.ShapeError, "gauss_newton: expected adapt above 1, or None, got 1.0. The usual one is 1.5."):
        pn.optim.gauss_newton(adapt=1)


def spirals(n=300):
    """Three classes in the plane that no line separates, a spiral each."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    radius = rng.uniform(0.1, 1, n)
    angle = 4 * radius + labels * 2 * np.pi / 3 + rng.normal(0, 0.05, n)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return jnp.asarray(points, jnp.float32), jnp.asarray(labels, jnp.int32)


def losses_of(optimizer, epochs):
    net = pn.serial(pn.dense(24), pn.tanh, pn.dense(3))
    train = pn.train(net, pn.losses.softmax_cross_entropy, optimizer, epochs=epochs)
    return train(pn.train_state(net, optimizer, jax.random.key(0), pn.spec(2)), spirals())[1]["loss"]


@pytest.mark.slow
def test_gauss_newton_needs_a_third_of_adams_steps_on_a_small_network():
    ours = np.asarray(jax.jit(lambda: losses_of(pn.optim.gauss_newton(damping=0.01, adapt=1.5, iterations=20), 20))())
    needed = int(np.argmax(ours < 0.01)) + 1
    assert ours[-1] < 0.01
    rates = jnp.array([1e-2, 3e-2, 1e-1, 3e-1])
    adam = jax.jit(jax.vmap(lambda rate: losses_of(optax.adam(rate), 3 * needed)))(rates)
    assert np.asarray(adam).min() > 0.01


def test_the_gauss_newton_product_is_that_of_the_full_matrix(x64):
    """JᵀLJ v with a layer whose backward pass has a rule of its own and no forward-mode derivative."""

    @jax.custom_vjp
    def layer(x):
        return jnp.tanh(x)

    layer.defvjp(lambda x: (jnp.tanh(x), x), lambda x, dy: (dy * (1 - jnp.tanh(x) ** 2),))
    A, x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3))), jnp.array([0.3, -0.2, 0.5])

    def predict(x):
        return layer(A @ x)

    @jax.jit
    def both(x):
        outer = linearise(predict, jax.nn.logsumexp, x)
        J, L = jax.jacrev(predict)(x), jax.hessian(jax.nn.logsumexp)(predict(x))
        return matrix_of(outer.product, x), J.T @ L @ J, outer.value - jax.nn.logsumexp(predict(x))

    made, expected, gap = both(x)
    np.testing.assert_allclose(made, expected, rtol=1e-12, atol=1e-14)
    assert gap == 0


def test_a_matrix_of_more_rows_than_are_made_at_once():
    diagonal = jnp.arange(1.0, 301.0)
    made = jax.jit(lambda like: matrix_of(lambda v: diagonal * v, like))(jnp.zeros(300))
    np.testing.assert_array_equal(made, np.diag(diagonal))
