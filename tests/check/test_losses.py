"""check.loss: every law on the library's losses, and on losses that broadcast, clamp and swallow."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from refusals import refuses

import purenet as pn
from purenet import check
from purenet.losses import loss as make

FOUR, LABEL = pn.spec(4), pn.spec((), jnp.int32)


def told(law, loss, *specs, words="", **more):
    with pytest.raises(check.CheckError) as caught:
        check.loss(loss, *specs, **more)
    report = caught.value.report
    assert {failure.law for failure in report.failures} == {law}, report
    assert words in str(report.failures[0]), report
    return report.failures[0]


def simplex(key):
    p, y = jax.random.dirichlet(key, jnp.ones(3), (2,))
    return p, y


@pytest.mark.parametrize(
    ("loss", "specs", "inputs"),
    [
        (pn.losses.half_squared_error, (FOUR, FOUR), None),
        (pn.losses.mean_absolute_error, (FOUR, FOUR), None),
        (pn.losses.softmax_cross_entropy, (FOUR, LABEL), None),
        (pn.losses.each(pn.losses.softmax_cross_entropy), (pn.spec((2, 3)), pn.spec(2, jnp.int32)), None),
        (pn.losses.kl_divergence, (), simplex),
    ],
    ids=["half_squared_error", "mean_absolute_error", "softmax_cross_entropy", "each", "kl_divergence"],
)
def test_the_librarys_losses_keep_every_law(loss, specs, inputs):
    report = check.loss(loss, *specs, inputs=inputs)
    assert report.held
    assert sum(result.held is True for result in report.laws) >= 11


def test_the_convention_at_a_kink_is_reported():
    report = check.loss(pn.losses.mean_absolute_error, pn.spec(1), pn.spec(1), laws=("hand rule", "kinks"))
    assert report.conventions == ("prediction at prediction = target: hand rule takes 0; autodiff takes 0 of [-1, 1]",)


def value(p, y):
    return jnp.mean((p - y) ** 2)


GRADIENTS = {
    "sign": (value, lambda p, y: (y - p) / 2, "The sign is wrong"),
    "forgot 1/n": (value, lambda p, y: 2 * (p - y), "backward forgot the 1/4"),
    "forgot 2": (value, lambda p, y: (p - y) / 4, "1/2 of the gradient|halved"),
    "doubled": (lambda p, y: jnp.sum((p - y) ** 2) / 2, lambda p, y: 2 * (p - y), "doubled|Doubled"),
    "prediction itself": (lambda p, y: jnp.sum((p - y) ** 2) / 2, lambda p, y: p, "This is prediction itself"),
    "zero": (value, lambda p, y: 0 * p, "nothing flows back"),
    "hinge of the wrong side": (
        lambda p, y: jnp.sum(jnp.maximum(0.0, 1 - p * y)),
        lambda p, y: jnp.where(p * y > 1, -y, 0.0),
        "",
    ),
    "softmax without target": (
        lambda p, y: jax.nn.logsumexp(p) - p[0] + 0 * jnp.sum(y),
        lambda p, y: jax.nn.softmax(p),
        "differs in 1 of 4",
    ),
    "huber not clipped": (
        lambda p, y: jnp.sum(jnp.where(jnp.abs(p - y) < 1, 0.5 * (p - y) ** 2, jnp.abs(p - y) - 0.5)),
        lambda p, y: p - y,
        "differs",
    ),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_broken_gradients_are_caught(name):
    function, gradient, words = GRADIENTS[name]
    broken = make(function, grad=gradient, name="broken")
    failure = told("hand rule", broken, FOUR, FOUR, laws=("hand rule", "autodiff"))
    assert failure.leaf == "prediction"
    assert any(word in failure.reason for word in words.split("|"))


def test_labels_that_wrap_or_clamp_are_told():
    failure = told("labels", optax.softmax_cross_entropy_with_integer_labels, FOUR, LABEL, laws=("labels",))
    assert failure.reason == "For target -1 of 4 classes: it wraps, is clamped or counts as nothing. Make it NaN."
    told("labels", lambda p, y: -jax.nn.log_softmax(p)[y], FOUR, LABEL, laws=("labels",))
    told("labels", lambda p, y: -jnp.sum(jax.nn.log_softmax(p) * jax.nn.one_hot(y, 4)), FOUR, LABEL, laws=("labels",))


def test_targets_that_broadcast_are_told():
    with jax.numpy_rank_promotion("allow"):
        failure = told("broadcast", lambda p, y: jnp.sum((p - y) ** 2), FOUR, FOUR, laws=("broadcast",))
    assert failure.got == "a loss, for a target of shape (2, 4) and a prediction of shape (4,)"


def test_a_swallowed_nan_is_told():
    told("nan", lambda p, y: jnp.nansum((p - y) ** 2), FOUR, FOUR, laws=("nan",), words="NaN is swallowed")


def test_overflow_is_told():
    def naive(p, y):
        return -jnp.log(jnp.exp(p[0]) / jnp.sum(jnp.exp(p))) + 0 * jnp.sum(y)

    told("extremes", naive, FOUR, FOUR, laws=("extremes",), words="Predictions of ±10⁴ overflow")


def test_a_changed_dtype_is_told():
    def wide(p, y):
        return jnp.sum((p - y).astype(jnp.float32) ** 2)

    told("dtype", wide, FOUR, FOUR, laws=("dtype",), words="The dtype changes silently")


def test_wrong_arguments_are_refused():
    with refuses(
        pn.StructureError,
        "check.loss: expected the spec of prediction, got None. Pass pn.spec(10), or draw with inputs=.",
    ):
        check.loss(pn.losses.half_squared_error)
    with refuses(
        pn.StructureError,
        "check.loss: expected inputs to give (prediction, target), got float32 of shape (2,). Return a tuple of two.",
    ):
        check.loss(pn.losses.half_squared_error, inputs=lambda key: jnp.zeros(2, jnp.float32))
    with refuses(
        pn.StructureError,
        "check.loss: expected a loss or a function of prediction and target, got 3. Give one of pn.losses.",
    ):
        check.loss(3, FOUR, FOUR)
    assert np.isfinite(check.loss(pn.losses.half_squared_error, FOUR, FOUR, laws=("hand rule",))["hand rule"].gap)
