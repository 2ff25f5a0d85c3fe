"""Kinks, zeros, certainties and logits as large as the dtype."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purenet import losses


def both(loss, prediction, target):
    """Value, and gradient by hand and by autodiff after checking that they are equal."""
    value, auto, hand = value_and_both(loss, prediction, target)
    chex.assert_trees_all_equal(hand, auto)
    return value, hand


@jax.jit
def value_and_both(loss, prediction, target):
    return *jax.value_and_grad(loss.value)(prediction, target), loss.grad(prediction, target)


LOGIT_LOSSES = {
    "softmax": (losses.softmax_cross_entropy, jnp.array(0)),
    "softmax one-hot": (losses.softmax_cross_entropy, [0.0, 1.0]),
    "smoothed": (losses.smoothed_softmax_cross_entropy(), jnp.array(1)),
    "sigmoid": (losses.sigmoid_cross_entropy, [1.0, 0.0]),
    "sigmoid soft": (losses.sigmoid_cross_entropy, [0.3, 1.0]),
    "hinge": (losses.hinge, [-1.0, 1.0]),
    "log_cosh": (losses.log_cosh, [0.0, 1.0]),
    "huber": (losses.huber(), [0.0, 1.0]),
    "mean_absolute_error": (losses.mean_absolute_error, [0.0, 1.0]),
}


@pytest.mark.parametrize("name", LOGIT_LOSSES)
@pytest.mark.parametrize(("dtype", "size"), [("float32", 1e4), ("float32", 1e30), ("float16", 1e4), ("float16", 6e4)])
def test_huge_logits_stay_finite(name, dtype, size):
    loss, target = LOGIT_LOSSES[name]
    target = target if isinstance(target, jax.Array) else jnp.array(target, dtype)
    for signs in ([1, -1], [-1, 1], [1, 1]):
        prediction = jnp.array(signs, dtype) * jnp.array(size, dtype)
        value, auto, hand = value_and_both(loss, prediction, target)
        chex.assert_tree_all_finite((auto, hand))
        # two logits of ±60,000 are 120,000 apart, beyond float16: only then is the value inf, and rightly
        assert jnp.isfinite(value) or (dtype, size) == ("float16", 6e4)
        assert not jnp.isnan(value)
        assert float(jnp.max(jnp.abs(hand))) <= 1


def test_huge_logits_give_exact_values():
    logits = jnp.array([1e4, -1e4])
    value, grad = both(losses.softmax_cross_entropy, logits, jnp.array(1))
    assert (float(value), grad.tolist()) == (2e4, [1.0, -1.0])
    assert both(losses.softmax_cross_entropy, logits, jnp.array(0))[1].tolist() == [0.0, 0.0]
    value, grad = both(losses.sigmoid_cross_entropy, logits, jnp.array([0.0, 1.0]))
    assert (float(value), grad.tolist()) == (1e4, [0.5, -0.5])
    assert float(losses.sigmoid_cross_entropy.value(logits, jnp.array([1.0, 0.0]))) == 0


def test_digits_are_kept_near_zero_loss():
    np.testing.assert_allclose(losses.sigmoid_cross_entropy.value(jnp.array(30.0), jnp.array(1.0)), np.exp(-30.0), 1e-6)
    np.testing.assert_allclose(losses.log_cosh.value(jnp.array(1e-4), jnp.array(0.0)), 5e-9, 1e-6)


def test_logits_of_minus_infinity_rule_a_class_out():
    logits = jnp.array([0.0, -jnp.inf, 0.0])
    for target in (jnp.array(0), jnp.array([1.0, 0.0, 0.0])):
        value, grad = both(losses.softmax_cross_entropy, logits, target)
        chex.assert_trees_all_close((value, grad), (jnp.log(2.0), jnp.array([-0.5, 0.0, 0.5])), rtol=1e-6)
    assert float(losses.softmax_cross_entropy.value(logits, jnp.array(1))) == np.inf


def test_a_score_that_is_nan_is_no_large_margin():
    scores, signs = jnp.array([jnp.nan, 0.5]), jnp.array([1.0, 1.0])
    assert np.isnan(losses.hinge.value(scores, signs))
    for gradient in (losses.hinge.grad, jax.grad(losses.hinge.value)):
        assert np.isnan(gradient(scores, signs)).all()


def test_kinks_of_numbers():
    zero = jnp.zeros(2)
    assert both(losses.mean_absolute_error, zero, zero)[1].tolist() == [0.0, 0.0]
    assert both(losses.huber(delta=1.5), jnp.array([1.5, -1.5]), zero)[1].tolist() == [0.75, -0.75]
    assert both(losses.log_cosh, zero, zero)[1].tolist() == [0.0, 0.0]
    assert both(losses.hinge, jnp.array([1.0, -1.0]), jnp.array([1.0, -1.0]))[1].tolist() == [0.0, 0.0]
    assert both(losses.sigmoid_cross_entropy, zero, jnp.array([1.0, 0.25]))[1].tolist() == [-0.25, 0.125]


def test_curvature_at_zero_is_that_of_the_function():
    def second(loss, y):
        return float(jax.jit(jax.grad(jax.grad(lambda z: loss.value(z, jnp.array(y)))))(jnp.array(0.0)))

    assert second(losses.sigmoid_cross_entropy, 1.0) == 0.25
    assert second(losses.sigmoid_cross_entropy, 0.5) == 0.25
    assert second(losses.log_cosh, 0.0) == 1.0
    assert second(losses.huber(), 0.0) == 1.0


def test_kinks_of_hellinger():
    p, corner = jnp.array([0.25, 0.75]), jnp.array([1.0, 0.0])
    value, grad = both(losses.hellinger, p, p)
    assert (float(value), grad.tolist()) == (0.0, [0.0, 0.0])
    assert both(losses.hellinger, corner, corner)[1].tolist() == [0.0, 0.0]
    value, grad = both(losses.hellinger, corner, jnp.array([0.0, 1.0]))
    assert (float(value), grad.tolist()) == (1.0, [0.25, 0.0])
    chex.assert_tree_all_finite(both(losses.hellinger, corner, p))


def test_hellinger_through_a_softmax_at_certainty_is_finite():
    grad = jax.grad(lambda z: losses.hellinger.value(jax.nn.softmax(z), jnp.array([0.5, 0.5])))(
        jnp.array([0.0, -200.0])
    )
    assert grad.tolist() == [0.0, 0.0]


def test_certain_probabilities():
    p, y = jnp.array([0.0, 1.0]), jnp.array([0.0, 1.0])
    value, grad = both(losses.binary_cross_entropy, p, y)
    assert (float(value), grad.tolist()) == (0.0, [0.5, -0.5])
    value, grad = both(losses.binary_cross_entropy, p, 1 - y)
    assert (float(value), grad.tolist()) == (np.inf, [-np.inf, np.inf])
    for loss, certain, wrong in (
        (losses.categorical_cross_entropy, jnp.array(0), jnp.array(1)),
        (losses.categorical_cross_entropy, jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0])),
        (losses.kl_divergence, jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0])),
    ):
        value, grad = both(loss, jnp.array([1.0, 0.0]), certain)
        assert (float(value), grad.tolist()) == (0.0, [-1.0, 0.0])
        value, grad = both(loss, jnp.array([1.0, 0.0]), wrong)
        assert (float(value), grad.tolist()) == (np.inf, [0.0, -np.inf])


def test_a_loss_of_zero_has_no_minus():
    for value in (
        losses.binary_cross_entropy.value(jnp.array([1.0]), jnp.array([1.0])),
        losses.categorical_cross_entropy.value(jnp.array([1.0, 0.0]), jnp.array(0)),
        losses.softmax_cross_entropy.value(jnp.array([100.0, 0.0]), jnp.array(0)),
    ):
        assert str(value) == "0.0"


def test_poisson_at_zero_rate_and_zero_count():
    rate = losses.poisson_nll(log_input=False)
    value, grad = both(rate, jnp.array([0.0]), jnp.array([0.0]))
    assert (float(value), grad.tolist()) == (0.0, [1.0])
    value, grad = both(rate, jnp.array([0.0]), jnp.array([2.0]))
    assert (float(value), grad.tolist()) == (np.inf, [-np.inf])
    value, grad = both(losses.poisson_nll(), jnp.array([-1e4]), jnp.array([2.0]))
    assert (float(value), grad.tolist()) == (2e4, [-2.0])
    assert float(losses.poisson_nll().value(jnp.array([100.0]), jnp.array([2.0]))) == np.inf


def test_float16_squares_beyond_its_range():
    p, y = jnp.array([300.0], jnp.float16), jnp.array([0.0], jnp.float16)
    assert float(losses.half_squared_error.value(p, y)) == 44992  # 45,000 rounded; 300² itself overflows
    assert losses.mean_squared_error.grad(p, y).tolist() == [600.0]
