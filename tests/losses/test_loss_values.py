"""Values and gradients against independent formulas, and in every dtype."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from losses.loss_cases import CASES, LABEL, OTHER, REAL, SHARES, SIGNS, SIMPLEX, SOFT

from purenet import losses

ROWS = [pytest.param(case, id=case.id) for case in CASES]


def cast(tree, dtype):
    return jax.tree.map(lambda a: jnp.asarray(a, dtype if np.issubdtype(a.dtype, np.floating) else a.dtype), tree)


def value_and_both(loss, prediction, target):
    return *jax.value_and_grad(loss.value)(prediction, target), loss.grad(prediction, target)


@pytest.mark.parametrize("case", ROWS)
def test_the_value_is_that_of_an_independent_formula(case):
    with jax.enable_x64(True):
        value = case.loss.value(*cast((case.prediction, case.target), jnp.float64))
    np.testing.assert_allclose(value, case.formula(case.prediction, case.target), rtol=1e-13)


@pytest.mark.parametrize("case", ROWS)
def test_the_gradient_is_the_slope_of_an_independent_formula(case):
    with jax.enable_x64(True):
        grad = case.loss.grad(*cast((case.prediction, case.target), jnp.float64))
    leaves, structure = jax.tree.flatten(case.prediction)
    for which, leaf in enumerate(leaves):
        slope = np.zeros(leaf.shape)
        for index in np.ndindex(leaf.shape):
            values = []
            for step in (1e-6, -1e-6):
                moved = [np.array(other) for other in leaves]
                moved[which][index] += step
                values.append(case.formula(jax.tree.unflatten(structure, moved), case.target))
            slope[index] = (values[0] - values[1]) / 2e-6
        np.testing.assert_allclose(jax.tree.leaves(grad)[which], slope, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("case", ROWS)
def test_the_dtype_is_kept_and_the_rounding_small(case, dtype):
    prediction, target = cast((case.prediction, case.target), dtype)
    value, auto, hand = jax.jit(value_and_both)(case.loss, prediction, target)
    chex.assert_trees_all_equal_dtypes(hand, auto, prediction)
    assert value.dtype == prediction[0].dtype
    eps = float(jnp.finfo(dtype).eps)
    rounded = jax.tree.map(lambda a: np.asarray(a, np.float64), (prediction, target))
    target64 = target if jnp.issubdtype(target.dtype, jnp.integer) else rounded[1]
    np.testing.assert_allclose(float(value), case.formula(rounded[0], np.asarray(target64)), rtol=4 * eps, atol=2 * eps)
    as_floats = jax.tree.map(lambda a: np.asarray(a, np.float64), (hand, auto))
    chex.assert_trees_all_close(*as_floats, rtol=4 * eps, atol=2 * eps)


@pytest.mark.parametrize("case", ROWS)
def test_vmap_jit_and_second_derivatives_under_strict_promotion(case):
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        prediction, target = cast((case.prediction, case.target), jnp.float32)
        xs, ys = jax.tree.map(lambda a: a[None], (prediction, target))

        @jax.jit
        def second(xs, ys):
            by_hand = jax.vmap(jax.jacrev(case.loss.grad))(xs, ys)
            return by_hand, jax.vmap(jax.jacrev(jax.grad(case.loss.value)))(xs, ys)

        by_hand, by_autodiff = second(xs, ys)
    chex.assert_trees_all_close(by_hand, by_autodiff, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_dtypes_are_kept(dtype):
    with jax.enable_x64(True):
        for case in CASES:
            prediction, target = cast((case.prediction, case.target), dtype)
            value, *grads = jax.eval_shape(lambda p, y, loss=case.loss: value_and_both(loss, p, y), prediction, target)
            assert value.dtype == dtype
            chex.assert_trees_all_equal_dtypes(*grads, prediction)


def test_every_loss_has_a_gradient_by_hand_and_a_docstring():
    for case in CASES:
        assert case.loss.proven
    for name in ("softmax_cross_entropy", "sigmoid_cross_entropy", "hinge", "hellinger", "log_cosh"):
        assert "Derivation:" in getattr(losses, name).__doc__


@pytest.mark.parametrize(
    ("loss", "reference", "prediction", "target"),
    [
        (losses.half_squared_error, lambda p, y: jnp.sum(optax.l2_loss(p, y)), REAL, OTHER),
        (losses.mean_squared_error, lambda p, y: jnp.mean(optax.squared_error(p, y)), REAL, OTHER),
        (losses.huber(0.7), lambda p, y: jnp.mean(optax.huber_loss(p, y, delta=0.7)), REAL, OTHER),
        (losses.log_cosh, lambda p, y: jnp.mean(optax.log_cosh(p, y)), REAL, OTHER),
        (losses.softmax_cross_entropy, optax.softmax_cross_entropy_with_integer_labels, REAL, LABEL),
        (losses.softmax_cross_entropy, optax.softmax_cross_entropy, REAL, SOFT),
        (
            losses.smoothed_softmax_cross_entropy(0.1),
            lambda p, y: optax.softmax_cross_entropy(p, optax.smooth_labels(jax.nn.one_hot(y, 4), 0.1)),
            REAL,
            LABEL,
        ),
        (losses.sigmoid_cross_entropy, lambda p, y: jnp.mean(optax.sigmoid_binary_cross_entropy(p, y)), REAL, SHARES),
        (losses.hinge, lambda p, y: jnp.mean(optax.hinge_loss(p, y)), REAL, SIGNS),
        (losses.kl_divergence, lambda p, y: optax.kl_divergence(jnp.log(p), y), SIMPLEX, SOFT),
    ],
)
def test_optax_agrees(loss, reference, prediction, target):
    prediction, target = cast((prediction, target), jnp.float32)
    ours = jax.value_and_grad(loss.value)(prediction, target)
    chex.assert_trees_all_close(ours, jax.value_and_grad(reference)(prediction, target), rtol=2e-6, atol=1e-6)


def test_the_gradient_of_the_softmax_is_p_minus_y():
    logits = jnp.asarray(REAL, jnp.float32)
    chex.assert_trees_all_close(
        losses.softmax_cross_entropy.grad(logits, jnp.array(2)), jax.nn.softmax(logits) - jnp.eye(4)[2], rtol=1e-6
    )
    uniform = losses.softmax_cross_entropy.grad(jnp.zeros(4), jnp.array(0, jnp.int8))
    chex.assert_trees_all_equal(uniform, jnp.array([-0.75, 0.25, 0.25, 0.25]))


def test_a_label_and_its_one_hot_vector_are_the_same():
    logits = jnp.asarray(REAL, jnp.float32)
    for loss in (losses.softmax_cross_entropy, losses.smoothed_softmax_cross_entropy()):
        for dtype in (jnp.int8, jnp.uint8, jnp.int16, jnp.int32, jnp.uint32):
            chex.assert_trees_all_close(
                loss.value(logits, jnp.array(3, dtype)), loss.value(logits, jnp.eye(4)[3]), rtol=1e-6
            )


def test_labels_of_narrow_dtypes_reach_more_classes_than_they_can_count():
    logits = jnp.zeros(1000).at[127].set(5.0)
    chex.assert_trees_all_close(
        losses.softmax_cross_entropy.value(logits, jnp.array(127, jnp.int8)),
        losses.softmax_cross_entropy.value(logits, jnp.array(127, jnp.int32)),
    )


def test_options_may_be_traced():
    e = jnp.array([3.0])

    @jax.jit
    def value(delta, tau, smoothing):
        return (
            losses.huber(delta).value(e, jnp.zeros(1)),
            losses.exponential_cost(tau).value(e / 3, jnp.zeros(1)),
            losses.smoothed_softmax_cross_entropy(smoothing).value(jnp.array([1.0, 0.0]), jnp.array(0)),
        )

    expected = (
        losses.huber(2.0).value(e, jnp.zeros(1)),
        losses.exponential_cost(0.5).value(e / 3, jnp.zeros(1)),
        losses.smoothed_softmax_cross_entropy(0.2).value(jnp.array([1.0, 0.0]), jnp.array(0)),
    )
    chex.assert_trees_all_close(value(jnp.array(2.0), jnp.array(0.5), jnp.array(0.2)), expected, rtol=1e-6)
    for wrong in value(jnp.array(-2.0), jnp.array(0.0), jnp.array(1.0)):
        assert jnp.isnan(wrong)


def test_gaussian_gradient_has_the_structure_of_the_prediction():
    for prediction in ((jnp.zeros(2), jnp.ones(2)), [jnp.zeros(2), jnp.ones(2)]):
        chex.assert_trees_all_equal_structs(losses.gaussian_nll().grad(prediction, jnp.ones(2)), prediction)
