"""weight_norm and spectral_norm: the kernels that they make, their gradients, their state, and what they refuse."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from refusals import refuses

import purenet as pn
from purenet.errors import ShapeError, StructureError

pytestmark = pytest.mark.slow

KEY = jax.random.key(3)
DEEP = pn.serial(pn.dense(3), pn.tanh, pn.residual(pn.dense(3, bias=False)))


def both_gradients(net, params, state, xs):
    """Params' and inputs' cotangents of a fixed functional: by hand, and by autodiff of forward."""

    @jax.jit
    def run(params, xs):
        ys, autodiff, new = jax.vjp(lambda params, xs: net.forward(params, xs, state), params, xs, has_aux=True)
        by_hand, moved, pullback = net.vjp(params, xs, state)
        return (by_hand, moved, pullback(jnp.cos(ys))), (ys, new, autodiff(jnp.cos(ys)))

    by_hand, by_autodiff = run(params, xs)
    chex.assert_trees_all_close(by_hand[:2], by_autodiff[:2], rtol=1e-12)
    return by_hand[2], by_autodiff[2]


def singular(kernel):
    return np.linalg.svd(np.asarray(kernel).reshape(-1, kernel.shape[-1]), compute_uv=False)


def test_weight_norm_begins_as_the_layer_itself():
    net, inner = pn.weight_norm(DEEP), DEEP
    params, state = net.init(KEY, pn.spec(4))
    kernel = params[0][0]["kernel"]
    assert jax.tree.map(jnp.shape, kernel) == {"direction": (4, 3), "gain": (3,)}
    np.testing.assert_allclose(kernel["gain"], np.linalg.norm(kernel["direction"], axis=0), rtol=1e-6)
    plain = jax.tree.map(
        lambda a: a["direction"] if isinstance(a, dict) else a,
        params[0],
        is_leaf=lambda a: isinstance(a, dict) and "gain" in a,
    )
    x = jnp.arange(4.0)
    chex.assert_trees_all_close(net.apply(params, x, state), inner.apply(plain, x), rtol=1e-6)
    assert jax.tree.leaves(state) == []


def test_the_length_of_a_direction_changes_nothing_and_the_gain_scales():
    net = pn.weight_norm(pn.dense(2, bias=False))
    split = {"direction": jnp.array([[3.0, 0.0], [4.0, 2.0]]), "gain": jnp.array([5.0, 7.0])}
    x = jnp.array([1.0, 10.0])
    expected = jnp.array([43.0, 70.0])
    chex.assert_trees_all_close(net.apply(({"kernel": split},), x), expected, rtol=1e-6)
    longer = {"direction": split["direction"] * jnp.array([9.0, 0.1]), "gain": 2 * split["gain"]}
    chex.assert_trees_all_close(net.apply(({"kernel": longer},), x), 2 * expected, rtol=1e-6)


def test_weight_norm_gradients_by_hand(x64):
    net = pn.weight_norm(DEEP)
    params, state = net.init(KEY, pn.spec(4, jnp.float64))
    params = jax.tree.map(lambda a: a + 0.3 * jnp.cos(jnp.arange(a.size)).reshape(a.shape), params)
    xs = jax.random.normal(KEY, (5, 4), jnp.float64)
    by_hand, autodiff = both_gradients(net, params, state, xs)
    chex.assert_trees_all_close(by_hand, autodiff, rtol=1e-12, atol=1e-14)
    split, cotangent = params[0][0]["kernel"], by_hand[0][0][0]["kernel"]
    along = jnp.sum(split["direction"] * cotangent["direction"], axis=0)
    chex.assert_trees_all_close(along, jnp.zeros(3), atol=1e-12)  # the length does not matter


def test_a_feature_is_the_last_axis_of_kernels_of_any_rank(x64):
    """A user's layer whose kernel has three axes."""
    inner = pn.layer(
        lambda params, x: jnp.einsum("ab,abc->c", x, params["kernel"]),
        init=lambda key, spec: ({"kernel": jax.random.normal(key, (*spec.shape, 2), spec.dtype)}, ()),
        name="bilinear",
    )
    xs = jax.random.normal(KEY, (3, 2, 4), jnp.float64)
    for net in (pn.weight_norm(inner), pn.spectral_norm(inner)):
        assert not net.proven  # as the layer inside is not
        params, state = net.init(KEY, pn.spec((2, 4), jnp.float64))
        by_hand, autodiff = both_gradients(net, params, state, xs)
        chex.assert_trees_all_close(by_hand, autodiff, rtol=1e-12, atol=1e-14)
    assert params[0]["kernel"].shape == (2, 4, 2)
    assert state[0]["vectors"][0]["left"].shape == (8,)


