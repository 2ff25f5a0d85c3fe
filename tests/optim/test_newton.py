"""Newton's method with the exact Hessian, and by conjugate gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from refusals import refuses

import purenet as pn


def descend(optimizer, value_fn, params, steps):
    """Params and state after so many updates, in one program, and the values on the way."""

    def step(carry, _):
        params, state = carry
        value, grads = jax.value_and_grad(value_fn)(params)
        updates, state = optimizer.update(grads, state, params, value=value, grad=grads, value_fn=value_fn)
        return (optax.apply_updates(params, updates), state), value

    run = jax.jit(lambda params: jax.lax.scan(step, (params, optimizer.init(params)), length=steps))
    (params, state), values = run(params)
    return params, state, np.append(values, value_fn(params))


def rosenbrock(p):
    return 100 * (p["y"] - p["x"] ** 2) ** 2 + (1 - p["x"]) ** 2


def saddle(x):
    """Indefinite around 0, with minima of -1/4 at (±1, 0)."""
    return x[0] ** 4 / 4 - x[0] ** 2 / 2 + x[1] ** 2


@pytest.mark.parametrize("name", ["newton", "newton_cg"])
def test_a_quadratic_takes_one_step(name, rng, x64):
    root = rng.normal(size=(12, 12))
    A, b = jnp.asarray(root @ root.T + np.eye(12)), jnp.asarray(rng.normal(size=12))
    params = {"w": jnp.asarray(rng.normal(size=(2, 5))), "c": [jnp.ones(2)]}

    def value_fn(p):
        x = jnp.concatenate([p["c"][0], p["w"].ravel()])
        return x @ A @ x / 2 - b @ x

    options = {} if name == "newton" else {"tolerance": 1e-14}
    found, state, _ = descend(getattr(pn.optim, name)(**options), value_fn, params, 1)
    x = np.concatenate([found["c"][0], found["w"].ravel()])
    np.testing.assert_allclose(x, np.linalg.solve(A, b), rtol=1e-10, atol=1e-10)
    assert float(state.step_size) == 1


def test_both_find_the_bottom_of_rosenbrocks_valley(x64):
    start = {"x": jnp.asarray(-1.2), "y": jnp.asarray(1.0)}
    for optimizer, steps in ((pn.optim.newton(), 25), (pn.optim.newton_cg(), 40)):
        found, _, values = descend(optimizer, rosenbrock, start, steps)
        assert (np.diff(values) <= 1e-30).all()
        assert abs(float(found["x"]) - 1) < 1e-10
        assert abs(float(found["y"]) - 1) < 1e-10


def test_newton_in_float32_and_mixed_dtypes():
    params = {"half": jnp.ones(2, jnp.bfloat16), "full": jnp.ones(3)}

    def value_fn(p):
        return jnp.sum((p["half"].astype(jnp.float32) - 3) ** 2) + jnp.sum((p["full"] + p["half"][0] - 1) ** 2)

    with jax.numpy_dtype_promotion("standard"):
        found, state, values = descend(pn.optim.newton(), value_fn, params, 3)
    assert found["half"].dtype == jnp.bfloat16
    assert values[-1] < 1e-10
    assert state.trouble() is None


def test_where_the_hessian_is_not_positive_definite_newton_says_so():
    optimizer, x = pn.optim.newton(), jnp.array([0.0, 1.0])
    text = (
        "newton: expected a positive definite Hessian at update 1, got a smallest eigenvalue of -1, damping included. "
        "Raise damping by more than 1, or use pn.optim.newton_cg or pn.optim.gauss_newton."
    )
    with refuses(pn.ShapeError, text):
        optimizer.update(jax.grad(saddle)(x), optimizer.init(x), x, value_fn=saddle)
    found, state, _ = descend(optimizer, saddle, x, 3)
    assert np.isnan(found).all()
    assert state.trouble() == text
    assert int(state.failed_at) == 1
    found, state, _ = descend(pn.optim.newton(damping=1.5), saddle, jnp.array([0.01, 1.0]), 40)
    np.testing.assert_allclose(found, [1, 0], atol=1e-4)
    assert state.trouble() is None


def test_the_first_trouble_stays_and_each_of_many_has_its_own():
    dampings = jnp.array([2.0, 0.5])
    run = jax.vmap(lambda damping: descend_states(pn.optim.newton(damping=damping), jnp.array([0.0, 1.0]), 3))
    state = run(dampings)
    assert state.failed_at.tolist() == [0, 1]
    np.testing.assert_allclose(state.smallest, [0, -0.5])
    assert "got a smallest eigenvalue of -0.5, damping included" in state.trouble()


def descend_states(optimizer, x, steps):
    def step(carry, _):
        x, state = carry
        updates, state = optimizer.update(jax.grad(saddle)(x), state, x, value_fn=saddle)
        return (x + updates, state), None

    return jax.lax.scan(step, (x, optimizer.init(x)), length=steps)[0][1]


def test_a_hessian_that_is_not_finite():
    optimizer, x = pn.optim.newton(), jnp.array([0.0, 1.0])
    with refuses(
        pn.ShapeError,
        "newton: expected a finite Hessian at update 1, got NaN or infinity. Lower learning_rate.",
    ):
        optimizer.update(x, optimizer.init(x), x, value_fn=lambda x: jnp.sum(jnp.log(x)))


def test_newton_cg_goes_downhill_where_the_hessian_is_not_positive_definite():
    x = jnp.array([0.01, 1.0])
    found, state, values = descend(pn.optim.newton_cg(), saddle, x, 15)
    np.testing.assert_allclose(np.abs(found), [1, 0], atol=1e-4)
    assert (np.diff(values) <= 1e-6).all()
    assert not bool(state.curved)
    optimizer, x = pn.optim.newton_cg(line_search=False), jnp.array([0.1, 0.0])
    grads = jax.grad(saddle)(x)
    updates, state = optimizer.update(grads, optimizer.init(x), x, value_fn=saddle)
    assert bool(state.curved)
    np.testing.assert_allclose(updates, -grads)  # the very first direction curves down: the gradient alone


def test_nan_stays_nan():
    optimizer, x = pn.optim.newton_cg(line_search=False), jnp.ones(2)
    updates, _ = optimizer.update(jnp.array([jnp.nan, 1.0]), optimizer.init(x), x, value_fn=lambda x: jnp.sum(x**2))
    assert np.isnan(updates).all()


def test_a_hessian_too_large_is_refused_by_init():
    spec = {"w": jax.ShapeDtypeStruct((784, 128), jnp.float32), "b": jax.ShapeDtypeStruct((128,), jnp.float32)}
    with refuses(
        pn.ShapeError,
        "newton: expected a matrix of at most 1 GiB, max_bytes, got 100480 parameters, whose 100480 by 100480 matrix "
        "of float32 takes 37.61 GiB. Use pn.optim.newton_cg, which needs no matrix, or raise max_bytes.",
    ):
        jax.eval_shape(pn.optim.newton().init, spec)
    with refuses(
        pn.ShapeError,
        "newton: expected a matrix of at most 399 bytes, max_bytes, got 10 parameters, whose 10 by 10 matrix of "
        "float32 takes 400 bytes. Use pn.optim.newton_cg, which needs no matrix, or raise max_bytes.",
    ):
        pn.optim.newton(max_bytes=399).init(jnp.ones(10))
    with refuses(
        pn.StructureError,
        "newton: expected max_bytes to be known, got a traced number. "
        'Name it in optax.inject_hyperparams(…, static_args="max_bytes").',
    ):
        jax.jit(lambda most: pn.optim.newton(max_bytes=most).init(jnp.ones(2)))(400)


def test_without_the_loss_the_remedy_is_named():
    for name in ("newton", "newton_cg"):
        optimizer = getattr(pn.optim, name)()
        with refuses(
            pn.StructureError,
            f"{name}: expected value_fn, got None. pn.train_step, pn.train and pn.fit supply it; "
            "by hand, call update(grads, state, params, value_fn=…).",
        ):
            optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)), jnp.ones(2))


def test_a_schedule_of_rates_without_a_line_search(x64):
    optimizer = pn.optim.newton(lambda count: jnp.where(count == 0, 0.5, 1.0), line_search=False)
    path = [4.0]
    for steps in (1, 2):
        found, _, _ = descend(optimizer, lambda x: jnp.sum(3 * x**2), jnp.array([4.0]), steps)
        path.append(float(found[0]))
    np.testing.assert_allclose(path, [4, 2, 0], atol=1e-14)
