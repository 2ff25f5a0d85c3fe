"""What all of purenet's optimizers do alike: laws, many at once, injected hyperparameters, training, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from refusals import refuses

import purenet as pn

MADE = {
    "ftrl": (lambda rate: pn.optim.ftrl(rate, l1=0.01), 0.5),
    "newton": (lambda rate: pn.optim.newton(rate, damping=2.0), 0.7),
    "newton_cg": (lambda rate: pn.optim.newton_cg(rate, iterations=4), 0.7),
    "gauss_newton": (lambda rate: pn.optim.gauss_newton(rate, iterations=4), 0.7),
    "levenberg_marquardt": (lambda damping: pn.optim.levenberg_marquardt(damping=damping), 0.1),
}
net, loss = pn.serial(pn.dense(3), pn.tanh, pn.dense(1)), pn.losses.half_squared_error
xs = jnp.linspace(-2, 2, 12)[:, None]
DATA = (xs, jnp.sin(xs))


FACTORIES = {
    "ftrl": (pn.optim.ftrl, {"l1": 0.01}),
    "newton": (pn.optim.newton, {"damping": 2.0}),
    "newton_cg": (pn.optim.newton_cg, {"iterations": 4}),
    "gauss_newton": (pn.optim.gauss_newton, {"iterations": 4}),
    "levenberg_marquardt": (pn.optim.levenberg_marquardt, {}),
}


def predict_fn(params):
    return jnp.tanh(xs * params["slope"]) * params["height"]


def loss_fn(predictions):
    return jnp.mean((predictions - DATA[1]) ** 2) / 2


def path_of(optimizer, steps=3):
    """Params after each of some updates by hand."""
    given = {"predict_fn": predict_fn, "loss_fn": loss_fn, "value_fn": lambda p: loss_fn(predict_fn(p))}
    optimizer = optax.with_extra_args_support(optimizer)

    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(jax.grad(given["value_fn"])(params), state, params, **given)
        params = optax.apply_updates(params, updates)
        return (params, state), jnp.append(params["slope"], params["height"])

    params = {"slope": jnp.array([0.5]), "height": jnp.array(2.0)}
    return jax.lax.scan(step, (params, optimizer.init(params)), length=steps)[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", MADE)
def test_the_laws_of_optimizers_hold(name):
    make, number = MADE[name]
    assert pn.check.optimizer(make(number), steps=20).held


@pytest.mark.parametrize("name", MADE)
def test_many_hyperparameters_at_once_and_injected_ones_are_single_runs(name, x64):
    make, number = MADE[name]
    factory, options = FACTORIES[name]
    options = options | {"damping" if name == "levenberg_marquardt" else "learning_rate": number}
    numbers = jnp.array([number, number / 2])

    @jax.jit
    def run(numbers):
        injected = path_of(optax.inject_hyperparams(factory)(**options))
        one_by_one = jax.lax.map(lambda number: path_of(make(number)), numbers)
        return jax.vmap(lambda number: path_of(make(number)))(numbers), one_by_one, injected

    together, alone, injected = run(numbers)
    np.testing.assert_allclose(together, alone, rtol=1e-9)
    np.testing.assert_allclose(injected, alone[0], rtol=1e-9)
    assert np.isfinite(together).all()
    assert abs(alone[0] - alone[1]).max() > 1e-3


@pytest.mark.parametrize("name", ["newton_cg", "levenberg_marquardt"])
def test_train_and_fit_supply_what_they_need_also_in_a_chain(name):
    make, number = MADE[name]
    chained = optax.chain(optax.clip_by_global_norm(1e6), make(number))
    result = pn.fit(
        net, DATA, loss=loss, optimizer=chained, key=jax.random.key(0), batch_size=12, epochs=4, progress=False
    )
    train = jax.jit(pn.train(net, loss, make(number), epochs=4))
    _, history = train(pn.train_state(net, make(number), jax.random.key(0), pn.spec(1)), DATA)
    np.testing.assert_allclose(result.history["loss"], history["loss"], rtol=1e-3)
    assert history["loss"][-1] < history["loss"][0] / 2


def test_fit_tells_the_trouble_of_newtons_method():
    with pytest.raises(pn.DivergedError) as caught:
        pn.fit(net, DATA, loss=loss, optimizer=pn.optim.newton(), key=jax.random.key(0), batch_size=12, progress=False)
    assert "newton: expected a positive definite Hessian at update 1, got a smallest eigenvalue of" in str(caught.value)


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("number", [0.0, -0.1, np.inf, np.float32("nan")])
def test_rates_that_cannot_work_are_refused(name, number):
    what = "damping" if name == "levenberg_marquardt" else "learning_rate"
    remedy = "Give a positive number." if what == "damping" else "Give a positive number, or a schedule."
    with refuses(pn.ShapeError, f"{name}: expected {what} above 0 and finite, got {float(number)}. {remedy}"):
        MADE[name][0](number)


def test_other_options_that_cannot_work_are_refused():
    with refuses(
        pn.StructureError,
        "newton: expected learning_rate to be a number, got 'fast'. Give a number such as 0.1, or a schedule.",
    ):
        pn.optim.newton("fast")
    with refuses(
        pn.ShapeError,
        "newton: expected learning_rate to be one number, got float32 of shape (2,). For many at once use jax.vmap.",
    ):
        pn.optim.newton(jnp.ones(2))
    with refuses(
        pn.ShapeError, "newton_cg: expected damping of 0 or more and finite, got -1.0. Give 0.0 or a positive number."
    ):
        pn.optim.newton_cg(damping=-1.0)
    with refuses(pn.ShapeError, "newton_cg: expected iterations of 1 or more, got 0. Give an int of 1 or more."):
        pn.optim.newton_cg(iterations=0)
    with refuses(pn.StructureError, "gauss_newton: expected iterations to be a whole number, got 2.5. Give an int."):
        pn.optim.gauss_newton(iterations=2.5)
    with refuses(pn.StructureError, "newton: expected line_search to be True or False, got 1. Give a bool."):
        pn.optim.newton(line_search=1)


@pytest.mark.parametrize("make", [pn.optim.levenberg_marquardt, pn.optim.newton_cg, lambda: pn.optim.ftrl(0.1)])
def test_params_may_begin_as_numbers_of_python(make):
    net = pn.layer(lambda p, t: p[0] * jnp.exp(-p[1] * t), init=lambda key, spec: ((1.0, 1.0), ()))
    times = jnp.linspace(0, 2, 9)[:, None]
    state = pn.train_state(net, make(), jax.random.key(0), pn.spec(1))
    run = jax.jit(pn.train(net, pn.losses.half_squared_error, make(), epochs=5))
    _, history = run(state, (times, 2 * jnp.exp(-0.5 * times)))
    assert history["loss"][-1] < history["loss"][0]
