"""The measurements of a diagnosis against direct computation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import purenet as pn
from purenet.insight.alignment import skills
from purenet.insight.curvature import ritz_values
from purenet.insight.diagnosing import diagnose
from purenet.insight.leaks import shares_found
from purenet.insight.measuring_units import forward_with_units
from purenet.insight.noise_scale import gradient_noise
from purenet.insight.places import places_of
from purenet.insight.sampling import draw_sample
from purenet.insight.sharpness import CURVED, adam_of
from purenet.optim.curvature import hessian_product
from purenet.streams import generator_of

NET = pn.serial(pn.dense(4), pn.tanh, pn.dense(2))
LOSS = pn.losses.softmax_cross_entropy


def examples(n=CURVED, seed=0):
    rng = np.random.default_rng(seed)
    xs = rng.normal(size=(n, 3)).astype(np.float32)
    return xs, (xs[:, 0] > 0).astype(np.int32)


@pytest.fixture(autouse=True)
def _quick_compilation():
    """Optimising these programs takes longer than running them."""
    jax.config.update("jax_disable_most_optimizations", True)
    with jax.numpy_rank_promotion("raise"):
        yield
    jax.config.update("jax_disable_most_optimizations", False)


def hessian_of(state, data):
    flat, unflatten = ravel_pytree(state.params)

    def value(flat):
        logits = jax.vmap(NET.apply, (None, 0))(unflatten(flat), data[0])
        return jnp.mean(jax.vmap(LOSS.value)(logits, data[1]))

    return jax.jit(jax.hessian(value))(flat)


def test_sharpness_is_the_largest_eigenvalue_of_the_hessian():
    state, data = pn.train_state(NET, optax.sgd(0.1), jax.random.key(0), pn.spec(3)), examples()
    numbers = diagnose(NET, LOSS, state, data).measurements
    largest = np.linalg.eigvalsh(hessian_of(state, data))[-1]
    np.testing.assert_allclose(numbers["sharpness"], largest, rtol=0.1)
    np.testing.assert_allclose(numbers["stable_rate"], 2 / largest, rtol=0.1)
    assert numbers["sharpness"] <= largest * (1 + 1e-5)


def test_sharpness_in_16_bits():
    """Strictly typed: a slip into float32 would be refused by JAX, and the number left out."""
    state = pn.train_state(NET, optax.sgd(0.1), jax.random.key(0), pn.spec(3))
    wide = diagnose(NET, LOSS, state, examples()).measurements["sharpness"]
    xs, ys = examples()
    narrow = state._replace(params=jax.tree.map(lambda a: a.astype(jnp.bfloat16), state.params))
    with jax.numpy_dtype_promotion("strict"):
        numbers = diagnose(NET, LOSS, narrow, (jnp.asarray(xs, jnp.bfloat16), ys)).measurements
    np.testing.assert_allclose(numbers["sharpness"], wide, rtol=0.1)


def test_sharpness_as_adam_sees_it():
    optimizer, data = optax.adam(1e-2), jax.tree.map(jnp.asarray, examples())
    state = pn.train_state(NET, optimizer, jax.random.key(0), pn.spec(3))
    step = jax.jit(pn.train_step(NET, LOSS, optimizer))
    for _ in range(3):
        state, _ = step(state, data)
    numbers = diagnose(NET, LOSS, state, data, optimizer=optimizer).measurements
    corrected = ravel_pytree(adam_of(state).nu)[0] / (1 - 0.999**3)
    roots = 1 / np.sqrt(np.sqrt(corrected) + 1e-8)
    largest = np.linalg.eigvalsh(roots[:, None] * np.asarray(hessian_of(state, data)) * roots[None])[-1]
    np.testing.assert_allclose(numbers["preconditioned_sharpness"], largest, rtol=0.1)
    assert np.isnan(numbers["sharpness"])


def test_lanczos_finds_every_eigenvalue(x64):
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.normal(size=(12, 12)))
    values = np.array([-3.0, -1, 0, 0.1, 0.5, 1, 2, 3, 5, 8, 13, 21])
    matrix = jnp.asarray(basis @ np.diag(values) @ basis.T)
    tree = {"a": jnp.asarray(rng.normal(size=(3, 2))), "b": jnp.asarray(rng.normal(size=6))}

    def product(v):
        flat, unflatten = ravel_pytree(v)
        return unflatten(matrix @ flat)

    found = jax.jit(lambda start: ritz_values(product, start, 12, exact=True))(tree)
    np.testing.assert_allclose(found, values, atol=1e-9)
    few = jax.jit(lambda start: ritz_values(product, start, 6))(tree)
    assert 20.5 < few[-1] <= 21 + 1e-9


def test_lanczos_stops_where_nothing_is_left():
    start = jnp.array([1.0, 1.0, 0.0])
    found = ritz_values(lambda v: v * jnp.array([2.0, 2.0, 7.0]), start, 3)
    np.testing.assert_allclose(found, [0, 0, 2], atol=1e-6)


def test_hessian_products_of_hand_rules():
    """Convolution has a gradient of its own; its Hessian is that of the plain function."""
    net = pn.serial(pn.conv(2, (2, 2)), pn.tanh, pn.flatten, pn.dense(1))
    params, _ = net.init(jax.random.key(0), pn.spec((3, 3, 1)))
    xs = jax.random.normal(jax.random.key(1), (4, 3, 3, 1))

    def value(run, params):
        return jnp.sum(jnp.square(run(params)))

    forward, plain = lambda p: net.forward(p, xs)[0], lambda p: jax.vmap(net.apply, (None, 0))(p, xs)
    v = jax.tree.map(jnp.ones_like, params)
    by_rule, by_plain = (jax.jit(hessian_product(functools.partial(value, run), params))(v) for run in (forward, plain))
    for one, other in zip(jax.tree.leaves(by_rule), jax.tree.leaves(by_plain), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("count", "size"), [(64, 1), (8, 8)])
def test_noise_scale_of_a_quadratic(count, size):
    """Gradients of ½(w - x)² at w = 0 are -x: signal and spread are those of x."""
    xs = np.random.default_rng(0).normal([1.0, 2.0, 0.0], [1.0, 0.5, 2.0], (count * size, 3)).astype(np.float32)

    def gradient(batch, number):
        return jax.grad(lambda w: jnp.mean(0.5 * jnp.sum(jnp.square(w[None] - batch), axis=1)))(jnp.zeros(3))

    noise = gradient_noise(gradient, jnp.reshape(xs, (count, size, 3)), count, size)
    means = xs.reshape(count, size, 3).mean(1)
    spread = size * np.var(means, axis=0, ddof=1).sum()
    np.testing.assert_allclose(noise.spread, spread, rtol=1e-4)
    np.testing.assert_allclose(noise.signal, np.sum(means.mean(0) ** 2) - spread / (count * size), rtol=1e-4)
    assert 0.3 < noise.scale / ((1 + 0.25 + 4) / 5) < 3


def test_units_of_every_kind():
    ys = {
        "relu": (pn.relu, [[-1.0, 1.0], [-2.0, -1.0]], 0.5, 0),
        "relu6": (pn.relu6, [[7.0, 1.0], [8.0, 9.0]], 0.5, 0),
        "hard_tanh": (pn.hard_tanh, [[2.0, 0.0], [-3.0, 5.0]], 0.5, 0),
        "hard_sigmoid": (pn.hard_sigmoid, [[9.0, 0.0], [-9.0, 0.0]], 0.5, 0),
        "sigmoid": (pn.sigmoid, [[5.0, 0.0], [-5.0, 4.0]], 0, 0.5),
        "tanh": (pn.tanh, [[3.0, 0.0], [-3.0, 2.0]], 0, 0.5),
        "soft_sign": (pn.soft_sign, [[9.0, 0.0], [-9.0, 2.0]], 0, 0.5),
    }
    for name, (activation, xs, dead, saturated) in ys.items():
        _, units = forward_with_units(pn.serial(activation), ((),), jnp.array(xs), ((),), None)
        assert units.paths == (f"serial[0].{name}",)
        assert units.last == f"serial[0].{name}"
        np.testing.assert_allclose([units.dead[0], units.saturated[0]], [dead, saturated], err_msg=name)


def test_channels_and_folded_axes_are_units_too():
    xs = -jnp.ones((2, 3, 4, 5)).at[1, 2, 3].set(-1.0)
    _, units = forward_with_units(pn.serial(pn.relu), ((),), xs, ((),), None)
    assert (units.sizes, units.dead.tolist()) == ((5,), [0.0])
    net = pn.each(pn.serial(pn.relu, jnp.sin))
    _, units = forward_with_units(net, (((), ()),), -jnp.ones((2, 3, 5)), (((), ()),), None)
    assert (units.paths, units.dead.tolist()) == (("each[0].serial[0].relu",), [1.0])


def test_layers_inside_loops_are_passed_over():
    net = pn.serial(pn.repeat(pn.serial(pn.dense(3), pn.relu), 2), pn.relu)
    params, state = net.init(jax.random.key(0), pn.spec(3))
    _, units = forward_with_units(net, params, jnp.ones((4, 3)), state, None)
    assert units.paths == ("serial[1].relu",)


def test_places_are_in_the_order_of_the_leaves():
    net = pn.serial(pn.dense(3), pn.residual(pn.layer_norm(), pn.dense(3)), pn.dense(1, bias=False))
    params, _ = net.init(jax.random.key(0), pn.spec(2))
    places = places_of(net, params)
    assert [place.size for place in places] == [leaf.size for leaf in jax.tree.leaves(params)]
    assert [(place.path, place.leaf) for place in places if place.is_weight] == [
        ("serial[0].dense", "['kernel']"),
        ("serial[1].residual[0].serial[1].dense", "['kernel']"),
        ("serial[2].dense", "['kernel']"),
    ]


def test_leaks_are_counted():
    rng = np.random.default_rng(0)
    train = rng.normal(size=(500, 3, 7)).astype(np.float32)
    other = np.concatenate([rng.normal(size=(60, 3, 7)).astype(np.float32), train[40:60]])
    assert shares_found(train, other, 256, rng) == (0.25, 0.0)
    other[:, 0, 0] += 1e-6  # nearly equal is not equal
    assert shares_found(train, other, 256, rng)[0] == 0
    assert shares_found(np.repeat(train, 2, axis=0), other, 256, rng)[1] == 1


def test_shifted_labels_are_told_from_labels_that_mean_nothing():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 512)
    xs = (np.eye(3)[labels] + 0.3 * rng.normal(size=(512, 3))).astype(np.float32)
    asked = np.stack([labels, np.roll(labels, 1), np.roll(labels, -1), rng.permutation(labels)])
    *told, random = np.asarray(jax.jit(jax.vmap(lambda ys: skills(jnp.asarray(xs), ys, 3)))(asked))
    told = np.array(told)
    assert np.all(told[np.arange(3), [0, 1, 2]] > 8)
    assert np.all(told[[0, 0, 1, 1, 2, 2], [1, 2, 0, 2, 0, 1]] < 5)
    assert np.all(random < 5)


def test_samples_come_in_runs_and_hold_all_of_small_data():
    data = pn.gradients.Batch(np.arange(4000), np.arange(4000), None)
    sample = draw_sample(data, 256, generator_of(jax.random.key(0)))
    runs = sample.examples.xs.reshape(16, 16)
    assert np.all(np.diff(runs, axis=1) == 1)
    assert sorted(sample.order) == list(range(256))
    again = draw_sample(data, 256, generator_of(jax.random.key(0)))
    np.testing.assert_array_equal(sample.examples.xs, again.examples.xs)
    few = draw_sample(pn.gradients.Batch(np.arange(100), np.arange(100), None), 256, generator_of(jax.random.key(0)))
    np.testing.assert_array_equal(few.examples.xs, np.arange(100))
