"""Losses of one example, each with its gradient derived by hand."""

from purenet.losses.base import Loss, loss
from purenet.losses.classification import (
    hinge,
    sigmoid_cross_entropy,
    smoothed_softmax_cross_entropy,
    softmax_cross_entropy,
)
from purenet.losses.likelihoods import gaussian_nll, poisson_nll
from purenet.losses.mapped import each
from purenet.losses.probabilities import binary_cross_entropy, categorical_cross_entropy, hellinger, kl_divergence
from purenet.losses.regression import (
    exponential_cost,
    half_squared_error,
    huber,
    log_cosh,
    mean_absolute_error,
    mean_squared_error,
)

__all__ = [
    "Loss",
    "binary_cross_entropy",
    "categorical_cross_entropy",
    "each",
    "exponential_cost",
    "gaussian_nll",
    "half_squared_error",
    "hellinger",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "loss",
    "mean_absolute_error",
    "mean_squared_error",
    "poisson_nll",
    "sigmoid_cross_entropy",
    "smoothed_softmax_cross_entropy",
    "softmax_cross_entropy",
]