def test_a_direction_of_zeros_makes_nan():
    net = pn.weight_norm(pn.dense(2, kernel_init=jax.nn.initializers.zeros))
    params, _ = net.init(KEY, pn.spec(3))
    assert np.isnan(net.apply(params, jnp.ones(3))).all()


def test_weight_norm_trains():
    net, optimizer = pn.weight_norm(pn.dense(1)), optax.adam(0.1)
    xs = jax.random.normal(KEY, (64, 3))
    start = pn.train_state(net, optimizer, KEY, pn.spec(3))
    run = jax.jit(pn.train(net, pn.losses.half_squared_error, optimizer, epochs=300))
    _, history = run(start, (xs, xs @ jnp.array([[1.0], [-2.0], [3.0]]) + 1))
    assert history["loss"][-1] < 1e-4 * history["loss"][0]


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 1)])
def test_spectral_norm_divides_by_the_largest_singular_value(shape, x64):
    net = pn.spectral_norm(pn.dense(shape[1], bias=False), iterations=300)
    params, state = net.init(KEY, pn.spec(shape[0], jnp.float64))
    xs = jnp.eye(shape[0])
    divided, state = net.forward(params, xs, state)  # of the unit vectors: the kernel itself
    np.testing.assert_allclose(singular(divided), singular(params[0]["kernel"]) / singular(params[0]["kernel"])[0])
    applied = jax.vmap(net.apply, (None, 0, None))(params, xs, state)
    chex.assert_trees_all_close(applied, divided, rtol=1e-12)


def test_first_vectors_are_near_the_largest_ones():
    net = pn.spectral_norm(pn.dense(64, bias=False))

    def first(key):
        params, state = net.init(key, pn.spec(128))
        return jax.vmap(net.apply, (None, 0, None))(params, jnp.eye(128), state)

    for kernel in jax.jit(jax.vmap(first))(jax.random.split(KEY, 5)):
        assert 1 <= singular(kernel)[0] + 1e-6 < 1.1


@pytest.mark.parametrize("iterations", [1, 3])
def test_an_update_makes_so_many_rounds_and_inference_none(iterations, x64):
    net = pn.spectral_norm(pn.dense(3), iterations=iterations)
    params, state = net.init(KEY, pn.spec(4, jnp.float64))
    params = jax.tree.map(lambda a: a + jnp.cos(jnp.arange(a.size)).reshape(a.shape), params)
    kernel, bias = np.asarray(params[0]["kernel"]), np.asarray(params[0]["bias"])
    x, left = np.arange(4.0), np.asarray(state[0]["vectors"][0]["left"])
    sigma = left @ kernel @ np.asarray(state[0]["vectors"][0]["right"])
    np.testing.assert_allclose(net.apply(params, x, state), x @ kernel / sigma + bias, rtol=1e-12)
    for _ in range(iterations):
        right = left @ kernel / np.linalg.norm(left @ kernel)
        left = kernel @ right / np.linalg.norm(kernel @ right)
    ys, new = net.forward(params, x[None], state)
    np.testing.assert_allclose(ys[0], x @ kernel / (left @ kernel @ right) + bias, rtol=1e-12)
    chex.assert_trees_all_close(new[0]["vectors"], ({"left": left, "right": right},), rtol=1e-12)


