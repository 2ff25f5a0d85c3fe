"""Batch normalisation: what training normalises by, what inference does, how the statistics move, what is refused."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from refusals import refuses

import purenet as pn
from purenet.errors import ShapeError, StructureError

LOSS = pn.losses.half_squared_error
NET = pn.serial(pn.dense(4), pn.batch_norm(), pn.tanh, pn.dense(1))
SINGLE = (
    "expected a mini-batch of two examples or more in training, got 1. Batch normalisation couples the examples of a "
    "mini-batch, so that none has statistics or a gradient of its own. Choose a batch_size that leaves no single "
    "example over at the end of an epoch; where examples stand alone, as in per_example_grad, use pn.group_norm or "
    "pn.layer_norm."
)
STATELESS = (
    "expected state with the running statistics, got none. Pass the one that init made and training moved on "
    "(result.state of pn.fit, the field state of a TrainState): net.apply(params, x, state)."
)


def made(net, shape, dtype=jnp.float32, batch=5):
    """Params and state that are none of the first ones, and a mini-batch."""
    rng = np.random.default_rng(0)
    params, state = net.init(None, pn.spec(shape, dtype))
    params = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape), dtype), params)
    state = jax.tree.map(lambda a: jnp.asarray(rng.uniform(0.5, 2, a.shape), a.dtype), state)
    return params, state, jnp.asarray(rng.normal(size=(batch, *shape)), dtype)


def data(n):
    rng = np.random.default_rng(1)
    xs = rng.normal(2, 3, (n, 3)).astype(np.float32)
    return xs, xs.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 4, 3)])
def test_values_and_statistics_are_those_of_a_loop(shape, x64):
    net = pn.batch_norm(momentum=0.75, epsilon=0.01)
    params, state, xs = made(net, shape, jnp.float64)
    ys, new = net.forward(params, xs, state)
    for channel in range(3):
        numbers = np.asarray(xs)[..., channel]
        mean, var = numbers.mean(), numbers.var()
        expected = (numbers - mean) / np.sqrt(var + 0.01) * params["scale"][channel] + params["offset"][channel]
        chex.assert_trees_all_close(ys[..., channel], expected, rtol=1e-12)
        running = [0.75 * state["mean"][channel] + 0.25 * mean]
        running += [0.75 * state["var"][channel] + 0.25 * numbers.var(ddof=1)]
        chex.assert_trees_all_close([new["mean"][channel], new["var"][channel]], running, rtol=1e-12)


def test_inference_takes_the_state_as_it_stands():
    net = pn.batch_norm(epsilon=3.0)
    params = {"scale": jnp.array([2.0, 1.0]), "offset": jnp.array([0.0, 5.0])}
    state = {"mean": jnp.array([1.0, -1.0]), "var": jnp.array([1.0, 6.0])}
    y = net.apply(params, jnp.array([[3.0, 2.0], [1.0, -1.0]]), state)
    chex.assert_trees_all_close(y, jnp.array([[2.0, 6.0], [0.0, 5.0]]), rtol=1e-6)


@pytest.mark.parametrize("momentum", [0, 0.5, np.float32(0.875)])
def test_the_momentum_is_what_remains(momentum):
    net = pn.batch_norm(momentum=momentum)
    params, state = net.init(None, pn.spec(1))
    for _ in range(3):
        _, state = net.forward(params, jnp.array([[1.0], [3.0]]), state)
    left = float(momentum) ** 3
    expected = {"mean": jnp.array([2 * (1 - left)]), "var": jnp.array([left + 2 * (1 - left)])}
    chex.assert_trees_all_close(state, expected, rtol=1e-6)


def test_statistics_begin_as_those_of_standard_numbers():
    params, state = pn.batch_norm().init(None, pn.spec((2, 3), jnp.float16))
    ones, zeros = jnp.ones(3, jnp.float16), jnp.zeros(3, jnp.float16)
    chex.assert_trees_all_equal(params, {"scale": ones, "offset": zeros})
    chex.assert_trees_all_equal(state, {"mean": jnp.zeros(3), "var": jnp.ones(3)})
    chex.assert_trees_all_equal_dtypes(state, {"mean": jnp.zeros(3), "var": jnp.ones(3)})


@pytest.mark.parametrize("options", [{"scale": False}, {"offset": False}])
def test_without_scale_or_offset_the_hand_rule_is_autodiff(options, x64):
    net = pn.batch_norm(**options)
    params, state, xs = made(net, (2, 3), jnp.float64)
    assert len(params) == 1
    ones, zeros = jnp.ones(3), jnp.zeros(3)

    def plain(params, xs):
        x_hat = (xs - xs.mean((0, 1))) / jnp.sqrt(xs.var((0, 1)) + 1e-5)
        return x_hat * params.get("scale", ones) + params.get("offset", zeros)

    ys, autodiff = jax.vjp(plain, params, xs)
    by_hand, _, pullback = net.vjp(params, xs, state)
    chex.assert_trees_all_close((by_hand, pullback(xs**2)), (ys, autodiff(xs**2)), rtol=1e-12, atol=1e-14)


def test_forward_carries_the_hand_rule_and_the_same_statistics(x64):
    net = pn.batch_norm()
    params, state, xs = made(net, (2, 3), jnp.float64)
    ys, forward, new = jax.vjp(lambda params, xs: net.forward(params, xs, state), params, xs, has_aux=True)
    by_hand, moved, pullback = net.vjp(params, xs, state)
    chex.assert_trees_all_equal((ys, new, forward(xs)), (by_hand, moved, pullback(xs)))


def test_no_gradient_flows_through_the_running_statistics():
    net = pn.batch_norm()
    params, state, xs = made(net, (3,))

    def total(xs, state):
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(net.forward(params, xs, state)[1]))

    chex.assert_trees_all_equal(jax.grad(total, (0, 1))(xs, state), jax.tree.map(jnp.zeros_like, (xs, state)))


@pytest.mark.parametrize("shape", [(4,), (6, 6, 4)])
def test_a_large_mean_does_not_swallow_the_variance(shape):
    net = pn.batch_norm(epsilon=1e-12, momentum=0.0)
    xs = np.random.default_rng(3).normal(1e4, 1, (64, *shape)).astype(np.float32)
    params, state = net.init(None, pn.spec(shape))
    ys, new = net.forward(params, xs, state)
    exact = xs.astype(np.float64)
    axes = tuple(range(exact.ndim - 1))
    # Numbers at 1e4 are a thousandth apart, and a sum of thousands of them is off by some such steps.
    chex.assert_trees_all_close(new["var"], exact.var(axes, ddof=1).astype(np.float32), rtol=1e-3)
    chex.assert_trees_all_close(ys, ((exact - exact.mean(axes)) / exact.std(axes)).astype(np.float32), atol=1e-2)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_sixteen_bits_are_averaged_in_thirty_two(dtype):
    net = pn.batch_norm(momentum=0.99)
    params, state, xs = made(net, (8, 2), dtype, batch=64)
    xs = 1000 + 100 * xs
    wide_params, wide_xs = jax.tree.map(lambda a: a.astype(jnp.float32), (params, xs))
    (ys, new, pullback), (wide_ys, wide_new, wide_pullback) = (
        net.vjp(params, xs, state),
        net.vjp(wide_params, wide_xs, state),
    )
    chex.assert_trees_all_close(new, wide_new, rtol=1e-6)
    expected = jax.tree.map(lambda a: a.astype(dtype), (wide_ys, wide_pullback(wide_ys)))
    got = (ys, pullback(ys))
    chex.assert_trees_all_equal_dtypes(got, expected)
    floats = (jax.tree.map(lambda a: a.astype(jnp.float32), tree) for tree in (got, expected))
    chex.assert_trees_all_close(*floats, rtol=0.02, atol=0.2)
    assert net.apply(params, xs[0], new).dtype == dtype


def test_small_moves_of_the_statistics_are_not_lost_in_bfloat16():
    net = pn.batch_norm(momentum=0.999)
    params, state = net.init(None, pn.spec(1, jnp.bfloat16))
    xs = jnp.array([[0.0], [2.0]], jnp.bfloat16)
    state, _ = jax.lax.scan(lambda state, _: (net.forward(params, xs, state)[1], None), state, length=5000)
    chex.assert_trees_all_close(state["mean"], jnp.array([1 - 0.999**5000]), rtol=1e-4)


@pytest.mark.parametrize("gradient", ["autodiff", "backprop"])
def test_training_moves_the_statistics_as_a_loop_over_steps_does(gradient):
    optimizer, batch = optax.sgd(0.05), data(8)
    start = pn.train_state(NET, optimizer, jax.random.key(0), pn.spec(3))
    run = jax.jit(pn.train(NET, LOSS, optimizer, epochs=3, gradient=gradient))
    final, _ = run(start, batch)
    params, state = start.params, start.state
    for _ in range(3):
        (_, state), grads = pn.value_and_grad(NET, LOSS)(params, state, batch)
        params = jax.tree.map(lambda a, g: a - 0.05 * g, params, grads)
    chex.assert_trees_all_close((final.params, final.state), (params, state), rtol=1e-5, atol=1e-6)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max() > 1e-3, final.state[1], start.state[1])
    assert moved == {"mean": True, "var": True}


def test_fit_hands_the_state_to_its_validation_and_to_evaluate():
    xs, ys = data(20)
    result = pn.fit(
        NET, (xs, ys), loss=LOSS, optimizer=optax.adam(0.02), batch_size=6, epochs=20, validation=(xs, ys),
        key=jax.random.key(1),
    )  # fmt: skip
    measured = pn.evaluate(NET, result.params, (xs, ys), state=result.state, loss=LOSS)["loss"]
    predictions = jax.vmap(lambda x: NET.apply(result.params, x, result.state))(xs)
    expected = float(jnp.mean(jax.vmap(LOSS.value)(predictions, ys)))
    np.testing.assert_allclose(measured, expected, rtol=1e-5)
    np.testing.assert_allclose(result.history["val_loss"][-1], expected, rtol=1e-5)
    first = pn.train_state(NET, optax.sgd(1.0), jax.random.key(1), pn.spec(3)).state
    untrained = pn.evaluate(NET, result.params, (xs, ys), state=first, loss=LOSS)["loss"]
    assert abs(untrained - measured) > 1e-2 * measured  # so the state is what was measured with
    with refuses(StructureError, f"serial[1].batch_norm: {STATELESS}"):
        pn.evaluate(NET, result.params, (xs, ys), loss=LOSS)


def test_a_single_example_left_over_is_an_error_with_its_remedy():
    optimizer, batch = optax.sgd(0.1), data(9)
    message = f"serial[1].batch_norm: {SINGLE}"
    with refuses(ShapeError, message):
        pn.fit(NET, batch, loss=LOSS, optimizer=optimizer, batch_size=4, key=jax.random.key(0))
    start = pn.train_state(NET, optimizer, jax.random.key(0), pn.spec(3))
    with refuses(ShapeError, message):
        pn.train(NET, LOSS, optimizer, batch_size=4)(start, batch)
    final, _ = pn.train(NET, LOSS, optimizer, batch_size=5)(start, batch)  # leaves four over
    chex.assert_tree_all_finite(final.state)


@pytest.mark.parametrize("shape", [(3,), (4, 4, 3)])
@pytest.mark.parametrize("rule", ["forward", "vjp"])
def test_a_mini_batch_of_one_is_refused_whatever_its_space(rule, shape):
    net = pn.batch_norm()
    params, state, xs = made(net, shape, batch=1)
    with refuses(ShapeError, f"batch_norm: {SINGLE}"):
        getattr(net, rule)(params, xs, state)


def test_per_example_gradients_are_refused():
    start = pn.train_state(NET, optax.sgd(0.1), jax.random.key(0), pn.spec(3))
    with refuses(ShapeError, f"serial[1].batch_norm: {SINGLE}"):
        pn.per_example_grad(NET, LOSS)(start.params, start.state, data(4))


def test_inside_each_the_axis_counts_as_examples():
    net, inner = pn.each(pn.batch_norm()), pn.batch_norm()
    params, state, xs = made(inner, (4, 3))
    ys, new = net.forward((params,), xs, (state,))
    folded, moved = inner.forward(params, xs.reshape(-1, 3), state)
    chex.assert_trees_all_equal((ys, new), (folded.reshape(xs.shape), (moved,)))


@pytest.mark.parametrize("rule", ["apply", "forward", "vjp"])
@pytest.mark.parametrize("state", [None, ()])
def test_a_missing_state_is_asked_for(rule, state):
    net = pn.batch_norm()
    params, _, xs = made(net, (3,))
    with refuses(StructureError, f"batch_norm: {STATELESS}"):
        getattr(net, rule)(params, xs[0] if rule == "apply" else xs, state)


def test_another_state_is_refused():
    net = pn.batch_norm()
    params, state, xs = made(net, (3,))
    remedy = "Pass the state that this network's init or training made."
    with refuses(StructureError, f"batch_norm: expected state of batch_norm, got another tree, a dict of 1. {remedy}"):
        net.apply(params, xs[0], {"mean": state["mean"]})
    with refuses(
        StructureError,
        "batch_norm: expected state of batch_norm, with float32 of shape (3,) at ['mean'], got float32 of shape (2,) "
        f"there. {remedy}",
    ):
        net.forward(params, xs, {**state, "mean": jnp.zeros(2)})
    message = f"batch_norm: expected state of batch_norm, got another tree, float32 of shape (3,). {remedy}"
    with refuses(StructureError, message):
        net.apply(params, xs[0], state["mean"])


@pytest.mark.parametrize("momentum", [1, 1.0, -0.1, np.nan])
def test_a_momentum_out_of_range_is_refused(momentum):
    with refuses(
        ShapeError,
        f"batch_norm: expected 0 <= momentum < 1, got {momentum}. "
        "It is what remains of the running statistics in an update: 1 less PyTorch's momentum.",
    ):
        pn.batch_norm(momentum=momentum)


def test_a_momentum_that_is_no_python_number_is_refused():
    with refuses(
        StructureError, "batch_norm: expected momentum to be a Python number, got '0.9'. Give one such as 0.9."
    ):
        pn.batch_norm(momentum="0.9")
