"""Activations and losses against Keras on its JAX backend: values and gradients."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from peers.agreement import agree, draw, trained

import purenet as pn

os.environ.setdefault("KERAS_BACKEND", "jax")
keras = pytest.importorskip("keras", reason="Keras is not installed: pip install purenet[peers]")
if keras.backend.backend() != "jax":
    pytest.skip("Keras runs on another backend than JAX", allow_module_level=True)
A, K = keras.activations, keras.losses
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("x64", "keras_float64")]


ACTIVATIONS = {
    "relu": (pn.relu, A.relu),
    "relu6": (pn.relu6, A.relu6),
    "hard_tanh": (pn.hard_tanh, A.hard_tanh),
    "hard_sigmoid": (pn.hard_sigmoid, A.hard_sigmoid),
    "gelu": (pn.gelu, lambda x: A.gelu(x, approximate=False)),
    "gelu_tanh": (pn.gelu_tanh, lambda x: A.gelu(x, approximate=True)),
    "silu": (pn.silu, A.silu),
    "mish": (pn.mish, A.mish),
    "leaky_relu": (pn.leaky_relu(0.2), lambda x: A.leaky_relu(x, 0.2)),
    "elu": (pn.elu(1.5), lambda x: A.elu(x, 1.5)),
    "celu": (pn.celu(1.5), lambda x: A.celu(x, 1.5)),
    "selu": (pn.selu, A.selu),
    "sigmoid": (pn.sigmoid, A.sigmoid),
    "log_sigmoid": (pn.log_sigmoid, A.log_sigmoid),
    "soft_sign": (pn.soft_sign, A.softsign),
    "softplus": (pn.softplus, A.softplus),
    "tanh": (pn.tanh, A.tanh),
    "softmax": (pn.softmax, A.softmax),
    "log_softmax": (pn.log_softmax, A.log_softmax),
}


@pytest.mark.parametrize(("layer", "theirs"), ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_activations_agree_with_keras(layer, theirs):
    xs, dys = jnp.concatenate([3 * draw((4, 5)), 30 * draw((2, 5), 1)]), draw((6, 5), 2)
    out, pullback = jax.vjp(theirs, xs)
    ys, _, _, dxs = trained(layer, (), (), xs, dys)
    agree(ys, out, "y")
    agree(dxs, pullback(jnp.asarray(dys))[0], "dJ/dx")


SCORES, REAL = draw((6, 4)), draw((6, 4), 1)
ONE_HOT = np.eye(4)[[0, 3, 1, 2, 2, 0]]
SIGNS = np.sign(draw((6, 4), 4))
RATES, COUNTS = np.exp(draw((6, 4), 3)), np.random.default_rng(0).poisson(3, (6, 4)).astype(np.float64)


def simplex(seed):
    e = np.exp(draw((6, 4), seed))
    return e / e.sum(-1, keepdims=True)


losses = pn.losses
# ours, Keras's for each example, predictions, targets, whether the gradients are the same, tolerance
LOSSES = {
    "softmax": (
        losses.softmax_cross_entropy,
        lambda y, p: K.categorical_crossentropy(y, p, from_logits=True),
        SCORES,
        ONE_HOT,
        True,
        1e-11,
    ),
    "smoothed": (
        losses.smoothed_softmax_cross_entropy(0.2),
        lambda y, p: K.categorical_crossentropy(y, p, from_logits=True, label_smoothing=0.2),
        SCORES,
        ONE_HOT,
        True,
        1e-11,
    ),
    "sigmoid": (
        losses.sigmoid_cross_entropy,
        lambda y, p: K.binary_crossentropy(y, p, from_logits=True),
        SCORES,
        simplex(2),
        True,
        1e-11,
    ),
    "binary": (losses.binary_cross_entropy, K.binary_crossentropy, simplex(1), simplex(2), True, 1e-11),
    # Keras divides p by its sum: for the same p another gradient
    "categorical": (losses.categorical_cross_entropy, K.categorical_crossentropy, simplex(1), ONE_HOT, False, 1e-11),
    "kl": (losses.kl_divergence, K.kl_divergence, simplex(1), simplex(2), True, 1e-11),
    "squared": (losses.mean_squared_error, K.mean_squared_error, SCORES, REAL, True, 1e-11),
    "absolute": (losses.mean_absolute_error, K.mean_absolute_error, SCORES, REAL, True, 1e-11),
    "huber": (losses.huber(0.7), lambda y, p: K.huber(y, p, delta=0.7), SCORES, REAL, True, 1e-11),
    "log cosh": (losses.log_cosh, K.log_cosh, SCORES, REAL, True, 1e-11),
    "hinge": (losses.hinge, K.hinge, SCORES, SIGNS, True, 1e-11),
    # Keras takes log(λ + 1e-7)
    "poisson": (losses.poisson_nll(log_input=False), K.poisson, RATES, COUNTS, True, 1e-5),
}  # fmt: skip


@pytest.mark.parametrize(("loss", "theirs", "predictions", "targets", "same", "tolerance"), LOSSES.values(), ids=LOSSES)
def test_losses_agree_with_keras(loss, theirs, predictions, targets, same, tolerance):
    out, pullback = jax.vjp(lambda p: theirs(jnp.asarray(targets), p), jnp.asarray(predictions))
    values, grads = jax.jit(jax.vmap(lambda p, y: (loss.value(p, y), loss.grad(p, y))))(predictions, targets)
    agree(values, out, "value", tolerance)
    if same:
        agree(grads, pullback(jnp.ones_like(out))[0], "gradient", tolerance)