def test_spectral_gradients_by_hand_hold_the_vectors_still(x64):
    net = pn.spectral_norm(DEEP)
    params, state = net.init(KEY, pn.spec(4, jnp.float64))
    params = jax.tree.map(lambda a: a + 0.3 * jnp.cos(jnp.arange(a.size)).reshape(a.shape), params)
    xs = jax.random.normal(KEY, (5, 4), jnp.float64)
    by_hand, autodiff = both_gradients(net, params, state, xs)
    chex.assert_trees_all_close(by_hand, autodiff, rtol=1e-12, atol=1e-14)
    _, moved = net.forward(params, xs, state)

    # Inference with the new vectors is the same function, plainly written and with them as constants.
    def functional(params, xs):
        return jnp.sum(jnp.sin(jax.vmap(net.apply, (None, 0, None))(params, xs, moved)))

    plain = jax.jit(jax.grad(functional, (0, 1)))(params, xs)
    chex.assert_trees_all_close(by_hand, plain, rtol=1e-12, atol=1e-14)


def test_a_kernel_of_zeros_passes_and_may_grow():
    net = pn.spectral_norm(pn.dense(2, kernel_init=jax.nn.initializers.zeros))
    params, state = net.init(KEY, pn.spec(3))
    ys, new, pullback = net.vjp(params, jnp.ones((1, 3)), state)
    chex.assert_trees_all_equal(ys, jnp.zeros((1, 2)))
    chex.assert_trees_all_equal(new, state)
    norms = jax.tree.map(jnp.linalg.norm, new[0]["vectors"][0])
    chex.assert_trees_all_close(norms, {"left": jnp.ones(()), "right": jnp.ones(())}, rtol=1e-6)
    chex.assert_trees_all_equal(pullback(jnp.ones((1, 2)))[0][0]["kernel"], jnp.ones((3, 2)))
    grown = ({**params[0], "kernel": jnp.ones((3, 2))},)
    ys, _ = net.forward(grown, jnp.ones((1, 3)), new)
    chex.assert_trees_all_close(ys, jnp.full((1, 2), 3 / np.sqrt(6)), rtol=1e-5)


def test_the_vectors_of_16_bit_kernels_have_32():
    net = pn.spectral_norm(pn.dense(2))
    params, state = net.init(KEY, pn.spec(3, jnp.bfloat16))
    assert {leaf.dtype.name for leaf in jax.tree.leaves(state)} == {"float32"}
    ys, new = net.forward(params, jnp.ones((2, 3), jnp.bfloat16), state)
    assert ys.dtype == jnp.bfloat16
    chex.assert_trees_all_equal_dtypes(new, state)


def test_state_of_the_layer_inside_is_carried():
    inner = pn.serial(pn.dense(3), pn.batch_norm())
    xs = jax.random.normal(KEY, (6, 2))
    for wrap, open_state in ((pn.weight_norm, lambda s: s[0]), (pn.spectral_norm, lambda s: s[0]["part"])):
        net = wrap(inner)
        params, state = net.init(KEY, pn.spec(2))
        _, new = net.forward(params, xs, state)
        assert float(jnp.abs(open_state(new)[1]["mean"]).max()) > 0
        chex.assert_trees_all_close(net.vjp(params, xs, state)[1], new, rtol=1e-5, atol=1e-6)
        assert net.apply(params, xs[0], new).shape == (3,)


def test_spectral_norm_trains_and_is_evaluated_with_its_state():
    net, loss = pn.serial(pn.spectral_norm(pn.dense(4)), pn.tanh, pn.dense(1)), pn.losses.half_squared_error
    xs = np.asarray(jax.random.normal(KEY, (32, 3)))
    ys = np.tanh(xs.sum(axis=1, keepdims=True))
    result = pn.fit(net, (xs, ys), loss=loss, optimizer=optax.adam(0.05), batch_size=8, epochs=30, key=KEY)
    measured = pn.evaluate(net, result.params, (xs, ys), state=result.state, loss=loss)["loss"]
    assert measured < 0.1 * result.history["loss"][0]
    vectors = result.state[0][0]["vectors"][0]
    sigma = vectors["left"] @ result.params[0][0]["kernel"] @ vectors["right"]
    np.testing.assert_allclose(sigma, singular(result.params[0][0]["kernel"])[0], rtol=0.05)


