"""Targets and shapes that a loss refuses: NaN under jit, and on the host and at trace time whole messages."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from refusals import refuses

import purenet as pn
from purenet import losses
from purenet.errors import ShapeError, StructureError

NAN = float("nan")
Z = jnp.array([0.5, -1.0, 2.0])
P = jnp.array([0.2, 0.3, 0.5])
BAD = {
    "softmax C": (losses.softmax_cross_entropy, Z, jnp.array(3)),
    "softmax -1": (losses.softmax_cross_entropy, Z, jnp.array(-1)),
    "softmax int8": (losses.softmax_cross_entropy, Z, jnp.array(-1, jnp.int8)),
    "softmax uint8": (losses.softmax_cross_entropy, Z, jnp.array(255, jnp.uint8)),
    "softmax uint32 that int32 would wrap": (losses.softmax_cross_entropy, Z, jnp.array(2**32 - 1, jnp.uint32)),
    "softmax sum": (losses.softmax_cross_entropy, Z, jnp.array([0.5, 0.4, 0.0])),
    "softmax zeros": (losses.softmax_cross_entropy, Z, jnp.zeros(3)),
    "softmax negative": (losses.softmax_cross_entropy, Z, jnp.array([1.1, -0.1, 0.0])),
    "softmax NaN": (losses.softmax_cross_entropy, Z, jnp.array([1.0, NAN, 0.0])),
    "smoothed": (losses.smoothed_softmax_cross_entropy(), Z, jnp.array(3)),
    "sigmoid above": (losses.sigmoid_cross_entropy, Z, jnp.array([0.0, 1.0, 1.5])),
    "sigmoid below": (losses.sigmoid_cross_entropy, Z, jnp.array([0.0, 1.0, -1.0])),
    "hinge 0": (losses.hinge, Z, jnp.array([0.0, 1.0, -1.0])),
    "binary target": (losses.binary_cross_entropy, P, jnp.array([0.0, 1.0, 2.0])),
    "binary prediction above": (losses.binary_cross_entropy, jnp.array([0.2, 0.3, 1.5]), jnp.ones(3)),
    "binary prediction below": (losses.binary_cross_entropy, jnp.array([0.2, 0.3, -0.5]), jnp.zeros(3)),
    "categorical": (losses.categorical_cross_entropy, P, jnp.array(3)),
    "categorical prediction": (losses.categorical_cross_entropy, jnp.array([0.5, 0.9, -0.4]), jnp.array(0)),
    "categorical prediction above": (losses.categorical_cross_entropy, jnp.array([0.5, 1.5, 0.0]), jnp.array(0)),
    "kl": (losses.kl_divergence, P, jnp.array([0.5, 0.4, 0.0])),
    "hellinger": (losses.hellinger, P, jnp.array([1.5, -0.5, 0.0])),
    "hellinger prediction": (losses.hellinger, jnp.array([0.5, 0.6, -0.1]), P),
    "poisson": (losses.poisson_nll(), Z, jnp.array([0.0, 1.0, -1.0])),
    "poisson infinite": (losses.poisson_nll(), Z, jnp.array([0.0, 1.0, jnp.inf])),
    "poisson rate": (losses.poisson_nll(log_input=False), Z, jnp.zeros(3)),
    "gaussian zero": (losses.gaussian_nll(), (Z, jnp.array([1.0, 2.0, 0.0])), Z),
    "gaussian negative": (losses.gaussian_nll(), (Z, jnp.array([1.0, 2.0, -1.0])), Z),
    "each": (losses.each(losses.softmax_cross_entropy), jnp.stack([Z, Z]), jnp.array([0, 3])),
}


@jax.jit
def value_and_both(loss, prediction, target):
    return *jax.value_and_grad(loss.value)(prediction, target), loss.grad(prediction, target)


@pytest.mark.parametrize("name", BAD)
def test_under_jit_a_bad_target_makes_value_and_gradients_nan(name):
    value, auto, hand = value_and_both(*BAD[name])
    assert jnp.isnan(value)
    if name == "each":  # the position with the good label keeps its gradient
        auto, hand = auto[1], hand[1]
    for leaf in jax.tree.leaves((auto, hand)):
        assert jnp.all(jnp.isnan(leaf)), leaf


def test_labels_of_64_bits_do_not_wrap():
    with jax.enable_x64(True):
        value, auto, hand = value_and_both(losses.softmax_cross_entropy, Z, jnp.array(2**40, jnp.int64))
        assert jnp.isnan(value)
        assert jnp.all(jnp.isnan(auto))
        assert jnp.all(jnp.isnan(hand))


def test_one_bad_example_spoils_the_mean_of_a_batch():
    zs, ys = jnp.stack([Z] * 3), jnp.array([0, 3, 1])
    assert jnp.isnan(jnp.mean(jax.vmap(losses.softmax_cross_entropy.value)(zs, ys)))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
def test_soft_labels_may_be_rounded(dtype):
    soft = np.random.default_rng(3).dirichlet(np.ones(100), size=50)
    rounded = soft.astype(np.float32).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    losses.softmax_cross_entropy.check_targets(pn.spec(100), rounded)
    with jax.enable_x64(True):
        values = jax.vmap(losses.softmax_cross_entropy.value)(jnp.zeros((50, 100), dtype), jnp.asarray(rounded, dtype))
    assert jnp.all(jnp.isfinite(values))


HOST = {
    "one too high": (
        losses.softmax_cross_entropy,
        10,
        np.array([1, 10, 3, 10]),
        "softmax_cross_entropy: expected labels from 0 to 9, got 2 of 4 otherwise: the first is 10 at index 1. "
        "The labels run from 1 to 10: subtract 1.",
    ),
    "far too high": (
        losses.softmax_cross_entropy,
        10,
        np.array([0, 3, 12], np.uint8),
        "softmax_cross_entropy: expected labels from 0 to 9, got 1 of 3 otherwise: the first is 12 at index 2. "
        "The labels run from 0 to 12: give the network 13 outputs, or renumber the labels.",
    ),
    "negative": (
        losses.smoothed_softmax_cross_entropy(),
        1000,
        np.array([-1, 3, 12], np.int8),
        "smoothed_softmax_cross_entropy: expected labels from 0 to 999, got 1 of 3 otherwise: the first is -1 at "
        "index 0. A negative label is not skipped: leave its examples out, or give it a class of its own.",
    ),
    "signs": (
        losses.categorical_cross_entropy,
        2,
        np.array([1, -1, 1]),
        "categorical_cross_entropy: expected labels from 0 to 1, got 1 of 3 otherwise: the first is -1 at index 1. "
        "The labels are -1 and 1: use (labels + 1) // 2.",
    ),
    "64 bits": (
        losses.softmax_cross_entropy,
        10,
        np.array([0, 2**40]),
        "softmax_cross_entropy: expected labels from 0 to 9, got 1 of 2 otherwise: the first is 1099511627776 at "
        "index 1. The labels run from 0 to 1099511627776: give the network 1099511627777 outputs, or renumber the "
        "labels.",
    ),
    "soft sum": (
        losses.softmax_cross_entropy,
        2,
        np.array([[0.5, 0.5], [0.5, 0.25]], np.float32),
        "softmax_cross_entropy: expected probabilities that sum to 1, got 1 of 2 otherwise: the first is 0.75 at "
        "index 1. Divide each target by its sum.",
    ),
    "soft negative": (
        losses.kl_divergence,
        2,
        np.array([[0.5, 0.5], [1.25, -0.25]], np.float32),
        "kl_divergence: expected probabilities of 0 or more, got 1 of 4 otherwise: the first is -0.25 at index (1, 1). "
        "Give each class its probability, or integer labels.",
    ),
    "hellinger": (
        losses.hellinger,
        2,
        np.array([[0.5, 0.25]]),
        "hellinger: expected probabilities that sum to 1, got 1 of 1 otherwise: the first is 0.75 at index 0. "
        "Divide each target by its sum.",
    ),
    "NaN": (
        losses.sigmoid_cross_entropy,
        2,
        np.array([[0.0, np.nan]], np.float32),
        "sigmoid_cross_entropy: expected targets from 0 to 1, got 1 of 2 otherwise: the first is nan at index (0, 1). "
        "Scale them to 0..1.",
    ),
    "probabilities of -1": (
        losses.binary_cross_entropy,
        1,
        np.array([[1.0], [-1.0]], np.float32),
        "binary_cross_entropy: expected targets from 0 to 1, got 1 of 2 otherwise: the first is -1.0 at index (1, 0). "
        "The targets are -1 and 1: use (targets + 1) / 2.",
    ),
    "hinge of 0": (
        losses.hinge,
        1,
        np.array([[0.0], [1.0]], np.float32),
        "hinge: expected targets of -1 or 1, got 1 of 2 otherwise: the first is 0.0 at index (0, 0). "
        "The targets are 0 and 1: use 2 * targets - 1.",
    ),
    "hinge of 2": (
        losses.hinge,
        1,
        np.array([[2.0], [1.0]], np.float32),
        "hinge: expected targets of -1 or 1, got 1 of 2 otherwise: the first is 2.0 at index (0, 0). "
        "Give each output the sign of its class.",
    ),
    "poisson": (
        losses.poisson_nll(),
        1,
        np.array([[2.0], [-0.5]], np.float32),
        "poisson_nll: expected finite targets of 0 or more, got 1 of 2 otherwise: the first is -0.5 at index (1, 0). "
        "Give the counts as they were counted, not standardised.",
    ),
    "each": (
        losses.each(losses.softmax_cross_entropy),
        (2, 3),
        np.array([[0, 1], [1, 3]]),
        "each.softmax_cross_entropy: expected labels from 0 to 2, got 1 of 4 otherwise: the first is 3 at index 3. "
        "The labels run from 0 to 3: give the network 4 outputs, or renumber the labels.",
    ),
}


@pytest.mark.parametrize("name", HOST)
def test_the_host_check_says_how_many_which_and_what_to_do(name):
    loss, shape, targets, message = HOST[name]
    with refuses(ShapeError, message):
        loss.check_targets(pn.spec(shape), targets)


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        (losses.softmax_cross_entropy, np.array([0, 1], np.int8)),
        (losses.softmax_cross_entropy, np.array([[0.25, 0.75]])),
        (losses.softmax_cross_entropy, np.array([], np.int32)),
        (losses.softmax_cross_entropy, np.array([0.0, 1.0])),  # of the wrong dtype: that is for tracing to say
        (losses.sigmoid_cross_entropy, np.array([[0.0, 1.0]])),
        (losses.hinge, np.array([[-1.0, 1.0]])),
        (losses.poisson_nll(), np.array([[0.0, 4.0]])),
        (losses.gaussian_nll(), np.array([[-7.0]])),
        (losses.mean_squared_error, np.array([[-7.0]])),
    ],
)
def test_the_host_check_lets_good_targets_pass(loss, targets):
    loss.check_targets(pn.spec(2), targets)


SHAPES = {
    "unvmapped": (
        losses.softmax_cross_entropy,
        (jnp.zeros((4, 3)), jnp.zeros(4, jnp.int32)),
        ShapeError,
        "softmax_cross_entropy: expected prediction with one axis, the classes, got shape (4, 3). For a mini-batch use "
        "jax.vmap; for a sequence in one example, pn.losses.each around the loss.",
    ),
    "one class": (
        losses.softmax_cross_entropy,
        (jnp.zeros(1), jnp.array(0)),
        ShapeError,
        "softmax_cross_entropy: expected prediction of two classes or more, got shape (1,). For one yes-or-no output "
        "use sigmoid_cross_entropy or binary_cross_entropy.",
    ),
    "label (1,)": (
        losses.softmax_cross_entropy,
        (jnp.zeros(3), jnp.zeros(1, jnp.int32)),
        ShapeError,
        "softmax_cross_entropy: expected an integer label of shape (), got (1,). Drop the extra axes of the targets: "
        "a mini-batch of labels has shape (examples,).",
    ),
    "integer one-hot": (
        losses.softmax_cross_entropy,
        (jnp.zeros(3), jnp.array([0, 1, 0])),
        StructureError,
        "softmax_cross_entropy: expected one-hot targets of dtype float32, that of the prediction, got int32. Convert "
        "them, target.astype('float32'), or pass integer labels.",
    ),
    "float label": (
        losses.categorical_cross_entropy,
        (jnp.zeros(3), jnp.array(1.0)),
        StructureError,
        "categorical_cross_entropy: expected a label of integer dtype, got float32. "
        "Convert it: target.astype(jnp.int32).",
    ),
    "bool label": (
        losses.softmax_cross_entropy,
        (jnp.zeros(3), jnp.array(True)),
        StructureError,
        "softmax_cross_entropy: expected target of integer or floating dtype, got bool. "
        "Convert it: target.astype(jnp.int32) for labels.",
    ),
    "soft of other size": (
        losses.softmax_cross_entropy,
        (jnp.zeros(3), jnp.zeros(4)),
        ShapeError,
        "softmax_cross_entropy: expected target of shape (3,), that of the prediction, got (4,). "
        "Reshape the targets, or the network's output with pn.reshape; losses never broadcast.",
    ),
    "soft of other dtype": (
        losses.softmax_cross_entropy,
        (jnp.zeros(3, jnp.bfloat16), jnp.zeros(3)),
        StructureError,
        "softmax_cross_entropy: expected target of dtype bfloat16, that of the prediction, got float32. "
        "Convert it: target.astype('bfloat16').",
    ),
    "target of several": (
        losses.softmax_cross_entropy,
        (jnp.zeros(3), (jnp.array(0),)),
        StructureError,
        "softmax_cross_entropy: expected target to be one array, got a tuple of 1. Use jnp.asarray.",
    ),
    "column against number": (
        losses.mean_squared_error,
        (jnp.zeros(1), jnp.array(0.0)),
        ShapeError,
        "mean_squared_error: expected target of shape (1,), that of the prediction, got (). "
        "Reshape the targets, or the network's output with pn.reshape; losses never broadcast.",
    ),
    "bool for sigmoid": (
        losses.sigmoid_cross_entropy,
        (jnp.zeros(1), jnp.array([True])),
        StructureError,
        "sigmoid_cross_entropy: expected target of dtype float32, that of the prediction, got bool. "
        "Convert it: target.astype('float32').",
    ),
    "mean of nothing": (
        losses.mean_absolute_error,
        (jnp.zeros(0), jnp.zeros(0)),
        ShapeError,
        "mean_absolute_error: expected one output or more to average over, got shape (0,). Give the network outputs.",
    ),
    "no pair": (
        losses.gaussian_nll(),
        (jnp.zeros(2), jnp.zeros(2)),
        StructureError,
        "gaussian_nll: expected prediction to be a pair (mean, variance), got float32 of shape (2,). "
        "End the network in pn.branch(mean, variance).",
    ),
    "one variance for two": (
        losses.gaussian_nll(),
        ((jnp.zeros(2), jnp.ones(1)), jnp.zeros(2)),
        ShapeError,
        "gaussian_nll: expected the variance of shape (2,), that of the mean, got (1,). "
        "Predict one variance for each output; losses never broadcast.",
    ),
    "each of nothing": (
        losses.each(losses.softmax_cross_entropy),
        (jnp.zeros((4, 3)), jnp.zeros(5, jnp.int32)),
        ShapeError,
        "each: expected prediction and target with one common first axis, the positions, got the shapes (4, 3), (5,). "
        "Give one target to each position.",
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_and_dtypes_are_refused_by_value_and_gradient(name):
    loss, arguments, kind, message = SHAPES[name]
    with refuses(kind, message):
        loss.value(*arguments)
    with refuses(kind, message):
        loss.grad(*arguments)


OPTIONS = {
    "huber 0": (
        lambda: losses.huber(delta=0.0),
        ShapeError,
        "huber: expected delta above 0, got 0.0. The default is 1.0.",
    ),
    "huber NaN": (lambda: losses.huber(NAN), ShapeError, "huber: expected delta above 0, got nan. The default is 1.0."),
    "huber word": (
        lambda: losses.huber("1"),
        StructureError,
        "huber: expected delta to be a number, got '1'. Give a float.",
    ),
    "tau": (
        lambda: losses.exponential_cost(tau=-1),
        ShapeError,
        "exponential_cost: expected tau above 0, got -1. The default is 1.0.",
    ),
    "smoothing 1": (
        lambda: losses.smoothed_softmax_cross_entropy(1.0),
        ShapeError,
        "smoothed_softmax_cross_entropy: expected smoothing from 0 to below 1, got 1.0. The default is 0.1.",
    ),
    "smoothing bool": (
        lambda: losses.smoothed_softmax_cross_entropy(True),
        StructureError,
        "smoothed_softmax_cross_entropy: expected smoothing to be a number, got True. Give a float.",
    ),
    "smoothing array": (
        lambda: losses.smoothed_softmax_cross_entropy(jnp.zeros(2)),
        StructureError,
        "smoothed_softmax_cross_entropy: expected smoothing to be a number, got float32 of shape (2,). Give a float.",
    ),
    "log_input": (
        lambda: losses.poisson_nll(log_input=1),
        StructureError,
        "poisson_nll: expected log_input to be True or False, got 1. Give a bool.",
    ),
    "full": (
        lambda: losses.gaussian_nll(full=None),
        StructureError,
        "gaussian_nll: expected full to be True or False, got None. Give a bool.",
    ),
    "each of a factory": (
        lambda: losses.each(losses.huber),
        StructureError,
        "expected a loss, got the function huber, which makes one. Call it: pn.losses.huber(…).",
    ),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_are_refused_at_construction(name):
    make, kind, message = OPTIONS[name]
    with refuses(kind, message):
        make()
