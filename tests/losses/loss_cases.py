"""The losses, each with a prediction, a target and an independent NumPy formula in float64."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from purenet import losses


class Case(NamedTuple):
    id: str
    loss: losses.Loss
    prediction: Any
    target: Any
    formula: Callable[[Any, Any], float]


def one_hot(target, classes):
    return np.eye(classes)[target] if np.ndim(target) == 0 else target


def softmax_formula(z, y, smoothing=0.0):
    p = np.exp(z) / np.sum(np.exp(z))
    y = (1 - smoothing) * one_hot(y, len(z)) + smoothing / len(z)
    return -np.sum(y * np.log(p))


def gaussian_formula(p, y, constant=0.0):
    mean, variance = p
    return np.mean((np.log(variance) + (y - mean) ** 2 / variance) / 2) + constant


rng = np.random.default_rng(2)
REAL, OTHER = rng.normal(size=(2, 4)) * 2
SIMPLEX, SOFT = (a / a.sum() for a in rng.uniform(0.05, 1, size=(2, 4)))
UNIT, SHARES = rng.uniform(0.05, 0.95, size=(2, 4))
SIGNS = np.array([1.0, -1.0, -1.0, 1.0])
COUNTS = np.array([0.0, 1.0, 3.0, 7.0])
LABEL = np.int32(2)

CASES = [
    Case("half_squared_error", losses.half_squared_error, REAL, OTHER, lambda p, y: 0.5 * np.sum((p - y) ** 2)),
    Case("mean_squared_error", losses.mean_squared_error, REAL, OTHER, lambda p, y: np.mean((p - y) ** 2)),
    Case("mean_absolute_error", losses.mean_absolute_error, REAL, OTHER, lambda p, y: np.mean(np.abs(p - y))),
    Case("huber", losses.huber(0.7), REAL, OTHER, lambda p, y: np.mean(special.huber(0.7, p - y))),
    Case("log_cosh", losses.log_cosh, REAL, OTHER, lambda p, y: np.mean(np.log(np.cosh(p - y)))),
    Case(
        "exponential_cost",
        losses.exponential_cost(20.0),
        REAL,
        OTHER,
        lambda p, y: 20 * np.exp(np.sum((p - y) ** 2) / 20),
    ),
    Case("softmax_cross_entropy", losses.softmax_cross_entropy, REAL, LABEL, softmax_formula),
    Case("softmax_cross_entropy soft", losses.softmax_cross_entropy, REAL, SOFT, softmax_formula),
    Case(
        "smoothed_softmax_cross_entropy",
        losses.smoothed_softmax_cross_entropy(),
        REAL,
        LABEL,
        lambda p, y: softmax_formula(p, y, 0.1),
    ),
    Case(
        "smoothed_softmax_cross_entropy soft",
        losses.smoothed_softmax_cross_entropy(0.3),
        REAL,
        SOFT,
        lambda p, y: softmax_formula(p, y, 0.3),
    ),
    Case(
        "sigmoid_cross_entropy",
        losses.sigmoid_cross_entropy,
        REAL,
        SHARES,
        lambda p, y: np.mean(-y * np.log(special.expit(p)) - (1 - y) * np.log(special.expit(-p))),
    ),
    Case("hinge", losses.hinge, REAL, SIGNS, lambda p, y: np.mean(np.maximum(0, 1 - y * p))),
    Case(
        "binary_cross_entropy",
        losses.binary_cross_entropy,
        UNIT,
        SHARES,
        lambda p, y: -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)),
    ),
    Case(
        "categorical_cross_entropy", losses.categorical_cross_entropy, SIMPLEX, LABEL, lambda p, y: -np.log(p[int(y)])
    ),
    Case(
        "categorical_cross_entropy soft",
        losses.categorical_cross_entropy,
        SIMPLEX,
        SOFT,
        lambda p, y: -np.sum(y * np.log(p)),
    ),
    Case("kl_divergence", losses.kl_divergence, SIMPLEX, SOFT, lambda p, y: np.sum(special.rel_entr(y, p))),
    Case(
        "hellinger",
        losses.hellinger,
        SIMPLEX,
        SOFT,
        lambda p, y: np.linalg.norm(np.sqrt(p) - np.sqrt(y)) / np.sqrt(2),
    ),
    Case("poisson_nll", losses.poisson_nll(), REAL, COUNTS, lambda p, y: np.mean(np.exp(p) - y * p)),
    Case(
        "poisson_nll rate, full",
        losses.poisson_nll(log_input=False, full=True),
        UNIT * 5,
        COUNTS,
        lambda p, y: np.mean(p - y * np.log(p) + special.gammaln(y + 1)),
    ),
    Case("gaussian_nll", losses.gaussian_nll(), (REAL, UNIT), OTHER, gaussian_formula),
    Case(
        "gaussian_nll full",
        losses.gaussian_nll(full=True),
        (REAL, UNIT),
        OTHER,
        lambda p, y: gaussian_formula(p, y, np.log(2 * np.pi) / 2),
    ),
    Case(
        "each",
        losses.each(losses.softmax_cross_entropy),
        np.stack([REAL, OTHER]),
        np.array([1, 3], np.int32),
        lambda p, y: (softmax_formula(p[0], y[0]) + softmax_formula(p[1], y[1])) / 2,
    ),
]