@pytest.mark.parametrize(("wrap", "name"), [(pn.weight_norm, "weight_norm"), (pn.spectral_norm, "spectral_norm")])
def test_layers_without_a_kernel_are_refused(wrap, name):
    remedy = "Put it around the layer that has the kernel, such as pn.dense(3), once."
    expected = f"{name}: expected a layer whose params hold an array named 'kernel', got"
    with refuses(StructureError, f"{expected} a dict of 2 without one. {remedy}"):
        wrap(pn.layer_norm()).init(KEY, pn.spec(3))
    with refuses(StructureError, f"{expected} a kernel that is split already. {remedy}"):
        wrap(pn.weight_norm(pn.dense(3))).init(KEY, pn.spec(3))
    with refuses(
        StructureError,
        f"{name}: expected a layer with an array for each kernel, got repeat, which stacks them. "
        f"Put it inside: pn.repeat(pn.{name}(…), times).",
    ):
        wrap(pn.serial(pn.relu, pn.repeat(pn.dense(3), 2)))
    stacked = pn.repeat(wrap(pn.dense(3)), 2)
    params, state = stacked.init(KEY, pn.spec(3))
    assert stacked.apply(params, jnp.ones(3), state).shape == (3,)


def test_other_params_of_weight_norm_are_refused():
    net, x = pn.weight_norm(pn.dense(2, bias=False)), jnp.ones(3)
    remedy = "Pass the params that this network's init made."
    expected = "weight_norm: expected params with each kernel as a dict of ['direction', 'gain'], got"
    with refuses(StructureError, f"{expected} float32 of shape (3, 2). {remedy}"):
        net.apply(({"kernel": jnp.ones((3, 2))},), x)
    with refuses(StructureError, f"{expected} a dict of 0 without one. {remedy}"):
        net.apply(({},), x)
    with refuses(
        StructureError,
        f"weight_norm: expected params to be a tuple of 1, one entry per part, got a dict of 0. {remedy}",
    ):
        net.apply({}, x)
    with refuses(ShapeError, f"weight_norm: expected a gain of shape (2,), one per output feature, got (1,). {remedy}"):
        net.apply(({"kernel": {"direction": jnp.ones((3, 2)), "gain": jnp.ones(1)}},), x)
    with refuses(
        StructureError,
        "weight_norm: expected a gain of dtype float32, that of the direction, got bfloat16. "
        "Cast all parameters to one dtype.",
    ):
        net.apply(({"kernel": {"direction": jnp.ones((3, 2)), "gain": jnp.ones(2, jnp.bfloat16)}},), x)


@pytest.mark.parametrize("rule", ["apply", "forward", "vjp"])
def test_other_states_of_spectral_norm_are_refused(rule):
    net = pn.spectral_norm(pn.dense(2))
    params, state = net.init(KEY, pn.spec(3))
    run, x = getattr(net, rule), jnp.ones(3) if rule == "apply" else jnp.ones((2, 3))
    with refuses(
        StructureError,
        "spectral_norm: expected state with the singular vectors, got None. Pass the one that init made and training "
        "moved on: net.apply(params, x, state).",
    ):
        run(params, x, None)
    other = {"left": jnp.ones(4), "right": jnp.ones(2)}
    with refuses(
        StructureError,
        "spectral_norm: expected vectors of the kernels in the state, with float32 of shape (3,) at [0]['left'], got "
        "float32 of shape (4,) there. Pass the state of this network.",
    ):
        run(params, x, ({**state[0], "vectors": (other,)},))


def test_other_options_of_spectral_norm_are_refused():
    with refuses(StructureError, "spectral_norm: expected iterations to be a whole number, got 1.5. Give an int."):
        pn.spectral_norm(pn.dense(2), iterations=1.5)
    with refuses(ShapeError, "spectral_norm: expected iterations of 1 or more, got 0. Give 1 for the usual."):
        pn.spectral_norm(pn.dense(2), iterations=0)
    with refuses(
        ShapeError,
        "spectral_norm: expected epsilon above 0, got 0. It keeps what does not vary from being divided by zero.",
    ):
        pn.spectral_norm(pn.dense(2), epsilon=0)
    with refuses(
        StructureError, "spectral_norm: expected a JAX random key, got None. Make one with jax.random.key(0)."
    ):
        pn.spectral_norm(pn.dense(2)).init(None, pn.spec(3))
